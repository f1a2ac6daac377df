//! Limits on clients: the minimum transfer rate and the allowed methods.

use std::time::Duration;

/// Minimum rate of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinRate {
    /// Bytes per second; 0 disables the limit.
    pub bytes_per_second: u64,
    /// Time that a transfer may take in excess of its bytes at that rate.
    pub grace: Duration,
}

/// Allowed request methods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Methods {
    names: Vec<String>,
    allow: String,
}

/// Standard methods (RFC 9110, 9.1, and RFC 5789).
const KNOWN: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT",
];

impl Methods {
    /// Allows the given methods.
    ///
    /// # Errors
    /// If there is none, or one is not a valid method or is `CONNECT`.
    pub fn new(names: Vec<String>) -> Result<Self, String> {
        if names.is_empty() {
            return Err("at least one method is needed".to_owned());
        }
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        for name in &names {
            if name.is_empty() || !name.bytes().all(is_token) {
                return Err(format!("{name:?} is not a method"));
            }
            if name == "CONNECT" {
                return Err("CONNECT is not supported".to_owned());
            }
        }
        let allow = names.join(", ");
        Ok(Methods { names, allow })
    }

    /// Returns the methods as the value of an `Allow` header.
    #[must_use]
    pub fn allow(&self) -> &str {
        &self.allow
    }

    /// Returns the status that rejects a method: 405 for a standard method that is not allowed
    /// here, 501 for an unknown one (RFC 9110, 9.1), `None` if it is allowed. Methods are
    /// case-sensitive.
    #[must_use]
    pub fn refusal(&self, method: &str) -> Option<u16> {
        if self.names.iter().any(|name| name == method) {
            None
        } else if KNOWN.contains(&method) {
            Some(405)
        } else {
            Some(501)
        }
    }
}

impl Default for Methods {
    /// Allows all standard methods except `CONNECT` and `TRACE`, which would show a client the
    /// headers that proxies add to its requests.
    fn default() -> Self {
        let served = KNOWN[..7].iter().map(|&name| name.to_owned());
        let names: Vec<_> = served.collect();
        let allow = names.join(", ");
        Methods { names, allow }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_served_is_refused_by_what_is_known_of_it() {
        let methods = Methods::default();
        for (method, expected) in [
            ("GET", None),
            ("OPTIONS", None),
            ("TRACE", Some(405)),
            ("CONNECT", Some(405)),
            ("get", Some(501)),
            ("PROPFIND", Some(501)),
        ] {
            assert_eq!(methods.refusal(method), expected, "{method}");
        }
        assert_eq!(
            methods.allow(),
            "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
        );
    }

    #[test]
    fn others_can_be_served() {
        let methods = Methods::new(vec!["PROPFIND".to_owned(), "GET".to_owned()]).unwrap();
        assert_eq!(methods.refusal("PROPFIND"), None);
        assert_eq!(methods.refusal("POST"), Some(405));
        for wrong in [&[][..], &["A B"], &[""], &["CONNECT"]] {
            let names = wrong.iter().map(|&name| name.to_owned()).collect();
            assert!(Methods::new(names).is_err(), "{wrong:?}");
        }
    }
}
