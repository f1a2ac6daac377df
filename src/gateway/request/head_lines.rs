//! Header lines as values of variables: of a message, and of a response whose head is kept.

use crate::proto::headers::Headers;

/// Head of a response: a line of status, or an empty one, then header lines, each with its end.
#[derive(Clone, Copy, Default)]
pub struct HeadLines<'s>(pub &'s [u8]);

impl HeadLines<'_> {
    /// Calls `read` with the value of every line of a name.
    pub fn each_line(&self, name: &str, mut read: impl FnMut(&[u8])) {
        for line in self.0.split(|&byte| byte == b'\n').skip(1) {
            let Some(colon) = memchr::memchr(b':', line) else {
                continue;
            };
            if line[..colon].eq_ignore_ascii_case(name.as_bytes()) {
                read(line[colon + 1..].trim_ascii());
            }
        }
    }

    /// Appends all lines of a name as one list (RFC 9110, 5.3).
    pub fn append(&self, name: &str, out: &mut Vec<u8>) {
        let mut is_first = true;
        self.each_line(name, |line| {
            if !std::mem::take(&mut is_first) {
                out.extend_from_slice(b", ");
            }
            out.extend_from_slice(line);
        });
    }

    /// Appends the value of the first cookie of a name that the response sets (RFC 6265, 4.1).
    pub fn append_cookie(&self, name: &str, out: &mut Vec<u8>) {
        let mut is_found = false;
        self.each_line("set-cookie", |line| {
            let pair = line.split(|&byte| byte == b';').next().unwrap_or_default();
            let Some(equals) = memchr::memchr(b'=', pair).filter(|_| !is_found) else {
                return;
            };
            if pair[..equals].trim_ascii() == name.as_bytes() {
                is_found = true;
                out.extend_from_slice(pair[equals + 1..].trim_ascii());
            }
        });
    }
}

/// Appends all lines of a header as one list (RFC 9110, 5.3); cookies as in RFC 9113, 8.2.3.
pub fn append_list(headers: &impl Headers, name: &str, out: &mut Vec<u8>) {
    let separator: &[u8] = if name == "cookie" { b"; " } else { b", " };
    for (index, line) in headers.lines(name).enumerate() {
        if index > 0 {
            out.extend_from_slice(separator);
        }
        out.extend_from_slice(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_sent_head_are_found() {
        let head = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a:2\r\nX-AB: 3\r\nX-B: \r\n\r\n";
        for (name, expected) in [("x-a", "1,2,"), ("x-ab", "3,"), ("x-b", ","), ("x", "")] {
            let mut found = String::new();
            HeadLines(head).each_line(name, |value| {
                found.push_str(std::str::from_utf8(value).unwrap());
                found.push(',');
            });
            assert_eq!(found, expected, "{name}");
        }
        HeadLines::default().each_line("x-a", |_| panic!("there is no line"));
    }

    #[test]
    fn cookies_that_a_response_sets_have_their_value() {
        let head = b"\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b = x=y \r\nSet-Cookie: a=2\r\n";
        for (name, expected) in [("a", "1"), ("b", "x=y"), ("Path", ""), ("c", "")] {
            let mut value = Vec::new();
            HeadLines(head).append_cookie(name, &mut value);
            assert_eq!(value, expected.as_bytes(), "{name}");
        }
    }
}
