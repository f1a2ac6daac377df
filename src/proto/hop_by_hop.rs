//! Hop-by-hop header fields, which belong to one connection and are not passed on (RFC 9110,
//! 7.6.1).

use http::HeaderName;
use smallvec::SmallVec;

use super::headers::Headers;

/// Maximum number of fields that `Connection` of a request may name.
const LIMIT: usize = 10;

/// Fields that `Connection` of a request must not name, because upstreams rely on them.
const PROTECTED: [&str; 4] = [
    "host",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];

/// Fields that frame a message. The gateway writes its own, even if `Connection` names them.
const FRAMING: [&str; 2] = ["content-length", "transfer-encoding"];

/// Error of a `Connection` that names a protected field, too many fields, or an invalid name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a Connection header that names what it may not")]
pub struct BadConnection;

/// Names in `Connection`, in lower case, without those that are never passed on.
pub type Names = SmallVec<[HeaderName; 2]>;

/// Returns `true` for a field of a request about its connection or its framing. `Expect` is not one
/// of them: the upstream answers it.
#[must_use]
pub fn is_hop_by_hop(name: &str) -> bool {
    // By their length, which excludes most names at once.
    let known: &[&str] = match name.len() {
        2 => &["te"],
        7 => &["trailer", "upgrade"],
        10 => &["connection", "keep-alive"],
        14 => &["content-length", "http2-settings"],
        16 => &["proxy-connection"],
        17 => &["transfer-encoding"],
        18 => &["proxy-authenticate"],
        19 => &["proxy-authorization"],
        _ => &[],
    };
    known.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Fields of a connection, which HTTP/2 forbids (RFC 9113, 8.2.2).
pub const CONNECTION_SPECIFIC: [&str; 5] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
];

/// Returns `true` for a field of a response about its connection or its transfer coding.
#[must_use]
pub fn is_hop_by_hop_in_response(name: &str) -> bool {
    let known: &[&str] = match name.len() {
        2 => &["te"],
        7 => &["upgrade"],
        10 => &["connection", "keep-alive"],
        16 => &["proxy-connection"],
        17 => &["transfer-encoding"],
        _ => &[],
    };
    known.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Returns the fields that the `Connection` of a request names.
///
/// # Errors
/// If it names a protected field, too many fields, or an invalid name.
pub fn named_by_request(headers: &impl Headers) -> Result<Names, BadConnection> {
    let mut names = Names::new();
    for (number, option) in options(headers).enumerate() {
        if number == LIMIT {
            return Err(BadConnection);
        }
        if is_known(option, is_hop_by_hop) {
            continue;
        }
        let name = HeaderName::from_bytes(option).map_err(|_| BadConnection)?;
        if PROTECTED.contains(&name.as_str()) {
            return Err(BadConnection);
        }
        names.push(name);
    }
    Ok(names)
}

/// Returns the fields that the `Connection` of a response names, except framing fields. Invalid
/// names are skipped.
#[must_use]
pub fn named_by_response(headers: &impl Headers) -> Names {
    let options = options(headers).filter(|option| !is_known(option, is_hop_by_hop_in_response));
    let names = options.filter_map(|option| HeaderName::from_bytes(option).ok());
    names
        .filter(|name| !FRAMING.contains(&name.as_str()))
        .collect()
}

/// Returns `true` if an option is the name of a field that is not passed on in any case.
fn is_known(option: &[u8], is_one: fn(&str) -> bool) -> bool {
    std::str::from_utf8(option).is_ok_and(is_one)
}

fn options(headers: &impl Headers) -> impl Iterator<Item = &[u8]> {
    let lines = headers.lines("connection");
    let options = lines.flat_map(|line| line.split(|&byte| byte == b','));
    options
        .map(<[u8]>::trim_ascii)
        .filter(|option| !option.is_empty())
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        let lines = lines.iter().map(|line| {
            let value = HeaderValue::from_str(line).unwrap();
            (http::header::CONNECTION, value)
        });
        lines.collect()
    }

    #[track_caller]
    fn check(lines: &[&str], expected: Result<&[&str], BadConnection>) {
        let names = named_by_request(&headers(lines));
        let names = names.as_ref().map(|names| {
            let names = names.iter().map(HeaderName::as_str);
            names.collect::<Vec<_>>()
        });
        assert_eq!(names.as_deref().map_err(|error| **error), expected);
    }

    #[test]
    fn names_of_all_lines_are_found() {
        check(&[], Ok(&[]));
        check(&["keep-alive", "X-A"], Ok(&["x-a"]));
        check(&["close, X-A", " ,x-b ,"], Ok(&["close", "x-a", "x-b"]));
    }

    #[test]
    fn what_upstreams_rely_on_cannot_be_named() {
        for line in [
            "Host",
            "x-a, X-Forwarded-For",
            "x-forwarded-proto",
            "a b",
            "\"",
        ] {
            check(&[line], Err(BadConnection));
        }
        check(&[&["x-a"; 11].join(",")], Err(BadConnection));
    }

    #[test]
    fn a_response_cannot_take_its_framing_away() {
        let names = named_by_response(&headers(&["X-A, Content-Length, transfer-encoding, a b"]));
        assert_eq!(names[..], ["x-a"]);
    }
}
