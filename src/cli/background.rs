//! `--daemon`: the gateway in the background.
//!
//! The program starts itself once more instead of forking: a fork takes one thread along and leaves the
//! locks of all others as they are, and it needs unsafe code. The new process makes a session of its
//! own, so that it outlives the terminal. Between the two there is a socket, the new one's standard
//! input. The first process ends with success when the new one has written to it, which means that it
//! listens; and with the new one's error when it ends without. Until then errors reach the terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use anyhow::Context;

/// The flag that the process in the background is started with, instead of `--daemon`.
pub(super) const FLAG: &str = "--in-background";

/// What the new process says when all is well.
const READY: [u8; 5] = *b"ready";

/// Starts this program once more, with the same arguments and [`FLAG`], and waits until it is ready.
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
    // The command has the other end, and this process must not keep it open.
    drop(command);
    let mut said = [0; READY.len()];
    // Anything else is an end without a word.
    if ours.read_exact(&mut said).is_ok() && said == READY {
        return Ok(ExitCode::SUCCESS);
    }
    let status = child.wait()?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    match code {
        // It has said why.
        Some(code) if code != 0 => Ok(ExitCode::from(code)),
        _ => anyhow::bail!("the process in the background ended before it listened: {status}"),
    }
}

/// The process in the background, until it is ready.
pub(super) struct Background {
    /// To the process that waits.
    socket: File,
}

impl Background {
    /// Leaves the terminal's session. To be called in the process that [`start`] has started.
    pub(super) fn enter() -> anyhow::Result<Self> {
        rustix::process::setsid().context("cannot make a session of its own")?;
        let socket = rustix::stdio::stdin().try_clone_to_owned()?;
        Ok(Background {
            socket: File::from(socket),
        })
    }

    /// Lets go of the terminal, and tells the process that waits.
    pub(super) fn ready(&self) {
        if let Err(error) = let_go() {
            log::error!("cannot let go of the terminal: {error}");
        }
        // Nobody reads it if the process that waited was ended; this one goes on.
        let _ = (&self.socket).write_all(&READY);
    }
}

fn let_go() -> std::io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stderr(&null)?;
    rustix::stdio::dup2_stdin(&null)?;
    Ok(())
}
