//! Asking for memory before it is needed.
//!
//! A load that misses the caches holds up everything behind it once the processor's queue is full;
//! a prefetch holds up nothing. Where there is no such instruction that can be reached, nothing is
//! done: answers are the same, only later.

/// Brings the element at `index` into the caches, if there is one.
#[inline(always)]
pub(crate) fn prefetch<T>(slice: &[T], index: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let place = slice.as_ptr().wrapping_add(index);
        #[expect(unsafe_code, reason = "every use of this instruction is an unsafe call")]
        // SAFETY: a prefetch reads nothing that the program sees and never faults, whatever the
        // address; it needs SSE, which every x86-64 has.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(place.cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (slice, index);
}
