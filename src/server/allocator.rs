//! Return of freed memory to the operating system after a database was loaded.
//!
//! Loading takes several times the memory that the database keeps. The allocator retains freed
//! memory for the next allocation of that size, but the next allocation of that size is the next
//! load.

/// Returns unused memory to the operating system. Cheap enough to run after a load, but not more
/// often.
#[allow(unsafe_code)]
pub(super) fn give_back() {
    // SAFETY: the function takes no pointer and has no precondition; it walks the calling thread's
    // own heap and pages that no thread owns. If another allocator is the global one, mimalloc
    // holds no memory and the call has no effect.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
