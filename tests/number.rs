//! The number module from outside, against answers of Google's libphonenumber.
//!
//! The rows are those of `data/phones/sample.tsv`, or of the file that `OPTOUT_PHONES_SAMPLE`
//! names. `data/README.md` describes them.

use optout::number::{
    Folding, METADATA_RELEASE, NumberReader, Reason, Region, Status, StrictStatus, clean, fold,
    parse,
};

/// One row of the sample.
struct Row {
    input: String,
    region: Option<Region>,
    possible: Option<u64>,
    valid: Option<u64>,
    local_only: bool,
    /// Up to 20 digits.
    parsed: Option<u128>,
    stable: bool,
}

fn rows() -> Vec<Row> {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/data/phones/sample.tsv");
    let path = std::env::var("OPTOUT_PHONES_SAMPLE").unwrap_or_else(|_| own.to_owned());
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.split('\n').filter(|line| !line.starts_with('#')).skip(1);
    lines.filter(|line| !line.is_empty()).map(row).collect()
}

fn row(line: &str) -> Row {
    let fields: Vec<&str> = line.split('\t').collect();
    let [input, region, possible, valid, _class, reason, parsed, _form, stable] = fields[..] else {
        panic!("nine fields expected: {line:?}");
    };
    Row {
        input: input.to_owned(),
        region: (!region.is_empty()).then(|| Region::parse(region).unwrap()),
        possible: possible.parse().ok(),
        valid: valid.parse().ok(),
        local_only: reason == "IS_POSSIBLE_LOCAL_ONLY",
        parsed: parsed.parse().ok(),
        stable: stable == "1",
    }
}

/// How many of how many rows agree.
#[derive(Default)]
struct Share {
    agree: usize,
    of: usize,
}

impl Share {
    fn count(&mut self, agrees: bool) {
        self.agree += usize::from(agrees);
        self.of += 1;
    }
}

#[test]
fn strict_reading_agrees_with_libphonenumber() {
    let (mut parsed, mut possible, mut valid) =
        (Share::default(), Share::default(), Share::default());
    for row in rows() {
        let reader = NumberReader::new(row.region, Folding::default());
        let strict = reader.strict(row.input.as_bytes());
        // A row beyond 64 bits is refused; every other row must have the very integer.
        let wanted = row.parsed.and_then(|digits| u64::try_from(digits).ok());
        if let (Some(digits), Some(wanted)) = (strict.digits, wanted) {
            // Holds for every row, whichever release its validity hangs on.
            assert_eq!(digits, wanted, "{:?} in {:?}", row.input, row.region);
        }
        if !row.stable {
            continue;
        }
        parsed.count(strict.digits == wanted);
        assert_eq!(strict.digits, wanted, "{:?} in {:?}", row.input, row.region);
        let is_possible = matches!(strict.status, StrictStatus::Valid | StrictStatus::Possible);
        possible.count(is_possible == (row.possible.is_some() && !row.local_only));
        // Local-only wins over valid: Canada's 310 and four digits are both, there.
        valid.count(
            (strict.status == StrictStatus::Valid) == (row.valid.is_some() && !row.local_only),
        );
        if row.local_only {
            assert_eq!(strict.status, StrictStatus::LocalOnly, "{:?}", row.input);
        }
    }
    let all = (parsed.of, possible.of, valid.of);
    assert_eq!((parsed.agree, possible.agree, valid.agree), all);
    #[expect(clippy::print_stderr, reason = "the measured shares are wanted with --nocapture")]
    {
        eprintln!(
            "metadata {METADATA_RELEASE}: parsed {}/{}, possible {}/{}, valid {}/{}",
            parsed.agree, parsed.of, possible.agree, possible.of, valid.agree, valid.of
        );
    }
}

#[test]
fn cleaning_never_turns_a_valid_number_into_another() {
    for row in rows().iter().filter(|row| row.stable) {
        let Some(valid) = row.valid else { continue };
        let reader = NumberReader::new(row.region, Folding::default());
        let reading = reader.read(row.input.as_bytes());
        match (reading.number, reading.status.reason()) {
            (Some(number), _) => assert!(
                number.get() == valid || reading.retried || row.input.contains(".0"),
                "{:?} in {:?}: {} instead of {valid}",
                row.input,
                row.region,
                number.get()
            ),
            // The library drops a second number silently; the reader refuses the cell.
            (None, Some(reason)) => assert!(
                matches!(
                    reason,
                    Reason::TwoNumbers
                        | Reason::BusinessScopedId
                        | Reason::PrecisionLost
                        | Reason::LocalOnly
                ),
                "{:?} in {:?}: {reason:?}",
                row.input,
                row.region
            ),
            (None, None) => panic!("neither number nor reason: {:?}", row.input),
        }
    }
}

#[test]
fn every_row_has_a_key_or_a_reason_and_both_sides_agree() {
    for row in rows() {
        let reader = NumberReader::new(row.region, Folding::default());
        let reading = reader.read(row.input.as_bytes());
        assert_eq!(reading.number.is_some(), reading.key.is_some());
        assert_eq!(reading.number.is_some(), !matches!(reading.status, Status::Rejected(_)));
        match reader.recipient(row.input.as_bytes()) {
            Ok(recipient) => {
                assert_eq!(Some(recipient.key), reading.key, "{:?}", row.input);
                let good =
                    matches!(reading.status, Status::Valid | Status::Possible | Status::Folded);
                assert_eq!(recipient.sendable, good && !reading.ambiguous, "{:?}", row.input);
            }
            Err(reason) => assert_eq!(reading.status, Status::Rejected(reason), "{:?}", row.input),
        }
    }
}

#[test]
fn all_written_forms_of_a_valid_number_give_one_key() {
    let folding = Folding::default();
    let nowhere = NumberReader::new(None, folding);
    for row in rows().iter().filter(|row| row.stable && !row.local_only) {
        let Some(valid) = row.valid else { continue };
        let digits = valid.to_string();
        let number = parse(&format!("+{digits}"), None).unwrap();
        // Parsing is idempotent on valid numbers.
        assert_eq!(number.get(), valid);
        let key = Some(fold(number, folding));
        let (head, tail) = digits.split_at(digits.len() / 2);
        for form in [
            digits.clone(),
            format!("+{digits}"),
            format!("+{head} {tail}"),
            format!(" (+{head})-{tail} "),
            format!("+{head}\u{202f}{tail}\u{200e}"),
            format!("whatsapp:+{digits}"),
            format!("{digits}@s.whatsapp.net"),
            format!("{digits}:12@s.whatsapp.net"),
            format!("=\"+{digits}\""),
            format!("+{digits}.0"),
            format!("00{digits}"),
        ] {
            assert_eq!(nowhere.read(form.as_bytes()).key, key, "{form:?}");
        }
    }
}

#[test]
fn the_three_steps_can_be_used_alone() {
    let cleaned = clean("5215512345678@s.whatsapp.net".as_bytes()).unwrap();
    assert!(cleaned.is_international());
    let number = parse(cleaned.as_str(), None).unwrap();
    assert_eq!(number.to_string(), "+5215512345678");
    assert_eq!(fold(number, Folding::default()).get(), 525_512_345_678);
    assert_eq!(parse("5512345678", None), Err(Reason::InvalidCountryCode));
}
