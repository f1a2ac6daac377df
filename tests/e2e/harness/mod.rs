//! What the tests stand on: a gateway in this process, origin servers, and a client that speaks in
//! bytes.

mod client;
mod dns;
mod gateway;
mod origin;
mod secure;

pub use client::{Client, Response};
pub use dns::NameServer;
pub use gateway::Gateway;
pub use origin::Origin;
pub use secure::{Identity, Secure, Speaks};

/// Header lines that have no meaning and lead a request through one or the other door of the
/// gateway: the straight path, and pingora's proxy, which alone knows what to do with options of
/// `Connection`.
pub const DOORS: [&str; 2] = ["", "Connection: keep-alive, X-Nothing\r\n"];

use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};

/// A port of loopback that nobody else gets while this lives.
///
/// It is bound and does not listen, so the kernel gives it to no one who asks for any port, while a
/// server that asks for this one, with `SO_REUSEADDR` as servers do, may have it.
pub struct Port {
    _reserved: Socket,
    pub address: SocketAddr,
}

impl Port {
    pub fn reserve() -> Port {
        Port::reserve_at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    pub fn reserve_at(address: SocketAddr) -> Port {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&address.into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        Port {
            _reserved: socket,
            address,
        }
    }
}
