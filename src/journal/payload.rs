//! The payload of a record in bincode's wire format, standard configuration: little-endian,
//! variable-length integers.
//!
//! bincode itself is unmaintained (RUSTSEC-2025-0141); `wincode` writes the same bytes. The
//! columns inside are packed by `record`, which also checks what they say.

use wincode::config::Configuration;
use wincode::{SchemaRead, SchemaWrite};

/// What the rows of one record share, and their columns.
#[derive(SchemaWrite, SchemaRead)]
#[cfg_attr(test, derive(Debug, PartialEq, Eq))]
pub(super) struct Payload<'a> {
    pub(super) channel: &'a str,
    pub(super) sender: &'a str,
    pub(super) brand: &'a str,
    pub(super) word: &'a str,
    pub(super) campaign: &'a str,
    pub(super) template: &'a str,
    pub(super) message_id: &'a str,
    pub(super) operator: &'a str,
    pub(super) note: &'a str,
    /// Code of the ground; never zero, which parts the zeros around it.
    pub(super) ground: u8,
    /// Code of the category that an override names, 0 for none.
    pub(super) category: u8,
    /// A bit mask of `FLAG_` values.
    pub(super) flags: u8,
    /// The import that the rows belong to or take back, 0 for none.
    pub(super) batch: u64,
    /// Codes of the subjects: differences from row to row, zigzag, base 128.
    pub(super) subjects: &'a [u8],
    /// Milliseconds past `occurred_min`, base 128; nothing when all rows are equal.
    pub(super) occurred: &'a [u8],
    /// How the numbers were written: a `SPELLING_` code, and for texts their lengths and bytes.
    pub(super) spelling: u8,
    pub(super) texts: &'a [u8],
    /// Sequences of the subscribers' events before: differences from row to row, zigzag, base
    /// 128; nothing when no row has one.
    pub(super) previous: &'a [u8],
}

impl<'a> Payload<'a> {
    /// Its bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let config = Configuration::default().with_varint_encoding();
        wincode::config::serialize(self, config).expect("strings and bytes always serialize")
    }

    /// Reads all of `bytes`, borrowing from them; `None` when they are not such a payload.
    pub(super) fn decode(bytes: &'a [u8]) -> Option<Payload<'a>> {
        let config = Configuration::default().with_varint_encoding();
        wincode::config::deserialize_exact(bytes, config).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_bincode_standard() {
        let payload = Payload {
            channel: "sms",
            sender: "",
            brand: "",
            word: "BAJA",
            campaign: "",
            template: "",
            message_id: "",
            operator: "",
            note: "",
            ground: 1,
            category: 0,
            flags: 0,
            batch: 300,
            subjects: &[7; 300],
            occurred: &[],
            spelling: 1,
            texts: &[],
            previous: &[],
        };
        // Written by hand after bincode's specification: lengths are base-251 varints.
        let mut expected = b"\x03sms\x00\x00\x04BAJA\x00\x00\x00\x00\x00".to_vec();
        expected.extend_from_slice(&[1, 0, 0, 251, 44, 1]);
        expected.extend_from_slice(&[251, 44, 1]);
        expected.extend_from_slice(&[7; 300]);
        expected.extend_from_slice(&[0, 1, 0, 0]);
        assert_eq!(payload.encode(), expected);
        assert_eq!(Payload::decode(&expected).unwrap(), payload);
        for cut in 0..expected.len() {
            assert!(Payload::decode(&expected[..cut]).is_none(), "cut at {cut}");
        }
    }
}
