//! Headers for the upstream about the client: its address and its location.
//!
//! Upstreams trust these headers, so a client must not be able to set them. Every managed name is
//! removed from the request before ours are set, even if we have no value to set. This includes
//! every case and any separators between its letters, because CGI and WSGI servers do not
//! distinguish them.

mod names;

use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderName;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::client_ip::{Origin, write_forwarded_for};
use super::request_view::RequestView;
use crate::config::model::{
    GeoHeaders, HeaderEncoding, HeaderNameSet, UntrustedHeaders, is_managed_name,
};
use crate::geo::Place;
use crate::proto::headers::{EditHeaders, Headers, LineBuffer, Name, is_spelling_of};
use crate::proto::text::write_address;
use names::Header;

/// Characters to escape: all but printable ASCII, and `%` itself.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// Number of the next settings.
static SERIAL: AtomicU64 = AtomicU64::new(0);

/// Headers with the client's location, as configured.
pub struct LocationHeaders {
    sent: Vec<Header>,
    /// Names that clients must not send, in addition to the names that are always managed.
    managed: HeaderNameSet,
    /// Names of CDNs. A trusted proxy may send them unless we send them ourselves.
    foreign: HeaderNameSet,
    encoding: HeaderEncoding,
    /// Number of these settings, which no others have.
    serial: u64,
}

impl LocationHeaders {
    /// Creates the headers of a configuration.
    #[must_use]
    pub fn new(config: &GeoHeaders) -> Self {
        let sent = if config.enabled {
            names::sent(config.names, &config.more)
        } else {
            Vec::new()
        };
        LocationHeaders {
            managed: set_of(sent.iter().map(|(name, _)| *name)),
            foreign: set_of(names::foreign()),
            sent,
            encoding: config.encoding,
            serial: SERIAL.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Number of these settings, which no others have.
    #[must_use]
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// Renders the lines of a place. A field that is empty or cannot be a header's value has none.
    #[must_use]
    pub fn render(&self, place: &Place) -> LineBuffer {
        let (mut lines, mut text) = (LineBuffer::default(), String::new());
        for (name, field) in &self.sent {
            text.clear();
            if append_value(&mut text, place.text(*field), self.encoding) {
                lines.push(name, text.as_bytes());
            }
        }
        lines
    }

    pub(in crate::gateway) fn is_managed(&self, name: &str, peer_is_trusted: bool) -> bool {
        is_managed_name(name)
            || self.managed.contains(name)
            || !peer_is_trusted && self.foreign.contains(name)
    }
}

fn set_of(names: impl Iterator<Item = &'static str>) -> HeaderNameSet {
    HeaderNameSet::new(names).expect("the names of locations are names")
}

/// Removes headers whose names have the same letters but other separators, which an application may
/// mistake for this header. The header itself stays.
pub fn remove_other_spellings(request: &mut impl EditHeaders, name: &HeaderName) {
    let name = name.as_str();
    request.remove_if(|known| !known.eq_ignore_ascii_case(name) && is_spelling_of(known, name));
}

/// Removes all managed headers of a request. [`append`] adds our own.
pub fn remove(sent: &mut impl EditHeaders, origin: &Origin, headers: &LocationHeaders) {
    sent.remove_if(|name| headers.is_managed(name, origin.peer_is_trusted));
}

/// Adds our own values of the managed headers to a request, which has none of them. `place` are the
/// lines of the client's place, if it is known.
pub fn append<H: Headers>(
    sent: &mut impl EditHeaders,
    request: &RequestView<H>,
    origin: &Origin,
    place: Option<&LineBuffer>,
) {
    sent.append_with(Name::Static("X-Real-IP"), |value| {
        write_address(origin.client.ip(), value);
    });
    sent.append_with(Name::Static("X-Forwarded-For"), |value| {
        write_forwarded_for(value, origin);
    });
    let proto = proto(request, origin);
    sent.append(Name::Static("X-Forwarded-Proto"), proto.as_bytes());
    if let Some(host) = host(request, origin) {
        sent.append(Name::Static("X-Forwarded-Host"), host);
    }
    if let Some(lines) = place {
        sent.append_all(lines);
    }
}

/// Returns `true` for a header that only a trusted proxy may send. Engines hide it before any other
/// code reads the headers, so that no route, limit or variable uses a value that an untrusted client
/// sent. Managed headers are not among
/// them: they are read, and logged, before they are replaced.
#[must_use]
pub fn is_untrusted(name: &str, headers: &UntrustedHeaders) -> bool {
    headers.contains(name) && !is_managed_name(name)
}

/// Returns the value of a header that a trusted proxy sent; `None` if it has several lines.
fn claim<'r, H: Headers>(headers: &'r H, origin: &Origin, name: &'r str) -> Option<&'r [u8]> {
    let mut lines = headers.lines(name);
    let claim = lines.next().filter(|_| lines.next().is_none());
    claim.filter(|_| origin.peer_is_trusted)
}

/// Returns the scheme that a trusted proxy reports, or else our own.
pub(in crate::gateway) fn proto<H: Headers>(
    request: &RequestView<H>,
    origin: &Origin,
) -> &'static str {
    match claim(request.headers, origin, "x-forwarded-proto") {
        Some(b"http") => "http",
        Some(b"https") => "https",
        _ => request.scheme().as_str(),
    }
}

/// Returns the host that a trusted proxy reports, or else the requested one.
fn host<'r, H: Headers>(request: &RequestView<'r, H>, origin: &Origin) -> Option<&'r [u8]> {
    claim(request.headers, origin, "x-forwarded-host")
        .or_else(|| request.headers.lines("host").next())
        .or_else(|| request.authority.map(str::as_bytes))
}

/// Appends a text of the database as a header's value. Returns `false`, and appends nothing, if the
/// text is empty or cannot be a header's value.
fn append_value(value: &mut String, text: &str, encoding: HeaderEncoding) -> bool {
    match encoding {
        HeaderEncoding::Percent => value.extend(utf8_percent_encode(text, ESCAPED)),
        HeaderEncoding::Utf8 if text.chars().any(char::is_control) => return false,
        HeaderEncoding::Utf8 => value.push_str(text),
    }
    !text.is_empty()
}

#[cfg(test)]
mod tests {
    use super::super::client_ip::{PeerAddr, resolve};
    use super::*;
    use http::HeaderValue;
    use pingora::http::RequestHeader;

    use crate::config::model::{ClientIp, ForwardedHeader, HeaderNames, TrustedProxies};
    use crate::geo::{Codes, Database, Field, Names, Table};
    use crate::tree::Range;

    const CONFIG: GeoHeaders = GeoHeaders {
        enabled: true,
        names: HeaderNames::Geogate,
        more: Vec::new(),
        encoding: HeaderEncoding::Percent,
    };

    fn database(isp: &str) -> Database {
        let mut table = Table::default();
        let fields = [
            (Field::Country, "中国"),
            (Field::Province, "福建"),
            (Field::Isp, isp),
            (Field::DialCode, "86"),
        ];
        let value = table.records.intern(fields);
        table.v4 = [Range {
            first: 0x0100_0000,
            last: 0x0100_00ff,
            value,
        }]
        .into();
        Database::build(table, &Codes::built_in(), Names::Canonical).unwrap()
    }

    /// Returns the headers that reach the upstream. The peer is 1.0.0.1, or the trusted 10.0.0.1.
    fn replaced(
        peer: &str,
        lines: &[(&str, &str)],
        isp: &str,
        config: &GeoHeaders,
    ) -> RequestHeader {
        let mut request = RequestHeader::build("GET", b"/", None).unwrap();
        for (name, value) in lines {
            request.append_header((*name).to_owned(), *value).unwrap();
        }
        let client_ip = ClientIp {
            trusted_proxies: TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]),
            header: ForwardedHeader::XForwardedFor,
            untrusted_headers: UntrustedHeaders::default(),
        };
        let peer = PeerAddr::new(peer.parse().unwrap());
        let origin = resolve(peer, &request.headers, &client_ip);
        if !origin.peer_is_trusted {
            request.remove_if(|name| is_untrusted(name, &client_ip.untrusted_headers));
        }
        let database = database(isp);
        let place = database.lookup(origin.client.ip());
        let headers = LocationHeaders::new(config);
        let mut sent = request.clone();
        let view = RequestView::of(&request);
        let lines = place.as_ref().map(|place| headers.render(place));
        remove(&mut sent, &origin, &headers);
        append(&mut sent, &view, &origin, lines.as_ref());
        sent
    }

    fn get<'r>(request: &'r RequestHeader, name: &str) -> Vec<&'r [u8]> {
        request
            .headers
            .get_all(name)
            .into_iter()
            .map(HeaderValue::as_bytes)
            .collect()
    }

    #[track_caller]
    fn check(request: &RequestHeader, expected: &[(&str, &str)]) {
        for (name, value) in expected {
            let found: Vec<_> = get(request, name);
            assert_eq!(found, [value.as_bytes()], "{name}");
        }
    }

    #[test]
    fn location_and_address_are_set() {
        let request = replaced("1.0.0.1:80", &[("Host", "example.com")], "电信", &CONFIG);
        check(
            &request,
            &[
                ("x-real-ip", "1.0.0.1"),
                ("x-forwarded-for", "1.0.0.1"),
                ("x-forwarded-proto", "http"),
                ("x-forwarded-host", "example.com"),
                ("host", "example.com"),
                ("x-geo-country", "CN"),
                ("x-geo-country-name", "%E4%B8%AD%E5%9B%BD"),
                ("x-geo-region", "%E7%A6%8F%E5%BB%BA"),
                ("x-geo-region-code", "350000"),
                ("x-geo-isp", "%E7%94%B5%E4%BF%A1"),
            ],
        );
        assert!(get(&request, "x-geo-city").is_empty());
    }

    #[test]
    fn spoofed_headers_are_deleted_in_every_spelling_hit_or_miss() {
        let spoofed = [
            ("X-Geo-Country", "XX"),
            ("x-geo-country", "XX"),
            ("X_Geo_Country", "XX"),
            ("X-GEO_CITY", "XX"),
            ("X-Geo-Anything", "XX"),
            ("X-Real-IP", "6.6.6.6"),
            ("x_real_ip", "6.6.6.6"),
            ("X-Forwarded-For", "6.6.6.6"),
            ("X_FORWARDED_FOR", "6.6.6.6"),
            ("Forwarded", "for=6.6.6.6"),
            ("True-Client-IP", "6.6.6.6"),
            ("X.Real.IP", "6.6.6.6"),
            ("X-Geo--Country", "XX"),
            ("XGeo-Country", "XX"),
            ("X-Forwarded_Client.Cert", "XX"),
            ("Proxy", "XX"),
            ("Remote_User", "XX"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "evil"),
        ];
        for peer in ["1.0.0.1:80", "2.0.0.1:80"] {
            let request = replaced(peer, &spoofed, "电信", &CONFIG);
            for (name, value) in &request.headers {
                let value = value.to_str().unwrap();
                assert!(
                    !value.contains("XX") && !value.contains("6.6.6.6"),
                    "{name}: {value}"
                );
                assert!(!name.as_str().contains('_'), "{name}");
            }
            check(&request, &[("x-forwarded-proto", "http")]);
            assert!(get(&request, "x-forwarded-host").is_empty());
        }
    }

    #[test]
    fn a_trusted_proxy_is_believed() {
        let lines = [
            ("Host", "inner"),
            ("X-Forwarded-For", "6.6.6.6, 1.0.0.1"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "outer"),
            ("X-Forwarded-Port", "8443"),
            ("X-Forwarded-Client-Cert", "Hash=1"),
            ("CF-Connecting-IP", "1.0.0.1"),
            ("Forwarded", "for=6.6.6.6"),
            ("X-Geo-Country", "XX"),
        ];
        let request = replaced("10.0.0.1:80", &lines, "电信", &CONFIG);
        check(
            &request,
            &[
                ("x-real-ip", "1.0.0.1"),
                ("x-forwarded-for", "1.0.0.1, 10.0.0.1"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-host", "outer"),
                ("x-forwarded-port", "8443"),
                ("x-forwarded-client-cert", "Hash=1"),
                ("cf-connecting-ip", "1.0.0.1"),
                ("x-geo-country", "CN"),
            ],
        );
        assert!(get(&request, "forwarded").is_empty());
    }

    #[test]
    fn other_headers_stay() {
        let lines = [
            ("Accept", "a"),
            ("X-Geography", "b"),
            ("X-Forward", "c"),
            ("user_name", "d"),
        ];
        let request = replaced("1.0.0.1:80", &lines, "电信", &CONFIG);
        check(&request, &lines.map(|(name, value)| (name, value)));
    }

    #[test]
    fn control_characters_of_a_database_never_reach_a_header() {
        let hostile = "a\r\nX-Evil: 1\u{7f}\u{85}";
        let request = replaced("1.0.0.1:80", &[], hostile, &CONFIG);
        check(&request, &[("x-geo-isp", "a%0D%0AX-Evil: 1%7F%C2%85")]);
        let utf8 = GeoHeaders {
            encoding: HeaderEncoding::Utf8,
            ..CONFIG
        };
        assert!(get(&replaced("1.0.0.1:80", &[], hostile, &utf8), "x-geo-isp").is_empty());
        check(
            &replaced("1.0.0.1:80", &[], "电信", &utf8),
            &[("x-geo-isp", "电信")],
        );
    }

    #[test]
    fn location_can_be_turned_off() {
        let off = GeoHeaders {
            enabled: false,
            ..CONFIG
        };
        let request = replaced("1.0.0.1:80", &[("X-Geo-Country", "XX")], "电信", &off);
        assert!(get(&request, "x-geo-country").is_empty());
        check(&request, &[("x-real-ip", "1.0.0.1")]);
    }

    #[test]
    fn more_fields_are_sent_when_asked_for() {
        let more = GeoHeaders {
            more: vec![Field::DialCode, Field::Asn],
            ..CONFIG
        };
        let request = replaced("1.0.0.1:80", &[("X-Geo-ASN", "1")], "电信", &more);
        check(
            &request,
            &[("x-geo-country", "CN"), ("x-geo-dial-code", "86")],
        );
        assert!(get(&request, "x-geo-asn").is_empty());
    }

    #[test]
    fn the_dialect_of_a_cdn_is_ours_alone() {
        let vercel = GeoHeaders {
            names: HeaderNames::Vercel,
            ..CONFIG
        };
        let spoofed = [
            ("X-Vercel-IP-Country", "XX"),
            ("X_Vercel_IP_City", "XX"),
            ("CF-IPCountry", "XX"),
            ("X-Geo-Country", "XX"),
        ];
        let request = replaced("1.0.0.1:80", &spoofed, "电信", &vercel);
        check(&request, &[("x-vercel-ip-country", "CN")]);
        let said = request.headers.values().any(|value| value == "XX");
        assert!(!said, "{request:?}");
        // The headers of a trusted CDN are passed on to upstreams that read them.
        let lines = [("CF-IPCountry", "T1"), ("X-Vercel-IP-Country", "XX")];
        let request = replaced("10.0.0.1:80", &lines, "电信", &vercel);
        check(&request, &[("cf-ipcountry", "T1")]);
        assert!(get(&request, "x-vercel-ip-country").is_empty());
    }
}
