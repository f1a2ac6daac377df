//! Readings of one path: the different ways in which servers interpret it.
//!
//! A route can protect a resource only if no other spelling of the path bypasses the route. So a
//! path is matched decoded, with `.`, `..` and empty segments resolved. The path that is sent is
//! consistent with the path that was matched: it has the client's own segments with their own
//! escapes, without those that were resolved. (nginx sends the client's spelling, with dots, if
//! `proxy_pass` has no path.)
//!
//! Some spellings are ambiguous. Servers disagree about whether `%2F` and `\` separate segments,
//! and whether `//` equals `/`. Rejecting all of them would break clients that rely on them:
//! package registries use `/@scope%2Fname`, image proxies `/fetch/https://host/`. So every reading
//! is matched. Only if two of them lead to different routes is action needed: empty segments are
//! removed from the path that is sent, and other ambiguous paths are rejected. Some servers read
//! `/a;x=1/b` as `/a/b`, so that is one more reading.

use std::borrow::Cow;

use percent_encoding::percent_decode;

use crate::query;

/// All readings of a path.
#[derive(Debug, PartialEq, Eq)]
pub struct PathReadings<'r> {
    /// Path that is matched: `sent`, decoded and resolved, with `%2F` as a separator.
    pub normal: Cow<'r, [u8]>,
    /// Path that is sent: with its own escapes, dots and empty segments resolved.
    pub sent: Cow<'r, [u8]>,
    /// Other readings, which must match the same route as `normal`.
    pub others: Vec<Vec<u8>>,
    /// Reading that keeps empty segments, if the path has any.
    pub literal: Option<Literal<'r>>,
}

/// Reading of a path that keeps its empty segments.
#[derive(Debug, PartialEq, Eq)]
pub struct Literal<'r> {
    /// Path that is matched.
    pub path: Vec<u8>,
    /// Path that is sent.
    pub sent: Cow<'r, [u8]>,
}

impl<'r> PathReadings<'r> {
    /// Reads a path as it was sent. Returns `None` if some servers would truncate it (at a NUL) or
    /// resolve a disguised parent segment (`..;`): only an attacker sends these.
    pub fn read(path: &'r [u8]) -> Option<Self> {
        let normal = query::normalize(path);
        if matches!(normal, Cow::Borrowed(_)) && memchr::memchr2(b'\\', b';', path).is_none() {
            return Some(PathReadings {
                sent: normal.clone(),
                normal,
                others: Vec::new(),
                literal: None,
            });
        }
        let segments: Vec<&[u8]> = path
            .strip_prefix(b"/")?
            .split(|&byte| byte == b'/')
            .collect();
        let decoded: Vec<Cow<[u8]>> = segments.iter().map(|s| percent_decode(s).into()).collect();
        if decoded
            .iter()
            .any(|segment| segment.contains(&0) || is_disguised(segment))
        {
            return None;
        }
        let merged = resolve(&segments, &decoded, Empty::Dropped);
        let sent = join(&merged, path);
        // Matches exactly what is sent.
        let first = normal;
        let normal = match &sent {
            Cow::Borrowed(sent) => query::normalize(sent),
            Cow::Owned(sent) => Cow::Owned(query::normalize(sent).into_owned()),
        };
        let contains = |byte| decoded.iter().any(|segment| segment.contains(&byte));
        let mut others = vec![first.into_owned()];
        if contains(b'/') {
            others.push(read(&merged));
        }
        if contains(b'\\') {
            others.push(with_slashes(path));
        }
        if contains(b';') {
            others.push(without_parameters(&normal));
        }
        others.retain(|other| *other != *normal);
        let has_empty = segments[..segments.len() - 1].iter().any(|s| s.is_empty());
        let literal = has_empty.then(|| {
            let kept = resolve(&segments, &decoded, Empty::Kept);
            Literal {
                path: read(&kept),
                sent: join(&kept, path),
            }
        });
        Some(PathReadings {
            normal,
            sent,
            others,
            literal,
        })
    }
}

/// Returns the normal form of a path for a server to which a backslash is a slash.
fn with_slashes(path: &[u8]) -> Vec<u8> {
    let slash = |byte| if byte == b'\\' { b'/' } else { byte };
    let all: Vec<u8> = percent_decode(path).map(slash).collect();
    normalize_decoded(&all)
}

/// Returns the normal form of a decoded path, in which an escape is literal text.
pub fn normalize_decoded(path: &[u8]) -> Vec<u8> {
    query::normalize(&escape_percent(path)).into_owned()
}

/// Treatment of empty segments.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Empty {
    Dropped,
    Kept,
}

/// Returns `true` for `.;x` and `..;x`: servers that read the text after `;` as a parameter see dot
/// segments.
fn is_disguised(segment: &[u8]) -> bool {
    segment.starts_with(b".;") || segment.starts_with(b"..;")
}

/// Returns the segments after dots are resolved (RFC 3986, 5.2.4). The last one is empty if the
/// path ends in a slash.
fn resolve<'r>(segments: &[&'r [u8]], decoded: &[Cow<[u8]>], empty: Empty) -> Vec<&'r [u8]> {
    let mut resolved = Vec::with_capacity(segments.len());
    for (index, (segment, decoded)) in segments.iter().zip(decoded).enumerate() {
        let is_last = index + 1 == segments.len();
        match &**decoded {
            b"." => {}
            b".." => {
                resolved.pop();
            }
            b"" if empty == Empty::Dropped && !is_last => continue,
            _ => {
                resolved.push(*segment);
                continue;
            }
        }
        if is_last {
            resolved.push(b"");
        }
    }
    resolved
}

/// Joins segments into a decoded path; a `/` within a segment becomes `%2F`.
fn read(segments: &[&[u8]]) -> Vec<u8> {
    let mut path = Vec::new();
    for segment in segments {
        path.push(b'/');
        for byte in percent_decode(segment) {
            match byte {
                b'/' => path.extend_from_slice(b"%2F"),
                _ => path.push(byte),
            }
        }
    }
    path
}

/// Joins segments with their own escapes. Borrows `path` if the result is identical to it.
fn join<'r>(segments: &[&[u8]], path: &'r [u8]) -> Cow<'r, [u8]> {
    let mut joined = Vec::with_capacity(path.len());
    for segment in segments {
        joined.push(b'/');
        joined.extend_from_slice(segment);
    }
    if joined == path {
        Cow::Borrowed(path)
    } else {
        Cow::Owned(joined)
    }
}

/// Returns the decoded path without the parameters after `;`, as some servers read it.
fn without_parameters(path: &[u8]) -> Vec<u8> {
    let segments = path.split(|&byte| byte == b'/').map(|segment| {
        let end = memchr::memchr(b';', segment).unwrap_or(segment.len());
        &segment[..end]
    });
    normalize_decoded(&segments.collect::<Vec<_>>().join(&b'/'))
}

fn escape_percent(text: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(text.len());
    for &byte in text {
        match byte {
            b'%' => escaped.extend_from_slice(b"%25"),
            _ => escaped.push(byte),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the matched path, the sent path and the other readings.
    #[track_caller]
    fn check(path: &str, normal: &str, sent: &str, others: &[&str]) {
        let spelling = PathReadings::read(path.as_bytes()).unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let found: Vec<_> = spelling.others.iter().map(|other| text(other)).collect();
        assert_eq!(text(&spelling.normal), normal, "{path}");
        assert_eq!(text(&spelling.sent), sent, "{path}");
        assert_eq!(found, others, "{path}");
    }

    #[test]
    fn a_plain_path_is_what_it_is() {
        for path in ["/", "/a", "/a/b/", "/a.b/c=d", "/a~b"] {
            check(path, path, path, &[]);
            assert!(matches!(
                PathReadings::read(path.as_bytes()).unwrap().sent,
                Cow::Borrowed(_)
            ));
        }
    }

    #[test]
    fn escapes_are_matched_decoded_and_sent_as_they_are() {
        check("/%61%20b", "/a b", "/%61%20b", &[]);
        check("/100%", "/100%", "/100%", &[]);
        check("/%2561", "/%61", "/%2561", &[]);
    }

    #[test]
    fn dots_are_resolved_in_both() {
        check("/a/../b", "/b", "/b", &[]);
        check("/a/%2e%2E/%62", "/b", "/%62", &[]);
        check("/./a/.", "/a/", "/a/", &[]);
        check("/a/b/..", "/a/", "/a/", &[]);
        check("/../..", "/", "/", &[]);
    }

    #[test]
    fn a_separator_that_is_escaped_is_read_both_ways() {
        check("/a%2Fb", "/a/b", "/a%2Fb", &["/a%2Fb"]);
        check("/a/..%2Fb", "/b", "/a/..%2Fb", &["/a/..%2Fb"]);
        check("/a/x%2f..%2f..%2fb/..", "/a/", "/a/", &["/"]);
        check("/a%2Fb/../c", "/c", "/c", &["/a/c"]);
    }

    #[test]
    fn a_backslash_is_read_both_ways() {
        check("/a\\b", "/a\\b", "/a\\b", &["/a/b"]);
        check("/a/..%5Cb", "/a/..\\b", "/a/..%5Cb", &["/b"]);
        check("/a%255C%5Cb", "/a%5C\\b", "/a%255C%5Cb", &["/a%5C/b"]);
    }

    #[test]
    fn a_parameter_of_a_segment_is_read_both_ways() {
        check("/a.b/c;d", "/a.b/c;d", "/a.b/c;d", &["/a.b/c"]);
        check("/a;x=1/b%3Bc", "/a;x=1/b;c", "/a;x=1/b%3Bc", &["/a/b"]);
    }

    #[test]
    fn empty_segments_have_a_reading_of_their_own() {
        check("//a", "/a", "/a", &[]);
        let literal = PathReadings::read(b"/x/http://h/%61/")
            .unwrap()
            .literal
            .unwrap();
        assert_eq!(literal.path, b"/x/http://h/a/");
        assert_eq!(&*literal.sent, b"/x/http://h/%61/");
        let literal = PathReadings::read(b"/a//../b").unwrap().literal.unwrap();
        assert_eq!(
            (&literal.path[..], &*literal.sent),
            (&b"/a/b"[..], &b"/a/b"[..])
        );
        assert!(PathReadings::read(b"/a/").unwrap().literal.is_none());
    }

    #[test]
    fn what_hides_the_rest_of_a_path_is_refused() {
        for path in [
            "/a%00",
            "/%00/b",
            "/a/..;/b",
            "/a/..;x=1/b",
            "/%2e;/b",
            "/a/..%3b/b",
        ] {
            assert_eq!(PathReadings::read(path.as_bytes()), None, "{path}");
        }
    }

    proptest::proptest! {
        /// The path that is sent matches as the original did, so no route is bypassed.
        #[test]
        fn what_is_sent_reads_as_what_was_matched(path in "/([ab./%\\\\]|%2[eEfF]|%5c|//){0,12}") {
            if let Some(spelling) = PathReadings::read(path.as_bytes()) {
                let again = PathReadings::read(&spelling.sent).unwrap();
                proptest::prop_assert_eq!(&again.sent, &spelling.sent);
                proptest::prop_assert_eq!(&again.normal, &spelling.normal);
            }
        }
    }
}
