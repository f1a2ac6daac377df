//! The process that an upgrade (USR2) starts, as nginx's master process does.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use super::handover::{HandoverError, PATIENCE};

/// Interval at which the state of the new process is checked.
pub(super) const LOOK: Duration = Duration::from_millis(50);

/// Creates the command that starts the new process.
pub type NewProcess = Box<dyn Fn() -> Command + Send + Sync>;

/// Error of an upgrade: no new process took over.
#[derive(Debug, thiserror::Error)]
pub(super) enum SuccessorError {
    /// The process cannot be started.
    #[error("{program}: {error}")]
    Start {
        /// Program of the command.
        program: String,
        /// Error of the operating system.
        #[source]
        error: io::Error,
    },
    /// The process ended with a failure.
    #[error("the new process ended: {0}; its log says why")]
    Ended(std::process::ExitStatus),
    /// The process did not request the listeners in time.
    #[error("the new process did not ask for the listeners within {} seconds", PATIENCE.as_secs())]
    TooSlow,
    /// The listeners could not be handed over.
    #[error(transparent)]
    Handover(#[from] HandoverError),
}

/// A new process that is starting up.
pub(super) struct Successor {
    child: Child,
    deadline: Instant,
}

impl Successor {
    /// Starts the process.
    ///
    /// # Errors
    /// If the operating system returns an error.
    pub fn start(new_process: &NewProcess) -> Result<Self, SuccessorError> {
        let mut command = new_process();
        let child = command.spawn().map_err(|error| SuccessorError::Start {
            program: command.get_program().display().to_string(),
            error,
        })?;
        Ok(Successor {
            child,
            deadline: Instant::now() + PATIENCE,
        })
    }

    /// Returns its process ID.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Checks that the process may still take over.
    ///
    /// # Errors
    /// If it has failed, or did not request the listeners in time.
    pub fn look(&mut self) -> Result<(), SuccessorError> {
        match self.child.try_wait() {
            // With --daemon it exits with success as soon as its child runs in the background.
            Ok(Some(status)) if !status.success() => return Err(SuccessorError::Ended(status)),
            _ => {}
        }
        if Instant::now() > self.deadline {
            return Err(SuccessorError::TooSlow);
        }
        Ok(())
    }

    /// Tells systemd, if it supervises this process, that the new process is the main one now.
    /// Otherwise systemd would stop the service when the old process ends.
    pub fn announce(&self) {
        let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else {
            return;
        };
        if let Err(error) = notify(socket.as_encoded_bytes(), self.id()) {
            log::warn!("systemd does not hear of the new process: {error}");
        }
    }
}

/// Sends the message of `sd_notify(3)`.
fn notify(socket: &[u8], main: u32) -> io::Result<()> {
    let address = match socket.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(String::from_utf8_lossy(socket).as_ref())?,
    };
    let message = format!("MAINPID={main}");
    UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_process_that_fails_is_noticed() {
        let command = || {
            let mut command = Command::new("sh");
            command.args(["-c", "exit 3"]);
            command
        };
        let mut successor = Successor::start(&(Box::new(command) as NewProcess)).unwrap();
        let error = loop {
            match successor.look() {
                Ok(()) => std::thread::yield_now(),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, SuccessorError::Ended(status) if status.code() == Some(3)));
        let missing: NewProcess = Box::new(|| Command::new("/nonexistent/geogate"));
        assert!(matches!(
            Successor::start(&missing),
            Err(SuccessorError::Start { .. })
        ));
    }

    #[test]
    fn systemd_hears_of_the_new_main_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let server = UnixDatagram::bind(&path).unwrap();
        notify(path.as_os_str().as_encoded_bytes(), 42).unwrap();
        let mut buffer = [0; 100];
        let length = server.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"MAINPID=42");
    }
}
