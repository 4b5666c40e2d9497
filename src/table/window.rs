//! Where do fields end within the next 64 bytes?
//!
//! Compares all bytes without a branch on any of them, in loops of which compilers make vectors, so
//! that it is the same on every machine. Promises one bit for each byte. Knows nothing of quotes.

/// How many bytes are looked at together: one for each bit of a mask.
pub(super) const WINDOW_BYTES: usize = 64;

/// Which bytes are the delimiter, and which end a line. Bit `n` stands for byte `n`.
#[inline]
pub(super) fn field_ends(window: &[u8; WINDOW_BYTES], delimiter: u8) -> (u64, u64) {
    let mut delimiters = [0; WINDOW_BYTES];
    let mut line_ends = [0; WINDOW_BYTES];
    for place in 0..WINDOW_BYTES {
        let byte = window[place];
        // Without `||`, which would be a branch.
        let ends_line = (byte == b'\n') | (byte == b'\r');
        delimiters[place] = if byte == delimiter { BITS[place] } else { 0 };
        line_ends[place] = if ends_line { BITS[place] } else { 0 };
    }
    (join(&delimiters), join(&line_ends))
}

/// The bit of each byte within its eight.
const BITS: [u8; WINDOW_BYTES] = {
    let mut bits = [0; WINDOW_BYTES];
    let mut place = 0;
    while place < WINDOW_BYTES {
        bits[place] = 1 << (place % 8);
        place += 1;
    }
    bits
};

/// Joins the bits of each eight bytes to one byte.
#[inline]
fn join(bits: &[u8; WINDOW_BYTES]) -> u64 {
    /// Adds all eight bytes up in the highest. No two have a bit in common, so nothing carries.
    const SUM: u64 = u64::from_le_bytes([1; 8]);
    let mut joined = [0; 8];
    for (joined, &eight) in joined.iter_mut().zip(bits.as_chunks().0) {
        *joined = (u64::from_le_bytes(eight).wrapping_mul(SUM) >> 56) as u8;
    }
    u64::from_le_bytes(joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_at_every_place_is_what_it_is() {
        for delimiter in [b',', b';', b'\t', b'|', 0, 0x7f, 0x80, 0xff] {
            for place in 0..WINDOW_BYTES {
                for byte in 0..=u8::MAX {
                    for around in [b'7', delimiter, b'\n', 0x80, 0xff] {
                        let mut window = [around; WINDOW_BYTES];
                        window[place] = byte;
                        let slow = |wanted: &dyn Fn(u8) -> bool| {
                            let bit = |(at, &byte)| u64::from(wanted(byte)) << at;
                            window.iter().enumerate().map(bit).fold(0, |one, other| one | other)
                        };
                        let expected = (
                            slow(&|byte| byte == delimiter),
                            slow(&|byte| byte == b'\n' || byte == b'\r'),
                        );
                        assert_eq!(field_ends(&window, delimiter), expected, "{byte} at {place}");
                    }
                }
            }
        }
    }
}
