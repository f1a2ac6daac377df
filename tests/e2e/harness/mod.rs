//! What the tests stand on: a gateway in this process, origin servers, and a client that speaks in
//! bytes.

mod authority;
mod client;
mod dns;
mod engine;
mod engine_client;
pub mod fastcgi;
mod gateway;
mod http2;
mod origin;
mod origin_http2;
mod peer;
mod scripted;
mod secure;
#[cfg(target_os = "linux")]
mod stopped_thread;
mod strict_origin;
#[path = "../../common/trusting_client.rs"]
mod trusting_client;
mod unix_socket;

pub use authority::{Authority, Identity};
pub use client::{Client, Response, connect, until, wait_for_metrics};
pub use dns::NameServer;
pub use engine::{
    Bridge, Chain, ENGINES, Engine, HTTP1_CLIENT_ENGINES, HTTP1_UPSTREAM_ENGINES,
    HTTP2_UPSTREAM_ENGINES, LOCAL_ENGINES,
};
pub use engine_client::EngineClient;
pub use gateway::{Gateway, small_database};
pub use http2::{Http2, h2c_requests, request};
pub use origin::Origin;
pub use peer::{Incoming, Peer};
pub use scripted::Scripted;
pub use secure::{Secure, SelfSigned, Speaks};
#[cfg(target_os = "linux")]
pub use stopped_thread::StoppedThread;
pub use strict_origin::{Event, StrictOrigin};
pub use trusting_client::trusting_client;
pub use unix_socket::UnixSocket;

/// Header lines that choose who answers an IP query of HTTP/1. With none, the query is plain, and its
/// connection answers it at once. With an option of `Connection` it is not plain, and the engine
/// answers it. Both must do the same, so tests of queries ask in both forms.
pub const QUERY_FORMS: [&str; 2] = ["", "Connection: keep-alive, X-Nothing\r\n"];

use std::io::BufRead;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// Not a measure of anything: a test that hangs fails instead. Less than the defaults of a minute,
/// so that a test of such a setting fails if the setting is ignored.
pub const PATIENCE: Duration = Duration::from_secs(40);

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

/// A chunk of a chunked body; the last one is empty, and has trailer lines behind it.
fn read_chunk(stream: &mut impl BufRead, trailers: &mut Vec<String>) -> Vec<u8> {
    let size = read_line(stream);
    let size = usize::from_str_radix(&size, 16).unwrap();
    let mut chunk = vec![0; size];
    stream.read_exact(&mut chunk).unwrap();
    loop {
        match read_line(stream) {
            line if line.is_empty() => return chunk,
            line if size == 0 => trailers.push(line),
            line => panic!("a chunk that goes on with {line:?}"),
        }
    }
}

fn read_line(stream: &mut impl BufRead) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    assert!(
        line.ends_with("\r\n"),
        "the connection ends within {line:?}"
    );
    line.truncate(line.len() - 2);
    line
}
