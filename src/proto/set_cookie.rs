//! `Set-Cookie`: a cookie and its attributes (RFC 6265, 5.2).

use std::borrow::Cow;

/// A line of `Set-Cookie`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetCookie<'l> {
    /// Name and value of the cookie, as sent.
    pair: &'l [u8],
    attributes: Vec<Attribute<'l>>,
}

/// Attribute of a cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Attribute<'l> {
    name: Cow<'l, [u8]>,
    value: Option<Cow<'l, [u8]>>,
}

impl<'l> SetCookie<'l> {
    /// Reads a line.
    #[must_use]
    pub fn parse(line: &'l [u8]) -> Self {
        let mut parts = line.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let pair = parts.next().unwrap_or_default();
        let parts = parts.filter(|part| !part.is_empty());
        let attributes = parts.map(|part| {
            let at = part.iter().position(|&byte| byte == b'=');
            let (name, value) = match at {
                Some(at) => (&part[..at], Some(&part[at + 1..])),
                None => (part, None),
            };
            Attribute {
                name: name.trim_ascii().into(),
                value: value.map(|value| value.trim_ascii().into()),
            }
        });
        SetCookie {
            pair,
            attributes: attributes.collect(),
        }
    }

    /// Name of the cookie; `None` for a text without `=`, which is no cookie.
    #[must_use]
    pub fn name(&self) -> Option<&'l [u8]> {
        let at = self.pair.iter().position(|&byte| byte == b'=')?;
        Some(self.pair[..at].trim_ascii())
    }

    /// Changes the values of an attribute, whose name has any case. `None` leaves a value as it is.
    pub fn change(&mut self, name: &str, change: impl Fn(&[u8]) -> Option<Vec<u8>>) {
        for attribute in &mut self.attributes {
            if let (true, Some(value)) = (attribute.is(name), &mut attribute.value)
                && let Some(changed) = change(value)
            {
                *value = changed.into();
            }
        }
    }

    /// Sets an attribute, in place of all of its name.
    pub fn set(&mut self, name: &'static str, value: Option<&'static str>) {
        self.remove(name);
        self.attributes.push(Attribute {
            name: name.as_bytes().into(),
            value: value.map(|value| value.as_bytes().into()),
        });
    }

    /// Returns `true` if there is an attribute of this name, in any case.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.attributes.iter().any(|attribute| attribute.is(name))
    }

    /// Removes all attributes of a name, in any case.
    pub fn remove(&mut self, name: &str) {
        self.attributes.retain(|attribute| !attribute.is(name));
    }

    /// Writes the line.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut line = self.pair.to_vec();
        for Attribute { name, value } in &self.attributes {
            line.extend_from_slice(b"; ");
            line.extend_from_slice(name);
            if let Some(value) = value {
                line.push(b'=');
                line.extend_from_slice(value);
            }
        }
        line
    }
}

impl Attribute<'_> {
    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_cookie_with_attributes() {
        let line = b"a=b=c; Path=/x ;HttpOnly;; Expires=Sat, 28 Nov 2026 02:02:09 GMT";
        let cookie = SetCookie::parse(line);
        assert_eq!(cookie.name(), Some(&b"a"[..]));
        assert!(cookie.has("path") && cookie.has("HTTPONLY") && !cookie.has("domain"));
        let written = cookie.write();
        let text = String::from_utf8_lossy(&written);
        assert_eq!(
            text,
            "a=b=c; Path=/x; HttpOnly; Expires=Sat, 28 Nov 2026 02:02:09 GMT"
        );
        assert_eq!(SetCookie::parse(b"a; Path=/").name(), None);
        assert_eq!(SetCookie::parse(b"").write(), b"");
    }

    #[test]
    fn attributes_are_changed_set_and_removed() {
        let mut cookie = SetCookie::parse(b"a=1; path=/x; Secure; secure; PATH=/y");
        cookie.change("Path", |value| {
            (value == b"/x").then(|| b"/changed".to_vec())
        });
        cookie.remove("secure");
        cookie.set("SameSite", Some("Lax"));
        cookie.set("HttpOnly", None);
        cookie.set("HttpOnly", None);
        assert_eq!(
            cookie.write(),
            b"a=1; path=/changed; PATH=/y; SameSite=Lax; HttpOnly"
        );
    }
}
