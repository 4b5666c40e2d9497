//! Where do fields end within the next 64 bytes?
//!
//! Compares all bytes without a branch on any of them: on x86-64 with the vectors that every one
//! of them has, elsewhere in a loop. Promises one bit for each byte. Knows nothing of quotes.

/// How many bytes are looked at together: one for each bit of a mask.
pub(super) const WINDOW_BYTES: usize = 64;

/// Which bytes are the delimiter, and which end a line. Bit `n` stands for byte `n`.
#[inline]
pub(super) fn field_ends(window: &[u8; WINDOW_BYTES], delimiter: u8) -> (u64, u64) {
    #[cfg(target_arch = "x86_64")]
    #[expect(unsafe_code, reason = "only a call can say that a feature is there")]
    // SAFETY: it needs SSE2, which every x86-64 has.
    return unsafe { sse2::field_ends(window, delimiter) };
    #[cfg(not(target_arch = "x86_64"))]
    joined::field_ends(window, delimiter)
}

#[cfg(target_arch = "x86_64")]
mod sse2 {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8,
    };

    use super::WINDOW_BYTES;

    #[inline]
    #[target_feature(enable = "sse2")]
    pub(super) fn field_ends(window: &[u8; WINDOW_BYTES], delimiter: u8) -> (u64, u64) {
        let all = |byte: u8| _mm_set1_epi8(byte.cast_signed());
        let (delimiter, lf, cr) = (all(delimiter), all(b'\n'), all(b'\r'));
        let (mut delimiters, mut line_ends) = (0, 0);
        for (place, bytes) in window.as_chunks::<16>().0.iter().enumerate() {
            let vector = load(bytes);
            let ends = _mm_or_si128(_mm_cmpeq_epi8(vector, lf), _mm_cmpeq_epi8(vector, cr));
            delimiters |= bits(_mm_cmpeq_epi8(vector, delimiter)) << (16 * place);
            line_ends |= bits(ends) << (16 * place);
        }
        (delimiters, line_ends)
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn bits(bytes: __m128i) -> u64 {
        u64::from(_mm_movemask_epi8(bytes).cast_unsigned())
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn load(bytes: &[u8; 16]) -> __m128i {
        let bytes = i128::from_le_bytes(*bytes);
        _mm_set_epi64x((bytes >> 64) as i64, bytes as i64)
    }
}

/// The same in a loop of which compilers make vectors.
#[cfg(any(test, not(target_arch = "x86_64")))]
mod joined {
    use super::WINDOW_BYTES;

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
                        assert_eq!(joined::field_ends(&window, delimiter), expected);
                    }
                }
            }
        }
    }
}
