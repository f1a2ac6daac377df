//! What a client must keep to: how fast it is, which methods it uses.

use std::time::Duration;

/// The lowest rate of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinRate {
    /// Bytes a second; 0 is no limit.
    pub bytes_per_second: u64,
    /// How much longer a transfer may take than its bytes do at that rate.
    pub grace: Duration,
}

/// The methods that are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Methods {
    names: Vec<String>,
    allow: String,
}

/// Methods that everybody knows (RFC 9110, 9.1, and RFC 5789).
const KNOWN: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT",
];

impl Methods {
    /// These methods.
    ///
    /// # Errors
    /// What is wrong with one of them.
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
                return Err("CONNECT asks for a tunnel, and there are none".to_owned());
            }
        }
        let allow = names.join(", ");
        Ok(Methods { names, allow })
    }

    /// All of them, as `Allow` lists them.
    #[must_use]
    pub fn allow(&self) -> &str {
        &self.allow
    }

    /// The status that refuses a method: 405 if it is known and not served here, 501 if nobody
    /// knows it (RFC 9110, 9.1). `None` if it is served. Methods are case-sensitive.
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
    /// All that everybody knows but for `TRACE`, which shows a client what proxies add to its
    /// requests, and `CONNECT`.
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
