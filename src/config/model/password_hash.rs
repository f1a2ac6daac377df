//! Hash of a password, in the forms of `htpasswd` and crypt(3).
//!
//! A text is checked whole when the configuration is read: a hash that is cut off, or of an unknown form,
//! would refuse its user later without a visible reason. The cost is bounded, too,
//! because a client chooses how often it is paid.

use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Highest cost of bcrypt: 2^15 rounds, about two seconds of a core.
const MAX_BCRYPT_COST: u32 = 15;

/// Highest number of rounds of SHA-crypt, about a second of a core.
const MAX_ROUNDS: u32 = 1_000_000;

/// Lowest number of rounds of SHA-crypt.
const MIN_ROUNDS: u32 = 1000;

/// Length of the digest of MD5-crypt, in its own base 64.
const MD5_LENGTH: usize = 22;

/// Characters of crypt's base 64, in the order of their values.
pub const CRYPT_ALPHABET: &[u8; 64] =
    b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Hash of a password. Two are equal if they were written the same.
#[derive(Clone, PartialEq, Eq)]
pub enum PasswordHash {
    /// bcrypt: `$2a$`, `$2b$` or `$2y$`.
    Bcrypt(String),
    /// SHA-crypt: `$5$` or `$6$`.
    ShaCrypt(String),
    /// MD5-crypt: `$apr1$` or `$1$`.
    Md5Crypt {
        /// Text before the salt: `$apr1$` or `$1$`.
        magic: &'static str,
        /// Salt, at most eight characters.
        salt: String,
        /// Digest in crypt's base 64.
        digest: String,
    },
    /// SHA-1 of the password and the salt behind it: `{SSHA}`, or `{SHA}` without a salt.
    Sha1 {
        /// Digest.
        digest: [u8; 20],
        /// Salt; empty for `{SHA}`.
        salt: Vec<u8>,
    },
    /// The password itself: `{PLAIN}`.
    Plain(String),
}

/// A hash is a secret.
impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("PasswordHash")
    }
}

impl PasswordHash {
    /// Name of the form.
    #[must_use]
    pub fn form(&self) -> &'static str {
        match self {
            PasswordHash::Bcrypt(_) => "bcrypt",
            PasswordHash::ShaCrypt(_) => "SHA-crypt",
            PasswordHash::Md5Crypt { .. } => "MD5-crypt",
            PasswordHash::Sha1 { .. } => "SHA-1",
            PasswordHash::Plain(_) => "plain",
        }
    }
}

/// Text behind a beginning in any case.
fn behind<'t>(text: &'t str, beginning: &str) -> Option<&'t str> {
    let start = text.get(..beginning.len())?;
    start
        .eq_ignore_ascii_case(beginning)
        .then(|| &text[beginning.len()..])
}

impl FromStr for PasswordHash {
    type Err = String;

    /// Reads a hash. The error does not show it.
    fn from_str(text: &str) -> Result<Self, String> {
        let start = |beginning| text.starts_with(beginning);
        if start("$2a$") || start("$2b$") || start("$2y$") {
            bcrypt(text)
        } else if start("$5$") || start("$6$") {
            sha_crypt(text)
        } else if let Some(rest) = text.strip_prefix("$apr1$") {
            md5_crypt("$apr1$", rest)
        } else if let Some(rest) = text.strip_prefix("$1$") {
            md5_crypt("$1$", rest)
        } else if let Some(encoded) = behind(text, "{SSHA}") {
            sha1(encoded, true)
        } else if let Some(encoded) = behind(text, "{SHA}") {
            sha1(encoded, false)
        } else if let Some(password) = behind(text, "{PLAIN}") {
            Ok(PasswordHash::Plain(password.to_owned()))
        } else {
            Err(unknown(text))
        }
    }
}

/// Reason why a hash of another form is not accepted.
fn unknown(text: &str) -> String {
    let what = if text.starts_with("$y$") || text.starts_with("$gy$") || text.starts_with("$7$") {
        "a hash of yescrypt or scrypt"
    } else if text.starts_with("$argon2") {
        "a hash of Argon2"
    } else if text.len() == 13 && text.bytes().all(|byte| CRYPT_ALPHABET.contains(&byte)) {
        "a hash of the old crypt, which reads 8 characters and is broken in minutes"
    } else {
        "no hash of a known form"
    };
    format!(
        "is {what}; known are bcrypt ($2y$), SHA-crypt ($5$, $6$), $apr1$, $1$, {{SSHA}}, {{SHA}} and \
         {{PLAIN}}. `htpasswd -B` writes bcrypt"
    )
}

fn bcrypt(text: &str) -> Result<PasswordHash, String> {
    let parts: Result<bcrypt::HashParts, _> = text.parse();
    let cost = parts
        .map_err(|_| "is no whole hash of bcrypt".to_owned())?
        .get_cost();
    if !(4..=MAX_BCRYPT_COST).contains(&cost) {
        return Err(format!(
            "has cost {cost} of bcrypt; from 4 to {MAX_BCRYPT_COST} are accepted"
        ));
    }
    Ok(PasswordHash::Bcrypt(text.to_owned()))
}

fn sha_crypt(text: &str) -> Result<PasswordHash, String> {
    let length = if text.starts_with("$5$") { 43 } else { 86 };
    let mut fields = text[3..].split('$').peekable();
    if let Some(rounds) = fields.next_if(|field| field.starts_with("rounds=")) {
        let rounds = rounds["rounds=".len()..].parse().unwrap_or(0);
        if !(MIN_ROUNDS..=MAX_ROUNDS).contains(&rounds) {
            return Err(format!(
                "has other rounds than {MIN_ROUNDS} to {MAX_ROUNDS} of SHA-crypt"
            ));
        }
    }
    let (salt, digest, end) = (fields.next(), fields.next(), fields.next());
    let is_salt = salt.is_some_and(|salt| (1..=16).contains(&salt.len()));
    let is_digest = digest.is_some_and(|digest| is_crypt64(digest, length));
    let is_read = sha_crypt::PasswordHashRef::new(text).is_ok();
    if is_salt && is_digest && end.is_none() && is_read {
        return Ok(PasswordHash::ShaCrypt(text.to_owned()));
    }
    Err("is no whole hash of SHA-crypt".to_owned())
}

fn md5_crypt(magic: &'static str, rest: &str) -> Result<PasswordHash, String> {
    let split = rest.split_once('$');
    let (salt, digest) = split
        .filter(|(salt, digest)| salt.len() <= 8 && is_crypt64(digest, MD5_LENGTH))
        .ok_or("is no whole hash of MD5-crypt")?;
    Ok(PasswordHash::Md5Crypt {
        magic,
        salt: salt.to_owned(),
        digest: digest.to_owned(),
    })
}

fn is_crypt64(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| CRYPT_ALPHABET.contains(&byte))
}

fn sha1(encoded: &str, is_salted: bool) -> Result<PasswordHash, String> {
    let broken = "is no whole hash of SHA-1";
    let mut bytes = STANDARD.decode(encoded).map_err(|_| broken)?;
    let salt = bytes.get(20..).ok_or(broken)?.to_vec();
    if salt.is_empty() == is_salted {
        return Err(broken.to_owned());
    }
    bytes.truncate(20);
    let digest = bytes.try_into().map_err(|_| broken)?;
    Ok(PasswordHash::Sha1 { digest, salt })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, &str>) {
        let found = text.parse::<PasswordHash>();
        let found = found.map(|hash| hash.form());
        match (&found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(*found, expected, "{text}"),
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{text}: {found}"),
            _ => panic!("{text}: {found:?}"),
        }
    }

    #[test]
    fn forms_of_htpasswd_and_crypt_are_known() {
        let bcrypt = "$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC";
        for version in ["$2y$", "$2a$", "$2b$"] {
            check(&bcrypt.replace("$2y$", version), Ok("bcrypt"));
        }
        let sha256 = "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc8";
        check(sha256, Ok("SHA-crypt"));
        check(&sha256.replace("$5$", "$5$rounds=10000$"), Ok("SHA-crypt"));
        check("$apr1$salt$Xxd1irWT9ycqoYxGFn4cb.", Ok("MD5-crypt"));
        check("$1$salt$qJH7.N4xYta3aEG/dfqo/0", Ok("MD5-crypt"));
        check("{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=", Ok("SHA-1"));
        check("{ssha}r8wwcPqtrmLbMWLFyYwU5KVU0eFzYWx0", Ok("SHA-1"));
        check("{PLAIN}a password", Ok("plain"));
    }

    #[test]
    fn what_is_cut_off_or_costs_too_much_is_refused() {
        let bcrypt = "$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC";
        check(&bcrypt[..59], Err("no whole hash of bcrypt"));
        check(&bcrypt.replace("$05$", "$16$"), Err("cost 16"));
        check(&bcrypt.replace("$05$", "$31$"), Err("cost 31"));
        let sha256 = "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc8";
        check(&sha256[..50], Err("no whole hash of SHA-crypt"));
        check("$6$saltstring$", Err("no whole hash of SHA-crypt"));
        check(&sha256.replace("$5$s", "$5$rounds=999$s"), Err("rounds"));
        check(
            &sha256.replace("$5$s", "$5$rounds=1000001$s"),
            Err("rounds"),
        );
        check("$apr1$salt$Xxd1irWT9ycqoYxGFn4cb", Err("MD5-crypt"));
        check("$apr1$ninechars$Xxd1irWT9ycqoYxGFn4cb.", Err("MD5-crypt"));
        check("{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9", Err("SHA-1"));
        check("{SSHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=", Err("SHA-1"));
        check("{SHA}r8wwcPqtrmLbMWLFyYwU5KVU0eFzYWx0", Err("SHA-1"));
    }

    #[test]
    fn other_forms_are_named() {
        check("$y$j9T$abc$def", Err("yescrypt"));
        check("$argon2id$v=19$x", Err("Argon2"));
        check("rl.3StKT.4T8M", Err("the old crypt"));
        check("secret", Err("no hash of a known form"));
        check("", Err("no hash of a known form"));
    }
}
