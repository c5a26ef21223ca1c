//! Memory that was freed and not given back.

/// Gives pages of freed memory back to the kernel (malloc_trim(3)). The allocator keeps what a
/// burst of work freed, for the next one; call this after work that comes once. Takes time in
/// proportion to the heap.
pub fn give_back_freed() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes a number and no pointer; it locks the allocator itself.
    unsafe {
        libc::malloc_trim(0);
    }
}
