//! What a line says, and how: nginx's `main` format with ours behind it, or JSON.

use std::cell::RefCell;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use serde_json::json;

use crate::config::model::LogFormat;

/// A request as it is logged. Text is what the client sent, raw: the formats escape it.
#[derive(Debug, Clone)]
pub struct Entry<'r> {
    /// When the request ended.
    pub time: SystemTime,
    /// The client, see [`client_ip`](crate::gateway::client_ip).
    pub client: IpAddr,
    /// ISO 3166-1 alpha-2; empty if not known.
    pub country: &'r str,
    /// The header `Authorization`; only the name in basic authentication is shown.
    pub authorization: &'r [u8],
    /// As sent; empty if nothing was.
    pub method: &'r [u8],
    /// As sent, with the query.
    pub target: &'r [u8],
    /// `HTTP/1.1` and the like; empty for a request that was not understood.
    pub protocol: &'r str,
    /// 499 if the client left before there was one.
    pub status: u16,
    /// Bytes of the body that were sent.
    pub body_bytes: usize,
    /// The header `Referer`.
    pub referer: &'r [u8],
    /// The header `User-Agent`.
    pub user_agent: &'r [u8],
    /// The header `X-Forwarded-For` as it came.
    pub forwarded_for: &'r [u8],
    /// The peers that the request was tried on, in this order; empty if it was answered here.
    pub upstream: &'r [SocketAddr],
    /// From the request's head to the end of the response.
    pub request_time: Duration,
    /// From the choice of the first peer to the end of the response.
    pub upstream_time: Option<Duration>,
}

impl Entry<'_> {
    /// Appends the line to `out`.
    pub(super) fn write(&self, format: LogFormat, out: &mut Vec<u8>) {
        match format {
            LogFormat::Main => self.write_main(out),
            LogFormat::Json => self.write_json(out),
        }
        out.push(b'\n');
    }

    /// No `format!` here: a line is written for every request, and its machinery would cost more
    /// than all else that is done for a query.
    fn write_main(&self, out: &mut Vec<u8>) {
        write_address(self.client, out);
        out.extend_from_slice(b" - ");
        escape_or_dash(&user(self.authorization), out);
        out.extend_from_slice(b" [");
        with_times(self.time, |times| {
            out.extend_from_slice(times.local.as_bytes());
        });
        out.extend_from_slice(b"] \"");
        escape_or_dash(self.method, out);
        for part in [self.target, self.protocol.as_bytes()] {
            if !part.is_empty() {
                out.push(b' ');
                escape(part, out);
            }
        }
        out.extend_from_slice(b"\" ");
        write_number(u64::from(self.status), out);
        out.push(b' ');
        write_number(self.body_bytes as u64, out);
        for header in [self.referer, self.user_agent, self.forwarded_for] {
            out.extend_from_slice(b" \"");
            escape_or_dash(header, out);
            out.push(b'"');
        }
        out.extend_from_slice(b" \"");
        if self.upstream.is_empty() {
            out.push(b'-');
        }
        for (index, peer) in self.upstream.iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(b", ");
            }
            write_peer(*peer, out);
        }
        out.extend_from_slice(b"\" ");
        write_seconds(self.request_time, out);
        out.push(b' ');
        match self.upstream_time {
            Some(time) => write_seconds(time, out),
            None => out.push(b'-'),
        }
        out.push(b' ');
        escape_or_dash(self.country.as_bytes(), out);
    }

    fn write_json(&self, out: &mut Vec<u8>) {
        let text = |bytes| String::from_utf8_lossy(bytes);
        let seconds = |time: Duration| time.as_millis() as f64 / 1000.0;
        let upstream: Vec<_> = self.upstream.iter().map(SocketAddr::to_string).collect();
        let user = user(self.authorization);
        let line = json!({
            "time": with_times(self.time, |times| times.iso.clone()),
            "remote_addr": self.client.to_string(),
            "remote_user": text(&user),
            "country": self.country,
            "method": text(self.method),
            "uri": text(self.target),
            "protocol": self.protocol,
            "status": self.status,
            "body_bytes_sent": self.body_bytes,
            "http_referer": text(self.referer),
            "http_user_agent": text(self.user_agent),
            "http_x_forwarded_for": text(self.forwarded_for),
            "upstream_addr": upstream,
            "request_time": seconds(self.request_time),
            "upstream_response_time": self.upstream_time.map(seconds),
        });
        serde_json::to_writer(out, &line).expect("a line is always JSON");
    }
}

/// The name in `Authorization: Basic`, which the log shows as nginx does; empty otherwise.
pub(in crate::gateway) fn user(authorization: &[u8]) -> Vec<u8> {
    let scheme = authorization.get(..6);
    if !scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic ")) {
        return Vec::new();
    }
    let encoded = authorization[6..].trim_ascii();
    let decoded = base64::engine::general_purpose::STANDARD
        .decode(encoded)
        .unwrap_or_default();
    decoded
        .split(|&byte| byte == b':')
        .next()
        .unwrap_or_default()
        .to_vec()
}

/// Seconds with three decimals.
fn write_seconds(time: Duration, out: &mut Vec<u8>) {
    write_number(time.as_secs(), out);
    let millis = time.subsec_millis();
    let digit = |value: u32| b'0' + (value % 10) as u8;
    out.extend_from_slice(&[b'.', digit(millis / 100), digit(millis / 10), digit(millis)]);
}

fn write_number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn write_address(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => {
            for (index, octet) in address.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                write_number(u64::from(octet), out);
            }
        }
        // Writing to a Vec cannot fail.
        IpAddr::V6(_) => drop(write!(out, "{address}")),
    }
}

fn write_peer(peer: SocketAddr, out: &mut Vec<u8>) {
    match peer {
        SocketAddr::V4(peer) => {
            write_address(IpAddr::V4(*peer.ip()), out);
            out.push(b':');
            write_number(u64::from(peer.port()), out);
        }
        SocketAddr::V6(_) => drop(write!(out, "{peer}")),
    }
}

fn escape_or_dash(text: &[u8], out: &mut Vec<u8>) {
    if text.is_empty() {
        out.push(b'-');
    } else {
        escape(text, out);
    }
}

/// As nginx: `"`, `\` and everything that is not printable ASCII as `\xHH`, so that no client can
/// end a field or a line.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in text {
        match byte {
            b'"' | b'\\' | 0..=0x1f | 0x7f.. => {
                let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
                out.extend_from_slice(&[b'\\', b'x', high, low]);
            }
            _ => out.push(byte),
        }
    }
}

/// One second in the two forms that lines use. Formatting one costs more than a whole line does.
struct Times {
    second: u64,
    /// `23/Nov/2026:12:50:44 +0800`, local time.
    local: String,
    /// `2026-11-23T12:50:44+08:00`, local time.
    iso: String,
}

fn with_times<T>(time: SystemTime, read: impl FnOnce(&Times) -> T) -> T {
    thread_local! {
        static LAST: RefCell<Option<Times>> = const { RefCell::new(None) };
    }
    let second = time
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs());
    LAST.with_borrow_mut(|last| match last {
        Some(times) if times.second == second => read(times),
        _ => read(last.insert(format_times(second))),
    })
}

fn format_times(second: u64) -> Times {
    let timestamp = i64::try_from(second)
        .ok()
        .and_then(|second| jiff::Timestamp::from_second(second).ok());
    let zoned = jiff::Zoned::new(timestamp.unwrap_or_default(), jiff::tz::TimeZone::system());
    Times {
        second,
        local: zoned.strftime("%d/%b/%Y:%H:%M:%S %z").to_string(),
        iso: zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn entry() -> Entry<'static> {
        Entry {
            time: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            client: IpAddr::from([1, 2, 3, 4]),
            country: "CN",
            authorization: b"",
            method: b"GET",
            target: b"/a?b=c",
            protocol: "HTTP/1.1",
            status: 200,
            body_bytes: 612,
            referer: b"",
            user_agent: b"curl/8",
            forwarded_for: b"",
            upstream: &[],
            request_time: Duration::from_micros(1_234_567),
            upstream_time: None,
        }
    }

    fn line(entry: &Entry, format: LogFormat) -> String {
        let mut out = Vec::new();
        entry.write(format, &mut out);
        String::from_utf8(out).unwrap()
    }

    /// The line without its time, which depends on the zone of the machine.
    #[track_caller]
    fn check_main(entry: &Entry, before: &str, after: &str) {
        let line = line(entry, LogFormat::Main);
        let (start, rest) = line.split_once(" [").unwrap();
        let (time, end) = rest.split_once("] ").unwrap();
        assert_eq!((start, end), (before, after));
        assert_eq!(time.len(), "23/Nov/2026:12:50:44 +0800".len(), "{time}");
    }

    #[test]
    fn main_is_nginx_with_upstream_times_and_country_behind() {
        check_main(
            &entry(),
            "1.2.3.4 - -",
            "\"GET /a?b=c HTTP/1.1\" 200 612 \"-\" \"curl/8\" \"-\" \"-\" 1.234 - CN\n",
        );
        let peers = [
            "127.0.0.1:1".parse().unwrap(),
            "127.0.0.1:2".parse().unwrap(),
        ];
        let proxied = Entry {
            authorization: b"Basic am9lOng=",
            forwarded_for: b"6.6.6.6",
            upstream: &peers,
            upstream_time: Some(Duration::from_millis(7)),
            country: "",
            ..entry()
        };
        check_main(
            &proxied,
            "1.2.3.4 - joe",
            "\"GET /a?b=c HTTP/1.1\" 200 612 \"-\" \"curl/8\" \"6.6.6.6\" \
             \"127.0.0.1:1, 127.0.0.1:2\" 1.234 0.007 -\n",
        );
    }

    #[test]
    fn addresses_and_times_are_written_as_they_are_everywhere() {
        let mut out = Vec::new();
        for text in ["0.0.0.0", "255.255.255.255", "10.20.30.40", "2001:db8::1"] {
            out.clear();
            write_address(text.parse().unwrap(), &mut out);
            assert_eq!(out, text.as_bytes());
        }
        for text in ["127.0.0.1:65535", "[2001:db8::1]:80"] {
            out.clear();
            write_peer(text.parse().unwrap(), &mut out);
            assert_eq!(out, text.as_bytes());
        }
        for (millis, text) in [
            (0, "0.000"),
            (7, "0.007"),
            (61_045, "61.045"),
            (999, "0.999"),
        ] {
            out.clear();
            write_seconds(Duration::from_millis(millis), &mut out);
            assert_eq!(out, text.as_bytes());
        }
    }

    #[test]
    fn no_text_of_a_client_ends_a_field_or_a_line() {
        let hostile = Entry {
            target: b"/\"\r\n\\\xff",
            user_agent: "a\tb\u{7f}中".as_bytes(),
            ..entry()
        };
        check_main(
            &hostile,
            "1.2.3.4 - -",
            "\"GET /\\x22\\x0D\\x0A\\x5C\\xFF HTTP/1.1\" 200 612 \"-\" \
             \"a\\x09b\\x7F\\xE4\\xB8\\xAD\" \"-\" \"-\" 1.234 - CN\n",
        );
        let json = line(&hostile, LogFormat::Json);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["uri"], "/\"\r\n\\\u{fffd}");
        assert_eq!(json.matches('\n').count(), 1);
    }

    #[test]
    fn json_has_the_same_in_types() {
        let peers = ["127.0.0.1:1".parse().unwrap()];
        let proxied = Entry {
            upstream: &peers,
            upstream_time: Some(Duration::from_millis(7)),
            ..entry()
        };
        let value: serde_json::Value =
            serde_json::from_str(&line(&proxied, LogFormat::Json)).unwrap();
        assert_eq!(value["status"], 200);
        assert_eq!(value["request_time"], 1.234);
        assert_eq!(value["upstream_response_time"], 0.007);
        assert_eq!(value["upstream_addr"], serde_json::json!(["127.0.0.1:1"]));
        assert_eq!(value["country"], "CN");
        let time = value["time"].as_str().unwrap();
        assert_eq!(
            time.parse::<jiff::Timestamp>().unwrap().as_second(),
            1_700_000_000
        );
    }

    #[test]
    fn the_user_is_the_name_of_basic_authentication() {
        assert_eq!(user(b"Basic am9lOnNlY3JldA=="), b"joe");
        assert_eq!(user(b"basic am9l"), b"joe");
        for other in [&b""[..], b"Bearer abc", b"Basic", b"Basic !!"] {
            assert_eq!(user(other), b"", "{other:?}");
        }
    }
}
