//! The recording origin as a FastCGI server.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;

use crate::origin::{self, Received};

/// Answers the requests of a connection.
pub fn serve(
    stream: &mut BufReader<TcpStream>,
    name: &str,
    keep: &dyn Fn(&Received),
) -> io::Result<()> {
    loop {
        let (received, keeps) = read(stream, name)?;
        keep(&received);
        let asked = received.header("HTTP_X_TEST").unwrap_or_default();
        let kind = asked.split(' ').nth(1).unwrap_or("text");
        let body = format!("{name} {}\n", received.body.len());
        let host = received.header("HTTP_HOST").unwrap_or_default();
        let (status, more, body) = origin::output(kind, host, body);
        let text = format!("Status: {status} Status\r\n{more}\r\n{body}");
        let mut bytes = Vec::new();
        for part in text.as_bytes().chunks(30_000) {
            bytes.extend(record(6, part));
        }
        bytes.extend(record(6, b""));
        bytes.extend(record(3, &[0; 8]));
        stream.get_mut().write_all(&bytes)?;
        if !keeps {
            return Ok(());
        }
    }
}

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[1, kind, 0, 1, high, low, 0, 0], content].concat()
}

/// Reads one request, and if its connection is to be kept.
fn read(stream: &mut impl Read, name: &str) -> io::Result<(Received, bool)> {
    let mut received = Received {
        upstream: name.to_owned(),
        ..Received::default()
    };
    let (mut params, mut keeps) = (Vec::new(), false);
    loop {
        let mut head = [0; 8];
        stream.read_exact(&mut head)?;
        let mut content = vec![0; usize::from(u16::from_be_bytes([head[4], head[5]]))];
        stream.read_exact(&mut content)?;
        stream.read_exact(&mut vec![0; usize::from(head[6])])?;
        match head[1] {
            1 => keeps = content.get(2) == Some(&1),
            4 => params.extend(content),
            5 if content.is_empty() => break,
            5 => received.body.extend(content),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
    // The order of parameters means nothing.
    let params: BTreeMap<String, String> = pairs(&params).into_iter().collect();
    received.headers = params.into_iter().collect();
    let (method, script) = ("REQUEST_METHOD", "SCRIPT_FILENAME");
    let text = |name| received.header(name).unwrap_or_default().to_owned();
    received.line = format!("{} {}", text(method), text(script));
    Ok((received, keeps))
}

fn pairs(mut bytes: &[u8]) -> Vec<(String, String)> {
    fn length(bytes: &mut &[u8]) -> usize {
        let (taken, length) = match bytes[0] {
            short @ 0..=127 => (1, usize::from(short)),
            first => {
                let bytes = [first & 127, bytes[1], bytes[2], bytes[3]];
                (4, u32::from_be_bytes(bytes) as usize)
            }
        };
        *bytes = &bytes[taken..];
        length
    }
    let mut pairs = Vec::new();
    while !bytes.is_empty() {
        let (name, value) = (length(&mut bytes), length(&mut bytes));
        let text = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect();
        pairs.push((text(&bytes[..name]), text(&bytes[name..name + value])));
        bytes = &bytes[name + value..];
    }
    pairs
}
