//! Authentication of clients by user and password (RFC 7617).
//!
//! Whether credentials that were verified before are right is known at once, and is part of the decision
//! on a request. All others are verified by the [`CheckQueue`]. An unknown user costs the same work as the
//! user with the slowest hash, so that the time of an answer does not tell which names exist.

mod md5_crypt;
mod queue;
mod verified;
mod verify;

use std::path::Path;

use hashbrown::HashMap;

pub use self::queue::CheckQueue;
use self::verified::Verified;
use self::verify::{is_password, work};
use super::rejection_counter::RejectionCounter;
use crate::config::model::{self, PasswordHash};

/// Longest password in bytes, that of crypt(3) on Linux. The work of SHA-crypt grows with the square of
/// the length.
const MAX_PASSWORD: usize = 512;

/// User and password of a request.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Name of the user; not empty.
    pub user: Vec<u8>,
    /// Password.
    pub password: Vec<u8>,
}

/// Names the user alone.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let user = String::from_utf8_lossy(&self.user);
        out.debug_struct("Credentials")
            .field("user", &user)
            .finish_non_exhaustive()
    }
}

/// Users of an `[[auth]]`.
pub struct AuthSet {
    config: model::Auth,
    challenge: String,
    users: HashMap<Vec<u8>, PasswordHash>,
    /// Slowest hash of all users; `None` if there are none.
    decoy: Option<PasswordHash>,
    verified: Verified,
    /// Requests that were refused.
    pub refused: RejectionCounter,
}

impl AuthSet {
    /// Prepares the users of a configuration.
    #[must_use]
    pub fn new(config: &model::Auth) -> Self {
        let realm = config.realm.replace('\\', "\\\\").replace('"', "\\\"");
        let users = config.users.iter();
        let decoy = users
            .clone()
            .map(|(_, hash)| hash)
            .max_by_key(|hash| work(hash));
        AuthSet {
            challenge: format!("Basic realm=\"{realm}\""),
            decoy: decoy.cloned(),
            users: users
                .map(|(user, hash)| (user.clone().into_bytes(), hash.clone()))
                .collect(),
            verified: Verified::default(),
            refused: RejectionCounter::default(),
            config: config.clone(),
        }
    }

    /// Returns `true` if it was made from the same configuration.
    #[must_use]
    pub fn is_for(&self, config: &model::Auth) -> bool {
        self.config == *config
    }

    /// Name of the set.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Value of `WWW-Authenticate`.
    #[must_use]
    pub fn challenge(&self) -> &str {
        &self.challenge
    }

    /// Returns `true` if there is no user at all, because a file is missing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// File of users that is missing.
    #[must_use]
    pub fn missing_file(&self) -> Option<&Path> {
        self.config.missing.as_deref()
    }

    /// Returns a warning if the file of users is missing.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let file = self.missing_file()?.display();
        let name = self.name();
        Some(format!(
            "auth {name:?}: {file} does not exist; its users are refused"
        ))
    }

    /// Returns `true` if these credentials were verified already.
    #[must_use]
    pub fn knows(&self, credentials: &Credentials) -> bool {
        self.verified
            .contains(&credentials.user, &credentials.password)
    }

    /// Verifies credentials, which may take seconds. Returns `true` if they are right.
    #[must_use]
    pub fn verify(&self, credentials: &Credentials) -> bool {
        let Credentials { user, password } = credentials;
        // crypt(3) would read a password up to its first NUL.
        if password.len() > MAX_PASSWORD || password.contains(&0) {
            return false;
        }
        let known = self.users.get(user);
        let Some(hash) = known.or(self.decoy.as_ref()) else {
            return false;
        };
        let is_right = is_password(password, hash) && known.is_some();
        if is_right {
            self.verified.insert(user, password);
        }
        is_right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> AuthSet {
        let user = |name: &str, hash: &str| (name.to_owned(), hash.parse().unwrap());
        AuthSet::new(&model::Auth {
            name: "staff".to_owned(),
            realm: "the \"staff\"".to_owned(),
            users: vec![
                user("joe", "{PLAIN}secret"),
                user("ann", "$apr1$salt$VEpBc9VHGUKwI9.yg13Iu0"),
            ],
            missing: None,
        })
    }

    fn credentials(user: &str, password: &[u8]) -> Credentials {
        Credentials {
            user: user.as_bytes().to_vec(),
            password: password.to_vec(),
        }
    }

    #[test]
    fn users_have_their_own_passwords() {
        let set = set();
        assert!(set.verify(&credentials("joe", b"secret")));
        assert!(set.verify(&credentials("ann", b"secret")));
        // The slowest hash stands in for that of an unknown user, who is refused all the same.
        assert!(!set.verify(&credentials("eve", b"secret")));
        assert!(!set.verify(&credentials("joe", b"Secret")));
        assert!(!set.verify(&credentials("joe", b"secret\0")));
        assert!(!set.verify(&credentials("joe", &[b'x'; 513])));
    }

    #[test]
    fn right_credentials_are_remembered_and_wrong_ones_are_not() {
        let set = set();
        let (right, wrong) = (credentials("joe", b"secret"), credentials("joe", b"x"));
        assert!(!set.knows(&right));
        assert!(set.verify(&right) && !set.verify(&wrong));
        assert!(set.knows(&right) && !set.knows(&wrong));
        assert!(!set.knows(&credentials("ann", b"secret")));
    }

    #[test]
    fn a_realm_stays_within_its_quotes() {
        assert_eq!(set().challenge(), "Basic realm=\"the \\\"staff\\\"\"");
    }

    #[test]
    fn a_password_is_in_no_debug_text() {
        let text = format!("{:?}", credentials("joe", b"hunter2"));
        assert!(text.contains("joe") && !text.contains("hunter2"), "{text}");
    }
}
