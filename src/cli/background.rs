//! `--daemon`: the gateway in the background.
//!
//! The program starts itself again instead of forking: a fork keeps only one thread and leaves the
//! locks of all others as they are, and it needs unsafe code. The new process creates its own
//! session, so that it outlives the terminal. A socket connects the two; it is the new process's
//! standard input. The first process ends with success when the new one has written to the socket,
//! which means that it listens. If the new one ends before that, the first ends with its error.
//! Until then, errors are printed on the terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use anyhow::Context;

/// Flag of the process in the background, which replaces `--daemon`.
pub(super) const FLAG: &str = "--in-background";

/// Message that the new process sends when it is ready.
const READY: [u8; 5] = *b"ready";

/// Starts this program again, with the same arguments and [`FLAG`], and waits until it is ready.
pub(super) fn start() -> anyhow::Result<ExitCode> {
    let (mut ours, theirs) = UnixStream::pair()?;
    let mut command = Command::new(std::env::current_exe()?);
    let mut arguments = std::env::args_os();
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command.args(arguments).arg(FLAG);
    command.stdin(Stdio::from(OwnedFd::from(theirs)));
    command.stdout(Stdio::null());
    let mut child = command.spawn()?;
    // The command holds the other end of the socket, and this process must not keep it open.
    drop(command);
    let mut said = [0; READY.len()];
    // Otherwise the process ended before it was ready.
    if ours.read_exact(&mut said).is_ok() && said == READY {
        return Ok(ExitCode::SUCCESS);
    }
    let status = child.wait()?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    match code {
        // It has printed its error.
        Some(code) if code != 0 => Ok(ExitCode::from(code)),
        _ => anyhow::bail!("the process in the background ended before it listened: {status}"),
    }
}

/// The process in the background, until it is ready.
pub(super) struct Background {
    /// Socket to the waiting process.
    socket: File,
}

impl Background {
    /// Leaves the terminal's session. Call it in the process that [`start`] has started.
    pub(super) fn enter() -> anyhow::Result<Self> {
        rustix::process::setsid().context("cannot make a session of its own")?;
        let socket = rustix::stdio::stdin().try_clone_to_owned()?;
        Ok(Background {
            socket: File::from(socket),
        })
    }

    /// Detaches from the terminal, and notifies the waiting process.
    pub(super) fn ready(&self) {
        if let Err(error) = let_go() {
            log::error!("cannot let go of the terminal: {error}");
        }
        // The write fails if the waiting process was ended; this one continues.
        let _ = (&self.socket).write_all(&READY);
    }
}

fn let_go() -> std::io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stderr(&null)?;
    rustix::stdio::dup2_stdin(&null)?;
    Ok(())
}
