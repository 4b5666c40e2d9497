//! Which of these numbers are equal to one, or below it?
//!
//! Whether a member lies below a key is a coin toss to the processor, so nothing branches on any
//! of them: all are compared at once, and the answer has one bit for each. On x86-64 with the
//! vectors that every one of them has, elsewhere in loops of which compilers make vectors.

/// The numbers of a vector.
pub(super) type Vector = [u16; 8];

/// One bit for each number that equals `low`.
#[inline(always)]
pub(super) fn equal<const N: usize>(vectors: &[Vector; N], low: u16) -> u32 {
    #[cfg(target_arch = "x86_64")]
    #[expect(unsafe_code, reason = "only a call can say that a feature is there")]
    // SAFETY: it needs SSE2, which every x86-64 has.
    return unsafe { sse2::equal(vectors, low) };
    #[cfg(not(target_arch = "x86_64"))]
    mask(vectors, |number| number == low)
}

/// One bit for each number that is not above `low`.
#[inline(always)]
pub(super) fn at_most<const N: usize>(vectors: &[Vector; N], low: u16) -> u32 {
    #[cfg(target_arch = "x86_64")]
    #[expect(unsafe_code, reason = "only a call can say that a feature is there")]
    // SAFETY: it needs SSE2, which every x86-64 has.
    return unsafe { sse2::at_most(vectors, low) };
    #[cfg(not(target_arch = "x86_64"))]
    mask(vectors, |number| number <= low)
}

/// What the vectors have to give.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn mask<const N: usize>(vectors: &[Vector; N], wanted: impl Fn(u16) -> bool) -> u32 {
    let bit = |(lane, &number): (usize, &u16)| u32::from(wanted(number)) << lane;
    vectors.as_flattened().iter().enumerate().map(bit).fold(0, |mask, bit| mask | bit)
}

#[cfg(target_arch = "x86_64")]
mod sse2 {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi16, _mm_movemask_epi8, _mm_packs_epi16, _mm_set_epi16,
        _mm_set1_epi16, _mm_setzero_si128, _mm_subs_epu16,
    };

    use super::Vector;

    #[inline]
    #[target_feature(enable = "sse2")]
    pub(super) fn equal<const N: usize>(vectors: &[Vector; N], low: u16) -> u32 {
        let low = _mm_set1_epi16(low.cast_signed());
        mask(vectors.each_ref().map(|vector| _mm_cmpeq_epi16(load(vector), low)))
    }

    /// Nothing is left of a number that is not above `low` when that is taken away.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub(super) fn at_most<const N: usize>(vectors: &[Vector; N], low: u16) -> u32 {
        let (low, nothing) = (_mm_set1_epi16(low.cast_signed()), _mm_setzero_si128());
        let left = |vector| _mm_subs_epu16(load(vector), low);
        mask(vectors.each_ref().map(|vector| _mm_cmpeq_epi16(left(vector), nothing)))
    }

    /// One bit for each number of which all bits are set.
    #[inline]
    #[target_feature(enable = "sse2")]
    fn mask<const N: usize>(vectors: [__m128i; N]) -> u32 {
        let nothing = _mm_setzero_si128();
        let mut mask = 0;
        for (place, pair) in vectors.chunks(2).enumerate() {
            let bytes = _mm_packs_epi16(pair[0], pair.get(1).copied().unwrap_or(nothing));
            mask |= _mm_movemask_epi8(bytes).cast_unsigned() << (16 * place);
        }
        mask
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn load(numbers: &Vector) -> __m128i {
        let [a, b, c, d, e, f, g, h] = numbers.map(u16::cast_signed);
        _mm_set_epi16(h, g, f, e, d, c, b, a)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_say_what_a_loop_says() {
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u16
        };
        for round in 0..20_000 {
            let narrow = if round % 2 == 0 { 0x7 } else { 0xffff };
            let mut number = |_| {
                let near = [0_u16, 0x7ffc, 0xfff8][usize::from(random() % 3)];
                near.wrapping_add(random() & narrow)
            };
            let line: [Vector; 4] = std::array::from_fn(|_| std::array::from_fn(&mut number));
            for low in [0, 0x7fff, 0x8000, 0xffff, line[0][7], line[3][1]] {
                assert_eq!(equal(&line, low), mask(&line, |it| it == low));
                assert_eq!(at_most(&line, low), mask(&line, |it| it <= low));
                assert_eq!(at_most(&[line[2]], low), mask(&[line[2]], |it| it <= low));
            }
        }
    }
}
