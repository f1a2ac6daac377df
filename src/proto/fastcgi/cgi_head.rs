//! Head of a script's output (RFC 3875, 6), written anew as that of an HTTP response, so that one reader
//! judges both.

use http::StatusCode;

/// Reason why the output of a script is no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCgiHead {
    /// A status that is no number from 200 to 599.
    #[error("Status {0:?} of the script is not from 200 to 599")]
    Status(String),
    /// Several statuses.
    #[error("the script has given several statuses")]
    Statuses,
    /// Framing, which is not the script's.
    #[error("the script has given a Transfer-Encoding")]
    TransferEncoding,
    /// A head that is too long.
    #[error("a response head of more than the upstream's max_header_size, {0} bytes")]
    Size(usize),
    /// A head without a line that says something of a response.
    #[error("the output of the script does not begin with header lines")]
    Lines,
}

/// Turns the head at the start of `output` into that of an HTTP/1.1 response, which is appended to
/// `head`. Returns the length of the script's head; `None` if it is not complete.
///
/// Lines may end in LF alone (RFC 3875, 6.2). Without a `Status`, a `Location` is a redirect with status
/// 302, also one to a path of this server, and everything else a success.
///
/// # Errors
/// If the output begins with no head, or it is longer than `max_size` bytes.
pub fn to_http(
    output: &[u8],
    max_size: usize,
    head: &mut Vec<u8>,
) -> Result<Option<usize>, BadCgiHead> {
    let Some(length) = length(output) else {
        if output.len() >= max_size {
            return Err(BadCgiHead::Size(max_size));
        }
        return Ok(None);
    };
    if length > max_size {
        return Err(BadCgiHead::Size(max_size));
    }
    let (mut status, mut has_location, mut lines) = (None, false, Vec::new());
    for line in output[..length].split(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        let colon = memchr::memchr(b':', line).ok_or(BadCgiHead::Lines)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"status") {
            if status.replace(read_status(value)?).is_some() {
                return Err(BadCgiHead::Statuses);
            }
            continue;
        }
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            return Err(BadCgiHead::TransferEncoding);
        }
        has_location |= name.eq_ignore_ascii_case(b"location");
        lines.extend_from_slice(line);
        lines.extend_from_slice(b"\r\n");
    }
    if lines.is_empty() && status.is_none() {
        return Err(BadCgiHead::Lines);
    }
    let status = status.unwrap_or(if has_location {
        StatusCode::FOUND
    } else {
        StatusCode::OK
    });
    let reason = status.canonical_reason().unwrap_or_default();
    head.extend_from_slice(b"HTTP/1.1 ");
    head.extend_from_slice(status.as_str().as_bytes());
    head.push(b' ');
    head.extend_from_slice(reason.as_bytes());
    head.extend_from_slice(b"\r\n");
    head.extend_from_slice(&lines);
    head.extend_from_slice(b"\r\n");
    Ok(Some(length))
}

/// Length of a head with its empty line.
fn length(output: &[u8]) -> Option<usize> {
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', output) {
        if matches!(&output[start..end], b"" | b"\r") {
            return Some(end + 1);
        }
        start = end + 1;
    }
    None
}

/// Reads `404 Not Found`. The reason is the gateway's own.
fn read_status(value: &[u8]) -> Result<StatusCode, BadCgiHead> {
    let code = value.split(|&byte| byte == b' ').next().unwrap_or_default();
    let status = StatusCode::from_bytes(code).ok();
    let known = status.filter(|status| (200..600).contains(&status.as_u16()));
    known.ok_or_else(|| {
        let shown = &value[..value.len().min(100)];
        BadCgiHead::Status(String::from_utf8_lossy(shown).into_owned())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 1000;

    #[track_caller]
    fn check(output: &str, expected: &str) {
        let mut head = Vec::new();
        let length = to_http(output.as_bytes(), MAX, &mut head).unwrap().unwrap();
        assert_eq!(String::from_utf8(head).unwrap(), expected);
        assert_eq!(&output[length..], "body");
    }

    #[test]
    fn a_script_says_what_differs_from_a_success() {
        check(
            "Content-Type: text/html\r\nX-A: b\r\n\r\nbody",
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nX-A: b\r\n\r\n",
        );
        check(
            "status: 404 Nothing Here\nA: b\n\nbody",
            "HTTP/1.1 404 Not Found\r\nA: b\r\n\r\n",
        );
        check("Status: 204\n\nbody", "HTTP/1.1 204 No Content\r\n\r\n");
        check(
            "Location: /login\n\nbody",
            "HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n",
        );
        check(
            "Location: /a\nStatus: 201 Created\n\nbody",
            "HTTP/1.1 201 Created\r\nLocation: /a\r\n\r\n",
        );
    }

    #[test]
    fn what_is_no_response_is_refused() {
        let long = format!("A: {}\n\n", "x".repeat(MAX));
        for (output, expected) in [
            ("\n\nbody", BadCgiHead::Lines),
            ("<html>\n\n", BadCgiHead::Lines),
            ("Status: 99\n\n", BadCgiHead::Status("99".to_owned())),
            ("Status: 101\n\n", BadCgiHead::Status("101".to_owned())),
            ("Status: 2000\n\n", BadCgiHead::Status("2000".to_owned())),
            ("Status: 200\nStatus: 404\n\n", BadCgiHead::Statuses),
            (
                "Transfer-Encoding: chunked\n\n",
                BadCgiHead::TransferEncoding,
            ),
            (&long, BadCgiHead::Size(MAX)),
            (&long[..MAX], BadCgiHead::Size(MAX)),
        ] {
            let read = to_http(output.as_bytes(), MAX, &mut Vec::new());
            assert_eq!(read, Err(expected), "{output}");
        }
    }

    proptest! {
        #[test]
        fn a_head_that_is_cut_is_not_complete(
            names in proptest::collection::vec("[A-Z][a-z]{0,8}", 1..5), cut in 0usize..200
        ) {
            let output = format!("{}: x\r\n\r\n", names.join(": x\r\n"));
            let cut = &output.as_bytes()[..cut.min(output.len() - 1)];
            prop_assert_eq!(to_http(cut, MAX, &mut Vec::new()), Ok(None));
        }

        #[test]
        fn no_output_breaks_the_reader(output in "[ -~\r\n]{0,60}") {
            let mut head = Vec::new();
            if let Ok(Some(length)) = to_http(output.as_bytes(), MAX, &mut head) {
                prop_assert!(length <= output.len());
                prop_assert!(head.starts_with(b"HTTP/1.1 ") && head.ends_with(b"\r\n\r\n"));
            }
        }
    }
}
