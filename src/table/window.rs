//! Where do fields end within the next 64 bytes?
//!
//! Compares eight bytes at once within plain words, so that it is the same on every machine.
//! Promises one bit for each byte, without a branch on any of them. Knows nothing of quotes.

/// How many bytes are looked at together: one for each bit of a mask.
pub(super) const WINDOW_BYTES: usize = 64;

/// Which bytes are the delimiter, and which end a line. Bit `n` stands for byte `n`.
#[inline]
pub(super) fn field_ends(window: &[u8; WINDOW_BYTES], delimiter: u8) -> (u64, u64) {
    let (delimiter, feed, carriage) = (spread(delimiter), spread(b'\n'), spread(b'\r'));
    let (mut delimiters, mut line_ends) = (0, 0);
    for (place, &word) in window.as_chunks().0.iter().enumerate() {
        let word = u64::from_le_bytes(word);
        delimiters |= gather(zeros(word ^ delimiter)) << (8 * place);
        line_ends |= gather(zeros(word ^ feed) | zeros(word ^ carriage)) << (8 * place);
    }
    (delimiters, line_ends)
}

/// The high bit of every byte.
const HIGH: u64 = spread(0x80);

/// Eight times the same byte.
const fn spread(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// The high bit of each byte that is zero. No byte carries into the next, so it is exact.
#[inline]
fn zeros(word: u64) -> u64 {
    !(((word & !HIGH) + !HIGH) | word) & HIGH
}

/// The high bits of the eight bytes side by side, as the lowest eight bits.
#[inline]
fn gather(high_bits: u64) -> u64 {
    // Moves the high bit of byte n, bit 8n + 7, to bit 56 + n; no two products meet in one bit.
    const MOVES: u64 = 0x0002_0408_1020_4081;
    high_bits.wrapping_mul(MOVES) >> 56
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
