//! Compression of responses on the way to the client.

use std::io::Read;

use crate::harness::{Bridge, Chain, ENGINES, Engine, EngineClient, Incoming, Peer, Response};

const TEXT: &str = "Content-Type: text/plain\r\n";

/// Both ends of a gateway that compresses, if its settings say so.
struct Ends {
    client: EngineClient,
    _gateway: Chain,
    peer: Peer,
    _bridge: Bridge,
}

impl Ends {
    fn compressing(engine: Engine, settings: &str) -> Ends {
        Ends::of(
            engine,
            &format!("[compression]\nenabled = true\n{settings}\n"),
        )
    }

    fn of(engine: Engine, settings: &str) -> Ends {
        let peer = Peer::listen();
        let bridge = engine.bridge(peer.address);
        let gateway = engine.with_peers(&[bridge.address], "", settings);
        Ends {
            client: gateway.client(),
            _gateway: gateway,
            peer,
            _bridge: bridge,
        }
    }

    /// Sends a request, and lets it reach the upstream.
    fn ask(&mut self, method: &str, headers: &str) -> Incoming {
        self.client.ask(method, "/x", headers, b"");
        let mut upstream = self.peer.accept();
        upstream.head();
        upstream
    }
}

fn long_text() -> String {
    (0..1000).fold(String::new(), |text, n| text + &format!("line {n}\n"))
}

fn decoded(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    let result = match coding {
        "gzip" => flate2::read::GzDecoder::new(bytes).read_to_end(&mut body),
        "br" => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut body),
        "zstd" => zstd::stream::read::Decoder::new(bytes)
            .unwrap()
            .read_to_end(&mut body),
        _ => panic!("{coding} is no coding of ours"),
    };
    result.unwrap();
    body
}

/// As much of a body as can be had from its beginning.
fn decoded_so_far(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    // It is not the whole, so it ends in an error.
    let _ = match coding {
        "gzip" => flate2::read::GzDecoder::new(bytes).read_to_end(&mut body),
        "br" => brotli::Decompressor::new(bytes, 1).read_to_end(&mut body),
        _ => zstd::stream::read::Decoder::new(bytes)
            .unwrap()
            .read_to_end(&mut body),
    };
    body
}

/// The answer to a request with `headers` whose upstream answers with these bytes.
fn answered(engine: Engine, settings: &str, headers: &str, answer: &str) -> Response {
    let mut ends = Ends::compressing(engine, settings);
    let mut upstream = ends.ask("GET", headers);
    upstream.send(answer);
    ends.client.response()
}

fn whole(headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
}

#[test]
fn a_text_is_compressed_for_a_client_that_takes_it() {
    let text = long_text();
    for engine in ENGINES {
        for (accept, coding) in [
            ("gzip", "gzip"),
            ("br;q=0.5, gzip;q=0.4", "br"),
            ("gzip, deflate, br, zstd", "zstd"),
        ] {
            let answer = whole(
                &format!("{TEXT}ETag: \"1\"\r\nAccept-Ranges: bytes\r\n"),
                &text,
            );
            let accept = format!("Accept-Encoding: {accept}\r\n");
            let response = answered(engine, "", &accept, &answer);
            assert_eq!(response.header("content-encoding"), Some(coding));
            assert_eq!(response.header("vary"), Some("Accept-Encoding"));
            assert_eq!(response.header("etag"), Some("W/\"1\""));
            assert_eq!(response.header("accept-ranges"), None);
            assert_eq!(response.header("content-length"), None);
            assert!(response.body.len() < text.len() / 2);
            assert_eq!(decoded(coding, &response.body), text.as_bytes());
        }
    }
}

#[track_caller]
fn check_untouched(settings: &str, headers: &str, answer: &str) {
    for engine in ENGINES {
        let response = answered(engine, settings, headers, answer);
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(response.body, body.as_bytes(), "{headers}{answer}");
        let length = response.header("content-length").unwrap();
        assert_eq!(length, body.len().to_string());
        let coding = response.header("content-encoding");
        assert!(coding.is_none_or(|coding| coding == "br"), "{coding:?}");
    }
}

// Keys: compression.level
#[test]
fn a_higher_level_takes_fewer_bytes() {
    let answer = whole(TEXT, &long_text());
    for coding in ["gzip", "br", "zstd"] {
        let size = |level: u8| {
            let headers = format!("Accept-Encoding: {coding}\r\n");
            let response = answered(ENGINES[0], &format!("level = {level}"), &headers, &answer);
            assert_eq!(response.header("content-encoding"), Some(coding));
            assert_eq!(decoded(coding, &response.body), long_text().as_bytes());
            response.body.len()
        };
        let (quick, small) = (size(1), size(9));
        assert!(small < quick, "{coding}: {small} {quick}");
    }
}

#[test]
fn what_must_not_be_compressed_passes_as_it_is() {
    const ACCEPT: &str = "Accept-Encoding: gzip\r\n";
    let text = long_text();
    let plain = whole(TEXT, &text);
    check_untouched("", "", &plain);
    check_untouched("", "Accept-Encoding: gzip;q=0, identity\r\n", &plain);
    check_untouched("min_size = '1m'", ACCEPT, &plain);
    check_untouched("types = ['text/html']", ACCEPT, &plain);
    check_untouched("algorithms = ['zstd']", ACCEPT, &plain);
    let no_transform = format!("{TEXT}Cache-Control: no-transform\r\n");
    check_untouched("", ACCEPT, &whole(&no_transform, &text));
    let coded = format!("{TEXT}Content-Encoding: br\r\n");
    check_untouched("", ACCEPT, &whole(&coded, &text));
    let part = plain.replacen(
        "200 OK",
        "206 Partial Content\r\nContent-Range: bytes 0-9/99",
        1,
    );
    check_untouched("", ACCEPT, &part);
}

#[test]
fn nothing_is_compressed_by_default() {
    let text = long_text();
    for engine in ENGINES {
        let mut ends = Ends::of(engine, "");
        let mut upstream = ends.ask("GET", "Accept-Encoding: gzip\r\n");
        upstream.send(whole(TEXT, &text));
        let response = ends.client.response();
        assert_eq!(response.text(), text);
        assert_eq!(response.header("vary"), None);
    }
}

fn streaming(engine: Engine, coding: &str) -> (Ends, Incoming) {
    let mut ends = Ends::compressing(engine, "types = ['text/event-stream']");
    let mut upstream = ends.ask("GET", &format!("Accept-Encoding: {coding}\r\n"));
    upstream.send(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    let head = ends.client.head();
    assert_eq!(head.header("content-encoding"), Some(coding));
    (ends, upstream)
}

/// An event is not kept until the next one comes, compressed or not.
#[test]
fn each_event_can_be_read_before_the_next_is_sent() {
    for (engine, coding) in ENGINES
        .into_iter()
        .flat_map(|engine| ["gzip", "br", "zstd"].map(|coding| (engine, coding)))
    {
        let (mut ends, mut upstream) = streaming(engine, coding);
        let (mut sent, mut received) = (String::new(), Vec::new());
        for round in 0..5 {
            let event = format!("data: {round}\n\n");
            upstream.send_chunk(&event);
            sent += &event;
            while decoded_so_far(coding, &received) != sent.as_bytes() {
                received.extend(ends.client.content(1));
            }
        }
        upstream.send("0\r\n\r\n");
        received.extend(ends.client.rest());
        assert_eq!(decoded(coding, &received), sent.as_bytes());
    }
}

#[test]
fn a_head_says_what_a_get_would_get() {
    for engine in ENGINES {
        let mut ends = Ends::compressing(engine, "");
        let mut upstream = None;
        for _ in 0..2 {
            let accept = "Accept-Encoding: gzip\r\n";
            ends.client.ask("HEAD", "/x", accept, b"");
            let upstream = upstream.get_or_insert_with(|| ends.peer.accept());
            upstream.head();
            upstream.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n{TEXT}\r\n"
            ));
            let head = ends.client.response();
            assert_eq!(head.header("content-encoding"), Some("gzip"));
            assert_eq!(head.header("content-length"), None);
        }
    }
}

/// A compressed answer that breaks off has no end that would make it look whole.
#[test]
fn a_compressed_answer_that_breaks_off_is_not_made_whole() {
    for engine in ENGINES {
        let (mut ends, mut upstream) = streaming(engine, "gzip");
        upstream.send_chunk("data: half");
        upstream.close();
        ends.client.wait_for_break();
    }
}
