//! How long clients may take: each setting ends what is too slow.

use std::io::{Read, Write};
use std::time::Duration;

use socket2::SockRef;

use crate::harness::{ENGINES, HTTP1_CLIENT_ENGINES, Http2, Origin, connect};

const QUERY: &str = "/api/ip_query";

/// The rate, the time that it may be missed for, and the time for one read are apart from each other.
#[test]
fn a_body_that_stops_is_answered_with_408() {
    let settings = "[client]\nread_timeout = '100ms'\nmin_body_rate = 0\n";
    for engine in ENGINES {
        let origin = Origin::start();
        let gateway = engine.with_peers(&[origin.address], "", settings);
        for path in ["/page", QUERY] {
            let mut client = gateway.client();
            client.begin("POST", path, "Content-Length: 10\r\n");
            client.send("half");
            assert_eq!(client.response().status, 408, "{path}");
            client.check_connection_is_over();
        }
    }
}

/// The client never stops for so long that a single write would take too long, and has everything
/// before the default grace period is over. Most of it is too much for the buffers of the sockets.
#[test]
fn a_response_that_is_taken_too_slowly_is_cut_off() {
    const SIZE: usize = 9_000_000;
    let settings = "[client]\nmin_response_rate = '1g'\nrate_grace = '100ms'\n";
    for engine in HTTP1_CLIENT_ENGINES {
        let origin = Origin::start();
        let gateway = engine.with_peers(&[origin.address], "", settings);
        let mut client = connect(gateway.address());
        let socket = SockRef::from(&client);
        socket.set_recv_buffer_size(64 << 10).unwrap();
        write!(client, "GET /large/{SIZE} HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        let (mut taken, mut buffer) = (0, [0; 1000]);
        // The end, or a reset.
        while let Ok(length @ 1..) = client.read(&mut buffer) {
            taken += length;
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(0 < taken && taken < SIZE, "{taken}");
    }
    for engine in [ENGINES[2], ENGINES[3]] {
        let origin = Origin::start();
        let gateway = engine.with_peers(&[origin.address], "", settings);
        let mut client = Http2::connect(gateway.address());
        client.send_head("test", "GET", &format!("/large/{SIZE}"), "", true);
        assert_eq!(client.read_head().unwrap().status, 200);
        let mut taken = 0;
        while client.content(1000).is_ok() {
            taken += 1000;
            assert!(taken < SIZE, "it is not cut off");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
