//! A UNIX socket in front of an origin, which is reached by TCP: what comes in is passed on.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use socket2::SockRef;

/// A listening UNIX socket, which is removed when this is dropped.
pub struct UnixSocket {
    path: PathBuf,
    listener: UnixListener,
    connections: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl UnixSocket {
    /// Listens at this path, for the server at `to`.
    pub fn before(to: SocketAddr, path: &Path) -> UnixSocket {
        let listener = UnixListener::bind(path).unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (of_thread, accepting) = (Arc::clone(&connections), listener.try_clone().unwrap());
        let thread = std::thread::spawn(move || {
            while let Ok((stream, _)) = accepting.accept() {
                of_thread.fetch_add(1, Ordering::SeqCst);
                if let Ok(server) = TcpStream::connect(to) {
                    join(stream, server);
                }
            }
        });
        UnixSocket {
            path: path.to_owned(),
            listener,
            connections,
            thread: Some(thread),
        }
    }

    /// Number of connections that came so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        // Ends an accept that waits.
        let _ = SockRef::from(&self.listener).shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Passes on what comes on either one, until its end.
fn join(one: UnixStream, other: TcpStream) {
    other.set_nodelay(true).unwrap();
    let back = (other.try_clone().unwrap(), one.try_clone().unwrap());
    std::thread::spawn(move || {
        let (mut from, to) = back;
        copy(&mut from, &mut &to);
        let _ = to.shutdown(Shutdown::Both);
    });
    std::thread::spawn(move || {
        let mut from = one;
        copy(&mut from, &mut &other);
        let _ = other.shutdown(Shutdown::Write);
    });
}

fn copy(from: &mut impl Read, to: &mut impl Write) {
    let mut buffer = [0; 16 << 10];
    while let Ok(length) = from.read(&mut buffer)
        && length > 0
        && to.write_all(&buffer[..length]).is_ok()
    {}
}
