//! Comparison of a password with its hash.

use sha_crypt::{PasswordVerifier, ShaCrypt};
use sha1::{Digest, Sha1};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::md5_crypt::md5_crypt;
use crate::config::model::PasswordHash;

/// Returns `true` if a password has this hash. This takes as long as the hash is meant to, up to two
/// seconds of a core, and independent of how many bytes are right.
pub fn is_password(password: &[u8], hash: &PasswordHash) -> bool {
    match hash {
        PasswordHash::Bcrypt(text) => bcrypt::verify(password, text).unwrap_or(false),
        PasswordHash::ShaCrypt(text) => ShaCrypt::default()
            .verify_password(password, text.as_str())
            .is_ok(),
        PasswordHash::Md5Crypt {
            magic,
            salt,
            digest,
        } => md5_crypt(password, magic, salt)
            .as_bytes()
            .ct_eq(digest.as_bytes())
            .into(),
        PasswordHash::Sha1 { digest, salt } => {
            let own = Sha1::new().chain_update(password).chain_update(salt);
            own.finalize().ct_eq(digest).into()
        }
        // A comparison of the texts would tell their length.
        PasswordHash::Plain(text) => Sha256::digest(password).ct_eq(&Sha256::digest(text)).into(),
    }
}

/// Returns the work of a comparison, to find the slowest hash of several.
pub fn work(hash: &PasswordHash) -> u64 {
    // Measured in rounds of SHA-512, roughly.
    match hash {
        PasswordHash::Bcrypt(text) => {
            let cost = text.get(4..6).and_then(|cost| cost.parse::<u32>().ok());
            64 << cost.unwrap_or(0)
        }
        PasswordHash::ShaCrypt(text) => {
            let rounds = text.split("rounds=").nth(1);
            let rounds = rounds.and_then(|rest| rest.split('$').next()?.parse().ok());
            rounds.unwrap_or(5000)
        }
        PasswordHash::Md5Crypt { .. } => 500,
        PasswordHash::Sha1 { .. } | PasswordHash::Plain(_) => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes of `secret` that openssl, glibc and Python have written.
    const HASHES: [&str; 9] = [
        "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
        "$5$saltstring$C3o4O1TC6aRHF4FI.QSZMXtHbaj2gSXr4sUc/3NcUi.",
        "$5$rounds=1000$abc$Mz4DiYKTnNKbZLo/mIp3d8Y4aQBhv3uhSwxLDy55/Y8",
        "$6$saltstring$AIsRs/Ee56G/tC8MEHhvReZTfx8u3rXXMl6eYrjCG9ibix19DxoMBLogdTET5Ukw9Sf7eZTITsuk0Ry5qulYz.",
        "$apr1$salt$VEpBc9VHGUKwI9.yg13Iu0",
        "$1$salt$ez2vlPGdaLYkJam5pWs/Y1",
        "{SSHA}gVK8WC9YyFT1gMsQHTGCgT3sSv5zYWx0",
        "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
        "{PLAIN}secret",
    ];

    #[test]
    fn each_form_accepts_its_password_and_no_other() {
        for text in HASHES {
            let hash: PasswordHash = text.parse().unwrap();
            assert!(is_password(b"secret", &hash), "{text}");
            for other in [&b""[..], b"secre", b"secret ", b"Secret", b"secrets"] {
                assert!(!is_password(other, &hash), "{text}: {other:?}");
            }
        }
    }

    #[test]
    fn slow_hashes_are_more_work() {
        let works = HASHES.map(|text| work(&text.parse().unwrap()));
        assert_eq!(works, [1024, 5000, 1000, 5000, 500, 500, 1, 1, 1]);
    }
}
