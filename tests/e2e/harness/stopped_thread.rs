//! A thread of another process that runs nothing for a while, as one that the kernel keeps waiting.

use std::marker::PhantomData;

use rustix::process::{Pid, WaitOptions, waitpid};

/// A thread of a child process, stopped as a debugger stops it, until this is dropped.
///
/// Signals stop whole processes only. What was stopped has to be let go by the thread that stopped
/// it, so this is not `Send`.
pub struct StoppedThread {
    thread: libc::pid_t,
    _same_thread: PhantomData<*const ()>,
}

impl StoppedThread {
    /// Stops the thread with this number of the kernel's.
    pub fn stop(thread: libc::pid_t) -> StoppedThread {
        request(libc::PTRACE_SEIZE, thread);
        let stopped = StoppedThread {
            thread,
            _same_thread: PhantomData,
        };
        request(libc::PTRACE_INTERRUPT, thread);
        waitpid(Pid::from_raw(thread), WaitOptions::empty()).unwrap();
        stopped
    }
}

impl Drop for StoppedThread {
    fn drop(&mut self) {
        request(libc::PTRACE_DETACH, self.thread);
    }
}

fn request(request: libc::c_uint, thread: libc::pid_t) {
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: the requests made here read and write no memory, of neither process: address and data
    // are null, which means no options and no signal.
    #[expect(unsafe_code, reason = "no crate of the tree has it")]
    let result = unsafe { libc::ptrace(request, thread, none, none) };
    let error = std::io::Error::last_os_error();
    assert_eq!(result, 0, "ptrace of a child process: {error}");
}
