//! The PROXY protocol: who the client is when a load balancer says so before everything else.

use crate::harness::{
    Authority, Client, Gateway, HTTP1_UPSTREAM_ENGINES, Origin, Peer, Port, connect,
    wait_for_metrics,
};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A listener that requires the header, of this host or of another one.
fn start(trusted: &str, origin: &Origin, more: &str) -> Gateway {
    Gateway::start(&format!(
        "[server]\nlisten = [{{ address = '{{address}}', proxy_protocol = true }}]\n\
         [client_ip]\ntrusted_proxies = ['{trusted}']\n\
         [[upstream]]\npeers = ['{}']\n{more}\n",
        origin.address
    ))
}

fn binary(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, addresses].concat()
}

#[test]
fn the_source_is_the_peer() {
    let origin = Origin::start();
    let gateway = start("127.0.0.1", &origin, "");
    let v4 = [1, 0, 0, 1, 127, 0, 0, 1, 4, 87, 0, 80];
    let with_more = [&v4[..], &[0x20, 0, 2, 1, 2]].concat();
    let v6: Vec<u8> = [&[0x20, 1, 0x0d, 0xb8][..], &[0; 28], &[4, 87, 0, 80]].concat();
    for (header, client) in [
        (
            b"PROXY TCP4 1.0.0.1 127.0.0.1 1111 80\r\n".to_vec(),
            "1.0.0.1",
        ),
        (
            b"PROXY TCP6 2001:db8::1 ::1 1111 80\r\n".to_vec(),
            "2001:db8::1",
        ),
        (
            b"PROXY TCP6 ::ffff:1.0.0.1 ::1 1111 80\r\n".to_vec(),
            "1.0.0.1",
        ),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (binary(0x21, 0x11, &v4), "1.0.0.1"),
        (binary(0x21, 0x11, &with_more), "1.0.0.1"),
        (binary(0x21, 0x21, &v6), "2001:db8::"),
        (binary(0x20, 0x11, &v4), "127.0.0.1"),
        (binary(0x20, 0, &[]), "127.0.0.1"),
        (binary(0x21, 0, b"not an address"), "127.0.0.1"),
        (binary(0x21, 0x31, &[0; 216]), "127.0.0.1"),
    ] {
        // In one piece with the request, and byte by byte.
        let mut at_once = gateway.client();
        at_once.send([&header[..], b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"].concat());
        assert_eq!(at_once.response().status, 200);
        assert_eq!(origin.last().values("x-real-ip"), [client]);
        assert_eq!(origin.last().values("x-forwarded-for"), [client]);
        let mut slowly = gateway.client();
        for byte in &header {
            slowly.send([*byte]);
        }
        for _ in 0..2 {
            assert_eq!(slowly.get("/", "").status, 200);
            assert_eq!(origin.last().values("x-real-ip"), [client]);
        }
    }
    let mut client = gateway.client();
    client.send("PROXY TCP4 1.0.0.1 127.0.0.1 1111 80\r\n");
    assert_eq!(client.get("/api/ip_query?ip=1.0.0.1", "").status, 200);
    drop(client);
    let log = gateway.stop();
    assert!(log.last().unwrap().starts_with("1.0.0.1 "), "{log:?}");
}

/// The header's source is a peer like any other: it is believed only if it is trusted itself.
#[test]
fn forwarding_headers_count_if_the_source_is_trusted() {
    let origin = Origin::start();
    let gateway = start("127.0.0.0/8", &origin, "");
    for (source, client) in [("1.0.0.1", "1.0.0.1"), ("127.0.0.9", "6.6.6.6")] {
        let mut connection = gateway.client();
        connection.send(format!("PROXY TCP4 {source} 127.0.0.1 1 2\r\n"));
        connection.get("/", "X-Forwarded-For: 6.6.6.6\r\n");
        assert_eq!(origin.last().values("x-real-ip"), [client]);
    }
}

#[test]
fn a_connection_without_its_header_is_closed() {
    let (origin, admin) = (Origin::start(), Port::reserve());
    let more = format!("[admin]\nlisten = ['{}']", admin.address);
    let gateway = start("127.0.0.1", &origin, &more);
    let long = binary(0x21, 0x11, &[0; 5000]);
    let request = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    let wrong =
        |family, addresses: &[u8]| [&binary(0x21, family, addresses), &request[..]].concat();
    // Addresses of a Unix socket cut short, no such family, no such transport, a field cut short.
    let unix = [wrong(0x31, &[b'/'; 100]), wrong(0x32, &[b'/'; 215])];
    let unknown = [wrong(0x41, &[0; 216]), wrong(0x13, &[0; 12])];
    let cut = wrong(0x11, &[&[0; 12][..], &[4, 0, 9]].concat());
    let starts = [
        &b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"[..],
        b"PROXY TCP4 1.0.0.1 127.0.0.1 1111 80\nGET / HTTP/1.1\r\nHost: test\r\n\r\n",
        b"PROXY TCP4 1.0.0.1\r\n",
        b"\x16\x03\x01\x02\x00",
        &long,
        &unix[0],
        &unix[1],
        &unknown[0],
        &unknown[1],
        &cut,
    ];
    for start in starts {
        let mut client = gateway.client();
        client.send(start);
        assert!(client.is_closed(), "{start:?}");
    }
    assert!(origin.requests().is_empty());
    let line = format!(
        "geogate_connections_refused_total{{reason=\"proxy_protocol\"}} {}\n",
        starts.len()
    );
    wait_for_metrics(admin.address, &[&line]);
}

#[test]
fn nobody_but_a_trusted_proxy_may_send_one() {
    let origin = Origin::start();
    let gateway = start("10.0.0.0/8", &origin, "");
    for start in [
        "PROXY TCP4 10.0.0.1 127.0.0.1 1111 80\r\n",
        "GET / HTTP/1.1\r\n",
    ] {
        let mut client = gateway.client();
        client.send(start);
        assert!(client.is_closed());
    }
    assert!(origin.requests().is_empty());
}

#[test]
fn a_header_is_read_only_where_it_is_required() {
    let origin = Origin::start();
    let gateway = Gateway::with_peers(
        &[origin.address],
        "",
        "[client_ip]\ntrusted_proxies = ['127.0.0.1']",
    );
    for start in [
        &b"PROXY TCP4 1.0.0.1 127.0.0.1 1111 80\r\n"[..],
        &binary(0x21, 0x11, &[1, 0, 0, 1, 127, 0, 0, 1, 4, 87, 0, 80]),
    ] {
        let mut client = gateway.client();
        client.send([start, b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"].concat());
        // No target, and no version, that there is.
        assert!(matches!(client.response().status, 400 | 505));
        assert!(client.is_closed());
    }
    assert!(origin.requests().is_empty());
}

#[test]
fn a_header_that_never_ends_is_cut_off() {
    let origin = Origin::start();
    let gateway = start("127.0.0.1", &origin, "[client]\nheader_timeout = '200ms'");
    for start in [&b""[..], b"PROXY TCP4 1.0.", &SIGNATURE[..9]] {
        let mut client = gateway.client();
        client.send(start);
        assert!(client.is_closed());
    }
}

#[test]
fn the_header_comes_before_tls() {
    let (authority, origin) = (Authority::new(), Origin::start());
    let identity = authority.sign(&["localhost"]);
    let configuration = format!(
        "[server]\nlisten = [{{ address = '{{address}}', tls = true, proxy_protocol = true }}]\n\
         [tls]\ncertificates = [{{ cert = '{{folder}}/a.pem', key = '{{folder}}/a.key' }}]\n\
         [client_ip]\ntrusted_proxies = ['127.0.0.1']\n\
         [[upstream]]\npeers = ['{}']\n",
        origin.address
    );
    let gateway = Gateway::start_in(&configuration, |folder| identity.write(folder, "a"));
    let config = authority.client(&["http/1.1"]);
    let header = b"PROXY TCP4 1.0.0.1 127.0.0.1 1111 443\r\n";
    let client = Client::after(connect(gateway.address), header, &config, "localhost");
    let mut client = client.unwrap();
    assert_eq!(client.get("/", "").status, 200);
    assert_eq!(origin.last().values("x-real-ip"), ["1.0.0.1"]);
    assert_eq!(origin.last().values("x-forwarded-proto"), ["https"]);
    let without = Client::after(connect(gateway.address), b"", &config, "localhost");
    assert!(without.is_err());
}

/// A gateway that requires the header, and answers with the client that it names.
fn receiver(listen: &str, more: &str) -> Gateway {
    let identity = Authority::new().sign(&["test"]);
    let configuration = format!(
        "[server]\nlisten = [{{ address = '{{address}}', proxy_protocol = true{listen} }}]\n\
         [client_ip]\ntrusted_proxies = ['127.0.0.1']\n{more}\
         [[route]]\nrespond = {{ body = '$remote_addr' }}\n"
    );
    Gateway::start_in(&configuration, |folder| identity.write(folder, "a"))
}

#[test]
fn peers_are_told_who_the_client_is() {
    let tls = "[tls]\ncertificates = [{ cert = '{folder}/a.pem', key = '{folder}/a.key' }]\n";
    let plain = receiver("", "");
    let secure = receiver(", tls = true", tls);
    for engine in HTTP1_UPSTREAM_ENGINES {
        for (peer, more) in [
            (plain.address, ""),
            (secure.address, "tls = true\nsni = 'test'\nverify = false\n"),
        ] {
            for version in ["v1", "v2"] {
                let gateway = engine.start(&format!(
                    "[client_ip]\ntrusted_proxies = ['127.0.0.1']\n\
                     [[upstream]]\npeers = ['{peer}']\nsend_proxy_protocol = '{version}'\n{more}"
                ));
                let mut client = gateway.client();
                // A connection of one client is never used for another one.
                for ip in ["192.0.2.1", "2001:db8::1", "192.0.2.2", "127.0.0.1"] {
                    let lines = format!("X-Forwarded-For: {ip}\r\n");
                    let answer = client.get("/", &lines);
                    assert_eq!((answer.status, answer.text()), (200, ip), "{version}");
                }
                assert_eq!(client.get("/", "").text(), "127.0.0.1");
            }
        }
    }
}

#[test]
fn a_health_check_is_the_gateways_own() {
    for (version, header) in [
        ("v1", b"PROXY UNKNOWN\r\n".to_vec()),
        ("v2", binary(0x20, 0, &[])),
    ] {
        let peer = Peer::listen();
        let _gateway = Gateway::start(&format!(
            "[[upstream]]\npeers = ['{}']\nsend_proxy_protocol = '{version}'\n\
             health_check = {{ path = '/health' }}\n",
            peer.address
        ));
        let mut check = peer.accept();
        let mut start = vec![0; header.len()];
        check.read_exact(&mut start);
        assert_eq!(start, header);
        assert!(check.head().starts_with("get /health http/1.1\r\n"));
    }
}
