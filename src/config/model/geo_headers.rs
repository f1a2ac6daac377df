//! What upstreams are told of a client's location.

use std::sync::LazyLock;

use super::HeaderNameSet;
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

/// Headers in which geogate tells upstreams of the client, and others that mean the same. They are
/// deleted from every request, whoever sends it: what a trusted proxy says in them was read before.
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

/// Whether a header, its name in whichever spelling, is one that upstreams trust geogate for.
#[must_use]
pub fn is_managed_name(name: &str) -> bool {
    static NAMES: LazyLock<HeaderNameSet> =
        LazyLock::new(|| HeaderNameSet::new(MANAGED).expect("these are names"));
    NAMES.contains(name)
}
