//! Small integers in few bytes: base 128, low groups first, and zigzag for signed differences.
//!
//! A zero takes two bytes, `80 00`, so that no column is ever a run of zero bytes: recovery takes
//! such a run inside a record for a sector that never reached the disk.

/// Appends `value`.
pub(crate) fn put(out: &mut Vec<u8>, mut value: u64) {
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
#[inline]
pub(crate) fn take(bytes: &mut &[u8]) -> Option<u64> {
    // Eight bytes at once, whose groups then move together: scans read millions of values.
    if let Some((&eight, _)) = bytes.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(eight);
        let ends = !word & 0x8080_8080_8080_8080;
        if ends != 0 {
            let bits = ends.trailing_zeros() + 1;
            let groups = word & 0x7f7f_7f7f_7f7f_7f7f & (u64::MAX >> (64 - bits));
            *bytes = &bytes[bits as usize / 8..];
            return Some(joined(groups));
        }
    }
    take_slowly(bytes)
}

/// Eight groups of seven bits without the gaps between them.
fn joined(groups: u64) -> u64 {
    let pairs = groups & 0x007f_007f_007f_007f | (groups & 0x7f00_7f00_7f00_7f00) >> 1;
    let fours = pairs & 0x0000_3fff_0000_3fff | (pairs & 0x3fff_0000_3fff_0000) >> 2;
    fours & 0x0fff_ffff | (fours & 0x0fff_ffff_0000_0000) >> 4
}

fn take_slowly(bytes: &mut &[u8]) -> Option<u64> {
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
pub(crate) fn put_difference(out: &mut Vec<u8>, before: u64, value: u64) {
    let difference = value.wrapping_sub(before) as i64;
    put(out, ((difference << 1) ^ (difference >> 63)) as u64);
}

/// Takes a difference and gives the value that it leads to from `before`.
pub(crate) fn take_difference(bytes: &mut &[u8], before: u64) -> Option<u64> {
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
        fn eight_bytes_at_once_say_what_one_by_one_say(
            mut bytes in prop::collection::vec(any::<u8>(), 0..20),
            ones in any::<u16>(),
        ) {
            for (place, byte) in bytes.iter_mut().enumerate().take(12) {
                *byte |= (((ones >> place) & 1) as u8) << 7;
            }
            let (mut fast, mut slow) = (&bytes[..], &bytes[..]);
            prop_assert_eq!(take(&mut fast), take_slowly(&mut slow));
            prop_assert_eq!(fast, slow);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            let _ = take(&mut &bytes[..]);
            let _ = take_difference(&mut &bytes[..], u64::MAX);
        }
    }
}
