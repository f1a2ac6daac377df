//! MD5-crypt: the algorithm of `$1$`, and of `$apr1$`, which `htpasswd` wrote by default for long.
//!
//! It is here because no maintained crate has it. Poul-Henning Kamp's algorithm of 1994; the two forms
//! differ in the text that is hashed along.

use md5::{Digest, Md5};

use crate::config::model::CRYPT_ALPHABET;

/// Rounds that are to make guessing slow.
const ROUNDS: usize = 1000;

/// Bytes of the digest in the order of its text, three for each four characters.
const ORDER: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];

/// Returns the digest of a password in crypt's base 64. `magic` is `$1$` or `$apr1$`.
pub fn md5_crypt(password: &[u8], magic: &str, salt: &str) -> String {
    let salt = salt.as_bytes();
    let mut first = Md5::new();
    for part in [password, magic.as_bytes(), salt] {
        first.update(part);
    }
    let other: [u8; 16] = hash(&[password, salt, password]);
    for piece in password.chunks(16) {
        first.update(&other[..piece.len()]);
    }
    let mut bits = password.len();
    while bits > 0 {
        let byte = if bits & 1 == 1 { 0 } else { password[0] };
        first.update([byte]);
        bits >>= 1;
    }
    let mut digest: [u8; 16] = first.finalize().into();
    for round in 0..ROUNDS {
        let (start, end): (&[u8], &[u8]) = if round % 2 == 1 {
            (password, &digest)
        } else {
            (&digest, password)
        };
        let salt = if round % 3 == 0 { b"" } else { salt };
        let again = if round % 7 == 0 { b"" } else { password };
        digest = hash(&[start, salt, again, end]);
    }
    text(&digest)
}

fn hash(parts: &[&[u8]]) -> [u8; 16] {
    let mut hasher = Md5::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

fn text(digest: &[u8; 16]) -> String {
    let mut text = String::with_capacity(22);
    let mut push = |mut value: u32, length: usize| {
        for _ in 0..length {
            text.push(char::from(CRYPT_ALPHABET[(value & 63) as usize]));
            value >>= 6;
        }
    };
    for [a, b, c] in ORDER {
        let [a, b, c] = [a, b, c].map(|at| u32::from(digest[at]));
        push(a << 16 | b << 8 | c, 4);
    }
    push(u32::from(digest[11]), 2);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Digests that `openssl passwd` has written.
    #[test]
    fn digests_are_those_of_openssl() {
        for (magic, password, salt, expected) in [
            ("$apr1$", "secret", "salt", "VEpBc9VHGUKwI9.yg13Iu0"),
            ("$apr1$", "a", "x", "16j9.5e7KiXmuYFAYpPJM/"),
            (
                "$apr1$",
                "a long password of more than sixteen bytes",
                "saltsalt",
                "6m2DgIfL1lh48Tk5c1bnm/",
            ),
            (
                "$apr1$",
                "sixteen bytes ok",
                "8chars..",
                "ToP.2X5ual8OAq1P9iITA0",
            ),
            ("$apr1$", "pässwörd", "1", "wjT5g4okcbnrTmHwGuQEP1"),
            ("$1$", "secret", "salt", "ez2vlPGdaLYkJam5pWs/Y1"),
            ("$1$", "a", "x", "P8VObTrxaqT4VBmnH06P8."),
            (
                "$1$",
                "a long password of more than sixteen bytes",
                "saltsalt",
                "9VIFgf4ut82WaWLQwsnw5.",
            ),
            (
                "$1$",
                "sixteen bytes ok",
                "8chars..",
                "JiTRwK5RzFZFEgaMvFHbi1",
            ),
            ("$1$", "pässwörd", "1", "s.g2bcqLBX.EiZaNpWIVh1"),
        ] {
            assert_eq!(md5_crypt(password.as_bytes(), magic, salt), expected);
        }
    }
}
