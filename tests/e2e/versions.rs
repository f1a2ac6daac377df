//! Each version of HTTP to the client with each version to the upstream: a client must not be able to
//! tell them apart, but for what a version itself has.

use std::io::Read;

use flate2::read::GzDecoder;

use crate::harness::{Client, Gateway, Http2, Origin, Port, Response, request, wait_for_metrics};

/// Versions of HTTP of the client and of the upstream, as the metrics name them.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Engine {
    client: &'static str,
    upstream: &'static str,
}

const fn engine(client: &'static str, upstream: &'static str) -> Engine {
    Engine { client, upstream }
}

const ENGINES: [Engine; 4] = [
    engine("http1", "http1"),
    engine("http1", "http2"),
    engine("http2", "http1"),
    engine("http2", "http2"),
];

/// A gateway between a client and an origin, in the versions of an engine. An upstream of HTTP/2 is
/// a second gateway before the origin.
struct Chain {
    engine: Engine,
    gateway: Gateway,
    admin: Port,
    origin: Option<Origin>,
    _second: Option<Gateway>,
    forwarded: usize,
    answered: usize,
}

enum AnyClient {
    Http1(Client),
    Http2(Http2),
}

impl Chain {
    fn start(engine: Engine, upstream: &str, more: &str) -> Chain {
        let (origin, admin) = (Origin::start(), Port::reserve());
        let mut peer = origin.address;
        let second = (engine.upstream == "http2").then(|| Gateway::h2c(origin.address, ""));
        let mut protocol = "";
        if let Some(second) = &second {
            (peer, protocol) = (second.address, "protocol = 'http2'");
        }
        let gateway = Gateway::start(&format!(
            "[server]\nlisten = [{{ address = '{{address}}', h2c = true }}]\n\
             [admin]\nlisten = ['{}']\n[[upstream]]\nname = 'behind'\npeers = ['{peer}']\n\
             {protocol}\n{upstream}\n{more}\n",
            admin.address
        ));
        Chain {
            engine,
            gateway,
            admin,
            origin: Some(origin),
            _second: second,
            forwarded: 0,
            answered: 0,
        }
    }

    fn client(&self) -> AnyClient {
        match self.engine.client {
            "http1" => AnyClient::Http1(self.gateway.client()),
            _ => AnyClient::Http2(Http2::connect(self.gateway.address)),
        }
    }

    fn origin(&self) -> &Origin {
        self.origin.as_ref().unwrap()
    }

    /// A request that reaches the upstream.
    fn forward(
        &mut self,
        method: &str,
        target: &str,
        lines: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        self.forwarded += 1;
        self.client().ask(method, target, lines, body)
    }

    /// A request that the gateway answers itself.
    fn answer(
        &mut self,
        method: &str,
        target: &str,
        lines: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        self.answered += 1;
        self.client().ask(method, target, lines, body)
    }

    /// Checks that all requests were served in the versions that they were to be served in, and
    /// returns the access log.
    fn end(self) -> Vec<String> {
        let Engine { client, upstream } = self.engine;
        let line = |upstream, count| {
            format!(
                "geogate_engine_requests_total{{client=\"{client}\",upstream=\"{upstream}\"}} \
                 {count}\n"
            )
        };
        let lines = [line(upstream, self.forwarded), line("none", self.answered)];
        wait_for_metrics(self.admin.address, &lines.each_ref().map(String::as_str));
        self.gateway.stop()
    }
}

impl AnyClient {
    fn ask(&mut self, method: &str, target: &str, lines: &[(&str, &str)], body: &[u8]) -> Response {
        match self {
            AnyClient::Http1(client) => {
                let lines = lines
                    .iter()
                    .map(|(name, value)| format!("{name}: {value}\r\n"));
                client.request(method, target, &lines.collect::<String>(), body)
            }
            AnyClient::Http2(client) => {
                let length = body.len().to_string();
                let mut lines = lines.to_vec();
                if !body.is_empty() {
                    lines.push(("content-length", &length));
                }
                let request = request(method, &format!("http://test{target}"), &lines);
                client.request(request, body).unwrap()
            }
        }
    }
}

/// Calls `check` with a chain of each engine.
fn with_each(upstream: &str, more: &str, check: impl Fn(&mut Chain)) {
    for engine in ENGINES {
        let mut chain = Chain::start(engine, upstream, more);
        check(&mut chain);
        chain.end();
    }
}

#[test]
fn messages_of_every_length_pass_both_ways() {
    with_each("", "", |chain| {
        for length in [0, 1, 16 << 10, 65_535, 65_536, 1_000_003] {
            let body: Vec<_> = (0..length).map(|at: u32| at as u8).collect();
            let response = chain.forward("POST", "/echo", &[], &body);
            assert_eq!(response.status, 200, "{:?} {length}", chain.engine);
            assert!(response.body == body, "{:?} {length}", chain.engine);
            assert_eq!(response.header("x-origin"), Some("yes"));
            let response = chain.forward("GET", &format!("/large/{length}"), &[], b"");
            assert_eq!(response.body.len(), length as usize, "{:?}", chain.engine);
        }
        let response = chain.forward("HEAD", "/large/1000", &[], b"");
        assert_eq!((response.status, response.body.len()), (200, 0));
        assert_eq!(response.header("content-length"), Some("1000"));
    });
}

#[test]
fn chunks_and_trailers_reach_every_client() {
    with_each("", "", |chain| {
        let response = chain.forward("GET", "/chunked", &[], b"");
        assert_eq!(response.text(), "one two three", "{:?}", chain.engine);
        let response = chain.forward("GET", "/trailers", &[], b"");
        assert_eq!(response.text(), "body", "{:?}", chain.engine);
        let trailers = response.trailers.join(", ");
        assert!(
            trailers.eq_ignore_ascii_case("X-Sum: 1"),
            "{:?} {trailers}",
            chain.engine
        );
    });
}

#[test]
fn compression_is_the_same_for_every_client() {
    let more =
        "[compression]\nenabled = true\nalgorithms = ['gzip']\ntypes = ['*']\nmin_size = 0\n";
    with_each("", more, |chain| {
        let response = chain.forward("GET", "/large/100000", &[("accept-encoding", "gzip")], b"");
        let (encoding, length) = (response.header("content-encoding"), response.body.len());
        assert_eq!(encoding, Some("gzip"), "{:?}", chain.engine);
        assert_eq!(
            response.header("content-length"),
            None,
            "{:?}",
            chain.engine
        );
        let mut body = Vec::new();
        let read = GzDecoder::new(&response.body[..]).read_to_end(&mut body);
        assert_eq!(read.unwrap(), 100_000, "{:?} {length}", chain.engine);
        let plain = chain.forward("GET", "/chunked", &[], b"");
        assert_eq!(plain.text(), "one two three");
    });
}

#[test]
fn a_client_is_told_of_every_upstream_s_failure() {
    with_each("", "", |chain| {
        let response = chain.forward("POST", "/close", &[], b"x");
        assert_eq!(response.status, 502, "{:?}", chain.engine);
    });
    with_each(
        "",
        "[[route]]\nprefix = '/'\nupstream = 'behind'\ntimeout = '1s'\n",
        |chain| {
            let response = chain.forward("GET", "/stall", &[], b"");
            assert_eq!(response.status, 504, "{:?}", chain.engine);
        },
    );
}

#[test]
fn a_response_that_is_cut_is_not_whole_for_any_client() {
    for engine in ENGINES {
        let mut chain = Chain::start(engine, "", "");
        chain.forwarded += 1;
        match chain.client() {
            AnyClient::Http1(mut client) => {
                client.send("GET /half HTTP/1.1\r\nHost: test\r\n\r\n");
                let response = client.response_without_body();
                assert_eq!(response.header("content-length"), Some("10"), "{engine:?}");
                // Of HTTP/2 a reset may come before content that was sent.
                assert!(b"half".starts_with(&client.rest()), "{engine:?}");
            }
            AnyClient::Http2(mut client) => {
                let request = request("GET", "http://test/half", &[]);
                assert!(client.request(request, b"").is_err(), "{engine:?}");
            }
        }
        let log = chain.end();
        let is_cut = |line: &String| line.contains(" 200 ") && line.contains(" upstream_");
        assert!(log.iter().all(is_cut), "{log:?}");
    }
}

#[test]
fn limits_hold_for_every_client() {
    let more = "[client]\nmax_body_size = '1k'\n[[rate_limit]]\nname = 'one'\nrate = '1/h'\n[[route]]\nprefix = '/limited'\nupstream = 'behind'\n\
                rate_limit = 'one'\n[[route]]\nprefix = '/'\nupstream = 'behind'\n";
    with_each("", more, |chain| {
        let response = chain.answer("POST", "/long", &[], &[b'x'; 1025]);
        assert_eq!(response.status, 413, "{:?}", chain.engine);
        assert_eq!(chain.forward("GET", "/limited", &[], b"").status, 200);
        let response = chain.answer("GET", "/limited", &[], b"");
        assert_eq!(response.status, 429, "{:?}", chain.engine);
        assert!(response.header("retry-after").is_some());
    });
}

#[test]
fn headers_are_changed_for_every_client_and_upstream() {
    let more = "[[route]]\nprefix = '/'\nupstream = 'behind'\n\
                request_headers.set = { 'X-Tag' = 'route $request_id' }\n\
                request_headers.remove = ['X-Gone']\n\
                response_headers.set = { 'X-Answer' = 'yes' }\n\
                response_headers.remove = ['X-Origin']\n";
    with_each("", more, |chain| {
        let lines = [("x-tag", "forged"), ("x-gone", "1"), ("x-stays", "2")];
        let response = chain.forward("GET", "/", &lines, b"");
        assert_eq!(
            response.header("x-answer"),
            Some("yes"),
            "{:?}",
            chain.engine
        );
        assert_eq!(response.header("x-origin"), None, "{:?}", chain.engine);
        let request = chain.origin().last();
        let tags = request.values("x-tag");
        assert!(
            matches!(&tags[..], [tag] if tag.starts_with("route ")),
            "{tags:?}"
        );
        assert_eq!(request.values("x-gone"), [""; 0], "{:?}", chain.engine);
        assert_eq!(request.values("x-stays"), ["2"], "{:?}", chain.engine);
        assert_eq!(request.values("host"), ["test"], "{:?}", chain.engine);
    });
}

#[test]
fn the_gateway_s_own_answers_are_the_same_for_every_client() {
    let more = "[[route]]\npath = '/own'\nrespond = { status = 203, body = 'own' }\n\
                [[route]]\npath = '/to'\nredirect = { status = 302, to = 'http://b/' }\n\
                [[route]]\nprefix = '/'\nupstream = 'behind'\n";
    with_each("", more, |chain| {
        let response = chain.answer("POST", "/own", &[], b"body");
        assert_eq!(
            (response.status, response.text()),
            (203, "own"),
            "{:?}",
            chain.engine
        );
        let response = chain.answer("GET", "/to", &[], b"");
        assert_eq!(
            response.header("location"),
            Some("http://b/"),
            "{:?}",
            chain.engine
        );
        let query = "/api/ip_query?ip=1.0.0.1";
        let response = chain.answer(
            "GET",
            query,
            &[("x-nothing", "1"), ("expect", "100-continue")],
            b"",
        );
        assert_eq!(response.status, 200, "{:?}", chain.engine);
        assert!(response.text().starts_with('['), "{}", response.text());
        assert_eq!(chain.forward("GET", "/x", &[], b"").status, 200);
    });
}
