//! Whether the listeners can be had, and whether they are there.
//!
//! pingora retries a busy port for half a minute and then panics in a task while the process lives
//! on. So ports are tried before it is started, and looked at after.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pingora::listeners::TcpSocketOptions;
use socket2::{Domain, Socket, Type};

use super::ServerError;

/// How long listeners may take to come up. They take milliseconds, or, in an upgrade, as long as
/// the process before waits until it is told to hand them over.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Binds every address, all at a time, and lets go of them again.
pub(super) fn check(addresses: &[SocketAddr]) -> Result<(), ServerError> {
    let bind = |&address: &SocketAddr| {
        bind(address).map_err(|error| ServerError::Listen { address, error })
    };
    let sockets: Result<Vec<Socket>, _> = addresses.iter().map(bind).collect();
    sockets.map(drop)
}

/// Tells if an address could be listened on, whether somebody listens there now or not: it may be the
/// process that is to be replaced.
pub(super) fn could_be_had(address: SocketAddr) -> io::Result<()> {
    match bind(address) {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => Err(error),
        _ => Ok(()),
    }
}

fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(1)?;
    Ok(socket)
}

/// How a listener differs from the system's default: one for IPv6 takes IPv6 only, as nginx's do,
/// so that it can stand beside one for IPv4 on the same port.
pub(super) fn socket_options(address: &SocketAddr) -> TcpSocketOptions {
    let mut options = TcpSocketOptions::default();
    options.ipv6_only = address.is_ipv6().then_some(true);
    options
}

/// Waits until every address accepts connections; `false` if `server` ended or it takes too long.
pub(super) fn wait<T>(addresses: &[SocketAddr], server: &JoinHandle<T>) -> bool {
    let deadline = Instant::now() + PATIENCE;
    for &address in addresses {
        let address = reachable(address);
        while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
            if server.is_finished() || Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    true
}

/// The unspecified address is none to connect to; loopback reaches the same listener.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_may_have_one_port() {
        let v4 = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let port = v4.local_addr().unwrap().as_socket().unwrap().port();
        drop(v4);
        let both = [
            SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
        ];
        check(&both).unwrap();
        assert!(check(&[both[0], both[0]]).is_err());
    }
}
