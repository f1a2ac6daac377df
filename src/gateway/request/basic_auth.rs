//! `Authorization: Basic` (RFC 7617).

use base64::Engine;

/// Returns the user name of `Authorization: Basic`, which the log contains as nginx's does; empty
/// for other schemes.
#[must_use]
pub fn user(authorization: &[u8]) -> Vec<u8> {
    let scheme = authorization.get(..6);
    if !scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic ")) {
        return Vec::new();
    }
    let encoded = authorization[6..].trim_ascii();
    let decoded = base64::engine::general_purpose::STANDARD
        .decode(encoded)
        .unwrap_or_default();
    decoded
        .split(|&byte| byte == b':')
        .next()
        .unwrap_or_default()
        .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_is_the_name_of_basic_authentication() {
        assert_eq!(user(b"Basic am9lOnNlY3JldA=="), b"joe");
        assert_eq!(user(b"basic am9l"), b"joe");
        for other in [&b""[..], b"Bearer abc", b"Basic", b"Basic !!"] {
            assert_eq!(user(other), b"", "{other:?}");
        }
    }
}
