//! Who is not served: by rules, by rates, and because there is no room.

use std::io::Write;
use std::time::Duration;

use crate::harness::{
    Authority, Chain, Client, ENGINES, Engine, EngineClient, Gateway, HTTP1_CLIENT_ENGINES, Origin,
    Port, Response, connect,
};

const QUERY: &str = "/api/ip_query?ip=1.0.0.1";

/// Trusts loopback, so that a client says who it is.
const TRUSTING: &str = "[client_ip]\ntrusted_proxies = ['127.0.0.0/8']\n";

fn from(ip: &str) -> String {
    format!("X-Forwarded-For: {ip}\r\n")
}

/// Asks as a client of this address: a query in each form, and then two pages.
fn statuses(engine: Engine, client: &mut EngineClient, ip: &str) -> Vec<u16> {
    let queries = engine.query_forms().iter().map(|form| (QUERY, *form));
    let requests = queries.chain([("/page", ""); 2]);
    let ask = |(target, form)| client.get(target, &format!("{}{form}", from(ip))).status;
    requests.map(ask).collect()
}

#[track_caller]
fn check_header(response: &Response, name: &str, expected: &str) {
    assert_eq!(response.header(name), Some(expected), "{response:?}");
}

#[test]
fn rules_hold_for_queries_and_pages() {
    let rules = "[limits]\naccess = 'a'\n[[access]]\nname = 'a'\ndefault = 'deny'\n\
                 rules = [{ deny = '1.0.0.66' }, { allow = ['country:CN', '2001:db8::/32'] }]\n";
    for engine in ENGINES {
        let origin = Origin::start();
        let gateway = engine.with_peers(&[origin.address], "", &format!("{TRUSTING}{rules}"));
        let forms = engine.query_forms();
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
            let expected = vec![status; forms.len() + 2];
            assert_eq!(statuses(engine, &mut client, ip), expected, "{ip}");
        }
        let page = client.get("/page", &from("50.0.0.1"));
        assert!(page.text().contains("403 Forbidden"), "{}", page.text());
        for form in forms {
            let answer = client.get(QUERY, &format!("{}{form}", from("50.0.0.1")));
            check_header(&answer, "content-type", "application/json");
            assert!(answer.text().starts_with(r#"{"error":{"code":"forbidden""#));
        }
        let reached = origin.requests().len();
        assert_eq!(reached, 6, "two pages for each of three clients");
        let log = gateway.stop();
        let denied = log.iter().filter(|line| line.contains("\" 403 "));
        // Three clients, then one more page, and one more query in each form.
        assert_eq!(
            denied.count(),
            3 * (forms.len() + 2) + 1 + forms.len(),
            "{log:#?}"
        );
    }
}

#[test]
fn rules_of_queries_hold_for_queries_only() {
    let rules = "[query]\naccess = 'a'\n[[access]]\nname = 'a'\ndefault = 'deny'\nrules = []\n";
    for engine in ENGINES {
        let origin = Origin::start();
        let gateway = engine.with_peers(&[origin.address], "", rules);
        let found = statuses(engine, &mut gateway.client(), "1.0.0.1");
        let mut expected = vec![403; engine.query_forms().len()];
        expected.extend([200, 200]);
        assert_eq!(found, expected);
    }
}

#[test]
fn a_dry_run_denies_nobody_and_counts() {
    let rules = "[limits]\naccess = 'a'\nrate_limit = 'r'\n\
         [[access]]\nname = 'a'\ndefault = 'deny'\nrules = []\ndry_run = true\n\
         [[rate_limit]]\nname = 'r'\nrate = '1/h'\ndry_run = true\n";
    for engine in ENGINES {
        let origin = Origin::start();
        let gateway = engine.with_peers(&[origin.address], "", rules);
        let served = statuses(engine, &mut gateway.client(), "1.0.0.1");
        assert!(served.iter().all(|status| *status == 200), "{served:?}");
        let metrics = gateway.metrics();
        let (denied, limited) = (served.len(), served.len() - 1);
        for line in [
            format!("geogate_access_denied_total{{access=\"a\",dry_run=\"true\"}} {denied}\n"),
            format!("geogate_rate_limited_total{{rate_limit=\"r\",dry_run=\"true\"}} {limited}\n"),
        ] {
            assert!(metrics.contains(&line), "{line} is not in {metrics}");
        }
    }
}

#[test]
fn who_comes_too_often_is_told_when_to_come_again() {
    for engine in ENGINES {
        let forms = engine.query_forms();
        let rate = forms.len() + 2;
        let rules = format!(
            "{TRUSTING}[limits]\nrate_limit = 'r'\n[[rate_limit]]\nname = 'r'\nrate = '{rate}/h'\n"
        );
        let origin = Origin::start();
        let gateway = engine.with_peers(&[origin.address], "", &rules);
        let mut client = gateway.client();
        let (served, refused) = (vec![200; rate], vec![429; rate]);
        assert_eq!(statuses(engine, &mut client, "2001:db8::1"), served);
        // The whole /64 is one client, on whatever connection; others are served.
        assert_eq!(statuses(engine, &mut client, "2001:db8::2"), refused);
        let other = &mut gateway.client();
        assert_eq!(statuses(engine, other, "2001:db8::3"), refused);
        assert_eq!(statuses(engine, &mut client, "2001:db8:0:1::1"), served);
        let queries = forms.iter().map(|form| (QUERY, *form));
        for (target, form) in queries.chain([("/page", "")]) {
            let refused = client.get(target, &format!("{}{form}", from("2001:db8::1")));
            let wait = refused.header("retry-after").unwrap();
            let longest = 3600 / rate;
            let seconds = wait.parse::<usize>().unwrap();
            assert!((1..=longest).contains(&seconds), "{wait}");
            let policy = format!("\"r\";q={rate};w=3600");
            check_header(&refused, "ratelimit-policy", &policy);
            check_header(&refused, "ratelimit", &format!("\"r\";r=0;t={wait}"));
            let connection = engine.is_http1().then_some("keep-alive");
            assert_eq!(refused.header("connection"), connection);
        }
        assert_eq!(origin.requests().len(), 4);
    }
}

#[test]
fn a_refused_request_with_a_body_leaves_the_connection_in_order() {
    let rules = "[limits]\nrate_limit = 'r'\n[[rate_limit]]\nname = 'r'\nrate = '1/h'\n";
    for engine in ENGINES {
        let origin = Origin::start();
        let gateway = engine.with_peers(&[origin.address], "", rules);
        let mut client = gateway.client();
        assert_eq!(client.get("/page", "").status, 200);
        for form in engine.query_forms() {
            let refused = client.request("POST", "/page", "", b"0123456789");
            assert_eq!(refused.status, 429);
            assert_eq!(client.request("HEAD", "/page", "", b"").status, 429);
            assert_eq!(client.request("HEAD", QUERY, form, b"").status, 429);
        }
        // A longer one than anybody wants to read ends a connection of HTTP/1, which cannot go on
        // behind it, and only its stream over HTTP/2.
        let refused = client.request("POST", "/page", "", &vec![b'x'; 100_000]);
        assert_eq!(refused.status, 429);
        let connection = engine.is_http1().then_some("close");
        assert_eq!(refused.header("connection"), connection);
        client.check_connection_is_over();
        // And one that waits to be asked for is not asked for.
        let mut client = gateway.client();
        let expect = "Content-Length: 5\r\nExpect: 100-continue\r\n";
        client.begin("POST", "/", expect);
        assert_eq!(client.response().status, 429);
    }
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

/// A client whose request has reached the origin, which does not answer it.
fn stalled(gateway: &Chain, origin: &Origin, target: &str, lines: &str) -> EngineClient {
    let before = origin.requests().len();
    let mut client = gateway.client();
    client.ask("GET", target, lines, b"");
    until(|| origin.requests().len() > before);
    client
}

#[test]
fn there_is_room_for_so_many_requests() {
    for engine in ENGINES {
        let origin = Origin::start();
        let gateway = engine.with_peers(&[origin.address], "", "[limits]\nmax_requests = 2\n");
        let stalled = [(); 2].map(|()| stalled(&gateway, &origin, "/stall", ""));
        let mut client = gateway.client();
        let refused = client.get("/page", "");
        assert_eq!(refused.status, 503);
        check_header(&refused, "retry-after", "1");
        for form in engine.query_forms() {
            assert_eq!(client.get(QUERY, form).status, 200, "a query needs no room");
        }
        // Clients that leave make room.
        stalled.into_iter().for_each(EngineClient::leave);
        until(|| client.get("/page", "").status == 200);
    }
}

#[test]
fn a_client_may_have_so_many_requests() {
    let limit = format!("{TRUSTING}[limits]\nmax_requests_per_client = 1\n");
    for engine in ENGINES {
        let origin = Origin::start();
        let gateway = engine.with_peers(&[origin.address], "", &limit);
        let stalled = stalled(&gateway, &origin, "/stall", &from("1.0.0.1"));
        let mut client = gateway.client();
        assert_eq!(client.get("/page", &from("1.0.0.1")).status, 429);
        assert_eq!(client.get("/page", &from("1.0.0.2")).status, 200);
        stalled.leave();
        until(|| client.get("/page", &from("1.0.0.1")).status == 200);
    }
}

/// One after the other is one at a time, however they end.
#[test]
fn a_request_that_has_ended_is_counted_no_more() {
    let limit = format!("{TRUSTING}[limits]\nmax_requests_per_client = 1\n");
    for engine in HTTP1_CLIENT_ENGINES {
        let origin = Origin::start();
        let gateway = engine.with_peers(&[origin.address], "", &limit);
        for target in ["/page", "/close", "/half", "/page"] {
            let mut client = gateway.http1_client();
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
fn routed(engine: Engine, origin: &Origin, keys: &str, more: &str) -> Chain {
    let routes = format!(
        "{more}\n[[route]]\nname = 'limited'\nprefix = '/limited'\nupstream = 'o'\nrewrite = '/'\n{keys}\n\
         [[route]]\nname = 'other'\nupstream = 'o'\n"
    );
    engine.with_peers(&[origin.address], "name = 'o'", &routes)
}

#[test]
fn rules_and_rates_of_a_route_hold_there_only() {
    let rules = format!(
        "{TRUSTING}[[access]]\nname = 'a'\ndefault = 'allow'\nrules = [{{ deny = 'country:KR' }}]\n\
         [[rate_limit]]\nname = 'r'\nkey = 'route'\nrate = '2/h'\n"
    );
    for engine in ENGINES {
        let origin = Origin::start();
        let gateway = routed(engine, &origin, "access = ['a']\nrate_limit = 'r'", &rules);
        let mut client = gateway.client();
        let korea = from("1.2.0.1");
        for _ in 0..2 {
            assert_eq!(client.get("/limited/x", &korea).status, 403);
            assert_eq!(client.get("/else", &korea).status, 200);
        }
        for form in engine.query_forms() {
            let korea = format!("{korea}{form}");
            assert_eq!(client.get(QUERY, &korea).status, 200);
        }
        // The denied ones took nothing of the rate.
        for (ip, status) in [
            ("1.0.0.1", 200),
            ("50.0.0.1", 200),
            ("1.0.0.2", 429),
            ("1.0.0.1", 429),
        ] {
            assert_eq!(client.get("/limited", &from(ip)).status, status, "{ip}");
        }
        assert_eq!(client.get("/else", "").status, 200);
    }
}

#[test]
fn a_route_has_room_for_so_many_requests() {
    for engine in ENGINES {
        let origin = Origin::start();
        let gateway = routed(engine, &origin, "max_requests = 1", "");
        let stalled = stalled(&gateway, &origin, "/limited/stall", "");
        let mut client = gateway.client();
        let refused = client.get("/limited", "");
        assert_eq!(refused.status, 503);
        check_header(&refused, "retry-after", "1");
        assert_eq!(client.get("/else", "").status, 200);
        stalled.leave();
        until(|| client.get("/limited", "").status == 200);
    }
}

// Keys: route.max_body_size
#[test]
fn a_route_has_a_body_size_of_its_own() {
    for engine in ENGINES {
        let origin = Origin::start();
        let gateway = routed(
            engine,
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
            client.begin("POST", path, "");
            client.send_last(&body);
            let response = client.response();
            assert_eq!(response.status, status, "{path} {size}, without a length");
        }
    }
}

#[test]
fn a_request_that_takes_longer_than_its_route_allows_is_ended() {
    for engine in ENGINES {
        let origin = Origin::start();
        // A minute for each read, and a moment for all.
        let gateway = routed(engine, &origin, "timeout = '200ms'", "");
        let mut client = gateway.client();
        assert_eq!(client.get("/limited/quick", "").status, 200);
        assert_eq!(client.get("/limited/stall", "").status, 504);
        // The peer did nothing wrong: it serves on.
        assert_eq!(gateway.client().get("/else", "").status, 200);
        assert_eq!(gateway.client().get("/limited/quick", "").status, 200);
        let log = gateway.stop();
        let late = log.iter().filter(|line| line.contains("\" 504 ")).count();
        assert_eq!(late, 1, "{log:#?}");
    }
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
