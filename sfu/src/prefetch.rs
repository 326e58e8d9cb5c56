//! Brings memory nearer that is needed a little later. With a thousand viewers the state of each has left the cache when its
//! turn comes, and a packet would wait for one cache line after the other (docs/adr/0025). Besides `shard::socket` the only file of this crate
//! with `unsafe` in it; it reads and writes nothing.
#![expect(unsafe_code, reason = "a prefetch has no safe binding")]

/// Bytes of a cache line.
#[cfg(target_arch = "x86_64")]
const LINE: usize = 64;

/// Asks for all of a value, and waits for nothing. Values of some KiB only push out what is needed now.
#[inline]
pub(crate) fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let start = std::ptr::from_ref(value).cast::<i8>();
        for offset in (0..size_of::<T>()).step_by(LINE) {
            // SAFETY: a prefetch is a hint: it never faults, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(offset)) };
        }
    }
    // Elsewhere there is no stable way to ask.
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}
