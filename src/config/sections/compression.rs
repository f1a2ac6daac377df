//! `[compression]`.

use super::one_of;
use crate::config::document::{Item, Section};
use crate::config::model::{Coding, Compression, MediaType, MediaTypes};

const ALGORITHMS: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];

/// Default media types: text that compresses well. `text/event-stream` is not among them, although
/// it compresses well, because not every client of such a stream supports compression.
const TYPES: [&str; 14] = [
    "text/html",
    "text/plain",
    "text/css",
    "text/csv",
    "text/xml",
    "text/javascript",
    "application/javascript",
    "application/json",
    "application/ld+json",
    "application/manifest+json",
    "application/xml",
    "application/xhtml+xml",
    "application/wasm",
    "image/svg+xml",
];

pub(super) fn compression(section: &Section) -> Compression {
    let compression = Compression {
        enabled: section.value("enabled", false, Item::boolean),
        algorithms: algorithms(section),
        level: section.value("level", 4, |item| {
            item.integer(1, 9).map(|level| level as u32)
        }),
        types: types(section),
        min_size: section.value("min_size", 1024, Item::size),
    };
    section.refuse_unknown();
    compression
}

fn algorithms(section: &Section) -> Vec<Coding> {
    let Some(item) = section.item("algorithms") else {
        return ALGORITHMS.to_vec();
    };
    if item.is_empty_array() {
        section.note("algorithms", "at least one algorithm is needed");
    }
    codings(section, "algorithms")
}

/// Reads a list of different codings.
pub(super) fn codings(section: &Section, key: &'static str) -> Vec<Coding> {
    let items = section.item(key).map(|item| item.items());
    let read = |item: &Item| {
        let known = [
            ("gzip", Coding::Gzip),
            ("brotli", Coding::Brotli),
            ("zstd", Coding::Zstd),
        ];
        one_of(item, &known)
    };
    let mut codings: Vec<Coding> = Vec::new();
    for coding in items.iter().flatten().filter_map(|item| item.read(read)) {
        if codings.contains(&coding) {
            section.note(key, format!("{:?} is listed twice", coding.token()));
        }
        codings.push(coding);
    }
    codings
}

fn types(section: &Section) -> MediaTypes {
    let items = section.item("types").map(|item| item.items());
    let types = match items {
        Some(items) => items
            .iter()
            .filter_map(|item| item.read(media_type))
            .collect(),
        None => TYPES.map(|name| MediaType::One(name.to_owned())).to_vec(),
    };
    MediaTypes::new(types)
}

fn media_type(item: &Item) -> Result<MediaType, String> {
    let text = item.string()?.to_ascii_lowercase();
    let wrong =
        || format!("{text:?} is not a media type such as \"text/css\", \"text/*\" or \"*\"");
    if text == "*" {
        return Ok(MediaType::Starting(String::new()));
    }
    let is_token = |part: &str| {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "!#$&-^_.+".contains(c);
        !part.is_empty() && part.chars().all(is_allowed)
    };
    match text.split_once('/') {
        Some((kind, "*")) if is_token(kind) => Ok(MediaType::Starting(format!("{kind}/"))),
        Some((kind, subtype)) if is_token(kind) && is_token(subtype) => Ok(MediaType::One(text)),
        _ => Err(wrong()),
    }
}
