//! Giving memory back to the system after a database was loaded.
//!
//! Loading takes several times what the database keeps. The allocator holds on to what is freed,
//! for the next allocation of that size; but the next one of that size is the next load.

/// Returns the memory that is not in use to the system. Cheap enough for after a load, not for more.
#[allow(unsafe_code)]
pub(super) fn give_back() {
    // SAFETY: the function takes no pointer and has no precondition; it walks the calling thread's
    // own heap and pages that no thread owns. If another allocator is the global one, mimalloc has
    // nothing and does nothing.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
