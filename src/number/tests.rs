//! The fast path against the slow one, and what each step does with damaged cells.

use super::e164::{DIGITS_MAX, NATIONAL_DIGITS};
use super::plan::{Length, digits_in};
use super::tables::CODES;
use super::*;

/// A small generator of random numbers; the seed is printed, so a failure can be repeated.
struct Random(u64);

impl Random {
    fn from_environment() -> Random {
        let seed = std::env::var("OPTOUT_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or(20_260_301);
        // The harness shows this only when the test fails.
        #[expect(clippy::print_stderr, reason = "a random test prints its seed")]
        {
            eprintln!("OPTOUT_TEST_SEED={seed}");
        }
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn digits(&mut self, count: usize) -> String {
        (0..count).map(|_| char::from(b'0' + self.below(10) as u8)).collect()
    }
}

fn region(name: &str) -> Option<Region> {
    (!name.is_empty()).then(|| Region::parse(name).unwrap())
}

fn reader(name: &str) -> NumberReader {
    NumberReader::new(region(name), Folding::default())
}

fn number(value: u64) -> Number {
    Number::from_e164(value).unwrap()
}

fn key(value: u64) -> u64 {
    fold(number(value), Folding::default()).get()
}

fn cases() -> usize {
    std::env::var("OPTOUT_TEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(300_000)
}

/// Rows of the sample: text and default region.
fn sample() -> Vec<(String, Option<Region>)> {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/data/phones/sample.tsv");
    let path = std::env::var("OPTOUT_PHONES_SAMPLE").unwrap_or_else(|_| own.to_owned());
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.split('\n').filter(|line| !line.starts_with('#')).skip(1);
    rows.filter(|line| !line.is_empty())
        .map(|line| {
            let mut fields = line.split('\t');
            (fields.next().unwrap().to_owned(), region(fields.next().unwrap()))
        })
        .collect()
}

/// Compares the two paths on one cell; whether the fast one answered.
fn compare(input: &[u8], region: Option<Region>) -> bool {
    let Some(fast) = fast::read(input, region) else { return false };
    let reader = NumberReader::new(region, Folding::default());
    let slow = reader.find_slowly_for_tests(input);
    let told = Ok((fast.number.get(), fast.length, false));
    let text = String::from_utf8_lossy(input);
    assert_eq!(told, slow, "{text:?} in {region:?}");
    if let Ok(recipient) = reader.recipient(input) {
        assert_eq!(recipient.number, fast.number, "{text:?} in {region:?}");
        assert_eq!(recipient.key, fold(fast.number, reader.folding()), "{text:?} in {region:?}");
    }
    true
}

#[test]
fn fast_path_agrees_with_slow_path_on_the_sample() {
    let homes = ["", "MX", "BR", "CO", "AR", "CL", "PE", "US", "DE", "IT", "CI", "RU"];
    let mut answered = 0;
    for (text, own) in sample() {
        answered += usize::from(compare(text.as_bytes(), own));
        for home in homes {
            compare(text.as_bytes(), region(home));
        }
    }
    assert!(answered > 500, "the fast path answered only {answered} rows");
}

#[test]
fn fast_path_agrees_with_slow_path_on_random_cells() {
    let mut random = Random::from_environment();
    let regions: Vec<Region> = Region::all().collect();
    let mut answered = 0;
    for _ in 0..cases() {
        let at = random.below(regions.len());
        let (text, home) = random_cell(&mut random, regions[at]);
        answered += usize::from(compare(&text, home));
    }
    assert!(answered > cases() / 20, "the fast path answered only {answered}");
}

/// A cell in one of many spellings, right, almost right and wrong, and the region to read it in.
fn random_cell(random: &mut Random, region: Region) -> (Vec<u8>, Option<Region>) {
    let plan = region.plan();
    let lengths: Vec<usize> = (2..18).filter(|n| plan.plan.possible >> n & 1 == 1).collect();
    let count = (random.pick(&lengths) + random.below(8).saturating_sub(6)).max(2);
    let national = random.digits(count);
    let code = plan.code.to_string();
    let foreign = random.pick(&[52_u16, 55, 57, 51, 54, 56, 1, 34, 593]).to_string();
    let idd = random.pick(&["00", "011", "005", "0015", "810", "0011", "119"]);
    let bare = match random.below(12) {
        0 => format!("+{code}{national}"),
        1 => format!("{code}{national}"),
        2 => national,
        3 => format!("0{national}"),
        4 => format!("{idd}{code}{national}"),
        5 => format!("{foreign}{national}"),
        6 => format!("+{foreign}{national}"),
        7 => format!("{idd}{foreign}{national}"),
        8 => format!("+{code}0{national}"),
        9 => random.digits(count + 3),
        10 => format!("{}{national}", random.digits(1)),
        _ => format!("+{}", random.digits(count)),
    };
    let mut text = bare;
    for _ in 0..random.pick(&[0, 0, 1, 2, 3, 5]) {
        let signs = [" ", "-", "(", ")", ".", "\u{a0}", "  ", ".0", "+", "/", ";", "x", ",", "0"];
        let often = random.below(10) < 8;
        let sign = if often { random.pick(&signs[..7]) } else { random.pick(&signs) };
        let at = random.below(text.len() + 1);
        if text.is_char_boundary(at) {
            text.insert_str(at, sign);
        }
    }
    let home = random.pick(&[Some(region), Some(region), None]);
    (text.into_bytes(), home)
}

#[test]
fn no_bytes_make_it_panic_and_both_paths_agree_on_them() {
    let mut random = Random::from_environment();
    let pool: Vec<char> =
        "0123456789+ -().;,/x#@eE=\"'\u{a0}\u{200e}\u{ff0b}\u{ff11}\u{661}\u{ff5e}é\n\tABC:*~"
            .chars()
            .collect();
    let homes = ["", "MX", "CO", "DE", "US", "BR", "CI"];
    for _ in 0..cases() / 4 {
        let home = random.pick(&homes);
        let length = random.below(40);
        let bytes: Vec<u8> = if random.below(2) == 0 {
            (0..length).map(|_| random.next() as u8).collect()
        } else {
            (0..length).map(|_| random.pick(&pool)).collect::<String>().into_bytes()
        };
        compare(&bytes, region(home));
        let reader = reader(home);
        let reading = reader.read(&bytes);
        assert_eq!(reading.number.is_none(), reading.status.reason().is_some());
        assert_eq!(reader.recipient(&bytes).ok().map(|one| one.number), reading.number);
        let subscriber = reading.number.zip(reading.key);
        assert_eq!(
            reader.subscriber(&bytes),
            subscriber.ok_or_else(|| reading.status.reason().unwrap())
        );
        assert!(!reader.read_all(&bytes).is_empty(), "{:?}", String::from_utf8_lossy(&bytes));
        reader.strict(&bytes);
    }
}

#[test]
fn long_cells_take_linear_time() {
    for unit in [
        "5",
        " ",
        "+",
        ";",
        "55123456 ",
        "5512345678;",
        "e",
        ",123",
        "@",
        "\u{200e}",
        "=a",
        "\u{ff11}",
    ] {
        let text = unit.repeat(100_000 / unit.len());
        let started = std::time::Instant::now();
        reader("MX").read(text.as_bytes());
        reader("MX").read_all(text.as_bytes());
        // 10^5 characters: quadratic time would take minutes, linear time is milliseconds.
        assert!(started.elapsed().as_secs() < 5, "{unit:?} took {:?}", started.elapsed());
    }
}

#[test]
fn whatever_is_read_is_accepted_back_as_an_integer() {
    for (text, home) in sample() {
        if let Ok(read) = parse(&text, home) {
            assert_eq!(Number::from_e164(read.get()), Some(read), "{text}");
            assert!(digits_in(read.get()) <= DIGITS_MAX);
        }
    }
    for code in &CODES {
        let shortest = u64::from(code.code) * 100;
        assert!(Number::from_e164(shortest).is_some());
        assert!(Number::from_e164(shortest / 10).is_none());
    }
    assert_eq!(*NATIONAL_DIGITS.end(), 17);
    for none in [0, 7, 52, 525, 210_123_456, u64::MAX, 10_000_000_000_000_000_000] {
        assert_eq!(Number::from_e164(none), None, "{none}");
    }
}

#[test]
fn lengths_in_the_table_are_those_of_the_slow_path() {
    use rlibphonenumber::{NumberLengthType, PHONE_NUMBER_UTIL, PhoneNumber};
    for code in &CODES {
        for digits in 2..=17_u32 {
            let spelled = PhoneNumber {
                country_code: i32::from(code.code),
                national_number: 10_u64.pow(digits - 1),
                ..PhoneNumber::default()
            };
            let told = match PHONE_NUMBER_UTIL.is_possible_number_with_reason(&spelled) {
                Ok(NumberLengthType::IsPossible) => Length::Possible,
                Ok(NumberLengthType::IsPossibleLocalOnly) => Length::LocalOnly,
                Err(_) => Length::Impossible,
            };
            assert_eq!(code.plan.length(digits as usize), told, "+{} {digits}", code.code);
        }
    }
}

#[test]
fn mexican_table_agrees_with_the_slow_path() {
    use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumber};
    let mut random = Random::from_environment();
    for area in 100..1000 {
        for _ in 0..8 {
            let national_number = area * 10_000_000 + random.next() % 10_000_000;
            let spelled =
                PhoneNumber { country_code: 52, national_number, ..PhoneNumber::default() };
            let read = parse::is_valid(number(520_000_000_000 + national_number));
            assert_eq!(read, PHONE_NUMBER_UTIL.is_valid_number(&spelled), "{national_number}");
        }
    }
}

#[test]
fn old_forms_and_new_forms_have_one_key() {
    let rows: &[(u64, u64)] = &[
        // Mexico: 1, 01, 044, 045 in front of the ten digits.
        (5_215_512_345_678, 525_512_345_678),
        (52_015_512_345_678, 525_512_345_678),
        (520_445_512_345_678, 525_512_345_678),
        (520_455_512_345_678, 525_512_345_678),
        // Brazil: the ninth digit.
        (551_187_654_321, 5_511_987_654_321),
        (551_167_654_321, 5_511_967_654_321),
        (551_177_654_321, 5_511_977_654_321),
        (557_197_654_321, 5_571_997_654_321),
        // Argentina: the mobile 9.
        (5_491_112_345_678, 541_112_345_678),
        (5_492_231_234_567, 542_231_234_567),
        (5_493_511_234_567, 543_511_234_567),
        // Chile: the old 0.
        (560_912_345_678, 56_912_345_678),
        // Benin: 01.
        (22_997_123_456, 2_290_197_123_456),
        (22_921_123_456, 2_290_121_123_456),
        // Ivory Coast: by operator.
        (22_507_123_456, 2_250_707_123_456),
        (22_501_123_456, 2_250_101_123_456),
        (22_544_123_456, 2_250_544_123_456),
        (22_588_123_456, 2_250_788_123_456),
        (22_520_823_456, 2_252_120_823_456),
        (22_520_023_456, 2_252_520_023_456),
        (22_530_023_456, 2_252_530_023_456),
        (22_530_823_456, 2_252_730_823_456),
        (22_520_323_456, 2_252_720_323_456),
        // Colombia: landlines.
        (5_711_234_567, 576_011_234_567),
        (5_741_234_567, 576_041_234_567),
    ];
    for &(old, today) in rows {
        assert_eq!(key(old), today, "{old}");
        assert_eq!(key(today), today, "{today} is its own key");
    }
}

#[test]
fn what_only_looks_alike_keeps_its_own_key() {
    for value in [
        551_123_456_789, // Brazilian landline: with a 9 it is an unrelated mobile.
        551_151_234_567,
        5_511_923_456_789,
        558_001_234_567, // toll-free: 80 is no area code
        5_555_991_234_567,
        52_155_123_456, // Mexico: 1 and nine digits
        5_210_512_345_678,
        525_512_345_678,
        5_498_001_234_567, // Argentina: toll-free behind a 9
        390_612_345_678,
        39_612_345_678,
        56_912_345_678,
        5_612_345_678,
        51_987_654_321,
        5_118_765_432,
        15_512_345_678,
        5_746_123_456,  // Colombia: too short to be a landline
        22_510_123_456, // Ivory Coast: nothing began with 1
        22_981_234_567, // Benin: nor with 8
        972_591_234_567,
        390_549_123_456,
        2_412_123_456,
    ] {
        assert_eq!(key(value), value, "{value}");
    }
}

#[test]
fn second_tier_folds_only_when_asked() {
    let second = Folding { tier2: true };
    let rows: &[(u64, u64)] = &[
        (972_591_234_567, 970_591_234_567),
        (972_561_234_567, 970_561_234_567),
        (390_549_123_456, 3_780_549_123_456),
        (2_412_123_456, 24_162_123_456),
        (24_105_123_456, 24_165_123_456),
        (24_107_123_456, 24_177_123_456),
        (24_104_123_456, 24_174_123_456),
    ];
    for &(old, today) in rows {
        assert_eq!(key(old), old);
        assert_eq!(fold(number(old), second).get(), today);
        assert_eq!(fold(number(today), second).get(), today);
        assert!(fold_is_doubtful(number(old), second));
        assert!(!fold_is_doubtful(number(old), Folding::default()));
    }
    assert!(fold_is_doubtful(number(551_177_654_321), Folding::default()));
    assert!(!fold_is_doubtful(number(551_187_654_321), Folding::default()));
}

#[test]
fn folding_twice_is_folding_once() {
    let mut random = Random::from_environment();
    for _ in 0..cases() {
        let code = CODES[random.below(CODES.len())].code;
        let code = random.pick(&[code, 52, 54, 55, 56, 57, 225, 229, 241, 972, 39]);
        let count = 2 + random.below(14);
        let Ok(value) = format!("{code}{}", random.digits(count)).parse() else { continue };
        for tier2 in [false, true] {
            let once = fold(number(value), Folding { tier2 }).get();
            assert_eq!(fold(number(once), Folding { tier2 }).get(), once, "{value}");
        }
    }
}

#[test]
fn all_spellings_of_one_phone_meet_in_one_key() {
    let spellings = [
        ("+5215512345678", ""),
        ("+52 1 55 1234 5678", "US"),
        ("5215512345678", ""),
        ("5215512345678", "MX"),
        ("5215512345678", "US"),
        ("525512345678", "CO"),
        ("whatsapp:+5215512345678", "BR"),
        ("5215512345678@s.whatsapp.net", "CO"),
        ("5215512345678:7@s.whatsapp.net", ""),
        ("5215512345678@c.us", "MX"),
        ("https://wa.me/5215512345678?text=hola", "CO"),
        ("5512345678", "MX"),
        ("(55) 1234-5678", "MX"),
        ("55.1234.5678", "MX"),
        ("\u{202d}+52\u{2009}55\u{202f}1234\u{a0}5678\u{202c}", "MX"),
        ("52\u{200b}55\u{feff}12345678", ""),
        ("=\"5512345678\"", "MX"),
        ("'5512345678", "MX"),
        ("5512345678.0", "MX"),
        ("5512345678,00", "MX"),
        ("5.215512345678E+12", "MX"),
        ("5,215512345678E12", "MX"),
        ("5.2155123456780e+12", ""),
        ("00525512345678", "MX"),
        ("00525512345678", "CO"),
        ("00 52 1 55 1234 5678", "US"),
        ("00525512345678", ""),
        ("011525512345678", "US"),
        ("tel:+52-55-1234-5678", "DE"),
        ("tel:55-1234-5678;phone-context=+52", ""),
        ("+52 55 1234 5678 ext. 12", "MX"),
        ("+525512345678;ext=12345", "MX"),
        ("\u{ff0b}\u{ff15}\u{ff12}\u{ff15}\u{ff15}12345678", ""),
    ];
    for (text, home) in spellings {
        let reading = reader(home).read(text.as_bytes());
        assert_eq!(
            reading.key.map(SubscriberKey::get),
            Some(525_512_345_678),
            "{text:?} in {home:?}"
        );
    }
    let latin1 = reader("MX").read(b"\xa05512345678\xa0");
    assert_eq!(latin1.key.map(SubscriberKey::get), Some(525_512_345_678));
}

#[test]
fn refusals_name_their_reason() {
    let rows = [
        ("", Reason::Empty),
        (" \u{a0}\"\" ", Reason::Empty),
        ("N/A", Reason::NotANumber),
        ("CO.3001234567", Reason::BusinessScopedId),
        ("co.3001234567", Reason::BusinessScopedId),
        ("US.ENT.13491208655302741918", Reason::BusinessScopedId),
        ("whatsapp:US.13491208655302741918", Reason::BusinessScopedId),
        ("120363025246125486@g.us", Reason::GroupId),
        ("5215512345678-1631234567@g.us", Reason::GroupId),
        ("12345678901234@lid", Reason::NotAPhoneId),
        ("status@broadcast", Reason::NotAPhoneId),
        ("abc@c.us", Reason::NotAPhoneId),
        ("juan5512345678@example.com", Reason::NotANumber),
        ("5.21555E+12", Reason::PrecisionLost),
        ("5.21555E12", Reason::PrecisionLost),
        ("5.215512345678E-12", Reason::PrecisionLost),
        ("5,215,512,345,678", Reason::ThousandsCommas),
        ("5512345678;5587654321", Reason::TwoNumbers),
        ("5512345678 / 5587654321", Reason::TwoNumbers),
        ("5512345678, 5587654321", Reason::TwoNumbers),
        ("5512345678 y 5587654321", Reason::TwoNumbers),
        ("5512345678\n5587654321", Reason::TwoNumbers),
        ("5512345678 5587654321", Reason::TwoNumbers),
        ("+525512345678 +525587654321", Reason::TwoNumbers),
        ("987654321~912345678", Reason::TwoNumbers),
        ("987654321x912345678", Reason::TwoNumbers),
        ("1234567", Reason::LocalOnly),
        ("5", Reason::NotANumber),
    ];
    for (text, reason) in rows {
        assert_eq!(reader("MX").read(text.as_bytes()).status, Status::Rejected(reason), "{text:?}");
        assert_eq!(reader("MX").recipient(text.as_bytes()), Err(reason), "{text:?}");
    }
    assert_eq!(reader("MX").read(b"55123\xff45678").status, Status::Rejected(Reason::NotText));
    assert_eq!(
        reader("MX").read("5 ".repeat(200).as_bytes()).status,
        Status::Rejected(Reason::TooLong)
    );
}

#[test]
fn text_without_digits_is_no_number_to_the_parser_either() {
    let mut random = Random::from_environment();
    let signs = b" +-()./#*;,abcdeftelxzABCXZ@";
    for _ in 0..5_000 {
        let text: Vec<u8> = (0..=random.below(24)).map(|_| random.pick(signs)).collect();
        let strict = reader(random.pick(&["", "MX", "US", "AR"])).strict(&text);
        let rejected = StrictStatus::Rejected(Reason::NotANumber);
        assert_eq!(strict.status, rejected, "{:?}", String::from_utf8_lossy(&text));
    }
}

#[test]
fn plausible_but_wrong_readings_are_not_taken() {
    // 005 is a Colombian international prefix, and the rest would be Tanzania.
    let colombia = reader("CO").read(b"00525512345678");
    assert_eq!(colombia.number, Some(number(525_512_345_678)));
    assert!(colombia.retried);
    // The zero of a spreadsheet makes another valid German number.
    assert_eq!(reader("DE").read(b"+493012345678.0").number, Some(number(493_012_345_678)));
    assert_eq!(reader("DE").strict(b"+493012345678.0").digits, Some(4_930_123_456_780));
    // The library reads the second number as an extension of the first.
    assert_eq!(reader("MX").strict(b"987654321;912345678").digits, Some(52_987_654_321));
    // And an id as a mobile.
    assert_eq!(reader("CO").strict(b"CO.3001234567").digits, Some(573_001_234_567));
}

#[test]
fn opt_out_cells_yield_every_number_in_them() {
    let rows: &[(&str, &[Option<u64>])] = &[
        ("5512345678;5587654321", &[Some(525_512_345_678), Some(525_587_654_321)]),
        ("5512345678 / +573001234567", &[Some(525_512_345_678), Some(573_001_234_567)]),
        ("5512345678, 5587654321, 1", &[Some(525_512_345_678), Some(525_587_654_321), None]),
        ("5512345678 5587654321", &[Some(525_512_345_678), Some(525_587_654_321)]),
        ("5512345678 y 5587654321;", &[Some(525_512_345_678), Some(525_587_654_321)]),
        ("CO.3001234567;5512345678", &[None, Some(525_512_345_678)]),
        ("5215512345678@c.us,5218112345678@c.us", &[Some(525_512_345_678), Some(528_112_345_678)]),
        ("5512345678;ext=12", &[Some(525_512_345_678)]),
        // A part that only looks like a parameter is read, never dropped.
        (
            "5512345678;5587654321;tel=5533334444",
            &[Some(525_512_345_678), Some(525_587_654_321), Some(525_533_334_444)],
        ),
        (
            "a=5512345678 y 5587654321 y 5533334444",
            &[Some(525_512_345_678), Some(525_587_654_321), Some(525_533_334_444)],
        ),
        ("nothing", &[None]),
    ];
    for (text, wanted) in rows {
        let read = reader("MX").read_all(text.as_bytes());
        let keys: Vec<Option<u64>> =
            read.iter().map(|one| one.key.map(SubscriberKey::get)).collect();
        assert_eq!(&keys, wanted, "{text:?}");
    }
}

#[test]
fn what_exports_lost_is_put_back_only_where_it_is_certain() {
    let plus = reader("MX").read(b"573001234567");
    assert_eq!((plus.number, plus.retried), (Some(number(573_001_234_567)), true));
    let zero = reader("CI").read(b"707123456");
    assert_eq!((zero.number, zero.retried), (Some(number(2_250_707_123_456)), true));
    let zero = reader("BJ").read(b"197123456");
    assert_eq!((zero.number, zero.retried), (Some(number(2_290_197_123_456)), true));
    // Italy has numbers of many lengths: nothing is put back.
    assert!(!reader("IT").read(b"612345678").retried);
    // Letters might be anything.
    assert!(!reader("MX").read(b"1-800-FLOWERS").retried);
    // No number in use: the home reading stands, and nothing is sent to it.
    let odd = reader("MX").recipient(b"999999999999").unwrap();
    assert!(!odd.sendable);
}

#[test]
fn statuses_and_sendable_go_together() {
    let rows = [
        ("+525512345678", Status::Valid, true),
        ("+521551234567", Status::Possible, true),
        ("+520000000000", Status::Possible, true),
        ("+5215512345678", Status::Folded, true),
        ("+551187654321", Status::Folded, true),
        ("+5255123456789012", Status::Parsed, false),
    ];
    for (text, status, sendable) in rows {
        assert_eq!(reader("").read(text.as_bytes()).status, status, "{text}");
        assert_eq!(reader("").recipient(text.as_bytes()).unwrap().sendable, sendable, "{text}");
    }
}

#[test]
fn no_debug_shows_a_number() {
    let one = number(525_512_345_612);
    assert_eq!(format!("{one}"), "+525512345612");
    assert_eq!(format!("{one:?}"), "+5255******12");
    assert_eq!(one.masked().to_string(), "+5255******12");
    assert_eq!(format!("{:?}", fold(one, Folding::default())), "+5255******12");
    assert!(!format!("{:?}", reader("").read(b"+525512345612")).contains("345"));
}

#[test]
fn regions_are_guessed_for_counting() {
    let rows = [
        (525_512_345_678, Some("MX")),
        (12_025_550_123, Some("US")),
        (14_165_550_123, Some("CA")),
        (18_095_550_123, Some("DO")),
        (77_011_234_567, Some("KZ")),
        (79_161_234_567, Some("RU")),
        (442_071_234_567, Some("GB")),
        (80_012_345_678, None),
    ];
    for (value, region) in rows {
        assert_eq!(number(value).region().map(Region::as_str), region, "{value}");
    }
    assert_eq!(Region::parse(" mx ").unwrap().as_str(), "MX");
    assert!(Region::parse("XX").is_err() && Region::parse("001").is_err());
    assert_eq!(number(525_512_345_678).calling_code(), 52);
}

#[test]
fn a_cell_that_can_be_read_in_two_ways_opts_both_out_and_is_not_sendable() {
    // 005 is dialled for abroad in Colombia, which makes one Russian and one of Sierra Leone; as a plus, 00
    // leads to Colombia and Mexico.
    let reader = NumberReader::new(Some(Region::parse("CO").unwrap()), Folding::default());
    for (cell, dialled, written) in [
        ("00573015550211", 73_015_550_211, 573_015_550_211),
        ("00523288621704", 23_288_621_704, 523_288_621_704),
    ] {
        let numbers: Vec<u64> = reader
            .read_all(cell.as_bytes())
            .iter()
            .filter_map(|reading| reading.number)
            .map(Number::get)
            .collect();
        assert_eq!(numbers, [dialled, written], "{cell}");
        assert!(!reader.recipient(cell.as_bytes()).unwrap().sendable, "{cell}");
    }
}

fn key_of(text: &str, region: &str) -> SubscriberKey {
    reader(region).read(text.as_bytes()).key.unwrap()
}

/// No spelling of `number` may be sent to once any of them is opted out.
fn assert_found_or_held_back(number: &str, region: &str, spellings: &[&str]) {
    let key = key_of(number, region);
    for spelling in spellings {
        let reader = reader(region);
        let recipient = reader.recipient(spelling.as_bytes());
        assert!(recipient.is_err() || recipient.is_ok_and(|it| it.key == key || !it.sendable));
        let opt_out = reader.read_all(spelling.as_bytes());
        let is_loud = opt_out.iter().any(|reading| reading.status.reason().is_some());
        assert!(is_loud || opt_out.iter().any(|it| it.key == Some(key)), "{spelling} in {region}");
    }
}

#[test]
fn a_name_behind_a_number_made_it_another_number() {
    let spellings = ["+4915158795386 (Ana)", "015158795386 casa", "+4915158795386 trabajo"];
    assert_found_or_held_back("+4915158795386", "DE", &spellings);
    assert_found_or_held_back("+525559455839", "MX", &["5559455839 casa", "+525559455839 (Ana)"]);
    let readings = reader("MX").read_all(b"5559455839 casa");
    assert!(readings.iter().all(|reading| reading.status.reason().is_none()));
}

#[test]
fn a_letter_o_for_a_zero_made_it_a_shorter_number() {
    assert_found_or_held_back("+493012345678", "DE", &["3O12345678", "+49 3O 12345678"]);
    // These leave no doubt.
    for clear in ["+1 800 FLOWERS", "Tel 5512345678", "5512345678 c", "5512345678 ext. 12"] {
        assert!(!reader("MX").read(clear.as_bytes()).ambiguous, "{clear}");
    }
    assert!(!reader("BR").read(b"(0xx11) 94075-8684").ambiguous);
}

#[test]
fn two_zeros_in_digits_of_another_script_were_no_international_prefix() {
    let spellings = ["٠٠٥٧٦٠١٠١٧٤٣٨٦", "００５７６０１０１７４３８６", "+00576010174386"];
    assert_found_or_held_back("+576010174386", "CO", &spellings);
    assert_found_or_held_back("+5511940758684", "BR", &["+005511940758684", "٠٠٥٥١١٩٤٠٧٥٨٦٨٤"]);
}

#[test]
fn an_id_of_a_webhook_was_a_german_landline_only() {
    let spellings = ["4915158795386", "49 151 5879 5386", "whatsapp:4915158795386"];
    assert_found_or_held_back("+4915158795386", "DE", &spellings);
    assert_found_or_held_back("+576010174386", "CO", &["5710174386"]);
    // No doubt: area code 55 of Brazil, and a mobile of Italy that begins with 39.
    assert!(reader("BR").recipient(b"55999123456").unwrap().sendable);
    assert!(reader("IT").recipient(b"3933123456").unwrap().sendable);
}

#[test]
fn a_masked_number_was_somebody_elses() {
    for masked in ["+5255****4321", "52******22", "55XXXX5678", "+55 11 xxxxx-8684"] {
        assert_eq!(reader("MX").read(masked.as_bytes()).status, Status::Rejected(Reason::Masked));
    }
}

#[test]
fn a_part_of_a_cell_with_several_numbers_had_one_reading_only() {
    let spellings =
        ["4915158795386,447911123456", "015158795386 casa; 447911123456", "4915158795386 int. 44"];
    assert_found_or_held_back("+4915158795386", "DE", &spellings);
}

#[test]
fn digits_alone_have_the_value_that_they_spell() {
    let mut random = Random::from_environment();
    for _ in 0..20_000 {
        let length = random.below(22);
        let mut text: Vec<u8> = (0..length).map(|_| b'0' + random.below(10) as u8).collect();
        if random.below(4) == 0 && length > 0 {
            let place = random.below(length);
            text[place] = b"/:+ a\xb5"[random.below(6)];
        }
        let is_digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
        let expected = std::str::from_utf8(&text).ok().filter(|_| is_digits);
        let expected = expected.and_then(|text| text.parse().ok());
        assert_eq!(value_of_digits(&text), expected, "{text:?}");
    }
}
