//! `[geo_headers]`.

use super::one_of;
use crate::config::document::{Item, Section};
use crate::config::model::{GeoHeaders, HeaderEncoding, HeaderNames};
use crate::geo::Field;

pub(super) fn geo_headers(section: &Section) -> GeoHeaders {
    let headers = GeoHeaders {
        enabled: section.value("enabled", true, Item::boolean),
        names: section.value("names", HeaderNames::Geogate, |item| {
            let known = [
                ("geogate", HeaderNames::Geogate),
                ("cloudflare", HeaderNames::Cloudflare),
                ("cloudfront", HeaderNames::CloudFront),
                ("vercel", HeaderNames::Vercel),
            ];
            one_of(item, &known)
        }),
        more: more_fields(section),
        encoding: section.value("encoding", HeaderEncoding::Percent, |item| {
            let known = [
                ("percent", HeaderEncoding::Percent),
                ("utf-8", HeaderEncoding::Utf8),
            ];
            one_of(item, &known)
        }),
    };
    section.refuse_unknown();
    headers
}

fn more_fields(section: &Section) -> Vec<Field> {
    let field = |item: &Item| one_of(item, &Field::ALL.map(|field| (field.name(), field)));
    let items = section.item("more").map(|item| item.items());
    let items = items.unwrap_or_default();
    items.iter().filter_map(|item| item.read(field)).collect()
}
