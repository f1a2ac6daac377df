//! Removal of the headers that `Connection` names, from a pingora head.

use pingora::Result;
use pingora::http::RequestHeader;

use crate::gateway::failure::bad_connection;
use crate::proto::hop_by_hop::named_by_request;

/// Removes the headers that `Connection` names.
///
/// # Errors
/// With status 400 if it names a protected header, too many headers, or an invalid name.
pub fn strip_nominated(request: &mut RequestHeader) -> Result<()> {
    let names = named_by_request(&request.headers);
    let names = names.map_err(|_| bad_connection())?;
    for name in names {
        request.remove_header(&name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the names of the headers that are left; `None` if the request is rejected.
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
