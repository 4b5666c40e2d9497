//! Which mobile numbers can exist? An excerpt of the numbering plans of nine countries.
//!
//! Enough to make numbers of the right length that begin as real ones do; not enough to tell
//! whether a number is in service. Everything here is public knowledge about numbering.

/// One country's numbering, as far as it is needed to make mobile numbers.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The two letters of ISO 3166.
    pub(crate) country: &'static str,
    /// The country calling code.
    pub(crate) calling_code: &'static str,
    /// Digits between calling code and area that mark a mobile (Argentina's 9).
    pub(crate) mobile_token: &'static str,
    /// Area codes or mobile prefixes, each with the beginnings of the local numbers behind it.
    pub(crate) areas: &'static [Areas],
    /// How many digits stand behind calling code and token.
    pub(crate) national_digits: usize,
    /// How many digits people put into the last group.
    pub(crate) last_group: usize,
    /// Where its people live.
    pub(crate) cities: &'static [&'static str],
}

/// Area codes that are used alike.
#[derive(Debug)]
pub(crate) struct Areas {
    /// The codes, separated by blanks.
    pub(crate) codes: &'static str,
    /// How local numbers behind them begin, separated by blanks; empty for any digits.
    pub(crate) leads: &'static str,
}

/// Digits after the block's own: 10,000 numbers are handed to an operator at a time.
pub(crate) const LINE_DIGITS: usize = 4;

/// Every country known here, the heaviest of the standard mixture first.
pub(crate) const PLANS: &[Plan] = &[
    // The dialling token 1 between country code and area went in August 2019.
    Plan {
        country: "MX",
        calling_code: "52",
        mobile_token: "",
        areas: &[
            Areas { codes: "55 33 81 56", leads: "1 2 3 4" },
            Areas {
                codes: "222 229 442 444 449 461 477 614 618 644 656 662 664 667 686 722 744 771 \
                        777 833 844 867 871 899 921 951 961 993 998 999",
                leads: "1 2 3 4 5 6",
            },
        ],
        national_digits: 10,
        last_group: 4,
        cities: &["CDMX", "León", "Puebla", "Monterrey", "Toluca", "Guadalajara"],
    },
    // Nine digits behind every area code since 2016; São Paulo uses most of the beginnings.
    Plan {
        country: "BR",
        calling_code: "55",
        mobile_token: "",
        areas: &[
            Areas { codes: "11 21", leads: "94 95 96 97 98 99" },
            Areas {
                codes: "19 27 31 41 47 48 51 61 62 71 81 82 83 84 85 91 92 98",
                leads: "98 99",
            },
        ],
        national_digits: 11,
        last_group: 4,
        cities: &["Recife", "São Paulo", "Manaus", "Natal", "Rio de Janeiro", "Campinas"],
    },
    Plan {
        country: "CO",
        calling_code: "57",
        mobile_token: "",
        areas: &[Areas {
            codes: "300 301 302 304 305 310 311 312 313 314 315 316 317 318 319 320 321 322 323 \
                    350",
            leads: "",
        }],
        national_digits: 10,
        last_group: 4,
        cities: &["Bogotá", "Cali", "Medellín", "Barranquilla", "Pasto"],
    },
    Plan {
        country: "AR",
        calling_code: "54",
        mobile_token: "9",
        areas: &[
            Areas { codes: "11", leads: "2 3 4 5 6" },
            Areas { codes: "221 223 261 264 291 299 341 342 343 351 381 387", leads: "4 5 6" },
        ],
        national_digits: 10,
        last_group: 4,
        cities: &["Buenos Aires", "Rosario", "Córdoba", "Mendoza"],
    },
    Plan {
        country: "PE",
        calling_code: "51",
        mobile_token: "",
        areas: &[Areas {
            codes: "910 920 930 931 940 941 942 943 944 945 946 947 948 949 950 951 952 953 954 \
                    955 956 957 958 959 960 961 962 963 964 965 970 971 972 973 974 975 976 977 \
                    978 979 980 981 982 983 984 985 986 987 988 989 990 991 992 993 994 995 996 \
                    997 998 999",
            leads: "",
        }],
        national_digits: 9,
        last_group: 3,
        cities: &["Lima", "Cusco", "Trujillo", "Piura", "Tacna"],
    },
    Plan {
        country: "CL",
        calling_code: "56",
        mobile_token: "",
        areas: &[Areas {
            codes: "9",
            leads: "4 5 61 62 63 64 65 66 67 68 71 72 73 74 75 76 77 78 79 8 93 94 95 96 97 98 99",
        }],
        national_digits: 9,
        last_group: 4,
        cities: &["Santiago", "Arica", "Temuco", "Talca"],
    },
    Plan {
        country: "EC",
        calling_code: "593",
        mobile_token: "",
        areas: &[Areas { codes: "98 99", leads: "" }],
        national_digits: 9,
        last_group: 4,
        cities: &["Quito", "Cuenca", "Loja", "Ambato"],
    },
    // Central office codes that end in 11 and 555, which films use, are left out below.
    Plan {
        country: "US",
        calling_code: "1",
        mobile_token: "",
        areas: &[Areas {
            codes: "201 202 205 206 212 213 214 215 281 303 305 310 312 313 323 347 404 407 408 \
                    415 469 512 602 617 619 626 702 713 714 718 770 786 801 813 818 832 909 915 \
                    917 956",
            leads: "2 3 4 5 6 7 8 9",
        }],
        national_digits: 10,
        last_group: 4,
        cities: &["Miami", "Houston", "Dallas", "El Paso", "Chicago"],
    },
    Plan {
        country: "ES",
        calling_code: "34",
        mobile_token: "",
        areas: &[Areas {
            codes: "600 605 606 607 608 609 610 615 616 617 618 619 620 622 625 626 627 628 629 \
                    630 633 635 636 637 638 639 645 646 647 649 650 651 652 653 654 655 656 657 \
                    658 659 660 661 664 665 666 667 669 670 675 676 677 678 679 680 685 686 687 \
                    689 690 691 692 695 696 699 722",
            leads: "",
        }],
        national_digits: 9,
        last_group: 3,
        cities: &["Madrid", "Sevilla", "Málaga", "Bilbao"],
    },
];

/// Numbers with the same digits up to the last four.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockStart {
    /// All digits up to the last four, calling code first.
    pub(crate) prefix: u64,
    /// How many digits the area code has.
    pub(crate) area_digits: u8,
}

impl Plan {
    /// Every block of 10,000 numbers, in numerical order within an area.
    pub(crate) fn blocks(&self) -> Vec<BlockStart> {
        let mut blocks = Vec::new();
        for areas in self.areas {
            for code in areas.codes.split_ascii_whitespace() {
                // `split` and not `split_ascii_whitespace`: no leads means one empty lead.
                for lead in areas.leads.split(' ') {
                    self.push_blocks(code, lead, &mut blocks);
                }
            }
        }
        blocks
    }

    fn push_blocks(&self, code: &str, lead: &str, blocks: &mut Vec<BlockStart>) {
        let head = format!("{}{}{code}{lead}", self.calling_code, self.mobile_token);
        let open = self.national_digits - code.len() - lead.len() - LINE_DIGITS;
        let count = 10_u64.pow(open as u32);
        let Ok(head) = head.parse::<u64>() else { return };
        let first = head * count;
        let blocks_here = (first..first + count)
            .filter(|prefix| self.calling_code != "1" || is_office_code(prefix % 1_000))
            .map(|prefix| BlockStart { prefix, area_digits: code.len() as u8 });
        blocks.extend(blocks_here);
    }
}

/// Whether three digits may follow a North American area code on a mobile.
fn is_office_code(code: u64) -> bool {
    code % 100 != 11 && code != 555
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn numbers_of_every_plan_have_the_right_length_and_beginning() {
        let digits = [
            ("MX", 12),
            ("BR", 13),
            ("CO", 12),
            ("AR", 13),
            ("PE", 11),
            ("CL", 11),
            ("EC", 12),
            ("US", 11),
            ("ES", 11),
        ];
        assert_eq!(digits.len(), PLANS.len());
        for (plan, (country, count)) in PLANS.iter().zip(digits) {
            assert_eq!(plan.country, country);
            let start = format!("{}{}", plan.calling_code, plan.mobile_token);
            for block in plan.blocks() {
                let prefix = block.prefix.to_string();
                assert_eq!(prefix.len() + LINE_DIGITS, count, "{country} {prefix}");
                assert!(prefix.starts_with(&start), "{country} {prefix}");
            }
        }
    }

    #[test]
    fn no_block_stands_in_the_plans_twice() {
        let mut seen = HashSet::new();
        for block in PLANS.iter().flat_map(Plan::blocks) {
            assert!(seen.insert(block.prefix), "{} twice", block.prefix);
        }
    }

    #[test]
    fn brazil_has_nine_behind_the_area_code_and_the_films_have_their_555() {
        for block in PLANS[1].blocks() {
            assert_eq!(block.prefix.to_string().as_bytes()[4], b'9');
        }
        assert!(PLANS[7].blocks().iter().all(|block| block.prefix % 1_000 != 555));
    }
}
