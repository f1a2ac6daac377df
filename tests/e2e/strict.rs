//! What can be read in two ways, what has no end, what is too slow: a matrix of requests, with what
//! becomes of them here and in nginx 1.22.
//!
//! The last column is what nginx does with each of them, proxied, `proxy_http_version 1.1`, all else
//! at its default. No test needs nginx; this one looks whether the column is true:
//!
//!     cargo test --test e2e strict::nginx -- --ignored --nocapture

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{
    Client, ENGINES, Gateway, HTTP1_CLIENT_ENGINES, HTTP1_UPSTREAM_ENGINES, Origin, PATIENCE, Port,
};

/// Behind each probe: answered only if the probe is a request whose end is known.
const NEXT: &str = "GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

const QUERY: &str = "/api/ip_query?ip=1.0.0.1";

/// A body that is a query, too, and its length in both notations.
const JSON: &str = r#"{"ip":"1.0.0.1"}"#;

/// What is sent, where `|` is a line end and `PATH` what is asked for; then the statuses of all
/// answers, of which the last is that to the request behind the probe, if there is one: from
/// geogate for a proxied request, from geogate for an IP query, from nginx for a proxied request.
type Probe = (&'static str, &'static str, &'static str, &'static str);

#[rustfmt::skip]
const LINES: &[Probe] = &[
    ("GET PATH HTTP/1.1|Host: a||",                     "200 200", "200 404", "200 200"),
    ("|GET PATH HTTP/1.1|Host: a||",                    "200 200", "200 404", "200 200"),
    ("||GET PATH HTTP/1.1|Host: a||",                   "400", "400", "200 200"),
    ("\nGET PATH HTTP/1.1|Host: a||",                   "400", "400", "200 200"),
    ("GET PATH HTTP/1.1\nHost: a\n\n",                  "400", "400", "200 200"),
    ("GET PATH HTTP/1.1|Host: a|X: b\nY: c||",          "400", "400", "200 200"),
    ("GET PATH HTTP/1.1|Host: a|X: b\rY: c||",          "400", "400", "400"),
    ("GET PATH HTTP/1.1|Host: a|X: b\r\rY: c||",        "400", "400", "400"),
    ("GET PATH HTTP/1.1|Host: a|X: b| c||",             "400", "400", "400"),
    ("GET PATH HTTP/1.1|Host: a|X: b|\tc||",            "400", "400", "400"),
    ("GET PATH HTTP/1.1| Host: a||",                    "400", "400", "400"),
    ("GET PATH HTTP/1.1|Host: a|X : b||",               "400", "400", "400"),
    ("GET PATH HTTP/1.1|Host: a|X||",                   "400", "400", "200 200"),
    ("GET PATH HTTP/1.1|Host: a|: b||",                 "400", "400", "400"),
    ("GET PATH HTTP/1.1|Host: a|X: \0||",               "400", "400", "400"),
    ("GET PATH HTTP/1.1|Host: a|X: \u{1}||",            "400", "400", "200 200"),
    ("GET PATH HTTP/1.1|Host: a|X: \u{7f}||",           "400", "400", "200 200"),
    ("GET PATH HTTP/1.1|Host: a|X\u{e9}: b||",          "400", "400", "200 200"),
    ("GET PATH HTTP/1.1|Host: a|X(Y: b||",              "400", "400", "200 200"),
    ("GET PATH HTTP/1.1|Host: a|X Y: b||",              "400", "400", "400"),
    ("GET PATH HTTP/1.1|Host: a|X: \u{e9}\tb ||",       "200 200", "200 404", "200 200"),
    ("GET PATH HTTP/1.1|Host: a|X_Y: b||",              "200 200", "200 404", "200 200"),
    ("GET  PATH HTTP/1.1|Host: a||",                    "400", "400", "200 200"),
    ("GET PATH  HTTP/1.1|Host: a||",                    "400", "400", "200 200"),
    ("GET PATH x HTTP/1.1|Host: a||",                   "400", "400", "400"),
    ("GET PATH HTTP/1.1 |Host: a||",                    "400", "400", "200 200"),
    ("GET\tPATH\tHTTP/1.1|Host: a||",                   "400", "400", "400"),
    (" GET PATH HTTP/1.1|Host: a||",                    "400", "400", "400"),
    ("GET PATH|",                                       "400", "400", "as 0.9"),
    ("GET PATH|Host: a||",                              "400", "400", "as 0.9"),
    ("GET PATH HTTP/0.9|Host: a||",                     "505", "505", "400"),
    ("GET PATH HTTP/1.2|Host: a||",                     "505", "505", "200 200"),
    ("GET PATH HTTP/1.10|Host: a||",                    "400", "400", "200 200"),
    ("GET PATH HTTP/2.0|Host: a||",                     "505", "505", "505"),
    ("GET PATH HTTP/9.9|Host: a||",                     "505", "505", "505"),
    ("GET PATH http/1.1|Host: a||",                     "400", "400", "400"),
    ("GET PATH HTTPS/1.1|Host: a||",                    "400", "400", "400"),
    ("GET PATH HTTP/01.01|Host: a||",                   "400", "400", "400"),
    ("GET PATH HTTP/1.1x|Host: a||",                    "400", "400", "400"),
    ("GET PATH HTTP/1,1|Host: a||",                     "400", "400", "400"),
    ("PRI * HTTP/2.0||SM||",                            "505", "505", "400"),
    ("\u{16}\u{3}\u{1}\u{2}\0\u{1}",                    "400", "400", "400"),
];

#[rustfmt::skip]
const TARGETS: &[Probe] = &[
    ("GET PATH#x HTTP/1.1|Host: a||",                   "400", "400", "200 200"),
    ("GET PATH\u{1} HTTP/1.1|Host: a||",                "400", "400", "400"),
    ("GET PATH\u{7f} HTTP/1.1|Host: a||",               "400", "400", "400"),
    ("GET PATH\u{e9} HTTP/1.1|Host: a||",               "400", "400", "200 200"),
    ("GET /a\\bPATH HTTP/1.1|Host: a||",                "400", "400", "200 200"),
    ("GET /a%00bPATH HTTP/1.1|Host: a||",               "400", "400", "400"),
    ("GET aPATH HTTP/1.1|Host: a||",                    "400", "400", "400"),
    ("GET a:80 HTTP/1.1|Host: a:80||",                  "400", "400", "400"),
    ("GET http://aPATH HTTP/1.1|Host: a||",             "200 200", "200 404", "200 200"),
    ("GET http://a:80PATH HTTP/1.1|Host: a:80||",       "200 200", "200 404", "200 200"),
    ("GET http://aPATH HTTP/1.0||",                     "200", "200", "200"),
    ("GET http://A:80PATH HTTP/1.1|Host: a||",          "200 200", "200 404", "200 200"),
    ("GET http://aPATH HTTP/1.1|Host: A:80||",          "200 200", "200 404", "200 200"),
    ("GET https://aPATH HTTP/1.1|Host: a:443||",        "200 200", "200 404", "200 200"),
    ("GET https://aPATH HTTP/1.1|Host: a:80||",         "400", "400", "200 200"),
    ("GET http://a..bPATH HTTP/1.1|Host: a..b||",       "400", "400", "400"),
    ("GET http://bPATH HTTP/1.1|Host: a||",             "400", "400", "200 200"),
    ("GET http://a@bPATH HTTP/1.1|Host: b||",           "400", "400", "400"),
    ("GET http://PATH HTTP/1.1|Host: a||",              "400", "400", "400"),
    ("GET ftp://aPATH HTTP/1.1|Host: a||",              "400", "400", "200 200"),
    ("GET http:PATH HTTP/1.1|Host: a||",                "400", "400", "400"),
    ("GET * HTTP/1.1|Host: a||",                        "400", "400", "400"),
    ("OPTIONS * HTTP/1.1|Host: a||",                    "200 200", "404 404", "400"),
    ("OPTIONS http://a HTTP/1.1|Host: a||",             "200 200", "404 404", "200 200"),
    ("CONNECT a:80 HTTP/1.1|Host: a:80||",              "405", "405", "400"),
    ("CONNECT PATH HTTP/1.1|Host: a||",                 "405", "405", "405"),
];

#[rustfmt::skip]
const METHODS: &[Probe] = &[
    ("TRACE PATH HTTP/1.1|Host: a||",                   "405 200", "405 404", "405"),
    ("get PATH HTTP/1.1|Host: a||",                     "501 200", "405 404", "400"),
    ("PROPFIND PATH HTTP/1.1|Host: a||",                "501 200", "405 404", "200 200"),
    ("XY-Z PATH HTTP/1.1|Host: a||",                    "501 200", "405 404", "200 200"),
    ("G(T PATH HTTP/1.1|Host: a||",                     "400", "400", "400"),
    ("TRACE PATH HTTP/1.1|Host: a|Content-Length: 3||xyz", "405 200", "405 404", "405"),
];

#[rustfmt::skip]
const HOSTS: &[Probe] = &[
    ("GET PATH HTTP/1.1||",                             "400", "400", "400"),
    ("GET PATH HTTP/1.0||",                             "200", "200", "200"),
    ("GET PATH HTTP/1.1|Host:||",                       "400", "400", "400"),
    ("GET PATH HTTP/1.1|Host: a|Host: a||",             "400", "400", "400"),
    ("GET PATH HTTP/1.1|Host: a|Host: b||",             "400", "400", "400"),
    ("GET PATH HTTP/1.0|Host: a|Host: b||",             "400", "400", "400"),
    ("GET PATH HTTP/1.1|Host: a b||",                   "400", "400", "400"),
    ("GET PATH HTTP/1.1|Host: u@a||",                   "400", "400", "200 200"),
    ("GET PATH HTTP/1.1|Host: a/b||",                   "400", "400", "400"),
    ("GET PATH HTTP/1.1|Host: a,b||",                   "400", "400", "200 200"),
    ("GET PATH HTTP/1.1|Host: a:x||",                   "400", "400", "200 200"),
    ("GET PATH HTTP/1.1|Host: a:65536||",               "400", "400", "200 200"),
    ("GET PATH HTTP/1.1|Host: a..b||",                  "400", "400", "400"),
    ("GET PATH HTTP/1.1|Host: a..||",                   "400", "400", "400"),
    ("GET PATH HTTP/1.1|Host: .a||",                    "400", "400", "200 200"),
    ("GET PATH HTTP/1.1|Host: a.||",                    "200 200", "200 404", "200 200"),
    ("GET PATH HTTP/1.1|Host: a|Ho_st: b||",            "400", "400", "200 200"),
    ("GET PATH HTTP/1.1|Host: [::1||",                  "400", "400", "200 200"),
    ("GET PATH HTTP/1.1|Host: [::1]:80||",              "200 200", "200 404", "200 200"),
];

#[rustfmt::skip]
const FRAMING: &[Probe] = &[
    ("POST PATH HTTP/1.1|Host: a|Content-Length: 16||JSON",             "200 200", "200 404", "200 200"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked||10|JSON|0||", "200 200", "200 404", "200 200"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding:\tChunked ||10|JSON|0||", "200 200", "200 404", "501"),
    ("POST PATH HTTP/1.1|Host: a|Content-Length: 6|Transfer-Encoding: chunked||0||X", "400", "400", "400"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked|Content-Length: 6||0||X", "400", "400", "400"),
    ("POST PATH HTTP/1.1|Host: a|Content-Length: 16|Content-Length: 16||JSON", "400", "400", "400"),
    ("POST PATH HTTP/1.1|Host: a|Content-Length: 0|Content-Length: 16||JSON", "400", "400", "400"),
    ("POST PATH HTTP/1.1|Host: a|Content-Length: 16, 16||JSON",         "400", "400", "400"),
    ("POST PATH HTTP/1.1|Host: a|Content-Length: +16||JSON",            "400", "400", "400"),
    ("POST PATH HTTP/1.1|Host: a|Content-Length: -1||JSON",             "400", "400", "400"),
    ("POST PATH HTTP/1.1|Host: a|Content-Length: 0x10||JSON",           "400", "400", "400"),
    ("POST PATH HTTP/1.1|Host: a|Content-Length: 1 6||JSON",            "400", "400", "400"),
    ("POST PATH HTTP/1.1|Host: a|Content-Length:||JSON",                "400", "400", "400"),
    ("POST PATH HTTP/1.1|Host: a|Content-Length: 99999999999999999999||", "400", "400", "400"),
    ("POST PATH HTTP/1.1|Host: a|Content-Length : 16||JSON",            "400", "400", "400"),
    ("POST PATH HTTP/1.1|Host: a|Content-Length: 0000016||JSON",        "200 200", "200 404", "200 200"),
    ("POST PATH HTTP/1.1|Host: a|Content_Length: 16||JSON",             "400", "400", "200 400"),
    ("POST PATH HTTP/1.1|Host: a|Content.Length: 16||JSON",             "400", "400", "200 400"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: xchunked||10|JSON|0||", "400", "400", "501"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: gzip, chunked||10|JSON|0||", "400", "400", "501"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked, identity||10|JSON|0||", "400", "400", "501"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: identity||",        "400", "400", "501"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: \"chunked\"||10|JSON|0||", "400", "400", "501"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: \u{b}chunked||10|JSON|0||", "400", "400", "501"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked|Transfer-Encoding: chunked||10|JSON|0||", "400", "400", "400"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked|Transfer-Encoding: identity||10|JSON|0||", "400", "400", "400"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding : chunked||10|JSON|0||", "400", "400", "400"),
    ("POST PATH HTTP/1.1|Host: a|Transfer_Encoding: chunked||10|JSON|0||", "400", "400", "200 400"),
    ("POST PATH HTTP/1.1|Host: a|Transfer---Encoding: chunked||10|JSON|0||", "400", "400", "200 400"),
    ("POST PATH HTTP/1.1|Host: a|Transfer.Encoding: chunked||10|JSON|0||", "400", "400", "200 400"),
    ("POST PATH HTTP/1.1|Host: a|transfer_-encoding: chunked||10|JSON|0||", "400", "400", "200 400"),
    ("POST PATH HTTP/1.1|Host: a|X: y|Transfer-Encoding:| chunked||10|JSON|0||", "400", "400", "400"),
    ("POST PATH HTTP/1.0|Host: a|Transfer-Encoding: chunked||10|JSON|0||", "400", "400", "400"),
];

#[rustfmt::skip]
const CHUNKS: &[Probe] = &[
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked||00010|JSON|000||", "200 200", "200 404", "200 200"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked||10;a=\"b\";c|JSON|0;d||", "200 200", "200 404", "200 200"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked||10 ; a = b;c=\"d;e\"|JSON|0||", "200 200", "200 404", "200 200"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked||10;|JSON|0||", "400", "400", "200 200"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked||10;bad[=x|JSON|0||", "400", "400", "200 200"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked||10;a=|JSON|0||", "400", "400", "200 200"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked||10;a=\"b|JSON|0||", "400", "400", "200 200"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked||10;a b|JSON|0||", "400", "400", "200 200"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked||0|Transfer--Encoding: chunked||", "400", "400", "200 200"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked||10|JSON|0|X-Sum: 1|Y: 2||", "200 200", "200 404", "200 200"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked||10\nJSON|0||", "400", "400", "200 200"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked||10|JSON\n0||", "400", "400", "200 200"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked||10|JSON|0\n\n", "400", "400", "200 200"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked||10;a\nb|JSON|0||", "400", "400", "400"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked|| 10|JSON|0||", "400", "400", "400"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked||10 |JSON|0||", "400", "400", "200 200"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked||0x10|JSON|0||", "400", "400", "400"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked||+10|JSON|0||", "400", "400", "400"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked||-10|JSON|0||", "400", "400", "400"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked||10,10|JSON|0||", "400", "400", "400"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked||00000000000000010|JSON|0||", "400", "400", "200 200"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked||10000000000000010|JSON|0||", "400", "400", "400"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked||fffffffffffffffff|JSON|0||", "400", "400", "400"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked||10|JSON||0||", "400", "400", "400"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked||10|JSONx|0||", "400", "400", "400"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked||10|JSON0||", "400", "400", "400"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked|||", "400", "400", "400"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked||;a|", "400", "400", "400"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked||0|Content-Length: 5||", "400", "400", "200 200"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked||0|Transfer_Encoding: chunked||", "400", "400", "200 200"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked||0|Host: b||", "400", "400", "200 200"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked||0|X : y||", "400", "400", "200 200"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked||0|X: y| z||", "400", "400", "200 200"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked||0|X: y\nZ: z||", "400", "400", "200 200"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked||0|GET /smuggled HTTP/1.1|Host: a||", "400", "400", "200 200"),
    ("POST PATH HTTP/1.1|Host: a|Transfer-Encoding: chunked||0|\u{1}||", "400", "400", "200 200"),
];

#[rustfmt::skip]
const OPTIONS: &[Probe] = &[
    ("POST PATH HTTP/1.1|Host: a|Expect: 100-continue|Content-Length: 16||JSON", "200 200", "100 200 404", "100 200 200"),
    ("GET PATH HTTP/1.1|Host: a|Expect: 200-ok||",                      "417", "417", "200 200"),
    ("GET PATH HTTP/1.1|Host: a|Expect:||",                             "417", "417", "200 200"),
    ("GET PATH HTTP/1.0|Host: a|Expect: 100-continue||",                "200", "200", "200"),
    ("GET PATH HTTP/1.1|Host: a|Upgrade: h2c|HTTP2-Settings: AAMAAABkAAQAAP__|Connection: Upgrade, HTTP2-Settings||", "200 200", "200 404", "200 200"),
    ("GET PATH HTTP/1.1|Host: a|Upgrade: h2c||",                        "200 200", "200 404", "200 200"),
    ("GET PATH HTTP/1.1|Host: a|Upgrade: websocket||",                  "200 200", "200 404", "200 200"),
    ("POST PATH HTTP/1.1|Host: a|Upgrade: websocket|Connection: Upgrade|Content-Length: 16||JSON", "200 200", "200 404", "200 200"),
    ("GET PATH HTTP/1.1|Host: a|Upgrade: websocket|Connection: Upgrade||", "200", "200", "200 200"),
    ("GET PATH HTTP/1.0|Host: a|Upgrade: websocket|Connection: Upgrade||", "200", "200", "200"),
    ("GET PATH HTTP/1.1|Host: a|TE: gzip, trailers|Connection: TE||",   "200 200", "200 404", "200 200"),
    ("GET PATH HTTP/1.1|Host: a|Trailer: X||",                          "200 200", "200 404", "200 200"),
    ("GET PATH HTTP/1.1|Host: a|Connection: close||",                   "200", "200", "200"),
    ("GET PATH HTTP/1.1|Host: a|Connection: keep-alive, Close||",       "200", "200", "200"),
    ("GET PATH HTTP/1.1|Host: a|Connection: Host||",                    "400", "200 404", "200 200"),
    ("GET PATH HTTP/1.1|Host: a|Connection: X-Forwarded-For||",         "400", "200 404", "200 200"),
    ("GET PATH HTTP/1.1|Host: a|Connection: Content-Length||",          "200 200", "200 404", "200 200"),
];

const MATRIX: [&[Probe]; 7] = [LINES, TARGETS, METHODS, HOSTS, FRAMING, CHUNKS, OPTIONS];

fn probes() -> impl Iterator<Item = &'static Probe> {
    MATRIX.into_iter().flatten()
}

fn bytes(probe: &str, path: &str) -> String {
    probe
        .replace("PATH", path)
        .replace("JSON", JSON)
        .replace('|', "\r\n")
}

/// The statuses of all answers on a connection until it ends.
fn statuses(client: &mut Client) -> String {
    let bytes = client.rest();
    let (mut rest, mut statuses) = (&bytes[..], Vec::new());
    if rest.is_empty() {
        // The empty body of a response without a head.
        return "as 0.9".to_owned();
    }
    while let Some((status, length)) = response(rest) {
        statuses.push(status);
        rest = &rest[length..];
    }
    assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(rest));
    statuses.join(" ")
}

/// The first response's status and length.
fn response(bytes: &[u8]) -> Option<(String, usize)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let status = head.strip_prefix("http/1.1 ")?.get(..3)?.to_owned();
    let length = head.split("content-length: ").nth(1);
    let length = length.and_then(|rest| rest.split("\r\n").next()?.parse::<usize>().ok());
    let length = if head.contains("transfer-encoding: chunked") {
        let end = bytes[end..]
            .windows(5)
            .position(|five| five == b"0\r\n\r\n");
        end? + 5
    } else {
        length.unwrap_or(0)
    };
    Some((status, end + length))
}

/// What is answered to a probe and the request behind it.
fn answers(address: SocketAddr, parts: &[&str]) -> String {
    let mut client = Client::connect(address);
    let (last, first) = parts.split_last().expect("a part");
    for part in first {
        client.send(part);
        // When the one worker has come round twice, it has read the part as it is.
        for _ in 0..2 {
            let mut other = Client::connect(address);
            other.send(format!("GET {QUERY} HTTP/1.0\r\n\r\n"));
            other.rest();
        }
    }
    client.send([*last, NEXT].concat());
    statuses(&mut client)
}

/// Probes that are sent at a time: the gateway lingers for two seconds after many of its refusals.
const AT_A_TIME: usize = 16;

/// The statuses that a probe is to be answered with.
type Expected = fn(&Probe) -> &'static str;

/// Sends every probe, asking for `path`, in one piece, and with its body apart; what is wrong.
fn wrong(gateway: &Gateway, path: &str, expected: Expected) -> Vec<String> {
    let address = gateway.address;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_A_TIME)
            .map(|first| {
                let probes = probes().skip(first).step_by(AT_A_TIME);
                let wrong = move |probe| wrong_of(address, probe, path, expected(probe));
                scope.spawn(move || probes.flat_map(wrong).collect::<Vec<_>>())
            })
            .collect();
        let wrong = threads.into_iter().map(|thread| thread.join().unwrap());
        wrong.flatten().collect()
    })
}

fn wrong_of(address: SocketAddr, probe: &Probe, path: &str, expected: &str) -> Vec<String> {
    let (mut wrong, bytes) = (Vec::new(), bytes(probe.0, path));
    let whole = answers(address, &[&bytes]);
    let head = bytes.find("\r\n\r\n").map_or(bytes.len(), |end| end + 4);
    let (head, body) = bytes.split_at(head);
    if whole != expected {
        wrong.push(format!("{whole:?}, not {expected:?}: {:?}", probe.0));
    }
    if body.is_empty() {
        return wrong;
    }
    let split = answers(address, &[head, body]);
    if split != expected {
        wrong.push(format!("{split:?}, not {expected:?}: split {:?}", probe.0));
    }
    wrong
}

#[test]
fn the_matrix_holds_for_proxied_requests() {
    let cases: [(&str, &str, Expected); 2] = [
        ("", "HTTP/1.1", |probe| probe.1),
        ("protocol = 'http2'", "HTTP/2.0", expected_before_http2),
    ];
    for (protocol, version, expected) in cases {
        let origin = Origin::start();
        let gateway = Gateway::with_peers(&[origin.address], protocol, "");
        let wrong = wrong(&gateway, "/page", expected);
        assert!(wrong.is_empty(), "{protocol}: {}", wrong.join("\n"));
        check_what_passed(&origin, version);
    }
}

/// Few servers of HTTP/2 invite a body, so the gateway does, though it may have come already.
fn expected_before_http2(probe: &Probe) -> &'static str {
    if probe.0.contains("|Expect: 100-continue|Content-Length") {
        "100 200 200"
    } else {
        probe.1
    }
}

/// Checks that all requests that an origin got are well formed, and in this version of HTTP.
#[track_caller]
fn check_what_passed(origin: &Origin, version: &str) {
    for request in origin.requests() {
        let words: Vec<_> = request.line.split(' ').collect();
        assert!(matches!(words[1], "/page" | "/next" | "*"), "{request:?}");
        // A WebSocket is of HTTP/1 whatever its upstream's protocol.
        let is_web_socket = request.values("upgrade") == ["websocket"];
        assert!(words[2] == version || is_web_socket, "{request:?}");
        assert!(matches!(&request.body[..], b"" | b"{\"ip\":\"1.0.0.1\"}"));
        assert_eq!(request.values("host").len(), 1, "{request:?}");
        let length = request.values("content-length");
        assert!(
            length.is_empty() || length == ["16"] || length == ["0"],
            "{request:?}"
        );
        for name in ["te", "trailer", "upgrade", "http2-settings", "connection"] {
            assert!(
                request.values(name).is_empty() || is_web_socket,
                "{request:?}"
            );
        }
    }
}

#[test]
fn the_matrix_holds_for_queries() {
    let gateway = Gateway::start("");
    let wrong = wrong(&gateway, QUERY, |probe| probe.2);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// An absolute target is no upstream's business: it is sent a path, and the target's authority as
/// `Host` (RFC 9112, 3.2.2 and 3.2.4).
#[test]
fn an_absolute_target_is_sent_on_as_a_path() {
    let origin = Origin::start();
    let route = "[[route]]\nhost = 'a'\nprefix = '/'\nupstream = 'default'\n";
    for (engine, routes) in HTTP1_CLIENT_ENGINES
        .into_iter()
        .flat_map(|e| [(e, ""), (e, route)])
    {
        let gateway = engine.with_peers(&[origin.address], "name = 'default'", routes);
        let mut client = gateway.http1_client();
        for (line, expected, host) in [
            ("GET http://A/x?y", "GET /x?y", "A"),
            ("GET HTTP://A:80/x", "GET /x", "A:80"),
            ("GET http://a", "GET /", "a"),
            ("GET http://a?x", "GET /?x", "a"),
            ("OPTIONS http://a", "OPTIONS *", "a"),
            ("OPTIONS http://a/", "OPTIONS /", "a"),
            ("POST http://A/x", "POST /x", "A"),
        ] {
            client.send(format!(
                "{line} HTTP/1.1\r\nX: 1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
            ));
            assert_eq!(client.response().status, 200, "{line} {routes}");
            let sent = origin.last();
            assert_eq!(sent.target(), expected, "{line} {routes}");
            assert_eq!(sent.values("host"), [host], "{line}");
            assert_eq!(
                (&sent.values("x")[..], &sent.body[..]),
                (&["1"][..], &b"abc"[..])
            );
        }
    }
}

const PAGE: &str = "GET /page HTTP/1.1\r\nHost: a\r\n\r\n";

/// Answers that are given without looking at the body read it all the same, or the connection
/// could not go on.
#[test]
fn what_is_answered_here_is_read_to_its_end_first() {
    let body = "x".repeat(50_000);
    let chunked = format!("{:x}\r\n{body}\r\n0\r\nX-Sum: 1\r\n\r\n", body.len());
    let length = format!("Content-Length: {}\r\n", body.len());
    let requests = [
        ("POST /moved", 302),
        ("POST /forbidden", 403),
        ("TRACE /page", 405),
        ("PROPFIND /page", 501),
        ("DELETE /api/ip_query", 405),
        ("GET /api/ip_query?ip=1.0.0.1", 200),
        ("POST /page", 200),
    ];
    for engine in HTTP1_CLIENT_ENGINES {
        let origin = Origin::start();
        let routes = "[[route]]\nupstream = 'default'\n\
                      [[route]]\npath = '/moved'\nredirect = { to = '/elsewhere' }\n\
                      [[route]]\npath = '/forbidden'\nrespond = { status = 403, body = 'no' }\n";
        let gateway = engine.with_peers(&[origin.address], "name = 'default'", routes);
        for (request, status) in requests {
            for (framing, body) in [
                (&length[..], &body),
                ("Transfer-Encoding: chunked\r\n", &chunked),
            ] {
                let mut client = gateway.http1_client();
                let head = format!("{request} HTTP/1.1\r\nHost: a\r\n{framing}\r\n");
                for _ in 0..2 {
                    client.send([&head, body.as_str(), PAGE].concat());
                    assert_eq!(client.response().status, status, "{request} {framing}");
                    assert_eq!(client.response().status, 200, "behind {request} {framing}");
                }
            }
        }
    }
}

#[test]
fn an_upgrade_that_is_refused_ends_the_connection_after_its_answer() {
    let origin = Origin::start();
    let gateway = Gateway::with_peers(&[origin.address], "", "");
    let upgrade = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n";
    for target in ["/page", QUERY] {
        let mut client = gateway.client();
        let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{upgrade}");
        client.send([&head, "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
        let response = client.response();
        assert_eq!(
            (response.status, response.header("connection")),
            (200, Some("close"))
        );
        assert_eq!(client.rest(), b"");
    }
    let lines: Vec<_> = origin.requests().into_iter().map(|r| r.line).collect();
    assert_eq!(lines, ["GET /page HTTP/1.1"]);
}

/// An origin that switches to what nobody asked for gets no tunnel.
#[test]
fn nothing_but_an_agreed_websocket_is_a_tunnel() {
    let [of_http1, of_http2] = HTTP1_UPSTREAM_ENGINES;
    for (engine, headers) in [
        (of_http1, ""),
        (of_http1, "Connection: keep-alive, X-Nothing\r\n"),
        (
            of_http1,
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
        ),
        (of_http1, "Upgrade: websocket\r\n"),
        (of_http2, ""),
    ] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let gateway = engine.with_peers(&[address], "tries = 1", "");
        let peer = std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                peer.read_exact(&mut byte).unwrap();
                head.extend(byte);
            }
            peer.write_all(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                  Upgrade: h2c\r\n\r\n",
            )
            .unwrap();
            let mut rest = Vec::new();
            // Reset or closed.
            let _ = peer.read_to_end(&mut rest);
            (String::from_utf8(head).unwrap().to_lowercase(), rest)
        });
        let mut client = gateway.client();
        assert_eq!(client.get("/page", headers).status, 502, "{headers}");
        if engine.is_http1() {
            client.check_connection_is_over();
        }
        drop(client);
        let (head, rest) = peer.join().unwrap();
        assert!(
            !head.contains("upgrade") && !head.contains("http2"),
            "{head}"
        );
        assert_eq!(rest, b"");
    }
}

/// Bytes that come one by one do not buy more time, whoever reads them.
#[test]
fn a_body_that_drips_is_cut_off() {
    let limits = "[client]\nmin_body_rate = '1m'\nrate_grace = '200ms'\n";
    for engine in ENGINES {
        let origin = Origin::start();
        let gateway = engine.with_peers(&[origin.address], "", limits);
        for path in ["/page", "/api/ip_query"] {
            for framing in ["Content-Length: 1000000\r\n", ""] {
                let mut client = gateway.client();
                client.begin("POST", path, framing);
                // At the default grace period the body would drip for 15 s.
                let mut drips = 0;
                while !client.hears_within(Duration::from_millis(20)) {
                    client.send("x");
                    drips += 1;
                    assert!(drips < 500, "{path} {framing}: still read");
                }
                assert_eq!(client.response().status, 408, "{path} {framing}");
            }
        }
        // A body that comes at once is not slow, however long it is looked at.
        let body = vec![b'x'; 1 << 20];
        let mut client = gateway.client();
        assert_eq!(client.request("POST", "/page", "", &body).status, 200);
        assert_eq!(origin.last().body, body);
    }
}

/// A response that nobody takes is given up, and with it the connection to the peer.
#[test]
fn a_client_that_reads_nothing_is_cut_off() {
    // Nothing else ends it before the default time, a minute, is over.
    let limits = "[client]\nwrite_timeout = '100ms'\nmin_response_rate = 0\n\
                  [access_log]\nflush = '10ms'\n";
    for engine in ENGINES {
        let origin = Origin::start();
        let gateway = engine.with_peers(&[origin.address], "", limits);
        let mut client = gateway.client();
        client.ask("GET", "/large/50000000", "", b"");
        // The line in the log comes when the request is over.
        let is_over = || {
            let log = gateway.log();
            log.iter().any(|line| line.contains("/large/"))
        };
        let start = Instant::now();
        while !is_over() {
            assert!(start.elapsed() < PATIENCE, "it is still sent");
            let mut other = gateway.http1_client();
            assert_eq!(other.get(QUERY, "").status, 200);
        }
        assert_eq!(client.head().status, 200);
        client.wait_for_break();
    }
}

#[test]
fn limits_of_a_head_can_be_set() {
    let limits =
        "[client]\nmax_header_size = '64k'\nmax_headers = 200\nmethods = ['GET', 'REPORT']\n";
    for engine in ENGINES {
        let origin = Origin::start();
        let gateway = engine.with_peers(&[origin.address], "", limits);
        let mut client = gateway.client();
        let long = format!("X: {}\r\n", "x".repeat(60_000));
        let many = "X: 1\r\n".repeat(190);
        for headers in [&long, &many] {
            assert_eq!(client.get("/page", headers).status, 200);
            assert_eq!(client.get(QUERY, headers).status, 200);
        }
        assert_eq!(client.request("REPORT", "/page", "", b"x").status, 200);
        let refused = client.request("POST", "/page", "", b"x");
        assert_eq!(
            (refused.status, refused.header("allow")),
            (405, Some("GET, REPORT"))
        );
        for headers in [&long.repeat(2), &many.repeat(2)] {
            assert_eq!(gateway.client().get("/page", headers).status, 431);
        }
        let log = gateway.stop();
        let rejected = log.iter().filter(|line| line.contains(" 431 "));
        assert_eq!(rejected.count(), 2, "{log:#?}");
    }
}

/// An nginx that proxies to an origin, until it is dropped.
struct Nginx {
    child: Child,
    port: Port,
    _folder: tempfile::TempDir,
}

impl Nginx {
    fn start(origin: SocketAddr) -> Nginx {
        let (port, folder) = (Port::reserve(), tempfile::tempdir().unwrap());
        let path = folder.path().display();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {path}/{kind};"))
            .join("\n");
        let listen = port.address;
        let configuration = format!(
            "daemon off; master_process off; pid {path}/pid; error_log {path}/error.log;
            events {{}}
            http {{
                access_log off;
                {temporary}
                server {{
                    listen {listen};
                    location / {{
                        proxy_pass http://{origin};
                        proxy_http_version 1.1;
                        proxy_set_header Connection \"\";
                    }}
                }}
            }}"
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, configuration).unwrap();
        let child = Command::new("nginx")
            .args(["-c".as_ref(), file.as_os_str()])
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx is installed");
        while std::net::TcpStream::connect(listen).is_err() {
            std::thread::yield_now();
        }
        Nginx {
            child,
            port,
            _folder: folder,
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "needs nginx 1.22"]
fn nginx_does_what_the_matrix_says() {
    let origin = Origin::start();
    let nginx = Nginx::start(origin.address);
    let mut wrong = Vec::new();
    for (probe, _, _, expected) in probes() {
        let answers = answers(nginx.port.address, &[&bytes(probe, "/page")]);
        if answers != *expected {
            wrong.push(format!("{answers:?}, not {expected:?}: {probe:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
