//! Compression of responses on the way to the client, for both request forms of [`DOORS`].

use std::io::Read;

use crate::harness::{Client, DOORS, Gateway, Incoming, Peer, Response};

const TEXT: &str = "Content-Type: text/plain\r\n";

fn gateway(peer: &Peer, settings: &str) -> Gateway {
    let settings = format!("[compression]\nenabled = true\n{settings}\n");
    Gateway::with_peers(&[peer.address], "", &settings)
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

fn ask(client: &mut Client, method: &str, headers: &str) {
    client.send(format!(
        "{method} /x HTTP/1.1\r\nHost: test\r\n{headers}\r\n"
    ));
}

/// The answer to a request with `headers` whose upstream answers with these bytes.
fn answered(door: &str, settings: &str, headers: &str, answer: &str) -> Response {
    let peer = Peer::listen();
    let gateway = gateway(&peer, settings);
    let mut client = gateway.client();
    ask(&mut client, "GET", &format!("{headers}{door}"));
    let mut upstream = peer.accept();
    upstream.head();
    upstream.send(answer);
    client.response()
}

fn whole(headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
}

#[test]
fn a_text_is_compressed_for_a_client_that_takes_it() {
    let text = long_text();
    for door in DOORS {
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
            let response = answered(door, "", &accept, &answer);
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
    for door in DOORS {
        let response = answered(door, settings, headers, answer);
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
            let response = answered("", &format!("level = {level}"), &headers, &answer);
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
    for door in DOORS {
        let peer = Peer::listen();
        let gateway = Gateway::with_peers(&[peer.address], "", "");
        let mut client = gateway.client();
        ask(
            &mut client,
            "GET",
            &format!("Accept-Encoding: gzip\r\n{door}"),
        );
        let mut upstream = peer.accept();
        upstream.head();
        upstream.send(whole(TEXT, &text));
        let response = client.response();
        assert_eq!(response.text(), text);
        assert_eq!(response.header("vary"), None);
    }
}

fn streaming(door: &str, coding: &str) -> (Gateway, Client, Incoming) {
    let peer = Peer::listen();
    let gateway = gateway(&peer, "types = ['text/event-stream']");
    let mut client = gateway.client();
    ask(
        &mut client,
        "GET",
        &format!("Accept-Encoding: {coding}\r\n{door}"),
    );
    let mut upstream = peer.accept();
    upstream.head();
    upstream.send(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    let head = client.response_without_body();
    assert_eq!(head.header("content-encoding"), Some(coding));
    (gateway, client, upstream)
}

/// An event is not kept until the next one comes, compressed or not.
#[test]
fn each_event_can_be_read_before_the_next_is_sent() {
    for (door, coding) in DOORS
        .into_iter()
        .flat_map(|d| ["gzip", "br", "zstd"].map(|c| (d, c)))
    {
        let (_gateway, mut client, mut upstream) = streaming(door, coding);
        let (mut sent, mut received) = (String::new(), Vec::new());
        for round in 0..5 {
            let event = format!("data: {round}\n\n");
            upstream.send_chunk(&event);
            sent += &event;
            while decoded_so_far(coding, &received) != sent.as_bytes() {
                received.extend(client.chunk());
            }
        }
        upstream.send("0\r\n\r\n");
        loop {
            let chunk = client.chunk();
            if chunk.is_empty() {
                break;
            }
            received.extend(chunk);
        }
        assert_eq!(decoded(coding, &received), sent.as_bytes());
    }
}

#[test]
fn a_head_says_what_a_get_would_get() {
    for door in DOORS {
        let peer = Peer::listen();
        let gateway = gateway(&peer, "");
        let mut client = gateway.client();
        let mut upstream = None;
        for _ in 0..2 {
            ask(
                &mut client,
                "HEAD",
                &format!("Accept-Encoding: gzip\r\n{door}"),
            );
            let upstream = upstream.get_or_insert_with(|| peer.accept());
            upstream.head();
            upstream.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n{TEXT}\r\n"
            ));
            let head = client.response_without_body();
            assert_eq!(head.header("content-encoding"), Some("gzip"));
            assert_eq!(head.header("content-length"), None);
        }
    }
}

/// A compressed answer that breaks off has no end that would make it look whole.
#[test]
fn a_compressed_answer_that_breaks_off_is_not_made_whole() {
    for door in DOORS {
        let (_gateway, mut client, mut upstream) = streaming(door, "gzip");
        upstream.send_chunk("data: half");
        upstream.close();
        let rest = client.rest();
        assert!(!rest.ends_with(b"0\r\n\r\n"), "{rest:?}");
    }
}
