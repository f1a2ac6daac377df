//! What a request must be, in whatever version of HTTP it comes.
//!
//! The lane holds requests of HTTP/1 to these rules while it reads them; those of HTTP/2 are looked
//! at when pingora has read them, by [`refusal`]. What two readers could take in two ways is refused,
//! also where a standard would let us choose: an attack needs two readings, and no client does.

use std::net::Ipv6Addr;

use http::{HeaderMap, Version, header};
use pingora::http::RequestHeader;

use super::client_ip::HeaderLines;
use crate::config::model::{Client, is_spelling_of};

/// How a request says what it wants (RFC 9112, 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'t> {
    /// A path, with a query or without.
    Origin,
    /// The whole URL.
    Absolute(Absolute<'t>),
    /// The server itself.
    Asterisk,
}

/// The parts of a target that is a whole URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Absolute<'t> {
    /// Whether its scheme is `https`; otherwise it is `http`.
    pub is_https: bool,
    /// Host and port.
    pub authority: &'t [u8],
    /// Path and query; empty if it has neither.
    pub path: &'t [u8],
}

/// The form of a target; `None` if it is none that could be served: a tunnel's, one of another
/// scheme, or one with bytes that no target has.
pub fn target<'t>(method: &str, target: &'t [u8]) -> Option<Target<'t>> {
    match target {
        [b'/', ..] => is_clean(target).then_some(Target::Origin),
        b"*" => (method == "OPTIONS").then_some(Target::Asterisk),
        _ => {
            let (is_https, rest) = after_scheme(target)?;
            let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?'));
            let (authority, path) = rest.split_at(end.unwrap_or(rest.len()));
            let absolute = Absolute {
                is_https,
                authority,
                path,
            };
            (is_authority(authority) && is_clean(path)).then_some(Target::Absolute(absolute))
        }
    }
}

/// Whether a target's scheme is `https`, and what stands behind it; `None` for any other scheme.
fn after_scheme(target: &[u8]) -> Option<(bool, &[u8])> {
    let after = |scheme: &[u8]| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    };
    let clear = after(b"http://").map(|rest| (false, rest));
    clear.or_else(|| Some((true, after(b"https://")?)))
}

/// Whether a path and query have only bytes that they may have, and none that some servers take for
/// another: a fragment, `\` as `/`, an escaped NUL as the end. A few that no URL has are let pass,
/// as far as pingora can read them: what it cannot read would be a request without an answer.
fn is_clean(target: &[u8]) -> bool {
    let is_plain = |&byte: &u8| {
        matches!(byte, b'!'..=b'~')
            && !matches!(byte, b'"' | b'#' | b'%' | b'<' | b'>' | b'\\' | b'`')
    };
    target.iter().all(is_plain) || {
        let query = memchr::memchr(b'?', target).unwrap_or(target.len());
        let (path, query) = target.split_at(query);
        let is_visible = |byte| matches!(byte, b'!'..=b'~') && !matches!(byte, b'#' | b'<' | b'>');
        path.iter()
            .all(|&byte| is_visible(byte) && !matches!(byte, b'\\' | b'`'))
            && query.iter().all(|&byte| is_visible(byte) && byte != b'"')
            && !path.windows(3).any(|three| three == b"%00")
    }
}

/// Whether this is the name or address of a host, with a port or without. Stricter than RFC 3986,
/// which also takes what no name in DNS has.
pub fn is_authority(text: &[u8]) -> bool {
    let (is_host, port) = if let Some(rest) = text.strip_prefix(b"[") {
        let Some(end) = rest.iter().position(|&byte| byte == b']') else {
            return false;
        };
        let address = std::str::from_utf8(&rest[..end]).ok();
        let address = address.and_then(|address| address.parse::<Ipv6Addr>().ok());
        (address.is_some(), &rest[end + 1..])
    } else {
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
        let end = text.iter().position(|byte| !is_name(byte));
        let (host, port) = text.split_at(end.unwrap_or(text.len()));
        (has_labels(host), port)
    };
    is_host && (port.is_empty() || is_port(port))
}

/// Whether a name has a label between all of its dots. One dot may stand at its end: the name is
/// written from the root of DNS then.
pub fn has_labels(name: &[u8]) -> bool {
    let name = name.strip_suffix(b".").unwrap_or(name);
    name.split(|&byte| byte == b'.')
        .all(|label| !label.is_empty())
}

/// Whether two authorities name one host and port: case makes no difference, nor does a port that
/// is the default of the scheme (RFC 9110, 4.2.3).
pub fn is_same_authority(one: &[u8], other: &[u8], is_https: bool) -> bool {
    let default: &[u8] = if is_https { b":443" } else { b":80" };
    let bare =
        |text: &[u8]| -> usize { text.strip_suffix(default).map_or(text.len(), <[u8]>::len) };
    one[..bare(one)].eq_ignore_ascii_case(&other[..bare(other)])
}

fn is_port(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b":").unwrap_or_default();
    let number = digits.iter().try_fold(0_u32, |number, digit| {
        digit
            .is_ascii_digit()
            .then(|| number.saturating_mul(10) + u32::from(digit - b'0'))
    });
    (1..=5).contains(&digits.len()) && number.is_some_and(|number| number <= 65_535)
}

/// Whether a request asks, as RFC 6455 has it, for its connection to become a `WebSocket`. It is the
/// one protocol that connections may change to; a request for any other is a request like all
/// others, for it may be ignored (RFC 9110, 7.8), and what would change to HTTP/2 would escape from
/// all that is looked at here.
pub fn asks_for_websocket(method: &str, is_1_1: bool, headers: &impl HeaderLines) -> bool {
    let mut protocols = headers.lines("upgrade");
    let protocol = protocols.next();
    is_1_1
        && method == "GET"
        && protocols.next().is_none()
        && protocol.is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
        && has_option(headers, "upgrade")
        && headers.lines("transfer-encoding").next().is_none()
        && headers.lines("content-length").all(|length| length == b"0")
}

/// Whether `Connection` lists an option.
fn has_option(headers: &impl HeaderLines, name: &str) -> bool {
    let mut options = headers
        .lines("connection")
        .flat_map(|line| line.split(|&byte| byte == b','));
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
}

/// Whether this is what may be expected of a server (RFC 9110, 10.1.1).
pub fn is_expectation(value: &[u8]) -> bool {
    value.eq_ignore_ascii_case(b"100-continue")
}

/// Whether a header's name, in any case, has the letters of one that decides where a message ends,
/// whom it is for or what becomes of its connection, and is not that name: `Content_Length`,
/// `Transfer--Encoding`, `Host.`. There are servers that read names without regard to what stands
/// between the letters, and so would read another message than we do.
pub fn is_look_alike(name: &str) -> bool {
    let Some(first) = name.bytes().find(u8::is_ascii_alphanumeric) else {
        return false;
    };
    // Most names end here, or at their second letter.
    let known: &[&str] = match first | 0x20 {
        b'c' => &["content-length", "connection"],
        b't' => &["transfer-encoding", "te", "trailer"],
        b'h' => &["host"],
        b'u' => &["upgrade"],
        b'e' => &["expect"],
        _ => &[],
    };
    let is_another =
        |known: &&str| is_spelling_of(name, known) && !name.eq_ignore_ascii_case(known);
    known.iter().any(is_another)
}

/// The status that refuses a request of HTTP/2, if there is something wrong with it.
pub fn refusal(request: &RequestHeader, client: &Client) -> Option<u16> {
    let headers = &request.headers;
    // As HTTP/2 counts (RFC 9113, 6.5.2).
    let size =
        |name: &http::HeaderName, value: &http::HeaderValue| name.as_str().len() + value.len() + 32;
    let sizes = headers.iter().map(|(name, value)| size(name, value));
    let size = sizes.sum::<usize>() + request.raw_path().len();
    if headers.len() > client.max_headers || size > client.max_header_size {
        return Some(431);
    }
    if request.method == http::Method::CONNECT {
        return Some(405);
    }
    let form = target(request.method.as_str(), request.raw_path());
    if !matches!(form, Some(Target::Origin | Target::Asterisk))
        || !has_known_scheme(request)
        || !has_one_authority(request)
        || !is_framed_once(headers)
        || headers.keys().any(|name| is_look_alike(name.as_str()))
        || headers.values().any(has_space_around)
        || CONNECTION_SPECIFIC
            .iter()
            .any(|name| headers.contains_key(*name))
    {
        return Some(400);
    }
    let mut expectations = headers.lines("expect");
    expectations
        .any(|value| !is_expectation(value))
        .then_some(417)
}

/// Fields that HTTP/2 has no room for (RFC 9113, 8.2.2).
pub const CONNECTION_SPECIFIC: [&str; 5] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
];

/// `:scheme` is `http` or `https`. It need not be the connection's own: a proxy in front of us may
/// have ended TLS. Nothing reads it but this; upstreams are told what the connection is.
fn has_known_scheme(request: &RequestHeader) -> bool {
    let scheme = request.uri.scheme_str();
    let is_known = |scheme: &str| {
        ["http", "https"]
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known))
    };
    scheme.is_none_or(is_known)
}

/// Whether a value begins or ends with a space or a tab, which HTTP/1 would not take for part of it
/// (RFC 9113, 8.2.1).
fn has_space_around(value: &http::HeaderValue) -> bool {
    let value = value.as_bytes();
    value.trim_ascii().len() < value.len()
}

/// `:authority` and `Host` are two places for one thing.
fn has_one_authority(request: &RequestHeader) -> bool {
    let authority = request.uri.authority();
    let authority = authority.map(|authority| authority.as_str().as_bytes());
    let mut hosts = request.headers.lines("host");
    let (host, more) = (hosts.next(), hosts.next());
    let agree = host.is_none() || authority.is_none() || host == authority;
    more.is_none() && agree && authority.or(host).is_some_and(is_authority)
}

fn is_framed_once(headers: &HeaderMap) -> bool {
    let mut lengths = headers.lines("content-length");
    let (length, more) = (lengths.next(), lengths.next());
    more.is_none()
        && length.is_none_or(|length| !length.is_empty() && length.iter().all(u8::is_ascii_digit))
}

/// Makes a request that was let pass one that has a single meaning to all that come after: an upgrade
/// to anything but a `WebSocket` is not asked for, and a length has no zeros in front. Whether a
/// `WebSocket` is asked for.
pub fn settle(request: &mut RequestHeader) -> bool {
    settle_length(request);
    let upgrades = request.headers.contains_key(header::UPGRADE);
    let is_1_1 = request.version == Version::HTTP_11;
    let is_websocket =
        upgrades && asks_for_websocket(request.method.as_str(), is_1_1, &request.headers);
    if upgrades && !is_websocket {
        request.remove_header(&header::UPGRADE);
    }
    is_websocket
}

/// `0010` is ten to us and may be eight to others.
fn settle_length(request: &mut RequestHeader) {
    let length = request.headers.get(header::CONTENT_LENGTH);
    let Some([b'0', rest @ ..]) = length.map(http::HeaderValue::as_bytes) else {
        return;
    };
    let zeros = rest.iter().take_while(|&&byte| byte == b'0').count();
    let digits = if zeros == rest.len() {
        // Of nothing but zeros one stays.
        &b"0"[..]
    } else {
        &rest[zeros..]
    };
    if let Ok(length) = http::HeaderValue::from_bytes(digits) {
        // It replaces a line, so there is room.
        let _ = request.insert_header(header::CONTENT_LENGTH, length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, parse};

    #[track_caller]
    fn check_target(method: &str, text: &str, expected: Option<Target>) {
        assert_eq!(
            target(method, text.as_bytes()),
            expected,
            "{method} {text:?}"
        );
    }

    #[test]
    fn a_target_has_one_of_three_forms() {
        for path in [
            "/",
            "/a/b?c=d",
            "/?",
            "//a",
            "/%e4%bd%a0?%00\\",
            "/a|b{c}\"^?`|^",
            "/http://b/",
            "/a?b=http://c/@",
        ] {
            check_target("GET", path, Some(Target::Origin));
        }
        for (text, is_https, authority, path) in [
            ("http://a", false, "a", ""),
            ("HTTP://a:80/b", false, "a:80", "/b"),
            ("https://[::1]:8443/b?c", true, "[::1]:8443", "/b?c"),
            ("http://a?b", false, "a", "?b"),
        ] {
            let absolute = Absolute {
                is_https,
                authority: authority.as_bytes(),
                path: path.as_bytes(),
            };
            check_target("GET", text, Some(Target::Absolute(absolute)));
        }
        check_target("OPTIONS", "*", Some(Target::Asterisk));
        check_target("GET", "*", None);
    }

    #[test]
    fn other_targets_are_none() {
        for text in [
            "",
            "a",
            "a:80",
            "**",
            "*/",
            "?a",
            "/a#b",
            "/#",
            "/a b",
            "/\t",
            "/\0",
            "/\u{7f}",
            "/\u{e9}",
            "/a\\b",
            "/a%00b",
            "/<a>",
            "/a`b",
            "/?a=<b",
            "/?a=\"b\"",
            "http://a/<b>",
            "http:/a",
            "http:a",
            "http://",
            "http:///a",
            "http://a@b/",
            "http://a\\b/",
            "http://a#b",
            "ftp://a/",
            "javascript://a/",
        ] {
            check_target("GET", text, None);
        }
    }

    proptest::proptest! {
        /// Or it would be answered by nobody.
        #[test]
        fn what_is_a_target_can_be_read_by_pingora(text in "(http://a)?/[!-~]{0,4}(\\?[!-~]{0,4})?") {
            let is_target = target("GET", text.as_bytes()).is_some();
            let read = RequestHeader::build("GET", text.as_bytes(), None);
            proptest::prop_assert!(!is_target || read.is_ok());
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        for text in [
            "a",
            "a.b-c_d.",
            "a:80",
            "a:0",
            "a:65535",
            "1.2.3.4",
            "1.2.3.4:80",
            "[::1]",
            "[2001:db8::1]:443",
            "xn--fiqs8s",
        ] {
            assert!(is_authority(text.as_bytes()), "{text}");
        }
        for text in [
            "",
            ":80",
            "a:",
            "a:x",
            "a:+80",
            "a:65536",
            "a:000080",
            "a:80:80",
            "a b",
            "a\t",
            "a@b",
            "u:p@b",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            "a,b",
            "a%2eb",
            "a\"b",
            "::1",
            "[::1",
            "[::1]x",
            "[a]",
            "[fe80::1%eth0]",
            "[]",
            "\u{4e2d}",
            ".",
            "..",
            ".a",
            "a..",
            "a..b",
            "a..:80",
            ".:80",
        ] {
            assert!(!is_authority(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn authorities_agree_without_regard_to_case_and_default_port() {
        for (one, other, is_https, expected) in [
            ("a", "a", false, true),
            ("a", "A:80", false, true),
            ("a:80", "A:80", false, true),
            ("a:443", "a", true, true),
            ("[::1]:80", "[::1]", false, true),
            ("a:443", "a", false, false),
            ("a:80", "a", true, false),
            ("a:8080", "a", false, false),
            ("a", "b", false, false),
            ("a.", "a", false, false),
        ] {
            let same = |a: &str, b: &str| is_same_authority(a.as_bytes(), b.as_bytes(), is_https);
            assert_eq!(same(one, other), expected, "{one} {other}");
            assert_eq!(same(other, one), expected, "{other} {one}");
        }
    }

    #[test]
    fn names_with_the_letters_of_framing_are_look_alikes() {
        for name in [
            "content_length",
            "Content.Length",
            "ContentLength",
            "content-length-",
            "Transfer---Encoding",
            "transfer_-encoding",
            "TRANSFER~ENCODING",
            "Ho_st",
            "host.",
            "_host",
            "T-E",
            "Connec-tion",
            "Up_Grade",
            "ex|pect",
            "tr-ailer",
        ] {
            assert!(is_look_alike(name), "{name}");
        }
        for name in [
            "Content-Length",
            "transfer-encoding",
            "HOST",
            "te",
            "connection",
            "content-type",
            "content-lengths",
            "x-host",
            "hosts",
            "tea",
            "user-agent",
            "cookie",
            "_",
            "-.-",
            "",
        ] {
            assert!(!is_look_alike(name), "{name}");
        }
    }

    #[test]
    fn a_length_is_passed_on_in_its_one_form() {
        for (length, expected) in [
            ("5", "5"),
            ("0", "0"),
            ("0000005", "5"),
            ("000", "0"),
            ("010", "10"),
        ] {
            let mut request = request("POST", "/", &[("Content-Length", length)]);
            settle(&mut request);
            let found: Vec<_> = request.headers.get_all("content-length").iter().collect();
            assert_eq!(found, [expected], "{length}");
        }
    }

    fn request(method: &str, target: &str, lines: &[(&str, &str)]) -> RequestHeader {
        let mut request = RequestHeader::build(method, target.as_bytes(), None).unwrap();
        for (name, value) in lines {
            request.append_header((*name).to_owned(), *value).unwrap();
        }
        request
    }

    /// Header lines in one text, such as `a: b, c: d`.
    fn lines(text: &str) -> Vec<(&str, &str)> {
        let lines = text.split("; ").filter(|line| !line.is_empty());
        lines.map(|line| line.split_once(": ").unwrap()).collect()
    }

    #[test]
    fn only_a_websocket_is_an_upgrade() {
        for (method, text, expected) in [
            ("GET", "upgrade: websocket; connection: upgrade", true),
            (
                "GET",
                "upgrade: WebSocket; connection: keep-alive, Upgrade",
                true,
            ),
            (
                "GET",
                "upgrade: websocket; connection: upgrade; content-length: 0",
                true,
            ),
            ("GET", "upgrade: websocket", false),
            ("GET", "upgrade: websocket; connection: close", false),
            ("POST", "upgrade: websocket; connection: upgrade", false),
            (
                "GET",
                "upgrade: websocket; connection: upgrade; content-length: 1",
                false,
            ),
            (
                "GET",
                "upgrade: websocket; connection: upgrade; transfer-encoding: chunked",
                false,
            ),
            (
                "GET",
                "upgrade: h2c; connection: upgrade, http2-settings",
                false,
            ),
            ("GET", "upgrade: websocket, h2c; connection: upgrade", false),
            (
                "GET",
                "upgrade: websocket; upgrade: h2c; connection: upgrade",
                false,
            ),
            ("GET", "connection: upgrade", false),
        ] {
            let mut request = request(method, "/", &lines(text));
            request.set_version(Version::HTTP_11);
            assert_eq!(
                asks_for_websocket(method, true, &request.headers),
                expected,
                "{method} {text}"
            );
            assert!(
                !asks_for_websocket(method, false, &request.headers),
                "{text}"
            );
            assert_eq!(settle(&mut request), expected, "{text}");
            assert_eq!(request.headers.contains_key("upgrade"), expected, "{text}");
        }
    }

    /// What is said to a request of HTTP/2 with an authority of `a`, and lines in one text.
    #[track_caller]
    fn check(method: &str, path: &str, text: &str, expected: Option<u16>) {
        let uri = if path.starts_with('/') {
            format!("https://a{path}")
        } else {
            path.to_owned()
        };
        let builder = http::Request::builder()
            .method(method)
            .version(Version::HTTP_2);
        let request = lines(text)
            .into_iter()
            .fold(builder.uri(uri), |request, (name, value)| {
                request.header(name, value)
            });
        let request = RequestHeader::from(request.body(()).unwrap().into_parts().0);
        let configuration = "[client]\nmax_headers = 8\nmax_header_size = '1k'\n";
        let config = parse(configuration, "test", &Overrides::default()).unwrap();
        assert_eq!(
            refusal(&request, &config.client),
            expected,
            "{method} {path} {text}"
        );
    }

    #[test]
    fn http_2_is_held_to_the_same_rules() {
        check("GET", "/", "", None);
        check(
            "GET",
            "/",
            "host: a; content-length: 5; expect: 100-continue; te: trailers",
            None,
        );
        check("CONNECT", "/", "", Some(405));
        for text in [
            "host: b",
            "host: a; host: a",
            "host: a; host: b",
            "connection: close",
            "transfer-encoding: chunked",
            "upgrade: websocket",
            "keep-alive: 5",
            "content-length: 5; content-length: 5",
            "content-length: +5",
            "content-length: 5,5",
            "content_length: 5",
            "transfer_encoding: chunked",
            "transfer.encoding: chunked",
            "transfer---encoding: chunked",
            "ho_st: a",
            "x:  y",
            "x: y ",
            "x: \ty",
        ] {
            check("GET", "/", text, Some(400));
        }
        check("GET", "/a%00", "", Some(400));
        check("GET", "*", "host: a", Some(400));
        check("OPTIONS", "*", "host: a", None);
        check("GET", "/", "expect: 200-ok", Some(417));
        check("GET", "/", &["x: y"; 8].join("; "), None);
        check("GET", "/", &["x: y"; 9].join("; "), Some(431));
        check("GET", "/", &format!("x: {}", "y".repeat(900)), None);
        check("GET", "/", &format!("x: {}", "y".repeat(1000)), Some(431));
        check("GET", &format!("/{}", "y".repeat(1024)), "", Some(431));
    }

    #[test]
    fn http_2_needs_an_authority_that_is_one() {
        for (uri, expected) in [
            ("https://a/", None),
            ("https://a:443/", None),
            ("http://a/", None),
            ("HTTPS://a/", None),
            ("ftp://a/", Some(400)),
            ("https://a..b/", Some(400)),
            ("https://.a/", Some(400)),
            ("https://a./", None),
            ("https://u@a/", Some(400)),
            ("/", Some(400)),
        ] {
            let request = http::Request::builder().version(Version::HTTP_2).uri(uri);
            let request = RequestHeader::from(request.body(()).unwrap().into_parts().0);
            let config = parse("", "test", &Overrides::default()).unwrap();
            assert_eq!(refusal(&request, &config.client), expected, "{uri}");
        }
    }
}
