//! Strict check of the bytes of a response head that pingora has parsed.
//!
//! pingora's parser is lenient: it drops a `Content-Length` beside a `Transfer-Encoding`, accepts a
//! folded line as part of a value, and ends a line at a bare LF. Each of these allows a second way
//! to read a head, and an attacker who can put one into a response can have its body taken for
//! another response. So the bytes are checked once more, and such a head is an error of the
//! upstream.
//!
//! `lane::duplex` checks every HTTP/1 response. The HTTP/1 engine has a strict parser of its own,
//! [`proto::h1::response_head`](crate::proto::h1::response_head). pingora's proxy, which serves
//! only WebSocket upgrades, does not expose the bytes, so they are not checked.
//!
//! White space between a name and its colon is no error, because a proxy must remove it (RFC 9112,
//! 5.1), and pingora does. It is an error only in a framing field.

use super::response_head::BadHead;

const CONTENT_LENGTH: &str = "content-length";
const TRANSFER_ENCODING: &str = "transfer-encoding";

/// Checks a head from its status line to its empty line.
///
/// # Errors
/// If the head can be read in two ways.
pub fn check(head: &[u8]) -> Result<(), BadHead> {
    let mut lines = lines(head).skip_while(|line| matches!(line, Ok([])));
    let status = lines.next().transpose()?.unwrap_or_default();
    let (mut lengths, mut codings) = (false, false);
    for line in lines {
        let line = line?;
        match line.first() {
            None => break,
            Some(b' ' | b'\t') => return Err(BadHead::FoldedLine),
            Some(_) => {}
        }
        let (name, value) = split(line)?;
        if value.contains(&b'\0') {
            return Err(BadHead::Nul(name.to_owned()));
        }
        match framing(name)? {
            Some(CONTENT_LENGTH) => lengths = true,
            Some(_) => codings = true,
            None => {}
        }
    }
    if lengths && codings && can_have_body(status) {
        return Err(BadHead::TwoFramings);
    }
    Ok(())
}

/// Iterates over the lines, without their ends.
fn lines(head: &[u8]) -> impl Iterator<Item = Result<&[u8], BadHead>> {
    let mut rest = head;
    std::iter::from_fn(move || {
        let end = memchr::memchr2(b'\r', b'\n', rest)?;
        let line = &rest[..end];
        let Some(behind) = rest[end..].strip_prefix(b"\r\n") else {
            rest = b"";
            return Some(Err(BadHead::LineEnd));
        };
        rest = behind;
        Some(Ok(line))
    })
}

/// Splits a line into the name, with white space before the colon, and the value.
fn split(line: &[u8]) -> Result<(&str, &[u8]), BadHead> {
    let bad = || BadHead::Name(String::from_utf8_lossy(line).into_owned());
    let colon = memchr::memchr(b':', line).ok_or_else(bad)?;
    let name = std::str::from_utf8(&line[..colon]).map_err(|_| bad())?;
    let bare = name.trim_end_matches([' ', '\t']);
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if bare.is_empty() || !bare.bytes().all(is_token) {
        return Err(BadHead::Name(name.to_owned()));
    }
    Ok((name, &line[colon + 1..]))
}

/// Returns the framing field with this name, if it is one. Look-alikes of these names are rejected
/// in [`response_head`](super::response_head), as are those of HTTP/2.
fn framing(name: &str) -> Result<Option<&'static str>, BadHead> {
    let bare = name.trim_end_matches([' ', '\t']);
    let mut known = [CONTENT_LENGTH, TRANSFER_ENCODING].into_iter();
    let known = known.find(|known| bare.eq_ignore_ascii_case(known));
    if known.is_some() && bare != name {
        return Err(BadHead::LookAlike(name.to_owned()));
    }
    Ok(known)
}

/// Returns `true` if the status in a line such as `HTTP/1.1 200 OK` allows a body. Without a body,
/// framing fields have no effect.
fn can_have_body(status_line: &[u8]) -> bool {
    let status = status_line.split(|&byte| byte == b' ').nth(1);
    !matches!(status, Some([b'1', ..] | b"204" | b"304"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_lines(lines: &str, expected: &Result<(), BadHead>) {
        for start in [
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.0 404 Not Found\r\n",
            "\r\nHTTP/1.1 500 \r\n",
        ] {
            let head = format!("{start}{lines}\r\n");
            assert_eq!(check(head.as_bytes()), *expected, "{head:?}");
        }
    }

    #[test]
    fn plain_heads_are_right() {
        for lines in [
            "",
            "Content-Length: 5\r\n",
            "content-length:5\r\nX-A:\r\nX-B: \r\n",
            "TRANSFER-ENCODING: chunked\r\nDate: Fri, 27 Nov 2026 11:55:01 GMT\r\n",
            "Content-Language: de\r\nContent-Location: /a:b\r\nTrailer: x\r\nTE-X: y\r\n",
            "X-A: a\tb \u{e9}\r\n!#$%&'*+-.^_`|~09azAZ: x\r\n",
            "Content-Length: 2\r\nContent-Length: 2\r\n",
        ] {
            check_lines(lines, &Ok(()));
        }
    }

    #[test]
    fn a_message_has_one_framing() {
        for lines in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "transfer-encoding: identity\r\nX: y\r\ncontent-length: 0\r\n",
        ] {
            check_lines(lines, &Err(BadHead::TwoFramings));
            for status in ["103 Early Hints", "204 No Content", "304 Not Modified"] {
                let head = format!("HTTP/1.1 {status}\r\n{lines}\r\n");
                assert_eq!(check(head.as_bytes()), Ok(()), "{head:?}");
            }
        }
    }

    #[test]
    fn no_space_follows_a_name_that_frames() {
        for name in ["Content-Length ", "transfer-encoding\t"] {
            let bad = BadHead::LookAlike(name.to_owned());
            check_lines(&format!("X: y\r\n{name}: 5\r\n"), &Err(bad));
        }
        // pingora removes the space.
        check_lines("X-A : 5\r\n", &Ok(()));
    }

    #[test]
    fn names_are_tokens() {
        for name in ["", " ", "b@d name", "a b", "\u{e9}", "a\0", "(x)"] {
            // A line that begins with a space continues the line before it.
            let bad = if name == " " {
                BadHead::FoldedLine
            } else {
                BadHead::Name(name.to_owned())
            };
            check_lines(&format!("X: y\r\n{name}: 5\r\n"), &Err(bad));
        }
        let bad = BadHead::Name("nocolon".to_owned());
        check_lines("nocolon\r\n", &Err(bad));
        check_lines("X-A: a\0b\r\n", &Err(BadHead::Nul("X-A".to_owned())));
    }

    #[test]
    fn lines_end_in_crlf_and_are_not_folded() {
        for lines in [
            "X-A: a\n",
            "X-A: a\rX-B: b\r\n",
            "X-A: a\n\r\n",
            "X-A: a\r\r\n",
        ] {
            check_lines(lines, &Err(BadHead::LineEnd));
        }
        for head in ["HTTP/1.1 200 OK\n\n", "HTTP/1.1 200 OK\nX: y\r\n\r\n"] {
            assert_eq!(check(head.as_bytes()), Err(BadHead::LineEnd), "{head:?}");
        }
        for lines in ["X-A: a\r\n b\r\n", "X-A:\r\n\tb\r\n", " X-A: a\r\n"] {
            check_lines(lines, &Err(BadHead::FoldedLine));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_checked(head in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let _ = check(&head);
        }
    }
}
