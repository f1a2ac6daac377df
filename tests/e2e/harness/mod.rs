//! What the tests stand on: a gateway in this process, origin servers, and a client that speaks in
//! bytes.

mod authority;
mod client;
mod gateway;
mod http2;
mod origin;

pub use authority::{Authority, Identity};
pub use client::{Client, Response, connect};
pub use gateway::Gateway;
pub use http2::{Http2, request};
pub use origin::Origin;

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
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        Port {
            _reserved: socket,
            address,
        }
    }
}
