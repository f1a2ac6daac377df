//! `Authorization: Basic` (RFC 7617).

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Returns the user name of `Authorization: Basic`, which the log contains as nginx's does; empty
/// for other schemes.
#[must_use]
pub fn user(authorization: &[u8]) -> Vec<u8> {
    let decoded = decoded(authorization).unwrap_or_default();
    decoded
        .split(|&byte| byte == b':')
        .next()
        .unwrap_or_default()
        .to_vec()
}

/// Returns the user and the password of `Authorization: Basic`, both as sent; `None` for another scheme,
/// text that is malformed, and an empty user.
#[must_use]
pub fn credentials(authorization: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let decoded = decoded(authorization)?;
    let colon = decoded.iter().position(|&byte| byte == b':')?;
    let (user, rest) = decoded.split_at(colon);
    (!user.is_empty()).then(|| (user.to_vec(), rest[1..].to_vec()))
}

/// Returns the decoded text of `Authorization: Basic`. Padding may be left out, as nginx allows.
fn decoded(authorization: &[u8]) -> Option<Vec<u8>> {
    let (scheme, encoded) = authorization.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    BASE64.decode(encoded.trim_ascii()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_have_a_user_and_a_colon() {
        let joe = Some((b"joe".to_vec(), b"sec:ret".to_vec()));
        for text in [
            &b"Basic am9lOnNlYzpyZXQ="[..],
            b"BASIC   am9lOnNlYzpyZXQ= ",
            b"basic am9lOnNlYzpyZXQ",
        ] {
            assert_eq!(credentials(text), joe);
        }
        let empty = Some((b"joe".to_vec(), Vec::new()));
        assert_eq!(credentials(b"Basic am9lOg=="), empty);
        // No colon, no user, not Base64, another scheme.
        for text in [
            &b"Basic am9l"[..],
            b"Basic OnNlY3JldA==",
            b"Basic !!",
            b"Basic",
            b"",
            b"Bearer am9lOnNlY3JldA==",
            b"Basicam9lOnNlY3JldA==",
        ] {
            assert_eq!(credentials(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_user_is_the_name_of_basic_authentication() {
        assert_eq!(user(b"Basic am9lOnNlY3JldA=="), b"joe");
        assert_eq!(user(b"basic am9l"), b"joe");
        for other in [&b""[..], b"Bearer abc", b"Basic", b"Basic !!"] {
            assert_eq!(user(other), b"", "{other:?}");
        }
    }
}
