//! One line a request, from whichever way it was answered.

use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;

use serde_json::{Value, json};

use crate::harness::{ENGINES, Gateway, Origin, PATIENCE, Peer, Port};

/// Loopback speaks for clients in China.
const TRUST_LOOPBACK: &str = "[client_ip]\ntrusted_proxies = ['127.0.0.1']\n";
const FROM_CHINA: &str = "X-Forwarded-For: 1.0.0.1\r\n";

#[test]
fn every_request_leaves_one_line() {
    let origin = Origin::start();
    let dead = Port::reserve();
    let peers = [origin.address, dead.address];
    let more = "[client_ip]\ntrusted_proxies = ['127.0.0.1']\n";
    let gateway = Gateway::with_peers(&peers, "fail_timeout = '1h'", more);
    let mut client = gateway.client();
    let from_china = "X-Forwarded-For: 1.0.0.1\r\nUser-Agent: a \"b\"\r\nReferer: /c\r\n";
    client.get("/api/ip_query?ip=1.1.1.1", from_china);
    client.get("/api/ip_query?ip=x", "");
    for _ in 0..2 {
        client.get("/path", "Authorization: Basic am9lOng=\r\n");
    }
    let (origin, dead) = (origin.address.to_string(), dead.address.to_string());
    let lines = gateway.stop();
    assert_eq!(lines.len(), 4, "{lines:#?}");

    let [query, error, proxied @ ..] = &lines[..] else {
        unreachable!()
    };
    assert!(query.starts_with("1.0.0.1 - - ["), "{query}");
    assert!(
        query.contains(
            "] \"GET /api/ip_query?ip=1.1.1.1 HTTP/1.1\" 200 47 \"/c\" \"a \\x22b\\x22\" \"1.0.0.1\" \"-\" "
        ),
        "{query}"
    );
    assert!(query.ends_with(" - CN \"福建\" - -"), "{query}");
    assert!(
        error.contains("\"GET /api/ip_query?ip=x HTTP/1.1\" 400 "),
        "{error}"
    );
    for line in proxied {
        assert!(line.starts_with("127.0.0.1 - joe ["), "{line}");
        assert!(line.contains("\"GET /path HTTP/1.1\" 200 0 "), "{line}");
        assert!(line.contains(&origin), "{line}");
        let (_, id) = line.rsplit_once(" - \"本机地址\" ").unwrap();
        // Neither failed.
        let id = id.strip_suffix(" -").unwrap();
        assert!(
            id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()),
            "{line}"
        );
    }
    // One of the two was tried on the dead peer first.
    let retried = format!("\"{dead}, {origin}\"");
    assert_eq!(
        proxied
            .iter()
            .filter(|line| line.contains(&retried))
            .count(),
        1,
        "{proxied:#?}"
    );
}

#[test]
fn json_lines_are_json() {
    let gateway = Gateway::start("[access_log]\nformat = 'json'\n");
    gateway
        .client()
        .get("/api/ip_query?ip=1.0.0.1", "User-Agent: \"\\\t\r\n");
    let lines = gateway.stop();
    let line: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(line["status"], 200);
    assert_eq!(line["uri"], "/api/ip_query?ip=1.0.0.1");
    assert_eq!(line["http_user_agent"], "\"\\");
    assert_eq!(line["region"], "本机地址");
}

/// A line of one's own says the same of a request, whoever serves it: a query, a proxied request.
#[test]
fn a_format_of_ones_own_means_the_same_everywhere() {
    let format = "$remote_addr $peer_addr $request_method $uri?$args $status $body_bytes_sent \
         $country/$region/$geo_city $http_x_two $cookie_a $arg_b [$sent_http_x_origin] \
         $upstream_name $upstream_addr $scheme $host $server_protocol $$ $ssl_protocol";
    let more = format!("{TRUST_LOOPBACK}[access_log]\nformat = '{format}'\n");
    let lines = format!("{FROM_CHINA}X-Two: 1\r\nX-Two: \"\r\nCookie: z=0; a=c\r\nHost2: x\r\n");
    for engine in ENGINES {
        let origin = Origin::start();
        let address = origin.address;
        let gateway = engine.with_peers(&[address], "name = 'api'", &more);
        let forms = engine.query_forms();
        gateway.client().get("/a%20b?b=1&c", &lines);
        for form in forms {
            let lines = format!("{lines}{form}");
            gateway.client().get("/api/ip_query?ip=1.0.0.1&b=2", &lines);
        }
        let version = if engine.is_http1() { "1.1" } else { "2.0" };
        let proxied = format!(
            "1.0.0.1 127.0.0.1 GET /a b?b=1&c 200 0 CN/福建/福州 1, \\x22 c 1 [yes] \
             api {address} http test HTTP/{version} $ -"
        );
        let query = format!(
            "1.0.0.1 127.0.0.1 GET /api/ip_query?ip=1.0.0.1&b=2 200 72 CN/福建/福州 1, \\x22 c 2 [-] \
             - - http test HTTP/{version} $ -"
        );
        let mut expected = vec![query; forms.len()];
        expected.insert(0, proxied);
        assert_eq!(gateway.stop(), expected);
    }
}

#[test]
fn members_of_ones_own_are_json() {
    let config = "[access_log]\njson = { b = '$status', a = '$country_name $status', t = '$request_time' }\n";
    let gateway = Gateway::start(config);
    gateway.client().get("/api/ip_query?ip=x", "");
    let lines = gateway.stop();
    let line: Value = serde_json::from_str(&lines[0]).unwrap();
    assert!(lines[0].starts_with("{\"b\":400,\"a\":"), "{}", lines[0]);
    assert!(line["t"].is_number());
    assert_eq!(line["a"], json!("本机地址 400"));
}

#[test]
fn a_head_that_is_refused_has_a_line_too() {
    let format = "$status $country_name <$request> $request_method $http_user_agent $request_id";
    let gateway = Gateway::start(&format!("[access_log]\nformat = '{format}'\n"));
    for head in [
        &b"GET / HTTP/1.1\r\nUser-Agent: x\r\n\r\n"[..],
        b"B\xffD\"\x01 x\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/3.0\r\n\r\n",
    ] {
        let mut client = gateway.client();
        client.send(head);
        client.rest();
    }
    let place = "本机地址";
    let expected = [
        format!("400 {place} <GET / HTTP/1.1> GET - -"),
        format!("400 {place} <B\\xFFD\\x22\\x01 x> - - -"),
        format!("400 {place} <GET / HTTP/1.1> GET - -"),
        format!("505 {place} <GET / HTTP/3.0> GET - -"),
    ];
    assert_eq!(gateway.stop(), expected);
}

fn receive(server: &UdpSocket) -> String {
    let mut buffer = [0; 4096];
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = server.recv(&mut buffer).unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

#[test]
fn lines_go_to_a_syslog_server() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let gateway = Gateway::start(&format!(
        "[access_log]\ntarget = 'syslog:server={address},facility=local1,severity=notice,tag=edge'\n\
         flush = '10ms'\nformat = '$status $uri $region'\n"
    ));
    for ip in ["1.0.0.1", "x"] {
        gateway.client().get(&format!("/api/ip_query?ip={ip}"), "");
    }
    for status in [200, 400] {
        let message = receive(&server);
        // local1 is 17, notice is 5.
        assert!(message.starts_with("<141>"), "{message}");
        let expected = format!(" edge: {status} /api/ip_query 本机地址");
        assert!(message.ends_with(&expected), "{message}");
    }
}

#[test]
fn a_local_syslog_server_may_come_later() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let gateway = Gateway::start(&format!(
        "[access_log]\ntarget = 'syslog:server=unix:{}'\nformat = '$args'\nflush = '1h'\n",
        path.display()
    ));
    let server = UnixDatagram::bind(&path).unwrap();
    gateway.client().get("/api/ip_query?ip=1.0.0.1", "");
    // What is in memory is sent at the end.
    drop(gateway);
    let mut buffer = [0; 4096];
    let length = server.recv(&mut buffer).unwrap();
    let message = std::str::from_utf8(&buffer[..length]).unwrap();
    assert!(message.ends_with(" geogate: ip=1.0.0.1"), "{message}");
}

/// The line of another gateway, with the default of a second, is written later and seen first.
#[test]
fn a_line_waits_no_longer_than_configured() {
    let patient = Gateway::start("[access_log]\nflush = '1h'\n");
    let usual = Gateway::start("");
    patient.client().get("/api/ip_query?ip=1.0.0.1", "");
    let start = std::time::Instant::now();
    for number in 1..3 {
        usual.client().get("/api/ip_query?ip=1.0.0.1", "");
        while usual.log().len() < number {
            assert!(start.elapsed() < PATIENCE);
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
    assert_eq!(patient.log(), [""; 0]);
    assert_eq!(patient.stop().len(), 1);
}

/// Two gateways choose the same requests by their ids, and both have every failure.
#[test]
fn a_sample_is_the_same_everywhere() {
    let sampled = || {
        let gateway = Gateway::start(&format!(
            "{TRUST_LOOPBACK}[access_log]\nsample = '50%'\nslow = '1h'\n\
             format = '$request_id $status $sample_rate'\n"
        ));
        let mut client = gateway.client();
        for number in 0..64 {
            for (ip, kind) in [("1.0.0.1", "good"), ("x", "bad")] {
                let header = format!("X-Request-ID: {kind}-{number}\r\n");
                client.get(&format!("/api/ip_query?ip={ip}"), &header);
            }
        }
        gateway.stop()
    };
    let lines = sampled();
    assert_eq!(lines, sampled());
    let bad = |line: &&String| line.starts_with("bad-") && line.ends_with(" 400 1");
    let good = |line: &&String| line.starts_with("good-") && line.ends_with(" 200 0.5");
    let (bad, good) = (
        lines.iter().filter(bad).count(),
        lines.iter().filter(good).count(),
    );
    assert_eq!((bad, bad + good), (64, lines.len()));
    assert!((10..54).contains(&good), "{good}");
}

/// A request that the sample leaves out has its line if it took long.
#[test]
fn slow_requests_are_in_the_log_in_any_case() {
    for (engine, slow, lines) in ENGINES
        .into_iter()
        .flat_map(|engine| [(engine, "1ms", 1), (engine, "1h", 0)])
    {
        let peer = Peer::listen();
        let bridge = engine.bridge(peer.address);
        let log = format!("[access_log]\nsample = '0%'\nslow = '{slow}'\nformat = '$uri'\n");
        let gateway = engine.with_peers(&[bridge.address], "", &log);
        let mut client = gateway.client();
        client.ask("GET", "/slow", "", b"");
        let mut upstream = peer.accept();
        upstream.head();
        // This is what is slow about it.
        std::thread::sleep(std::time::Duration::from_millis(5));
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(client.response().status, 200);
        assert_eq!(gateway.stop(), vec!["/slow"; lines], "{slow}");
    }
}
