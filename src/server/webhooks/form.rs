//! What pairs are in a form or a query?
//!
//! Promises the bytes as they were before they were encoded, in their order, repeated ones
//! included, since signatures are made over them. No bytes are refused: a sign that is not
//! encoded as it should be stands for itself.

/// A name and its value.
pub(in crate::server) type Pair = (Vec<u8>, Vec<u8>);

/// Pairs that are read at most; a form with more is no provider's.
const PAIRS_MAX: usize = 512;

/// The pairs of `application/x-www-form-urlencoded`.
pub(in crate::server) fn read(bytes: &[u8]) -> Vec<Pair> {
    let pairs = bytes.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty());
    let split = |pair: &[u8]| match pair.iter().position(|&byte| byte == b'=') {
        Some(at) => (decoded(&pair[..at]), decoded(&pair[at + 1..])),
        None => (decoded(pair), Vec::new()),
    };
    pairs.take(PAIRS_MAX).map(split).collect()
}

/// The value of a name that is there once, or always with the same value.
pub(in crate::server) fn value<'a>(pairs: &'a [Pair], name: &str) -> Option<&'a [u8]> {
    let mut values = pairs.iter().filter(|(it, _)| it == name.as_bytes()).map(|(_, it)| &**it);
    let first = values.next()?;
    values.all(|it| it == first).then_some(first)
}

fn decoded(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let digit = |place: usize| char::from(*text.get(place)?).to_digit(16);
        let pair = digit(at + 1).zip(digit(at + 2)).filter(|_| byte == b'%');
        match pair.and_then(|(high, low)| u8::try_from(high << 4 | low).ok()) {
            Some(meant) => {
                bytes.push(meant);
                at += 3;
            }
            None => {
                bytes.push(if byte == b'+' { b' ' } else { byte });
                at += 1;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_as_they_were_before_they_were_encoded() {
        let pairs =
            read("From=whatsapp%3A%2B52155&Body=No+m%C3%A1s%20%2B&x&=y&&Z=%zz%4".as_bytes());
        let text = |at: usize| {
            let (name, value) = &pairs[at];
            (
                String::from_utf8_lossy(name).into_owned(),
                String::from_utf8_lossy(value).into_owned(),
            )
        };
        assert_eq!(text(0), ("From".into(), "whatsapp:+52155".into()));
        assert_eq!(text(1), ("Body".into(), "No más +".into()));
        assert_eq!(text(2), ("x".into(), String::new()));
        assert_eq!(text(3), (String::new(), "y".into()));
        assert_eq!(text(4), ("Z".into(), "%zz%4".into()));
        assert_eq!(pairs.len(), 5);
    }

    #[test]
    fn a_name_with_two_values_has_none() {
        let pairs = read(b"a=1&b=2&a=1&b=3");
        assert_eq!(value(&pairs, "a"), Some(&b"1"[..]));
        assert_eq!(value(&pairs, "b"), None);
        assert_eq!(value(&pairs, "c"), None);
    }

    #[test]
    fn a_form_without_end_is_read_to_its_bound() {
        assert_eq!(read("a&".repeat(PAIRS_MAX + 7).as_bytes()).len(), PAIRS_MAX);
    }
}
