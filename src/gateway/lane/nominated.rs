//! Headers that `Connection` names: they belong to this connection and are not sent on (RFC 9110,
//! 7.6.1).

use http::{HeaderName, header};
use pingora::Result;
use pingora::http::RequestHeader;

use crate::gateway::failure::status_error;

/// How many names there may be.
const LIMIT: usize = 10;

/// Headers that no client may take from a request: what is behind relies on them.
const PROTECTED: [&str; 4] = [
    "host",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];

/// Removes the headers that `Connection` names.
///
/// # Errors
/// With status 400 if it names what must stay, too many, or what is no name.
pub fn strip_nominated(request: &mut RequestHeader) -> Result<()> {
    let wrong = || status_error(400, "a Connection header that names what it may not");
    let mut names = Vec::new();
    for line in request.headers.get_all(header::CONNECTION) {
        let options = line.as_bytes().split(|&byte| byte == b',');
        for option in options.map(<[u8]>::trim_ascii).filter(|o| !o.is_empty()) {
            let name = HeaderName::from_bytes(option).map_err(|_| wrong())?;
            if names.len() == LIMIT || PROTECTED.contains(&name.as_str()) {
                return Err(wrong());
            }
            names.push(name);
        }
    }
    for name in names {
        request.remove_header(&name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of the headers that are left; `None` if the request is refused.
    fn left(connection: &[&'static str]) -> Option<Vec<String>> {
        let mut request = RequestHeader::build("GET", b"/", None).unwrap();
        for name in ["Host", "X-Forwarded-For", "X-A", "X-B"] {
            request.insert_header(name, "x").unwrap();
        }
        for &value in connection {
            request.append_header("Connection", value).unwrap();
        }
        strip_nominated(&mut request).ok()?;
        let names = request.headers.keys().map(ToString::to_string);
        let mut names: Vec<_> = names.filter(|name| name != "connection").collect();
        names.sort();
        Some(names)
    }

    #[test]
    fn what_connection_names_is_removed() {
        let all = ["host", "x-a", "x-b", "x-forwarded-for"];
        assert_eq!(left(&[]).unwrap(), all);
        assert_eq!(left(&["close, , keep-alive"]).unwrap(), all);
        assert_eq!(
            left(&["x-a", "close, X-B"]).unwrap(),
            ["host", "x-forwarded-for"]
        );
    }

    #[test]
    fn what_must_stay_and_what_is_no_name_is_refused() {
        let many = "a, b, c, d, e, f, g, h, i, j, k";
        for value in ["Host", "close, x-forwarded-FOR", "a b", ":authority", many] {
            assert_eq!(left(&[value]), None, "{value}");
        }
    }
}
