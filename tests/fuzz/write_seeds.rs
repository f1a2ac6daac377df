//! Writes the seed corpus: for every target its format's file, and for `read` all of them; for the
//! targets of HTTP some messages.

mod seeds;

use std::path::Path;

const MESSAGES: [(&str, &[&[u8]]); 4] = [
    (
        "request_head",
        &[
            b"GET /a?b HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nhi",
            b"POST http://a:80/b HTTP/1.1\r\nHost: A\r\nTransfer-Encoding: chunked\r\n\
              Connection: close, X-A\r\nExpect: 100-continue\r\n\r\n",
            b"GET /ws HTTP/1.1\r\nHost: [::1]:80\r\nConnection: Upgrade\r\n\
              Upgrade: websocket\r\n\r\n",
            b"OPTIONS * HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        ],
    ),
    (
        "response_head",
        &[
            b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\nConnection: close\r\nX-A : 1\r\n\r\nok",
            b"HTTP/1.0 304 \r\nTransfer-Encoding: chunked\r\nTE: gzip\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n",
            b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        ],
    ),
    (
        "chunks",
        &[
            b"\x035;a=\"b\"\r\nhello\r\n0\r\nX-A: 1\r\n\r\n",
            b"\x011\r\nx\r\n00\r\nAge: 2\r\n\r\nGET",
        ],
    ),
    ("rewrite", &[b"\x01a\r\x02b\n\x00\x01x\n\x01\x02y\n\x02\x00\n\x03\x02"]),
];

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let write = |target: &str, name: &str, bytes: &[u8]| {
        let folder = corpus.join(target);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(name), bytes)
    };
    for seed in seeds::all() {
        for target in ["read", seed.format] {
            write(target, seed.name, &seed.bytes)?;
        }
    }
    for (target, messages) in MESSAGES {
        for (number, message) in messages.iter().enumerate() {
            write(target, &format!("message_{number}"), message)?;
        }
    }
    Ok(())
}
