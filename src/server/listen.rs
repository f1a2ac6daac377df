//! Whether the listeners can be had, and whether they are there.
//!
//! pingora retries a busy port for half a minute and then panics in a task while the process lives
//! on. So ports are tried before it is started, and looked at after.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::ServerError;

/// How long listeners may take to come up. They take milliseconds, or, in an upgrade, as long as
/// the process before waits until it is told to hand them over.
const PATIENCE: Duration = Duration::from_secs(60);

/// Binds every address once and lets go of it again.
pub(super) fn check(addresses: &[SocketAddr]) -> Result<(), ServerError> {
    for &address in addresses {
        TcpListener::bind(address).map_err(|error| ServerError::Listen { address, error })?;
    }
    Ok(())
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
