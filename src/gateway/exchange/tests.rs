//! The engine between a scripted client and a scripted peer, both of HTTP/1, without a socket.

use bytes::BytesMut;
use pingora::Result;
use pingora::protocols::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::client::{Answer, Client, Http1Client};
use super::peer::Http1Peer;
use super::relay::{Relay, Relayed, Replay, Timeouts};
use super::timer::Timer;
use super::{decide, locate};
use crate::gateway::Gateway;
use crate::gateway::context::Context;
use crate::gateway::failure::status_of;
use crate::gateway::request::client_ip::PeerAddr;
use crate::gateway::request::request_view::RequestView;
use crate::gateway::testing::gateway;
use crate::proto::h1::head::{Limits, Parse, read, slots};
use crate::proto::h1::stored_head::StoredHead;

/// Configuration of an upstream whose peer is never connected to.
const UPSTREAM: &str = "[[upstream]]\npeers = ['127.0.0.1:1']\n";

/// Room between the engine and either side.
const ROOM: usize = 1 << 20;

/// End of a try, and what either side has received.
struct Ended {
    result: Result<Relayed>,
    status: Option<u16>,
    body_bytes: usize,
    /// `true` if the client's connection can carry another request.
    keep: bool,
    /// `true` if the client can be given another response.
    is_open: bool,
    peer_is_reusable: bool,
    to_peer: String,
    to_client: String,
    /// The same, of which not all may be text.
    bytes: Vec<u8>,
}

/// A message of one side: sent at once, and then the side closes its sending direction or not.
#[derive(Clone, Copy)]
enum Script<'s> {
    Open(&'s str),
    Closed(&'s str),
}

impl Script<'_> {
    async fn play(self, side: &mut DuplexStream) {
        let (Script::Open(text) | Script::Closed(text)) = self;
        side.write_all(text.as_bytes()).await.unwrap();
        if let Script::Closed(_) = self {
            side.shutdown().await.unwrap();
        }
    }
}

/// The head at the start of a request, and what is behind it.
fn stored(request: &str) -> (StoredHead, &str) {
    let (mut slots, mut stored) = (slots(), StoredHead::default());
    let limits = Limits::any(request.len());
    let Parse::Complete(head) = read(request.as_bytes(), limits, &mut slots) else {
        panic!("no head: {request:?}");
    };
    assert!(stored.store(&head, request.as_bytes()));
    let length = stored.length();
    (stored, &request[length..])
}

/// The state of a request whose first try begins.
fn first_try(gateway: &Gateway, request: &RequestView<StoredHead>) -> Context {
    let mut ctx = Context::new(gateway);
    let peer = PeerAddr::new("1.0.0.7:4000".parse().unwrap());
    let database = gateway.database().load();
    locate(&mut ctx, peer, request.headers, &database);
    let decided = decide(gateway, request, &mut ctx).unwrap();
    let super::Outcome::Forward(pool) = decided else {
        panic!("{decided:?}")
    };
    ctx.attempts.forward_to(pool);
    ctx.choose_peer(request.headers).unwrap();
    ctx
}

/// Sends `request` to a peer that says `response`, in configuration `config`. What is `behind` the
/// request's head in it has been read with the head.
async fn run(config: &str, request: &str, rest: Script<'_>, response: Script<'_>) -> Ended {
    let gateway = gateway(&format!("{UPSTREAM}{config}"));
    let (head, behind) = stored(request);
    let view = RequestView::of_stored(&head, None, None);
    let mut ctx = first_try(&gateway, &view);
    let (near_client, mut client) = duplex(ROOM);
    let (near_peer, mut peer) = duplex(ROOM);
    rest.play(&mut client).await;
    response.play(&mut peer).await;
    let mut near_client: Stream = Box::new(near_client);
    let mut read_buf = BytesMut::from(behind);
    let config = ctx.settings.client.clone();
    let answer = Answer::new(false);
    let mut side = Http1Client::new(
        &mut near_client,
        &mut read_buf,
        &head,
        &config,
        true,
        answer,
    );
    let limits = ctx.attempts.peer().unwrap().0.response_limits();
    let mut near_peer = Http1Peer::new(Box::new(near_peer), limits);
    let mut replay = Replay::new(head.method().is_idempotent());
    let timeouts = Timeouts::new(None, None);
    let sleep = std::pin::pin!(tokio::time::sleep(std::time::Duration::from_secs(3600)));
    let result = async {
        let mut relay = Relay::new(
            &mut ctx,
            view,
            &mut side,
            &mut near_peer,
            timeouts,
            gateway.drain(),
            &mut replay,
        )?;
        relay.run(&mut Timer::new(sleep)).await
    }
    .await;
    let (status, body_bytes) = (side.answer().status, side.answer().body_bytes);
    let keep = side.keeps_connection();
    let is_open = side.take_back();
    let is_whole = matches!(result, Ok(Relayed::Whole));
    let peer_is_reusable = near_peer.into_reusable().is_some() && is_whole;
    drop(near_client);
    let (mut to_peer, mut bytes) = (String::new(), Vec::new());
    peer.read_to_string(&mut to_peer).await.unwrap();
    client.read_to_end(&mut bytes).await.unwrap();
    Ended {
        result,
        status: status.map(|status| status.as_u16()),
        body_bytes,
        keep,
        is_open,
        peer_is_reusable,
        to_peer,
        to_client: String::from_utf8_lossy(&bytes).into_owned(),
        bytes,
    }
}

/// The head and the body of a message.
fn parts(message: &str) -> (Vec<String>, &str) {
    let (head, body) = message.split_once("\r\n\r\n").expect("a head");
    (head.split("\r\n").map(str::to_owned).collect(), body)
}

/// A response to GET as the client gets it: its framing, its body, and whether the peer's connection
/// can be used again.
async fn passed(response: Script<'_>) -> (String, String, bool) {
    let ended = run(
        "",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        Script::Open(""),
        response,
    )
    .await;
    ended.result.unwrap();
    let (head, body) = parts(&ended.to_client);
    let framing = head.iter().filter(|line| {
        let line = line.to_ascii_lowercase();
        line.starts_with("content-length") || line.starts_with("transfer-encoding")
    });
    let framing: Vec<_> = framing.cloned().collect();
    (framing.join(", "), body.to_owned(), ended.peer_is_reusable)
}

#[track_caller]
fn check_passed(found: &(String, String, bool), framing: &str, body: &str, reusable: bool) {
    assert_eq!((&*found.0, &*found.1, found.2), (framing, body, reusable));
}

#[tokio::test]
async fn every_framing_of_a_response_is_written_anew() {
    let head = "HTTP/1.1 200 OK\r\n";
    let found = passed(Script::Open(&format!(
        "{head}content-length: 005\r\n\r\nhello"
    )))
    .await;
    check_passed(&found, "Content-Length: 5", "hello", true);
    let chunks = "transfer-encoding: Chunked\r\n\r\n3;a=b\r\nhel\r\n02\r\nlo\r\n0\r\n\r\n";
    let found = passed(Script::Open(&format!("{head}{chunks}"))).await;
    check_passed(
        &found,
        "Transfer-Encoding: chunked",
        "5\r\nhello\r\n0\r\n\r\n",
        true,
    );
    let found = passed(Script::Closed(&format!("{head}\r\nhello"))).await;
    check_passed(
        &found,
        "Transfer-Encoding: chunked",
        "5\r\nhello\r\n0\r\n\r\n",
        false,
    );
    let found = passed(Script::Closed(&format!("{head}\r\n"))).await;
    check_passed(&found, "Transfer-Encoding: chunked", "0\r\n\r\n", false);
    let found = passed(Script::Open("HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n")).await;
    check_passed(&found, "", "", true);
}

#[tokio::test]
async fn bytes_behind_a_response_cost_its_connection() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let found = passed(Script::Open(&format!("{head}HTTP/1.1 200 OK\r\n"))).await;
    check_passed(&found, "Content-Length: 2", "ok", false);
    let found = passed(Script::Open("HTTP/1.1 304 No\r\nETag: \"a\"\r\n\r\nx")).await;
    check_passed(&found, "", "", false);
}

#[tokio::test]
async fn trailers_follow_the_last_chunk() {
    let head = "HTTP/1.1 200 OK\r\nTrailer: X-A\r\nTransfer-Encoding: chunked\r\n\r\n";
    let end = "2\r\nok\r\n0\r\nX-A: 1\r\nSet-Cookie: a=b\r\n\r\n";
    let ended = run(
        "",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        Script::Open(""),
        Script::Open(&format!("{head}{end}")),
    )
    .await;
    let (head, body) = parts(&ended.to_client);
    assert!(head.contains(&"Trailer: X-A".to_owned()), "{head:?}");
    assert_eq!(body, "2\r\nok\r\n0\r\nX-A: 1\r\n\r\n");
    assert!(ended.peer_is_reusable);
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_no_chunks_and_no_hints() {
    let response = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\
                    Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-A: 1\r\n\r\n";
    let request = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    let ended = run("", request, Script::Open(""), Script::Open(response)).await;
    let (head, body) = parts(&ended.to_client);
    assert_eq!(head[0], "HTTP/1.1 200 OK");
    assert!(head.contains(&"Connection: close".to_owned()), "{head:?}");
    assert!(!ended.to_client.contains("chunked"));
    assert_eq!(body, "ok");
    assert!(!ended.keep && ended.peer_is_reusable);
    // HTTP/1.1, which the peer is spoken to in, needs a host.
    assert!(
        ended.to_peer.contains("\r\nHost: 127.0.0.1:1\r\n"),
        "{}",
        ended.to_peer
    );
}

#[tokio::test]
async fn interim_responses_come_before_the_final_one() {
    let response = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\
                    Connection: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let ended = run("", request, Script::Open(""), Script::Open(response)).await;
    let start = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n";
    assert!(ended.to_client.starts_with(start), "{}", ended.to_client);
    assert_eq!(ended.status, Some(200));
}

#[tokio::test]
async fn a_response_to_head_has_a_length_and_no_body() {
    let response = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    let request = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
    let ended = run("", request, Script::Open(""), Script::Open(response)).await;
    ended.result.unwrap();
    let (head, body) = parts(&ended.to_client);
    assert!(head.contains(&"Content-Length: 5".to_owned()), "{head:?}");
    assert_eq!((body, ended.body_bytes), ("", 0));
    assert!(ended.peer_is_reusable);
}

/// The status for a response that breaks off or is none, and whether the client has seen any of it.
async fn broken(response: Script<'_>) -> (u16, bool) {
    let request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    let ended = run("", request, Script::Open(""), response).await;
    let error = ended.result.unwrap_err();
    (status_of(&error), !ended.to_client.is_empty())
}

#[tokio::test]
async fn what_is_no_response_is_not_passed_on() {
    for response in [
        "",
        "HTTP/1.1 200 OK\r\nA: b\r\n",
        "HTTP/1.1 200 OK\nA: b\n\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "hello\r\n\r\n",
    ] {
        assert_eq!(
            broken(Script::Closed(response)).await,
            (502, false),
            "{response:?}"
        );
    }
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nx",
    ] {
        assert_eq!(
            broken(Script::Closed(response)).await.0,
            502,
            "{response:?}"
        );
    }
}

/// Returns all that a peer receives of a request.
async fn sent(config: &str, request: &str, rest: &str) -> String {
    let response = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let ended = run(config, request, Script::Open(rest), Script::Open(response)).await;
    ended.result.unwrap();
    ended.to_peer
}

#[tokio::test]
async fn a_request_says_what_is_known_and_nothing_that_is_for_this_hop() {
    let request = "GET /a?b HTTP/1.1\r\nHost: a.test\r\nX_Real_IP: 9.9.9.9\r\nX-Geo-City: x\r\n\
                   Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTE: gzip\r\n\
                   Proxy-Authorization: x\r\nX-Stays: a\r\nUser-Agent: t\r\n\r\n";
    let sent = sent("", request, "").await;
    let (head, body) = parts(&sent);
    assert_eq!(head[0], "GET /a?b HTTP/1.1");
    assert_eq!(body, "");
    for line in [
        "Host: a.test",
        "X-Stays: a",
        "User-Agent: t",
        "X-Real-IP: 1.0.0.7",
        "X-Forwarded-For: 1.0.0.7",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Host: a.test",
        "X-Geo-City: %E7%A6%8F%E5%B7%9E",
    ] {
        assert_eq!(
            head.iter().filter(|found| *found == line).count(),
            1,
            "{line} in {head:?}"
        );
    }
    for gone in [
        "9.9.9.9",
        "X-Hop",
        "Keep-Alive",
        "TE:",
        "Proxy-",
        "Connection",
    ] {
        assert!(!sent.contains(gone), "{gone} in {sent}");
    }
}

#[tokio::test]
async fn every_framing_of_a_request_is_written_anew() {
    let start = "PUT / HTTP/1.1\r\nHost: a\r\n";
    let length = format!("{start}Content-Length: 0005\r\n\r\n");
    for split in 0..=5 {
        let (here, rest) = "hello".split_at(split);
        let sent = sent("", &format!("{length}{here}"), rest).await;
        let (head, body) = parts(&sent);
        assert!(head.contains(&"Content-Length: 5".to_owned()), "{head:?}");
        assert_eq!(body, "hello");
    }
    let chunks = "3;a=b\r\nhel\r\n002\r\nlo\r\n0\r\nX-A: 1\r\nX-Real-IP: 9.9.9.9\r\n\r\n";
    let head = format!("{start}Transfer-Encoding: chunked\r\n\r\n");
    for split in 0..=chunks.len() {
        let (here, rest) = chunks.split_at(split);
        let sent = sent("", &format!("{head}{here}"), rest).await;
        let (_, mut body) = parts(&sent);
        let (mut content, mut trailers) = (String::new(), String::new());
        while let Some((size, rest)) = body.split_once("\r\n") {
            let size = usize::from_str_radix(size, 16).unwrap();
            if size == 0 {
                trailers.push_str(rest);
                break;
            }
            content.push_str(&rest[..size]);
            body = rest[size..].strip_prefix("\r\n").unwrap();
        }
        assert_eq!(
            (&*content, &*trailers),
            ("hello", "X-A: 1\r\n\r\n"),
            "{split}"
        );
    }
}

#[tokio::test]
async fn a_body_that_is_wrong_is_the_client_s_fault() {
    let start = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (here, rest, status) in [
        ("x", Script::Open(""), 400),
        ("", Script::Open("5\r\nhelloX"), 400),
        ("", Script::Closed("5\r\nhel"), 499),
        ("5\r\nhello\r\n", Script::Open("5\r\nworld\r\n"), 413),
    ] {
        let config = "[client]\nmax_body_size = 8\n";
        let ended = run(config, &format!("{start}{here}"), rest, Script::Open("")).await;
        assert_eq!(status_of(&ended.result.unwrap_err()), status, "{here:?}");
    }
}

#[tokio::test]
async fn a_response_before_the_end_of_the_request_ends_both_connections() {
    let request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello";
    let response = "HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno";
    let ended = run("", request, Script::Open(""), Script::Open(response)).await;
    assert!(ended.to_client.ends_with("\r\n\r\nno"));
    assert!(ended.result.unwrap() == Relayed::Early && !ended.peer_is_reusable);
}

#[tokio::test]
async fn a_response_that_fails_before_it_was_sent_can_be_replaced() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for (response, is_open, status) in [
        (format!("{head}xyz\r\n"), true, 502),
        (
            format!("HTTP/1.1 103 Hints\r\n\r\n{head}xyz\r\n"),
            true,
            502,
        ),
        (format!("{head}1\r\nx\r\n"), false, 502),
    ] {
        let ended = run("", request, Script::Open(""), Script::Closed(&response)).await;
        assert_eq!(ended.is_open, is_open, "{response:?}");
        assert_eq!(
            status_of(&ended.result.unwrap_err()),
            status,
            "{response:?}"
        );
        assert_eq!(ended.to_client.is_empty(), is_open, "{response:?}");
    }
}

#[tokio::test]
async fn a_compressed_body_has_chunks_and_no_length() {
    let body = "x".repeat(2000);
    let response = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2000\r\n\r\n{body}"
    );
    let request = "GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: zstd\r\n\r\n";
    let config = "[compression]\nenabled = true\n";
    let ended = run(config, request, Script::Open(""), Script::Open(&response)).await;
    let ended = ended.bytes;
    let end = ended
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap()
        + 4;
    let head = String::from_utf8(ended[..end].to_vec()).unwrap();
    assert!(
        head.contains("Content-Encoding: zstd\r\n") && head.contains("chunked"),
        "{head}"
    );
    assert!(!head.contains("Content-Length"), "{head}");
    let mut chunks = ended[end..].to_vec();
    let mut scanner = crate::proto::h1::chunked::Scanner::new();
    let decoded = scanner.decode(&mut chunks).unwrap();
    assert!(scanner.is_complete());
    let plain = zstd::decode_all(&chunks[..decoded.content]).unwrap();
    assert_eq!(plain, body.as_bytes());
}
