//! Compression of responses.

/// Compression settings of responses.
#[derive(Debug, Clone)]
pub struct Compression {
    /// True if responses are compressed by default; a route can override it.
    pub enabled: bool,
    /// Allowed codings in order of preference. At least one, without duplicates.
    pub algorithms: Vec<Coding>,
    /// Compression level from 1 (fastest) to 9 (smallest).
    pub level: u32,
    /// Media types that are compressed.
    pub types: MediaTypes,
    /// Minimum size of a body in bytes. A body of unknown size is compressed.
    pub min_size: u64,
}

/// A content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

impl Coding {
    /// Returns the extension of files in this coding.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Coding::Gzip => "gz",
            Coding::Brotli => "br",
            Coding::Zstd => "zst",
        }
    }

    /// Returns the name in `Accept-Encoding` and `Content-Encoding`.
    #[must_use]
    pub fn token(self) -> &'static str {
        match self {
            Coding::Gzip => "gzip",
            Coding::Brotli => "br",
            Coding::Zstd => "zstd",
        }
    }
}

/// A set of media types.
#[derive(Debug, Clone, Default)]
pub struct MediaTypes(Vec<MediaType>);

/// Pattern of media types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaType {
    /// `type/subtype`, in lower case.
    One(String),
    /// All types with this prefix: `text/` for `text/*`, the empty text for `*`.
    Starting(String),
}

impl MediaTypes {
    /// Returns a set of these types.
    #[must_use]
    pub fn new(types: Vec<MediaType>) -> Self {
        MediaTypes(types)
    }

    /// Returns `true` if the set has the media type of a `Content-Type`, ignoring its parameters.
    #[must_use]
    pub fn contain(&self, content_type: &[u8]) -> bool {
        let end = content_type.iter().position(|&byte| byte == b';');
        let name = content_type[..end.unwrap_or(content_type.len())].trim_ascii();
        self.0.iter().any(|known| match known {
            MediaType::One(known) => name.eq_ignore_ascii_case(known.as_bytes()),
            MediaType::Starting(known) => {
                let start = name.get(..known.len());
                start.is_some_and(|start| start.eq_ignore_ascii_case(known.as_bytes()))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_found_with_its_parameters_and_in_any_case() {
        let types = MediaTypes::new(vec![
            MediaType::One("application/json".to_owned()),
            MediaType::Starting("text/".to_owned()),
        ]);
        for (name, expected) in [
            ("application/json", true),
            ("Application/JSON ; charset=utf-8", true),
            ("application/json5", false),
            ("text/html", true),
            ("TEXT/plain;charset=x", true),
            ("text", false),
            ("", false),
            ("image/png; x=text/html", false),
        ] {
            assert_eq!(types.contain(name.as_bytes()), expected, "{name}");
        }
        let all = MediaTypes::new(vec![MediaType::Starting(String::new())]);
        assert!(all.contain(b"image/png"));
    }
}
