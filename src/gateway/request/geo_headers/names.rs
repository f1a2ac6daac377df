//! Names of the headers with a client's location.
//!
//! Upstreams that were written for a CDN read that CDN's header names, so these can be sent instead
//! of our own. Sources: Cloudflare, "Add visitor location headers"; Amazon `CloudFront`, "Add
//! `CloudFront` request headers"; Vercel, "Request headers".

use crate::config::model::HeaderNames;
use crate::geo::Field;

/// Name of a header, and the field that is its value.
pub type Header = (&'static str, Field);

/// Headers under our own names that are sent by default.
const OWN: [Header; 8] = [
    ("X-Geo-Country", Field::CountryCode),
    ("X-Geo-Country-Name", Field::Country),
    ("X-Geo-Region", Field::Province),
    ("X-Geo-Region-Code", Field::ProvinceCode),
    ("X-Geo-City", Field::City),
    ("X-Geo-City-Code", Field::CityCode),
    ("X-Geo-Org", Field::Organization),
    ("X-Geo-ISP", Field::Isp),
];

/// Headers under our own names that are sent on request.
const MORE: [Header; 12] = [
    ("X-Geo-Continent", Field::Continent),
    ("X-Geo-Subdivision", Field::SubdivisionCode),
    ("X-Geo-Admin-Code", Field::AdminCode),
    ("X-Geo-Postal-Code", Field::PostalCode),
    ("X-Geo-Latitude", Field::Latitude),
    ("X-Geo-Longitude", Field::Longitude),
    ("X-Geo-Accuracy-Radius", Field::AccuracyRadius),
    ("X-Geo-Time-Zone", Field::TimeZone),
    ("X-Geo-UTC-Offset", Field::UtcOffset),
    ("X-Geo-Dial-Code", Field::DialCode),
    ("X-Geo-ASN", Field::Asn),
    ("X-Geo-AS-Org", Field::AsOrganization),
];

const CLOUDFLARE: [Header; 9] = [
    ("CF-IPCountry", Field::CountryCode),
    ("CF-IPContinent", Field::Continent),
    ("CF-Region", Field::Province),
    ("CF-Region-Code", Field::SubdivisionCode),
    ("CF-IPCity", Field::City),
    ("CF-Postal-Code", Field::PostalCode),
    ("CF-IPLatitude", Field::Latitude),
    ("CF-IPLongitude", Field::Longitude),
    ("CF-Timezone", Field::TimeZone),
];

const CLOUDFRONT: [Header; 10] = [
    ("CloudFront-Viewer-Country", Field::CountryCode),
    ("CloudFront-Viewer-Country-Name", Field::Country),
    ("CloudFront-Viewer-Country-Region", Field::SubdivisionCode),
    ("CloudFront-Viewer-Country-Region-Name", Field::Province),
    ("CloudFront-Viewer-City", Field::City),
    ("CloudFront-Viewer-Postal-Code", Field::PostalCode),
    ("CloudFront-Viewer-Latitude", Field::Latitude),
    ("CloudFront-Viewer-Longitude", Field::Longitude),
    ("CloudFront-Viewer-Time-Zone", Field::TimeZone),
    ("CloudFront-Viewer-ASN", Field::Asn),
];

const VERCEL: [Header; 9] = [
    ("X-Vercel-IP-Country", Field::CountryCode),
    ("X-Vercel-IP-Continent", Field::Continent),
    ("X-Vercel-IP-Country-Region", Field::SubdivisionCode),
    ("X-Vercel-IP-City", Field::City),
    ("X-Vercel-IP-Postal-Code", Field::PostalCode),
    ("X-Vercel-IP-Latitude", Field::Latitude),
    ("X-Vercel-IP-Longitude", Field::Longitude),
    ("X-Vercel-IP-Timezone", Field::TimeZone),
    ("X-Vercel-IP-AS-Number", Field::Asn),
];

/// Returns the headers of a set of names, with more fields under our own names.
pub fn sent(names: HeaderNames, more: &[Field]) -> Vec<Header> {
    let more = all_own().filter(|(_, field)| more.contains(field));
    let mut sent = match names {
        HeaderNames::Geogate => OWN.to_vec(),
        HeaderNames::Cloudflare => CLOUDFLARE.to_vec(),
        HeaderNames::CloudFront => CLOUDFRONT.to_vec(),
        HeaderNames::Vercel => VERCEL.to_vec(),
    };
    for header in more {
        if !sent.contains(&header) {
            sent.push(header);
        }
    }
    sent
}

/// Names of the headers of all CDNs.
pub fn foreign() -> impl Iterator<Item = &'static str> {
    let all = CLOUDFLARE.iter().chain(&CLOUDFRONT).chain(&VERCEL);
    all.map(|(name, _)| *name)
}

fn all_own() -> impl Iterator<Item = Header> {
    OWN.into_iter().chain(MORE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_a_name_of_ours() {
        for field in Field::ALL {
            assert_eq!(
                all_own().filter(|(_, own)| *own == field).count(),
                1,
                "{field:?}"
            );
        }
        assert!(all_own().all(|(name, _)| name.starts_with("X-Geo-")));
    }

    #[test]
    fn more_is_added_once() {
        let sent = sent(HeaderNames::Geogate, &[Field::City, Field::Asn]);
        assert_eq!(sent.len(), OWN.len() + 1);
        assert_eq!(sent.last(), Some(&("X-Geo-ASN", Field::Asn)));
    }
}
