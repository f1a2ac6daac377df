//! Location headers on requests to upstreams.

use std::sync::LazyLock;

use super::HeaderNameSet;
use crate::geo::Field;

/// Location headers that are added to proxied requests.
#[derive(Debug, Clone)]
pub struct GeoHeaders {
    /// True if the headers are added. The client's own headers of these names are deleted in any
    /// case.
    pub enabled: bool,
    /// Naming scheme of the headers.
    pub names: HeaderNames,
    /// Additional fields, under geogate's own header names.
    pub more: Vec<Field>,
    /// Encoding of text that is not ASCII.
    pub encoding: HeaderEncoding,
}

/// Naming scheme of location headers.
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

/// Encoding of header text that is not ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderEncoding {
    /// Percent-encoded UTF-8, which every server can parse.
    Percent,
    /// Plain UTF-8.
    Utf8,
}

/// Headers in which geogate describes the client to upstreams, and headers of the same meaning. They
/// are deleted from every request, including those of trusted proxies, whose values are read before.
const MANAGED: [&str; 9] = [
    "X-Geo-*",
    "Forwarded",
    "Forwarded-For",
    "X-Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Original-Forwarded-For",
    "X-Real-IP",
];

/// Returns `true` if geogate manages the header. The name may have any case and separators.
#[must_use]
pub fn is_managed_name(name: &str) -> bool {
    static NAMES: LazyLock<HeaderNameSet> =
        LazyLock::new(|| HeaderNameSet::new(MANAGED).expect("these are names"));
    NAMES.contains(name)
}
