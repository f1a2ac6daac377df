//! Who is not served: by rules, by rates, and because there is no room.

use std::io::Write;
use std::time::Duration;

use crate::harness::{Authority, Client, DOORS, Gateway, Origin, Port, Response, connect};

const QUERY: &str = "/api/ip_query?ip=1.0.0.1";

/// Trusts loopback, so that a client says who it is.
const TRUSTING: &str = "[client_ip]\ntrusted_proxies = ['127.0.0.0/8']\n";

fn from(ip: &str) -> String {
    format!("X-Forwarded-For: {ip}\r\n")
}

/// Asks as a client of this address, a query and a page through either door.
fn statuses(client: &mut Client, ip: &str) -> Vec<u16> {
    let targets = [QUERY, "/page"];
    let requests = targets
        .iter()
        .flat_map(|target| DOORS.map(|door| (*target, door)));
    let ask = |(target, door)| client.get(target, &format!("{}{door}", from(ip))).status;
    requests.map(ask).collect()
}

#[track_caller]
fn check_header(response: &Response, name: &str, expected: &str) {
    assert_eq!(response.header(name), Some(expected), "{response:?}");
}

#[test]
fn rules_hold_for_queries_and_pages_through_every_door() {
    let origin = Origin::start();
    let rules = "[limits]\naccess = 'a'\n[[access]]\nname = 'a'\ndefault = 'deny'\n\
                 rules = [{ deny = '1.0.0.66' }, { allow = ['country:CN', '2001:db8::/32'] }]\n";
    let gateway = Gateway::with_peers(&[origin.address], "", &format!("{TRUSTING}{rules}"));
    // One connection for all: a denial does not end it.
    let mut client = gateway.client();
    for (ip, status) in [
        ("1.0.0.1", 200),
        ("1.0.0.66", 403),
        ("2001:db8::1", 200),
        ("50.0.0.1", 403),
        ("200.0.0.1", 403),
        ("1.0.0.2", 200),
    ] {
        assert_eq!(statuses(&mut client, ip), [status; 4], "{ip}");
    }
    let page = client.get("/page", &from("50.0.0.1"));
    assert!(page.text().contains("403 Forbidden"), "{}", page.text());
    for door in DOORS {
        let answer = client.get(QUERY, &format!("{}{door}", from("50.0.0.1")));
        check_header(&answer, "content-type", "application/json");
        assert!(answer.text().starts_with(r#"{"error":{"code":"forbidden""#));
    }
    let reached = origin.requests().len();
    assert_eq!(reached, 6, "two pages for each of three clients");
    let log = gateway.stop();
    assert_eq!(
        log.iter().filter(|line| line.contains("\" 403 ")).count(),
        15
    );
}

#[test]
fn rules_of_queries_hold_for_queries_only() {
    let origin = Origin::start();
    let rules = "[query]\naccess = 'a'\n[[access]]\nname = 'a'\ndefault = 'deny'\nrules = []\n";
    let gateway = Gateway::with_peers(&[origin.address], "", rules);
    assert_eq!(
        statuses(&mut gateway.client(), "1.0.0.1"),
        [403, 403, 200, 200]
    );
}

#[test]
fn a_dry_run_denies_nobody_and_counts() {
    let origin = Origin::start();
    let admin = Port::reserve();
    let rules = format!(
        "[admin]\nlisten = ['{}']\n[limits]\naccess = 'a'\nrate_limit = 'r'\n\
         [[access]]\nname = 'a'\ndefault = 'deny'\nrules = []\ndry_run = true\n\
         [[rate_limit]]\nname = 'r'\nrate = '1/h'\ndry_run = true\n",
        admin.address
    );
    let gateway = Gateway::with_peers(&[origin.address], "", &rules);
    assert_eq!(statuses(&mut gateway.client(), "1.0.0.1"), [200; 4]);
    let metrics = Client::connect(admin.address).get("/metrics", "");
    for line in [
        "geogate_access_denied_total{access=\"a\",dry_run=\"true\"} 4",
        "geogate_rate_limited_total{rate_limit=\"r\",dry_run=\"true\"} 3",
    ] {
        assert!(
            metrics.text().contains(line),
            "{line} is not in {}",
            metrics.text()
        );
    }
}

#[test]
fn who_comes_too_often_is_told_when_to_come_again() {
    let origin = Origin::start();
    let rules = "[limits]\nrate_limit = 'r'\n[[rate_limit]]\nname = 'r'\nrate = '4/h'\n";
    let gateway = Gateway::with_peers(&[origin.address], "", &format!("{TRUSTING}{rules}"));
    let mut client = gateway.client();
    assert_eq!(statuses(&mut client, "2001:db8::1"), [200; 4]);
    // The whole /64 is one client, on whatever connection; others are served.
    assert_eq!(statuses(&mut client, "2001:db8::2"), [429; 4]);
    assert_eq!(statuses(&mut gateway.client(), "2001:db8::3"), [429; 4]);
    assert_eq!(statuses(&mut client, "2001:db8:0:1::1"), [200; 4]);
    for (target, door) in [
        (QUERY, ""),
        (QUERY, DOORS[1]),
        ("/page", ""),
        ("/page", DOORS[1]),
    ] {
        let refused = client.get(target, &format!("{}{door}", from("2001:db8::1")));
        let wait = refused.header("retry-after").unwrap();
        assert!((1..=900).contains(&wait.parse::<u32>().unwrap()), "{wait}");
        check_header(&refused, "ratelimit-policy", "\"r\";q=4;w=3600");
        check_header(&refused, "ratelimit", &format!("\"r\";r=0;t={wait}"));
        check_header(&refused, "connection", "keep-alive");
    }
    assert_eq!(origin.requests().len(), 4);
}

#[test]
fn a_refused_request_with_a_body_leaves_the_connection_in_order() {
    let origin = Origin::start();
    let rules = "[limits]\nrate_limit = 'r'\n[[rate_limit]]\nname = 'r'\nrate = '1/h'\n";
    let gateway = Gateway::with_peers(&[origin.address], "", rules);
    let mut client = gateway.client();
    assert_eq!(client.get("/page", "").status, 200);
    for door in DOORS {
        assert_eq!(
            client.request("POST", "/page", door, b"0123456789").status,
            429
        );
        assert_eq!(client.request("HEAD", "/page", door, b"").status, 429);
        assert_eq!(client.request("HEAD", QUERY, door, b"").status, 429);
    }
    // A longer one than anybody wants to read ends it.
    let refused = client.request("POST", "/page", "", &vec![b'x'; 100_000]);
    assert_eq!(
        (refused.status, refused.header("connection")),
        (429, Some("close"))
    );
    assert!(client.is_closed());
    // And one that waits to be asked for is not asked for.
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.response().status, 429);
}

/// Waits until the gateway has noticed what its clients did; fails if it never does.
#[track_caller]
fn until(mut done: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("it never happens");
}

#[test]
fn there_is_room_for_so_many_connections() {
    let gateway = Gateway::start("[limits]\nmax_connections = 2\n");
    // The look that the gateway took at itself when it started may still be open.
    let (mut first, mut second) = (gateway.client(), gateway.client());
    until(|| {
        (first, second) = (gateway.client(), gateway.client());
        [&mut first, &mut second].into_iter().all(|client| {
            client.send("GET /api/ip_query?ip=1.0.0.1 HTTP/1.1\r\nHost: test\r\n\r\n");
            client.response().status == 200
        })
    });
    let mut third = gateway.client();
    let refused = third.response();
    assert_eq!(refused.status, 503);
    check_header(&refused, "retry-after", "1");
    check_header(&refused, "connection", "close");
    assert!(third.is_closed());
    assert_eq!(first.get(QUERY, "").status, 200, "who is in is served");
    drop(second);
    until(|| {
        let mut client = gateway.client();
        client.send(format!("GET {QUERY} HTTP/1.1\r\nHost: test\r\n\r\n"));
        client.response().status == 200
    });
}

#[test]
fn a_client_may_have_so_many_connections() {
    let limit = "[limits]\nmax_connections_per_client = 1\n";
    let gateway = Gateway::start(limit);
    let mut first = gateway.client();
    until(|| {
        first = gateway.client();
        first.send(format!("GET {QUERY} HTTP/1.1\r\nHost: test\r\n\r\n"));
        first.response().status == 200
    });
    assert_eq!(gateway.client().response().status, 429);
    // Through a trusted proxy come many.
    let gateway = Gateway::start(&format!("{limit}{TRUSTING}"));
    let mut clients: Vec<_> = (0..5).map(|_| gateway.client()).collect();
    for client in &mut clients {
        assert_eq!(client.get(QUERY, "").status, 200);
    }
}

/// Or whoever begins no handshake could have as many as there are.
#[test]
fn a_connection_counts_before_its_handshake() {
    let authority = Authority::new();
    let identity = authority.sign(&["localhost"]);
    let configuration = "[server]\nlisten = [{ address = '{address}', tls = true }]\n\
         [tls]\ncertificates = [{ cert = '{folder}/a.pem', key = '{folder}/a.key' }]\n\
         [limits]\nmax_connections_per_client = 1\n[client]\nheader_timeout = '1h'\n";
    let gateway = Gateway::start_in(configuration, |folder| identity.write(folder, "a"));
    let config = authority.client(&[]);
    let mut first = None;
    until(|| {
        drop(first.take());
        let client = Client::after(connect(gateway.address), b"", &config, "localhost");
        first = client.ok();
        first
            .as_mut()
            .is_some_and(|client| client.get(QUERY, "").status == 200)
    });
    assert!(
        gateway.client().is_closed(),
        "it says nothing and is not waited for"
    );
    assert_eq!(first.unwrap().get(QUERY, "").status, 200);
}

#[test]
fn there_is_room_for_so_many_requests() {
    let origin = Origin::start();
    let gateway = Gateway::with_peers(&[origin.address], "", "[limits]\nmax_requests = 2\n");
    for door in DOORS {
        let stalled: Vec<_> = (0..2)
            .map(|_| {
                let before = origin.requests().len();
                let mut client = gateway.client();
                client.send(format!("GET /stall HTTP/1.1\r\nHost: test\r\n{door}\r\n"));
                until(|| origin.requests().len() > before);
                client
            })
            .collect();
        let mut client = gateway.client();
        let refused = client.get("/page", door);
        assert_eq!(refused.status, 503);
        check_header(&refused, "retry-after", "1");
        assert_eq!(client.get(QUERY, door).status, 200, "a query needs no room");
        // Clients that leave make room.
        stalled.into_iter().for_each(Client::reset);
        until(|| client.get("/page", door).status == 200);
    }
}

#[test]
fn a_client_may_have_so_many_requests() {
    let origin = Origin::start();
    let limit = format!("{TRUSTING}[limits]\nmax_requests_per_client = 1\n");
    let gateway = Gateway::with_peers(&[origin.address], "", &limit);
    for door in DOORS {
        let ask = |ip| format!("{}{door}", from(ip));
        let before = origin.requests().len();
        let mut stalled = gateway.client();
        stalled.send(format!(
            "GET /stall HTTP/1.1\r\nHost: test\r\n{}\r\n",
            ask("1.0.0.1")
        ));
        until(|| origin.requests().len() > before);
        let mut client = gateway.client();
        assert_eq!(client.get("/page", &ask("1.0.0.1")).status, 429);
        assert_eq!(client.get("/page", &ask("1.0.0.2")).status, 200);
        stalled.reset();
        until(|| client.get("/page", &ask("1.0.0.1")).status == 200);
        // One after the other is one at a time, however they end.
        for target in ["/page", "/close", "/half", "/page"] {
            let mut client = gateway.client();
            client.send(format!(
                "GET {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{}\r\n",
                from("1.0.0.3")
            ));
            assert!(!client.rest().starts_with(b"HTTP/1.1 429"), "{target}");
        }
    }
}

#[test]
fn without_memory_nothing_new_is_begun() {
    let origin = Origin::start();
    let admin = Port::reserve();
    // Not even the smallest process has so little.
    let limit = format!(
        "[admin]\nlisten = ['{}']\n[limits]\nmax_memory = '1k'\n",
        admin.address
    );
    let gateway = Gateway::with_peers(&[origin.address], "", &limit);
    let refused = gateway.client().response();
    assert_eq!(refused.status, 503);
    check_header(&refused, "retry-after", "1");
    let metrics = Client::connect(admin.address).get("/metrics", "");
    assert!(
        !metrics
            .text()
            .contains("geogate_shed_total{reason=\"memory\"} 0")
    );
    assert!(origin.requests().is_empty());
}

/// A gateway with two routes to an origin, of which the first is `/limited` with more keys.
fn routed(origin: &Origin, keys: &str, more: &str) -> Gateway {
    let routes = format!(
        "{more}\n[[route]]\nname = 'limited'\nprefix = '/limited'\nupstream = 'o'\nrewrite = '/'\n{keys}\n\
         [[route]]\nname = 'other'\nupstream = 'o'\n"
    );
    Gateway::with_peers(&[origin.address], "name = 'o'", &routes)
}

#[test]
fn rules_and_rates_of_a_route_hold_there_only() {
    let origin = Origin::start();
    let rules = format!(
        "{TRUSTING}[[access]]\nname = 'a'\ndefault = 'allow'\nrules = [{{ deny = 'country:KR' }}]\n\
         [[rate_limit]]\nname = 'r'\nkey = 'route'\nrate = '2/h'\n"
    );
    let gateway = routed(&origin, "access = ['a']\nrate_limit = 'r'", &rules);
    let mut client = gateway.client();
    for door in DOORS {
        let korea = format!("{}{door}", from("1.2.0.1"));
        assert_eq!(client.get("/limited/x", &korea).status, 403);
        assert_eq!(client.get("/else", &korea).status, 200);
        assert_eq!(client.get(QUERY, &korea).status, 200);
    }
    // The denied ones took nothing of the rate.
    for (ip, status) in [("1.0.0.1", 200), ("50.0.0.1", 200), ("1.0.0.2", 429)] {
        assert_eq!(client.get("/limited", &from(ip)).status, status, "{ip}");
    }
    assert_eq!(
        client
            .get("/limited", &format!("{}{}", from("1.0.0.1"), DOORS[1]))
            .status,
        429
    );
    assert_eq!(client.get("/else", "").status, 200);
}

#[test]
fn a_route_has_room_for_so_many_requests() {
    let origin = Origin::start();
    let gateway = routed(&origin, "max_requests = 1", "");
    for door in DOORS {
        let before = origin.requests().len();
        let mut stalled = gateway.client();
        stalled.send(format!(
            "GET /limited/stall HTTP/1.1\r\nHost: test\r\n{door}\r\n"
        ));
        until(|| origin.requests().len() > before);
        let mut client = gateway.client();
        let refused = client.get("/limited", door);
        assert_eq!(refused.status, 503);
        check_header(&refused, "retry-after", "1");
        assert_eq!(client.get("/else", door).status, 200);
        stalled.reset();
        until(|| client.get("/limited", door).status == 200);
    }
}

// Keys: route.max_body_size
#[test]
fn a_route_has_a_body_size_of_its_own() {
    let origin = Origin::start();
    let gateway = routed(
        &origin,
        "max_body_size = 2000",
        "[client]\nmax_body_size = 1000\n",
    );
    for (path, size, status) in [
        ("/limited", 2000, 200),
        ("/limited", 2001, 413),
        ("/else", 1000, 200),
        ("/else", 1001, 413),
    ] {
        let body = vec![b'x'; size];
        let response = gateway.client().request("POST", path, "", &body);
        assert_eq!(response.status, status, "{path} {size}");
        let mut client = gateway.client();
        client.send(format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        ));
        client.send(format!("{size:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(size)));
        assert_eq!(client.response().status, status, "{path} {size}, chunked");
    }
}

#[test]
fn a_request_that_takes_longer_than_its_route_allows_is_ended() {
    let origin = Origin::start();
    // A minute for each read, and a moment for all.
    let gateway = routed(&origin, "timeout = '200ms'", "");
    for door in DOORS {
        let mut client = gateway.client();
        assert_eq!(client.get("/limited/quick", door).status, 200);
        let late = client.get("/limited/stall", door);
        assert_eq!(late.status, 504, "{door:?}");
        // The peer did nothing wrong: it serves on.
        assert_eq!(gateway.client().get("/else", door).status, 200);
        assert_eq!(gateway.client().get("/limited/quick", door).status, 200);
    }
    let log = gateway.stop();
    let late = log.iter().filter(|line| line.contains("\" 504 ")).count();
    assert_eq!(late, 2, "{log:#?}");
}

/// To ask for an upgrade is no way around it, only an agreed one is.
#[test]
fn an_answer_without_an_end_is_ended_though_an_upgrade_was_asked_for() {
    let peer = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!(
        "[[upstream]]\npeers = ['{}']\n[[route]]\nupstream = 'default'\ntimeout = '200ms'\n",
        peer.local_addr().unwrap()
    );
    let gateway = Gateway::start(&text);
    let answering = std::thread::spawn(move || {
        let mut stream = peer.accept().unwrap().0;
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut sent = stream.write_all(head);
        // Until the gateway has had enough.
        while sent.is_ok() {
            sent = stream.write_all(b"4\r\nmore\r\n");
        }
    });
    let mut client = gateway.client();
    client
        .send("GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert!(client.rest().starts_with(b"HTTP/1.1 200 "));
    answering.join().unwrap();
}

#[test]
fn what_a_route_names_has_to_be_there() {
    let text = "[[upstream]]\npeers = ['127.0.0.1:1']\n[[route]]\nupstream = 'default'\naccess = ['a']\n\
                rate_limit = 'r'\n";
    let error = geogate::config::parse(text, "test", &geogate::config::Overrides::default());
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("route[0].access[0]: no [[access]] is named \"a\" (line 5)"),
        "{error}"
    );
    assert!(
        error.contains("route[0].rate_limit: no [[rate_limit]] is named \"r\" (line 6)"),
        "{error}"
    );
}
