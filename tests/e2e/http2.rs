//! HTTP/2 with clients: the same answers, the same rules, and a connection that lasts.

use std::sync::Arc;
use std::time::Duration;

use crate::harness::{Authority, Client, Gateway, Http2, Origin, Port, Response, request};

const IP: &str = "https://localhost/api/ip_query?ip=1.0.0.1";

struct Setup {
    gateway: Gateway,
    origin: Origin,
    config: Arc<rustls::ClientConfig>,
}

impl Setup {
    fn new(more: &str) -> Setup {
        let (authority, origin) = (Authority::new(), Origin::start());
        let identity = authority.sign(&["localhost"]);
        let configuration = format!(
            "[server]\nlisten = [{{ address = '{{address}}', tls = true }}]\n\
             [tls]\ncertificates = [{{ cert = '{{folder}}/a.pem', key = '{{folder}}/a.key' }}]\n\
             [[upstream]]\npeers = ['{}']\n{more}\n",
            origin.address
        );
        Setup {
            gateway: Gateway::start_in(&configuration, |folder| identity.write(folder, "a")),
            config: authority.client(&["h2"]),
            origin,
        }
    }

    fn client(&self) -> Http2 {
        Http2::connect_tls(self.gateway.address, &self.config, "localhost")
    }
}

fn post(client: &mut Http2, url: &str, body: &[u8]) -> Response {
    client.request(request("POST", url, &[]), body).unwrap()
}

#[test]
fn queries_are_answered_as_on_http_1() {
    let setup = Setup::new("");
    let mut client = setup.client();
    for (method, url, body) in [
        ("GET", IP, ""),
        ("HEAD", IP, ""),
        ("GET", "https://localhost//x/../api/ip_query?ip=1.0.0.1", ""),
        ("GET", "https://localhost/api/ip_query", ""),
        ("GET", "https://localhost/api/ip_query?ip=x", ""),
        (
            "POST",
            "https://localhost/api/ip_query",
            "{\"ip\":\"1.0.0.1\"}",
        ),
        ("POST", "https://localhost/api/ip_query", "{"),
        ("PUT", "https://localhost/api/ip_query", "a body"),
    ] {
        let answer = client
            .request(request(method, url, &[]), body.as_bytes())
            .unwrap();
        let mut old = Client::connect_tls(setup.gateway.address, &setup.config_1(), "localhost");
        let target = url.strip_prefix("https://localhost").unwrap();
        let expected = old.request(method, target, "", body.as_bytes());
        assert_eq!(answer.status, expected.status, "{method} {url}");
        assert_eq!(answer.body, expected.body, "{method} {url}");
        for name in ["content-type", "content-length", "allow"] {
            assert_eq!(answer.header(name), expected.header(name), "{method} {url}");
        }
        assert_eq!(answer.header("connection"), None);
    }
    assert!(setup.origin.requests().is_empty());
}

impl Setup {
    fn config_1(&self) -> Arc<rustls::ClientConfig> {
        let mut config = (*self.config).clone();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

#[test]
fn requests_are_proxied() {
    let setup = Setup::new("");
    let mut client = setup.client();
    let answer = client.get("https://localhost/here?a=b", &[("x-mine", "1")]);
    assert_eq!(answer.status, 200);
    assert_eq!(client.max_requests(), 128);
    let sent = setup.origin.last();
    assert_eq!(sent.line, "GET /here?a=b HTTP/1.1");
    for (name, value) in [
        ("host", "localhost"),
        ("x-mine", "1"),
        ("x-real-ip", "127.0.0.1"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "localhost"),
    ] {
        assert_eq!(sent.values(name), [value], "{name}");
    }
    let body = vec![b'x'; 1_000_000];
    assert!(post(&mut client, "https://localhost/", &body).body == body);
    let large = client.get("https://localhost/large/3000000", &[]);
    assert_eq!(large.body.len(), 3_000_000);
    assert_eq!(
        client.get("https://localhost/chunked", &[]).text(),
        "one two three"
    );
    drop(client);
    let log = setup.gateway.stop();
    assert!(log[0].contains("\"GET /here?a=b HTTP/2.0\" 200"), "{log:?}");
}

#[test]
fn what_a_client_says_of_itself_never_reaches_the_origin() {
    let setup = Setup::new("");
    let mut client = setup.client();
    for names in [
        ["x-forwarded-for", "x-real-ip", "x-geo-country"],
        ["x_forwarded_for", "x_real_ip", "x_geo_country"],
        ["forwarded", "x-forwarded-proto", "x-geo-anything"],
        ["true-client-ip", "cf-connecting-ip", "x_geo-country"],
        ["x-forwarded-client-cert", "proxy", "remote_user"],
        ["x.real.ip", "x--geo-country", "x-original-url"],
    ] {
        let headers = names.map(|name| (name, "6.6.6.6"));
        let twice = [headers, headers].concat();
        assert_eq!(client.get("https://localhost/", &twice).status, 200);
        let sent = setup.origin.last();
        let lies = sent
            .headers
            .iter()
            .filter(|(_, value)| value.contains("6.6.6.6"));
        assert_eq!(lies.count(), 0, "{sent:?}");
        assert_eq!(sent.values("x-real-ip"), ["127.0.0.1"]);
        assert_eq!(sent.values("x-forwarded-proto"), ["https"]);
    }
    // Headers that are of a connection and not of a request are an error.
    for name in ["connection", "transfer-encoding", "upgrade", "keep-alive"] {
        let headers = [(name, "x-geo-country"), ("x-geo-country", "XX")];
        let answer = client.request(request("GET", "https://localhost/", &headers), b"");
        assert!(answer.is_err(), "{name}");
    }
    assert_eq!(client.get("https://localhost/", &[]).status, 200);
    assert_eq!(setup.origin.requests().len(), 7);
}

#[test]
fn cookies_that_come_in_pieces_are_passed_on_in_one() {
    let setup = Setup::new("");
    let mut client = setup.client();
    let pieces = [("cookie", "a=1"), ("cookie", "b=2; c=3"), ("cookie", "d=4")];
    assert_eq!(client.get("https://localhost/", &pieces).status, 200);
    let sent = setup.origin.last();
    assert_eq!(sent.values("cookie"), ["a=1; b=2; c=3; d=4"]);
}

#[test]
fn the_host_is_said_once() {
    let setup = Setup::new("");
    let mut client = setup.client();
    let same = client.get("https://localhost/", &[("host", "localhost")]);
    assert_eq!(same.status, 200);
    assert_eq!(setup.origin.last().values("host"), ["localhost"]);
    for headers in [
        &[("host", "other")][..],
        &[("host", "localhost"), ("host", "localhost")],
        &[("host", "localhost:80")],
        &[("host", "")],
    ] {
        assert_eq!(
            client.get("https://localhost/", headers).status,
            400,
            "{headers:?}"
        );
    }
    assert_eq!(client.get("https://user@localhost/", &[]).status, 400);
    assert_eq!(setup.origin.requests().len(), 1);
    assert_eq!(client.get("https://localhost/", &[]).status, 200);
}

/// What HTTP/1 refuses, HTTP/2 does, too.
#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    let setup = Setup::new("");
    let mut client = setup.client();
    for (name, value) in [
        ("content_length", "5"),
        ("transfer_encoding", "chunked"),
        ("transfer---encoding", "chunked"),
        ("transfer.encoding", "chunked"),
        ("ho_st", "localhost"),
        ("x-space", " a"),
        ("x-space", "a\t"),
    ] {
        let answer = client.get("https://localhost/", &[(name, value)]);
        assert_eq!(answer.status, 400, "{name}: {value:?}");
    }
    for url in ["ftp://localhost/", "https://a..b/", "https://.a/"] {
        assert_eq!(client.get(url, &[]).status, 400, "{url}");
    }
    let connect = client.request(request("CONNECT", "localhost:443", &[]), b"");
    assert_eq!(connect.unwrap().status, 405);
    assert!(setup.origin.requests().is_empty());
    // The scheme need not be the connection's, and upstreams are told the connection's.
    assert_eq!(client.get("http://localhost/", &[]).status, 200);
    assert_eq!(setup.origin.last().values("x-forwarded-proto"), ["https"]);
    let zeros = request("POST", "https://localhost/", &[("content-length", "0003")]);
    assert_eq!(client.request(zeros, b"abc").unwrap().status, 200);
    assert_eq!(setup.origin.last().values("content-length"), ["3"]);
}

#[test]
fn a_connection_survives_what_goes_wrong_on_it() {
    let setup = Setup::new("[client]\nmax_body_size = '1k'");
    let mut client = setup.client();
    let ok = |client: &mut Http2| assert_eq!(client.get(IP, &[]).status, 200);
    let large = vec![b'x'; 200_000];
    for url in ["https://localhost/", "https://localhost/api/ip_query"] {
        assert_eq!(post(&mut client, url, &large).status, 413, "{url}");
        ok(&mut client);
    }
    assert_eq!(client.get("https://localhost/close", &[]).status, 502);
    ok(&mut client);
    assert!(
        client
            .request(request("GET", "https://localhost/half", &[]), b"")
            .is_err()
    );
    ok(&mut client);
    let many = vec![("x-large", "0123456789012345678901234567890123456789"); 1000];
    let refused = client.request(request("GET", "https://localhost/", &many), b"");
    assert!(!matches!(refused, Ok(Response { status: 200, .. })));
    ok(&mut client);
}

#[test]
fn wrong_requests_without_end_end_the_connection() {
    let setup = Setup::new("");
    let mut client = setup.client();
    let mut wrong = 0;
    while let Ok(answer) = client.request(request("GET", "https://a@localhost/", &[]), b"") {
        assert_eq!(answer.status, 400);
        wrong += 1;
        assert!(wrong < 100);
    }
    client.wait_for_end();
}

#[test]
fn a_connection_carries_as_many_requests_as_it_may() {
    let setup = Setup::new("[client]\nkeepalive_requests = 3\n[http2]\nmax_concurrent_streams = 7");
    let mut client = setup.client();
    for _ in 0..3 {
        assert_eq!(client.get(IP, &[]).status, 200);
    }
    assert_eq!(client.wait_for_end(), None);
    assert_eq!(client.max_requests(), 7);
}

#[test]
fn an_idle_connection_is_ended() {
    let setup = Setup::new("[client]\nkeepalive_timeout = '1s'");
    let mut client = setup.client();
    assert_eq!(client.get(IP, &[]).status, 200);
    assert_eq!(client.wait_for_end(), None);
}

/// The rest of the request never comes.
#[test]
fn a_query_that_never_ends_is_given_up() {
    let setup = Setup::new("[client]\nread_timeout = '200ms'");
    let mut client = setup.client();
    let answer = client.unfinished(request("POST", "https://localhost/api/ip_query", &[]), b"{");
    assert_eq!(answer.unwrap().status, 408);
    assert_eq!(client.get(IP, &[]).status, 200);
}

#[test]
fn a_stop_lets_requests_finish() {
    let setup = Setup::new("");
    let mut client = setup.client();
    assert_eq!(client.get(IP, &[]).status, 200);
    setup.gateway.stop();
    assert_eq!(client.wait_for_end(), None);
}

#[test]
fn it_is_not_spoken_where_it_is_off() {
    let authority = Authority::new();
    let identity = authority.sign(&["localhost"]);
    let gateway = Gateway::start_in(
        "[server]\nlisten = [{ address = '{address}', tls = true }]\n[tls]\nhttp2 = false\n\
         certificates = [{ cert = '{folder}/a.pem', key = '{folder}/a.key' }]\n",
        |folder| identity.write(folder, "a"),
    );
    let config = authority.client(&["h2", "http/1.1"]);
    let mut client = Client::connect_tls(gateway.address, &config, "localhost");
    assert_eq!(client.session().alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(client.get("/api/ip_query?ip=1.0.0.1", "").status, 200);
}

#[test]
fn clear_text_is_for_listeners_that_say_so() {
    let (origin, plain) = (Origin::start(), Port::reserve());
    let gateway = Gateway::start(&format!(
        "[server]\nlisten = ['{}', {{ address = '{{address}}', h2c = true }}]\n\
         [client]\nheader_timeout = '500ms'\n\
         [[upstream]]\npeers = ['{}']\n",
        plain.address, origin.address
    ));
    let mut client = Http2::connect(gateway.address);
    assert_eq!(client.get("http://localhost/here", &[]).status, 200);
    assert_eq!(origin.last().values("x-forwarded-proto"), ["http"]);
    assert_eq!(
        client
            .get("http://localhost/api/ip_query?ip=1.0.0.1", &[])
            .status,
        200
    );
    // HTTP/1 is spoken there as well, however short and slow its requests are.
    let mut old = gateway.client();
    for part in ["GET", " / HTTP/1.1\r\nHost: a\r\n\r\n"] {
        old.send(part);
    }
    assert_eq!(old.response().status, 200);
    let mut shortest = gateway.client();
    shortest.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(shortest.response().status, 200);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut on_plain = Client::connect(plain.address);
    on_plain.send(preface);
    assert_eq!(on_plain.response().status, 505);
    // Half a preface is none.
    let mut half = gateway.client();
    half.send(&preface[..9]);
    assert!(!half.hears_within(Duration::from_millis(1)));
    assert!(half.is_closed());
}
