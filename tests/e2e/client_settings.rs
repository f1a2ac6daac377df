//! How long clients may take: each setting ends what is too slow, on both ways through the gateway.

use std::io::{Read, Write};
use std::time::Duration;

use socket2::SockRef;

use crate::harness::{DOORS, Gateway, Origin, connect};

const QUERY: &str = "/api/ip_query";

/// The rate, the time that it may be missed for, and the time for one read are apart from each other.
#[test]
fn a_body_that_stops_is_answered_with_408() {
    let origin = Origin::start();
    let settings = "[client]\nread_timeout = '100ms'\nmin_body_rate = 0\n";
    let gateway = Gateway::with_peers(&[origin.address], "", settings);
    for path in ["/page", QUERY] {
        for door in DOORS {
            let mut client = gateway.client();
            client.send(format!(
                "POST {path} HTTP/1.1\r\nHost: test\r\n{door}Content-Length: 10\r\n\r\nhalf"
            ));
            assert_eq!(client.response().status, 408, "{path} {door}");
            assert!(client.is_closed());
        }
    }
}

/// The client never stops for so long that a single write would take too long, and has everything
/// before the default grace period is over. Most of it is too much for the buffers of the sockets.
#[test]
fn a_response_that_is_taken_too_slowly_is_cut_off() {
    const SIZE: usize = 9_000_000;
    let origin = Origin::start();
    let settings = "[client]\nmin_response_rate = '1g'\nrate_grace = '100ms'\n";
    let gateway = Gateway::with_peers(&[origin.address], "", settings);
    for door in DOORS {
        let mut client = connect(gateway.address);
        let socket = SockRef::from(&client);
        socket.set_recv_buffer_size(64 << 10).unwrap();
        write!(
            client,
            "GET /large/{SIZE} HTTP/1.1\r\nHost: test\r\n{door}\r\n"
        )
        .unwrap();
        let (mut taken, mut buffer) = (0, [0; 1000]);
        // The end, or a reset.
        while let Ok(length @ 1..) = client.read(&mut buffer) {
            taken += length;
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(0 < taken && taken < SIZE, "{door}: {taken}");
    }
}
