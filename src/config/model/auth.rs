//! Authentication of clients.

use std::path::PathBuf;

use super::password_hash::PasswordHash;

/// Users and their passwords, asked for by HTTP Basic authentication (RFC 7617).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// Name by which routes refer to the users, also in metrics.
    pub name: String,
    /// Text that browsers show with the question for a password.
    pub realm: String,
    /// Names of users with the hashes of their passwords. Each name is there once.
    pub users: Vec<(String, PasswordHash)>,
    /// File of users that does not exist. Its users are refused until it does.
    pub missing: Option<PathBuf>,
}

/// Combination of access rules and authentication.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Satisfy {
    /// All must accept the client.
    #[default]
    All,
    /// One of them is enough.
    Any,
}
