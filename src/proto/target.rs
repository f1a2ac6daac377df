//! Request targets (RFC 9112, 3.2).

use super::authority::is_authority;

/// Form of a request target (RFC 9112, 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'t> {
    /// A path, with or without a query.
    Origin,
    /// The whole URL.
    Absolute(Absolute<'t>),
    /// The server itself.
    Asterisk,
}

/// Parts of an absolute target, which is a whole URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Absolute<'t> {
    /// `true` if the scheme is `https`, `false` if it is `http`.
    pub is_https: bool,
    /// Host and port.
    pub authority: &'t [u8],
    /// Path and query; empty if it has neither.
    pub path: &'t [u8],
}

/// Parses a target. Returns `None` if it cannot be served: it asks for a tunnel, has another
/// scheme, or has bytes that no target may have.
#[must_use]
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

/// Splits the scheme off a target. Returns `true` for `https`, `false` for `http`, and the rest;
/// `None` for any other scheme.
fn after_scheme(target: &[u8]) -> Option<(bool, &[u8])> {
    let after = |scheme: &[u8]| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    };
    let clear = after(b"http://").map(|rest| (false, rest));
    clear.or_else(|| Some((true, after(b"https://")?)))
}

/// Returns `true` if a path and query have only valid bytes, and none that some servers read
/// differently: a fragment, `\` as `/`, an escaped NUL as the end. A few bytes that are invalid in
/// a URL are allowed if pingora can parse them: a request that it cannot parse would get no
/// response.
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
