//! What upstreams are told of a client's location.

use crate::geo::Field;

/// What is added to proxied requests.
#[derive(Debug, Clone)]
pub struct GeoHeaders {
    /// Whether the location is added. The client's own are deleted in any case.
    pub enabled: bool,
    /// Under which names.
    pub names: HeaderNames,
    /// Fields that are added under geogate's own names.
    pub more: Vec<Field>,
    /// How text that is not ASCII is written.
    pub encoding: HeaderEncoding,
}

/// Under which names upstreams are told a location.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderNames {
    /// `X-Geo-Country` and so on.
    Geogate,
    /// `CF-IPCountry` and so on.
    Cloudflare,
    /// `CloudFront-Viewer-Country` and so on.
    CloudFront,
    /// `X-Vercel-IP-Country` and so on.
    Vercel,
}

/// How text that is not ASCII is written into a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderEncoding {
    /// Percent-encoded UTF-8: safe for every server.
    Percent,
    /// UTF-8 as it is.
    Utf8,
}

/// Headers that name a client, a scheme or a host in somebody's place. Some we set; the others
/// would let a client lie to an upstream that reads them.
const FORWARDING: [&str; 17] = [
    "client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
    "forwarded",
    "forwarded-for",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-forwarded",
    "x-forwarded-by",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-forwarded-server",
    "x-original-forwarded-for",
    "x-real-ip",
];

/// All names that start so are managed.
const LOCATION_PREFIX: &str = "x-geo-";

/// Whether a header, its name in lower case, is one of those that upstreams trust and no client may
/// set, in whichever dialect: `_` for `-` makes no difference, as it makes none to CGI and WSGI
/// servers.
#[must_use]
pub fn is_managed_name(name: &str) -> bool {
    let spelled = |known: &str| is_spelling_of(name, known);
    let prefix = name.get(..LOCATION_PREFIX.len());
    prefix.is_some_and(|prefix| prefix.replace('_', "-") == LOCATION_PREFIX)
        || FORWARDING.into_iter().any(spelled)
}

/// Whether two names, both in lower case, are one to those who make no difference between `_` and
/// `-`.
#[must_use]
pub fn is_spelling_of(name: &str, other: &str) -> bool {
    let fold = |byte| if byte == b'_' { b'-' } else { byte };
    name.len() == other.len()
        && name
            .bytes()
            .zip(other.bytes())
            .all(|(a, b)| fold(a) == fold(b))
}
