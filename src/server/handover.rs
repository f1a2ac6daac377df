//! Handover of the listeners from a running process to the one that replaces it.
//!
//! The new process waits at a Unix socket. The running process connects, sends its listening
//! sockets and waits until the new one confirms that it serves them. Until then the running process
//! keeps serving, so a new process that fails at any point interrupts no traffic. Then both accept
//! from the same sockets, until the old one closes its copies.
//!
//! A process that can connect to that socket could give the new process a listener of its own, and
//! a process that can put another socket in its place would receive ours. So the socket lies in a
//! folder that only its owner may write to, has mode 0600, and each side checks the other's user
//! ID. (pingora's own transfer creates the socket with mode 0666, gives up after six seconds, and
//! ends the process with a panic when two processes wait.)

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg, sockopt,
};
use rustix::process::geteuid;
use socket2::{Domain, SockAddr, Socket, Type};

/// Time limit of the new process for receiving the listeners, and of the running process for a new
/// process that is still starting.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Time limit for the other side's next step, once the two are connected.
const STEP: Duration = Duration::from_secs(30);

/// Polling interval for events that cannot be waited for.
const LOOK: Duration = Duration::from_millis(20);

/// Listeners in one message; Linux allows 253 file descriptors.
const BATCH: usize = 64;

/// Byte that accompanies a batch of listeners.
const LISTENERS: u8 = b'L';

/// Byte after the last batch.
const END: u8 = b'E';

/// Byte with which the new process confirms that it serves the listeners.
const SERVING: u8 = b'S';

/// Error of a handover.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// The folder cannot be created or inspected.
    #[error("folder {}: {error}", folder.display())]
    Folder {
        /// The folder of the socket.
        folder: PathBuf,
        /// Error of the operating system.
        #[source]
        error: io::Error,
    },
    /// Another user could replace the socket.
    #[error(
        "folder {}: mode {mode:o}, owner {owner}: other users could put a socket of their own there; \
         name a folder that only its owner may write to",
        folder.display()
    )]
    FolderNotPrivate {
        /// The folder of the socket.
        folder: PathBuf,
        /// Permission bits of the folder.
        mode: u32,
        /// User ID of the folder's owner.
        owner: u32,
    },
    /// Another process with `--upgrade` waits already.
    #[error("{}: another process waits there for the listeners", .0.display())]
    Occupied(PathBuf),
    /// The other side runs as another user.
    #[error("the process at the other end belongs to user {0}, not to this one or root")]
    WrongUser(u32),
    /// The running process did not hand over its listeners in time.
    #[error("no running process handed over its listeners within {} seconds", PATIENCE.as_secs())]
    NobodyCame,
    /// The new process ended, or failed before it served.
    #[error("the new process did not start to serve: {0}")]
    NotServing(#[source] io::Error),
    /// The socket failed.
    #[error("{}: {error}", socket.display())]
    Socket {
        /// Path of the socket.
        socket: PathBuf,
        /// Error of the operating system.
        #[source]
        error: io::Error,
    },
}

/// Outcome of [`give`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// The new process serves the listeners.
    Taken,
    /// No process waits for listeners.
    NobodyWaits,
}

/// Hands `listeners` to the process that waits at `socket`, and returns when that process serves
/// them.
///
/// # Errors
/// If a process waits and does not come to serve them, or runs as another user.
pub(super) fn give(socket: &Path, listeners: &[TcpListener]) -> Result<Given, HandoverError> {
    let failed = |error| HandoverError::Socket {
        socket: socket.to_owned(),
        error,
    };
    let folder = folder(socket);
    if !folder.exists() {
        return Ok(Given::NobodyWaits);
    }
    check_folder(folder)?;
    let deadline = Instant::now() + PATIENCE;
    let mut stream = loop {
        match UnixStream::connect(socket) {
            Ok(stream) => break stream,
            Err(error) if is_absent(&error) => {
                // A new process holds the lock while it loads its database, before its socket
                // exists.
                if !is_locked(socket).map_err(failed)? {
                    return Ok(Given::NobodyWaits);
                }
                if Instant::now() > deadline {
                    return Err(failed(error));
                }
                std::thread::sleep(LOOK);
            }
            Err(error) => return Err(failed(error)),
        }
    };
    check_user(&stream).map_err(failed)??;
    let given = stream
        .set_read_timeout(Some(STEP))
        .and_then(|()| stream.set_write_timeout(Some(STEP)))
        .and_then(|()| send(&stream, listeners))
        .and_then(|()| {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            (byte == [SERVING])
                .then_some(())
                .ok_or_else(|| io::ErrorKind::InvalidData.into())
        });
    given.map_err(HandoverError::NotServing)?;
    Ok(Given::Taken)
}

/// Listeners that were handed over, and the connection to the process that did it.
pub(super) struct Takeover {
    /// Every listener of the other process.
    pub listeners: Vec<TcpListener>,
    stream: UnixStream,
}

impl Takeover {
    /// Confirms to the other process that its listeners are served, so that it can stop.
    pub fn confirm(mut self) {
        if let Err(error) = self.stream.write_all(&[SERVING]) {
            log::warn!("the old process was not there to hear that this one serves: {error}");
        }
    }
}

/// The right to wait at a socket, which one process has at a time. The running process waits for a
/// process that holds it.
pub(super) struct Claim {
    socket: PathBuf,
    _lock: File,
}

/// Claims `socket`, and creates its folder if it is missing.
///
/// # Errors
/// If another process has the claim, or the lock file cannot be used.
pub(super) fn claim(socket: &Path) -> Result<Claim, HandoverError> {
    make_folder(socket)?;
    let lock = lock(socket).map_err(|error| HandoverError::Socket {
        socket: socket.to_owned(),
        error,
    })?;
    let lock = lock.ok_or_else(|| HandoverError::Occupied(socket.to_owned()))?;
    Ok(Claim {
        socket: socket.to_owned(),
        _lock: lock,
    })
}

/// Waits for the listeners of the running process.
///
/// # Errors
/// If no listeners are handed over in time, or if the socket cannot be created.
pub(super) fn take(claim: &Claim) -> Result<Takeover, HandoverError> {
    let socket = claim.socket.as_path();
    let failed = |error| HandoverError::Socket {
        socket: socket.to_owned(),
        error,
    };
    let waiting = Waiting::bind(socket).map_err(failed)?;
    log::info!("waiting for the running process to hand over its listeners (SIGQUIT)");
    let deadline = Instant::now() + PATIENCE;
    loop {
        match waiting.listener.accept() {
            Ok((stream, _)) => match take_from(stream) {
                Ok(takeover) => return Ok(takeover),
                Err(error) => log::error!("{}: {error}", socket.display()),
            },
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if Instant::now() > deadline {
                    return Err(HandoverError::NobodyCame);
                }
                std::thread::sleep(LOOK);
            }
            Err(error) => return Err(failed(error)),
        }
    }
}

/// Creates the folder of `socket` with mode 0700 if it is missing; rejects one that other users may
/// write to.
///
/// # Errors
/// If it cannot be created, or is not private.
fn make_folder(socket: &Path) -> Result<(), HandoverError> {
    let folder = folder(socket);
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| HandoverError::Folder {
        folder: folder.to_owned(),
        error,
    })?;
    check_folder(folder)
}

/// Checks the folder of `socket` as [`make_folder`] does, but accepts a missing one.
///
/// # Errors
/// If it exists and is not private.
pub(super) fn check_folder_of(socket: &Path) -> Result<(), HandoverError> {
    match folder(socket) {
        folder if folder.exists() => check_folder(folder),
        _ => Ok(()),
    }
}

fn check_folder(folder: &Path) -> Result<(), HandoverError> {
    let data = std::fs::metadata(folder).map_err(|error| HandoverError::Folder {
        folder: folder.to_owned(),
        error,
    })?;
    let (mode, owner) = (data.mode() & 0o7777, data.uid());
    if mode & 0o022 != 0 || !is_ours(owner) {
        let folder = folder.to_owned();
        return Err(HandoverError::FolderNotPrivate {
            folder,
            mode,
            owner,
        });
    }
    Ok(())
}

fn folder(socket: &Path) -> &Path {
    match socket.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Returns `true` for the user of this process, and for root, who can replace the socket anyway.
fn is_ours(user: u32) -> bool {
    user == geteuid().as_raw() || user == 0
}

fn check_user(stream: &UnixStream) -> io::Result<Result<(), HandoverError>> {
    let user = sockopt::socket_peercred(stream)?.uid.as_raw();
    Ok(if is_ours(user) {
        Ok(())
    } else {
        Err(HandoverError::WrongUser(user))
    })
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

/// Socket of a process that waits; its file is removed when the wait ends.
struct Waiting<'p> {
    listener: UnixListener,
    path: &'p Path,
}

impl<'p> Waiting<'p> {
    /// Replaces the file of a process that ended while it waited. The caller holds the lock, so no
    /// other process uses it.
    fn bind(path: &'p Path) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
        socket.listen(8)?;
        socket.set_nonblocking(true)?;
        let listener = UnixListener::from(OwnedFd::from(socket));
        Ok(Waiting { listener, path })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // The file may be gone, together with its folder.
        let _ = std::fs::remove_file(self.path);
    }
}

fn take_from(stream: UnixStream) -> Result<Takeover, HandoverError> {
    let received = check_user(&stream).and_then(|user| {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(STEP))?;
        Ok(user.map(|()| receive(&stream)))
    });
    match received {
        Ok(Ok(Ok(listeners))) => Ok(Takeover { listeners, stream }),
        Ok(Err(error)) => Err(error),
        Ok(Ok(Err(error))) | Err(error) => Err(HandoverError::NotServing(error)),
    }
}

fn lock_file(socket: &Path) -> PathBuf {
    let mut name = socket.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

/// Takes the lock of the process that waits at `socket`; `None` if another process holds it.
fn lock(socket: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600);
    let file = options.open(lock_file(socket))?;
    // The running process holds it for a moment when it checks for a waiting process.
    for _ in 0..50 {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(LOOK),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

fn is_locked(socket: &Path) -> io::Result<bool> {
    let file = match File::open(lock_file(socket)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

fn send(stream: &UnixStream, listeners: &[TcpListener]) -> io::Result<()> {
    for batch in listeners.chunks(BATCH) {
        let files: Vec<BorrowedFd> = batch.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut message = SendAncillaryBuffer::new(&mut space);
        message.push(SendAncillaryMessage::ScmRights(&files));
        let bytes = [IoSlice::new(&[LISTENERS])];
        sendmsg(stream, &bytes, &mut message, SendFlags::NOSIGNAL)?;
    }
    let mut stream = stream;
    stream.write_all(&[END])
}

/// Receives the listeners. It reads one byte at a time, so that each batch arrives with its own
/// byte.
fn receive(stream: &UnixStream) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    loop {
        let mut byte = [0];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut message = RecvAncillaryBuffer::new(&mut space);
        let read = recvmsg(
            stream,
            &mut [IoSliceMut::new(&mut byte)],
            &mut message,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        if read.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for message in message.drain() {
            if let RecvAncillaryMessage::ScmRights(files) = message {
                listeners.extend(files.map(TcpListener::from));
            }
        }
        match byte[0] {
            LISTENERS => {}
            END => break,
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
    for listener in &listeners {
        if !sockopt::socket_acceptconn(listener)? {
            return Err(io::Error::other("a socket that does not listen"));
        }
    }
    Ok(listeners)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn listener() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").unwrap()
    }

    fn take(socket: &Path) -> Result<Takeover, HandoverError> {
        super::take(&claim(socket)?)
    }

    fn addresses(listeners: &[TcpListener]) -> Vec<SocketAddr> {
        let addresses = listeners.iter().map(|one| one.local_addr().unwrap());
        addresses.collect()
    }

    #[test]
    fn every_listener_arrives_and_the_giver_waits_until_they_are_served() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("new/u.sock");
        // More than fit in one message.
        let listeners: Vec<_> = (0..70).map(|_| listener()).collect();
        let taking = std::thread::spawn({
            let socket = socket.clone();
            move || {
                let takeover = take(&socket).unwrap();
                let taken = addresses(&takeover.listeners);
                assert!(!socket.exists(), "nobody else can come");
                takeover.confirm();
                taken
            }
        });
        while let Given::NobodyWaits = give(&socket, &listeners).unwrap() {
            std::thread::yield_now();
        }
        assert_eq!(taking.join().unwrap(), addresses(&listeners));
    }

    #[test]
    fn a_new_process_that_fails_leaves_the_listeners_where_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("u.sock");
        let taking = std::thread::spawn({
            let socket = socket.clone();
            move || drop(take(&socket).unwrap())
        });
        let error = loop {
            match give(&socket, &[listener()]) {
                Ok(Given::NobodyWaits) => std::thread::yield_now(),
                other => break other.unwrap_err(),
            }
        };
        assert!(matches!(error, HandoverError::NotServing(_)), "{error}");
        taking.join().unwrap();
    }

    #[test]
    fn a_new_process_that_still_loads_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("u.sock");
        let claim = claim(&socket).unwrap();
        let giving = std::thread::spawn(move || give(&socket, &[listener()]).unwrap());
        super::take(&claim).unwrap().confirm();
        assert_eq!(giving.join().unwrap(), Given::Taken);
    }

    #[test]
    fn nobody_waits_where_a_socket_was_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("u.sock");
        assert_eq!(give(&socket, &[]).unwrap(), Given::NobodyWaits);
        drop(UnixListener::bind(&socket).unwrap());
        assert_eq!(give(&socket, &[]).unwrap(), Given::NobodyWaits);
    }

    #[test]
    fn only_one_process_waits_and_only_its_user_reaches_it() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("made/here/u.sock");
        make_folder(&socket).unwrap();
        let _lock = lock(&socket).unwrap().unwrap();
        let waiting = Waiting::bind(&socket).unwrap();
        assert!(matches!(claim(&socket), Err(HandoverError::Occupied(_))));
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&socket), 0o600);
        assert_eq!(mode(socket.parent().unwrap()), 0o700);
        drop(waiting);
        assert!(!socket.exists());
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("u.sock");
        for mode in [0o777, 0o770, 0o1777] {
            std::fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
            for result in [
                make_folder(&socket),
                check_folder_of(&socket),
                give(&socket, &[]).map(drop),
                take(&socket).map(drop),
            ] {
                let error = result.unwrap_err();
                assert!(
                    matches!(error, HandoverError::FolderNotPrivate { .. }),
                    "{error}"
                );
            }
        }
        assert!(check_folder_of(&folder.path().join("missing/u.sock")).is_ok());
    }
}
