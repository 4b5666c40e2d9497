//! Small integers in few bytes: base 128, low groups first, and zigzag for signed differences.
//!
//! A zero takes two bytes, `80 00`, so that no column is ever a run of zero bytes: recovery takes
//! such a run inside a record for a sector that never reached the disk.

/// Appends `value`.
pub(super) fn put(out: &mut Vec<u8>, mut value: u64) {
    if value == 0 {
        return out.extend_from_slice(&[0x80, 0]);
    }
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes a value from the front of `bytes`; `None` when they end early or say more than 64 bits.
pub(super) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let group = u64::from(byte & 0x7f);
        if shift == 63 && group > 1 {
            return None;
        }
        value |= group << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Appends the difference from `before` to `value`, modulo 2^64.
pub(super) fn put_difference(out: &mut Vec<u8>, before: u64, value: u64) {
    let difference = value.wrapping_sub(before) as i64;
    put(out, ((difference << 1) ^ (difference >> 63)) as u64);
}

/// Takes a difference and gives the value that it leads to from `before`.
pub(super) fn take_difference(bytes: &mut &[u8], before: u64) -> Option<u64> {
    let zigzag = take(bytes)?;
    Some(before.wrapping_add((zigzag >> 1) ^ (zigzag & 1).wrapping_neg()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_put_is_taken(values in prop::collection::vec(any::<u64>(), 0..50)) {
            let mut out = Vec::new();
            let mut before = 0;
            for &value in &values {
                put(&mut out, value);
                put_difference(&mut out, before, value);
                before = value;
            }
            let mut bytes = &out[..];
            before = 0;
            for &value in &values {
                prop_assert_eq!(take(&mut bytes), Some(value));
                prop_assert_eq!(take_difference(&mut bytes, before), Some(value));
                before = value;
            }
            prop_assert!(bytes.is_empty());
            prop_assert!(out.windows(2).all(|pair| pair != [0, 0]));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            let _ = take(&mut &bytes[..]);
            let _ = take_difference(&mut &bytes[..], u64::MAX);
        }
    }
}
