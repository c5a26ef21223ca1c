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

/// Gives up the mapped pages of this program's own code and constants. What is used again is mapped
/// again from the page cache, a fault for each 64 KiB; what only the start needed counts no longer.
/// Call this once, after the start.
pub fn forget_code() {
    // SAFETY: the callback is called before this returns, for each loaded object, the program first.
    unsafe {
        libc::dl_iterate_phdr(Some(forget_object), std::ptr::null_mut());
    }
}

/// Gives up the read-only segments of one object; a result other than 0 ends the walk.
///
/// # Safety
/// `info` points at the description of a loaded object.
unsafe extern "C" fn forget_object(
    info: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    _data: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: the loader gives a valid description, whose headers stay where they are.
    let (base, headers) = unsafe {
        let info = &*info;
        if info.dlpi_phdr.is_null() {
            return 1;
        }
        let headers = std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum));
        (info.dlpi_addr as usize, headers)
    };
    // SAFETY: asks for a constant.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
    for header in headers {
        // What may be written, or was at load time (relocations), differs from the file.
        if header.p_type != libc::PT_LOAD || header.p_flags & libc::PF_W != 0 {
            continue;
        }
        let start = base + header.p_vaddr as usize;
        let end = start + header.p_filesz as usize;
        let (start, end) = (start.next_multiple_of(page), end / page * page);
        if start < end {
            // SAFETY: the whole pages of a private read-only mapping of a file, never written: what
            // is read there next comes from the file again, the same.
            unsafe {
                libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED);
            }
        }
    }
    // The program is the first object; the others are shared with other processes anyway.
    1
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_program_goes_on_without_its_pages() {
        static WORDS: &[&str] = &["read", "from", "the", "file", "again"];
        super::forget_code();
        assert_eq!(WORDS.join(" "), "read from the file again");
        // Panics are caught with tables that were given up, too.
        assert!(std::panic::catch_unwind(|| WORDS.iter().map(|w| w.len()).sum::<usize>()).is_ok());
    }
}
