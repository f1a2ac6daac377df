//! Normalization of paths, so that a path in another form cannot bypass a rule.

use std::borrow::Cow;

/// Returns the path with percent-escapes decoded once, empty and `.` segments removed and `..`
/// resolved (RFC 3986, 5.2.4 and 6.2.2). It starts with `/`; `..` never leads above the root. An
/// invalid escape stays as it is.
#[must_use]
pub fn normalize(path: &[u8]) -> Cow<'_, [u8]> {
    if is_normal(path) {
        return Cow::Borrowed(path);
    }
    let decoded: Vec<u8> = percent_encoding::percent_decode(path).collect();
    let mut segments: Vec<&[u8]> = Vec::new();
    let mut ends_in_slash = true;
    for segment in decoded.split(|&byte| byte == b'/') {
        ends_in_slash = matches!(segment, b"" | b"." | b"..");
        match segment {
            b"" | b"." => {}
            b".." => {
                segments.pop();
            }
            _ => segments.push(segment),
        }
    }
    let mut normal = Vec::with_capacity(decoded.len() + 1);
    for segment in &segments {
        normal.push(b'/');
        normal.extend_from_slice(segment);
    }
    if ends_in_slash {
        normal.push(b'/');
    }
    Cow::Owned(normal)
}

/// Returns the path as other servers may read it: an escaped slash is not a slash, empty segments
/// are segments, a backslash is a slash. Empty for a path that has one reading.
pub fn other_readings(path: &[u8]) -> Vec<Vec<u8>> {
    if is_normal(path) {
        return Vec::new();
    }
    let decoded: Vec<u8> = percent_encoding::percent_decode(path).collect();
    let slashes = |&byte: &u8| if byte == b'\\' { b'/' } else { byte };
    let with_slashes: Vec<u8> = decoded.iter().map(slashes).collect();
    let resolved = [false, true].map(|keeps_empty| resolve(path, keeps_empty));
    let readings = resolved.iter().chain([&with_slashes]);
    readings
        .map(|reading| normalize(reading).into_owned())
        .collect()
}

/// Resolves `.` and `..` before decoding; only an escaped `.` or `..` is decoded.
fn resolve(path: &[u8], keeps_empty: bool) -> Vec<u8> {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    let mut segments: Vec<&[u8]> = Vec::new();
    for segment in path.split(|&byte| byte == b'/') {
        let decoded: Cow<[u8]> = percent_encoding::percent_decode(segment).into();
        match &*decoded {
            b"" if !keeps_empty => {}
            b"." => {}
            b".." => {
                segments.pop();
            }
            _ => segments.push(segment),
        }
    }
    [b"/", &segments.join(&b'/')[..]].concat()
}

fn is_normal(path: &[u8]) -> bool {
    let decoded = !path.contains(&b'%');
    let segments = path.windows(2).all(|pair| pair != b"//" && pair != b"/.");
    decoded && segments && path.first() == Some(&b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expected: &str) {
        let normal = normalize(path.as_bytes());
        assert_eq!(std::str::from_utf8(&normal).unwrap(), expected, "{path}");
    }

    #[test]
    fn every_spelling_becomes_one() {
        for spelling in [
            "/api/ip_query",
            "//api//ip_query",
            "/./api/./ip_query",
            "/a/../api/ip_query",
            "/../../api/ip_query",
            "/api/ip%5Fquery",
            "/%61pi/ip%5fquery",
            "/api%2Fip_query",
            "/a/%2e%2E/api/ip_query",
            "/api/x/..%2fip_query",
        ] {
            check(spelling, "/api/ip_query");
        }
    }

    #[test]
    fn other_paths_stay_other() {
        check("/", "/");
        check("", "/");
        check("/..", "/");
        check("/a/b/", "/a/b/");
        check("/a/b/..", "/a/");
        check("/a.b/.c", "/a.b/.c");
        check("/100%", "/100%");
        check("/%zz", "/%zz");
        check("/%2561", "/%61");
    }
}
