//! Access to the admin listener: the hosts that it answers for, and its token.
//!
//! A web page can make a browser on this host, or near it, send requests to a private address, by a
//! name of its own that resolves to that address (DNS rebinding). The page cannot choose the `Host`
//! that the browser sends, so a host that the operator did not list is rejected.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::config::model;
use crate::gateway::request::host;

/// Minimum length of a token, in characters.
const SHORTEST_TOKEN: usize = 16;

/// Reason why a token cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("admin token {}: {reason}", file.display())]
pub struct TokenError {
    file: PathBuf,
    reason: String,
}

/// Access rules of the admin listener.
pub struct AdminAccess {
    /// Listed hosts, in normal form.
    hosts: Vec<String>,
    /// Digest of the token: comparing digests reveals nothing about the token's length.
    token: Option<[u8; 32]>,
}

impl AdminAccess {
    /// Reads the token, if one is configured.
    ///
    /// # Errors
    /// If its file cannot be read or has no valid token.
    pub fn load(config: &model::Admin) -> Result<Self, TokenError> {
        let token = config.token_file.as_deref().map(read_token).transpose()?;
        Ok(AdminAccess {
            hosts: config.hosts.clone(),
            token,
        })
    }

    /// Returns `true` if requests for a host, given as the value of `Host`, are answered.
    ///
    /// Addresses are accepted, and names of a single label, such as `localhost` or the name of a
    /// container: no public DNS resolves such a name to a private address. All other names must be
    /// listed.
    #[must_use]
    pub fn answers_for(&self, authority: &[u8]) -> bool {
        let Some(host) = host::normalize(authority) else {
            return false;
        };
        let is_address = host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok();
        let has_one_label = !host.contains('.');
        is_address || has_one_label || self.hosts.iter().any(|known| *known == host)
    }

    /// Returns `true` if the value of `Authorization` has the token, or if no token is configured.
    #[must_use]
    pub fn admits(&self, authorization: Option<&[u8]>) -> bool {
        let Some(expected) = &self.token else {
            return true;
        };
        let given = authorization.and_then(bearer).unwrap_or_default();
        let given: [u8; 32] = Sha256::digest(given).into();
        given.ct_eq(expected).into()
    }
}

/// Returns the token of `Bearer TOKEN` (RFC 6750, 2.1).
fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = authorization.split_at_checked(7)?;
    let is_bearer = scheme.eq_ignore_ascii_case(b"bearer ");
    is_bearer.then(|| token.trim_ascii())
}

fn read_token(file: &Path) -> Result<[u8; 32], TokenError> {
    let wrong = |reason: String| TokenError {
        file: file.to_owned(),
        reason,
    };
    let text = std::fs::read(file).map_err(|error| wrong(error.to_string()))?;
    let token = text.trim_ascii();
    if token.len() < SHORTEST_TOKEN || !token.iter().all(u8::is_ascii_graphic) {
        let reason = format!("{SHORTEST_TOKEN} characters or more on one line are expected");
        return Err(wrong(reason));
    }
    Ok(Sha256::digest(token).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(hosts: &[&str], token: Option<&str>) -> Result<AdminAccess, String> {
        let folder = tempfile::tempdir().unwrap();
        let token_file = token.map(|token| {
            let file = folder.path().join("token");
            std::fs::write(&file, token).unwrap();
            file
        });
        let config = model::Admin {
            listen: Vec::new(),
            hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
            token_file,
        };
        AdminAccess::load(&config).map_err(|error| error.to_string())
    }

    #[test]
    fn a_name_that_dns_could_lead_here_has_to_be_listed() {
        let access = access(&["admin.example"], None).unwrap();
        for host in [
            "127.0.0.1",
            "127.0.0.1:9001",
            "[::1]:9001",
            "localhost",
            "LocalHost.:9001",
            "geogate:9001",
            "admin.example",
            "Admin.Example.:9001",
        ] {
            assert!(access.answers_for(host.as_bytes()), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1.",
            "1.2.3",
            "x.admin.example",
            "",
            "a b",
            "::1",
        ] {
            let expected = host == "127.0.0.1.";
            assert_eq!(access.answers_for(host.as_bytes()), expected, "{host}");
        }
    }

    #[test]
    fn only_the_token_is_the_token() {
        let with = access(&[], Some("0123456789abcdef\n")).unwrap();
        assert!(with.admits(Some(b"Bearer 0123456789abcdef")));
        assert!(with.admits(Some(b"bearer  0123456789abcdef")));
        for wrong in [
            None,
            Some(&b""[..]),
            Some(b"Bearer "),
            Some(b"Bearer 0123456789abcdeF"),
            Some(b"Bearer 0123456789abcde"),
            Some(b"Bearer 0123456789abcdef0"),
            Some(b"0123456789abcdef"),
            Some(b"Basic 0123456789abcdef"),
        ] {
            assert!(!with.admits(wrong), "{wrong:?}");
        }
        assert!(access(&[], None).unwrap().admits(None));
    }

    #[test]
    fn a_file_without_a_token_is_an_error() {
        for text in ["", "short", "0123456789abcdef 0", "0123456789\nabcdef"] {
            let said = access(&[], Some(text)).err().expect("an error");
            assert!(said.contains("16 characters or more"), "{said}");
        }
        let config = model::Admin {
            listen: Vec::new(),
            hosts: Vec::new(),
            token_file: Some("/nowhere/token".into()),
        };
        let said = AdminAccess::load(&config).err().expect("an error");
        assert!(said.to_string().starts_with("admin token /nowhere/token: "));
    }
}
