//! The listening sockets of the gateway.
//!
//! They are opened here and not by pingora, which retries a busy port for half a minute and then
//! panics in a task while the process lives on. pingora gets copies; the originals stay here, so
//! that they can be handed to the process that takes over.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;
use std::sync::mpsc::Sender;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::listeners::TcpSocketOptions;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::listening::Service;
use socket2::{Domain, Socket, TcpKeepalive, Type};

use super::ServerError;

/// Silence of a client after which the system asks whether it is still there, and the time between two
/// such questions.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Length of the queue of connections that wait to be accepted; the system has a limit of its own.
const BACKLOG: i32 = 65_535;

/// Listening sockets, until they are closed.
pub(super) struct Listeners(Mutex<Vec<(SocketAddr, TcpListener)>>);

impl Listeners {
    /// Listens on every address. Of the `inherited` sockets, those that listen on one of these
    /// addresses are used, and the others are closed.
    ///
    /// # Errors
    /// If an address cannot be bound.
    pub fn open(
        addresses: &[SocketAddr],
        mut inherited: Vec<TcpListener>,
    ) -> Result<Self, ServerError> {
        let open = |&address: &SocketAddr| {
            let known = inherited
                .iter()
                .position(|listener| listener.local_addr().is_ok_and(|local| local == address));
            let listener = match known {
                Some(at) => Ok(inherited.swap_remove(at)),
                None => bind(address),
            };
            let listener = listener.map_err(|error| ServerError::Listen { address, error })?;
            Ok((address, listener))
        };
        let open: Result<Vec<_>, ServerError> = addresses.iter().map(open).collect();
        Ok(Listeners(Mutex::new(open?)))
    }

    /// Returns copies of the sockets whose address is `wanted`.
    ///
    /// # Errors
    /// If the operating system returns an error.
    pub fn copies(
        &self,
        wanted: impl Fn(&SocketAddr) -> bool,
    ) -> io::Result<Vec<(SocketAddr, TcpListener)>> {
        let listeners = self.lock();
        let wanted = listeners.iter().filter(|(address, _)| wanted(address));
        let copies = wanted.map(|(address, listener)| Ok((*address, listener.try_clone()?)));
        copies.collect()
    }

    /// Closes the original sockets. A copy keeps listening.
    pub fn close(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(SocketAddr, TcpListener)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks that an address can be bound. An address in use passes: the process that is to be
/// replaced may hold it.
pub(super) fn could_be_had(address: SocketAddr) -> io::Result<()> {
    match bound(address) {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => Err(error),
        _ => Ok(()),
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = bound(address)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Returns a socket that is bound to the address and does not listen yet.
fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Accepted sockets inherit it. A client that vanishes without a word would keep a WebSocket open
    // for the upstream's whole read_timeout.
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Returns the socket options of a listener. An IPv6 listener accepts IPv6 only, as in nginx, so
/// that an IPv4 listener can use the same port.
pub(super) fn socket_options(address: &SocketAddr) -> TcpSocketOptions {
    let mut options = TcpSocketOptions::default();
    options.ipv6_only = address.is_ipv6().then_some(true);
    options
}

/// A pingora service on sockets that are open already.
pub(super) struct OnListeners<A> {
    /// The service that handles their connections.
    pub service: Service<A>,
    /// The sockets, one for each address of the service.
    pub sockets: Vec<(SocketAddr, TcpListener)>,
    /// Signals that the service starts. The sender is dropped then, so that the receiver also
    /// notices a service that never starts.
    pub started: Option<Sender<()>>,
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> pingora::services::Service for OnListeners<A> {
    async fn start_service(
        &mut self,
        known: Option<ListenFds>,
        shutdown: ShutdownWatch,
        listeners_per_fd: usize,
    ) {
        if let Some(known) = &known {
            for (address, socket) in self.sockets.drain(..) {
                // pingora owns it from here on.
                known.lock().add(address.to_string(), socket.into_raw_fd());
            }
        }
        if let Some(started) = self.started.take() {
            // The receiver is gone if the server is shutting down.
            let _ = started.send(());
        }
        let serving = self
            .service
            .start_service(known, shutdown, listeners_per_fd);
        serving.await;
    }

    fn name(&self) -> &str {
        pingora::services::Service::name(&self.service)
    }

    fn threads(&self) -> Option<usize> {
        self.service.threads
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, TcpStream};

    use super::*;

    #[test]
    fn a_client_that_vanishes_is_noticed() {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        listener.set_nonblocking(false).unwrap();
        let accepted = Socket::from(listener.accept().unwrap().0);
        assert!(accepted.keepalive().unwrap());
        assert_eq!(accepted.tcp_keepalive_time().unwrap(), KEEPALIVE_IDLE);
    }

    #[test]
    fn both_families_may_have_one_port() {
        let v4 = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let port = v4.local_addr().unwrap().port();
        drop(v4);
        let both = [
            SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
        ];
        Listeners::open(&both, Vec::new()).unwrap();
        assert!(Listeners::open(&[both[0], both[0]], Vec::new()).is_err());
    }

    #[test]
    fn an_inherited_socket_is_used_and_the_others_are_closed() {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (kept, dropped) = (bind(any).unwrap(), bind(any).unwrap());
        let (kept_at, dropped_at) = (kept.local_addr().unwrap(), dropped.local_addr().unwrap());
        // A second bind would fail.
        let listeners = Listeners::open(&[kept_at], vec![dropped, kept]).unwrap();
        assert_eq!(listeners.copies(|_| true).unwrap().len(), 1);
        assert!(TcpStream::connect(kept_at).is_ok());
        assert!(TcpStream::connect(dropped_at).is_err());
        listeners.close();
        assert!(TcpStream::connect(kept_at).is_err());
    }
}
