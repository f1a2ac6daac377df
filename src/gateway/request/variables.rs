//! Values of variables of one request, for templates.
//!
//! All engines create the same small view of a request, from their own parser, so a variable has
//! one meaning. Values are raw: the code that puts them into a header, a URL or a log escapes them
//! for that use. [`is_decoded`](super::escaping::is_decoded) tells which values need more escaping.

use std::borrow::Cow;
use std::ops::Range;
use std::time::SystemTime;

use pingora::protocols::SocketDigest;
use pingora::protocols::tls::SslDigest;
use regex::bytes::Regex;

use super::basic_auth::user;
use super::client_ip::{Origin, write_forwarded_for};
use super::head_lines::append_list;
use super::host;
use super::own_value::{Values, append_own};
use super::request_view::Serial;
use super::times;
use crate::config::model::{
    ClientCertificateField, ConnectionVariable, Part, RequestVariable, ResponseVariable, Template,
};
use crate::gateway::listener::tls::ClientCertificate;
use crate::geo::Place;
use crate::proto::headers::Headers;
use crate::proto::scheme::Scheme;
use crate::proto::text::{write_address, write_number};
use crate::query;

/// View of a request for variables. Unknown values are empty.
pub struct View<'r, H> {
    /// Client and proxies of the request.
    pub origin: Option<&'r Origin>,
    /// Geographic place of the client.
    pub place: Option<Place<'r>>,
    /// Scheme of the request.
    pub scheme: Scheme,
    /// Method, as sent.
    pub method: &'r str,
    /// Target, in any of its forms.
    pub target: RoutedTarget<'r>,
    /// Protocol version, such as `HTTP/1.1`.
    pub protocol: &'r str,
    /// Authority of an HTTP/2 request, which takes precedence over the header `Host`.
    pub authority: Option<&'r str>,
    /// Header lines.
    pub headers: &'r H,
    /// Id of the request.
    pub request_id: &'r str,
    /// Name of the route.
    pub route: &'r str,
    /// Groups of the route's patterns.
    pub captures: Captured<'r>,
    /// Connection of the request.
    pub connection: ConnectionView<'r>,
}

/// Connection of a request, as far as it is known.
#[derive(Clone, Copy, Default)]
pub struct ConnectionView<'r> {
    /// TLS session, if it is encrypted.
    pub tls: Option<&'r SslDigest>,
    /// Addresses.
    pub socket: Option<&'r SocketDigest>,
    /// Numbers of the connection and of the request on it.
    pub serial: Serial,
}

// Derived implementations would require `H: Clone` and `H: Copy`.
impl<H> Clone for View<'_, H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H> Copy for View<'_, H> {}

/// Groups that the patterns of a route matched.
#[derive(Clone, Copy, Default)]
pub struct Captured<'r> {
    /// Path that the pattern of the path was matched on.
    pub text: &'r [u8],
    /// Ranges of the groups in it; the first one is the whole match.
    pub groups: &'r [Option<Range<usize>>],
    /// Patterns of the route's hosts.
    pub hosts: &'r [Regex],
}

/// Target of a request.
#[derive(Clone, Copy)]
pub struct RoutedTarget<'r> {
    /// Target that the route was chosen by: as sent, or that of an internal redirect.
    pub routed: &'r [u8],
    /// Target as sent.
    pub sent: &'r [u8],
}

impl<'r> RoutedTarget<'r> {
    /// Target of a request that was not redirected.
    pub fn sent(target: &'r [u8]) -> Self {
        RoutedTarget {
            routed: target,
            sent: target,
        }
    }
}

impl<'r> Captured<'r> {
    fn get(&self, number: usize) -> &'r [u8] {
        let range = self.groups.get(number).cloned().flatten();
        range
            .and_then(|range| self.text.get(range))
            .unwrap_or_default()
    }
}

impl<H: Headers> View<'_, H> {
    /// Expands a template.
    pub fn expand(&self, template: &Template<RequestVariable>) -> Vec<u8> {
        let mut text = Vec::new();
        for part in template.parts() {
            match part {
                Part::Text(part) => text.extend_from_slice(part.as_bytes()),
                Part::Variable(variable) => self.append(variable, &mut text),
            }
        }
        text
    }

    /// Appends the value of a variable.
    pub fn append(&self, variable: &RequestVariable, out: &mut Vec<u8>) {
        match variable {
            RequestVariable::RemoteAddr | RequestVariable::PeerAddr => {
                if let Some(origin) = self.origin {
                    let is_client = *variable == RequestVariable::RemoteAddr;
                    let (client, peer) = (origin.client.ip(), origin.peer.ip());
                    write_address(if is_client { client } else { peer }, out);
                }
            }
            RequestVariable::RemoteUser => {
                let authorization = self.headers.lines("authorization").next();
                out.extend_from_slice(&user(authorization.unwrap_or_default()));
            }
            RequestVariable::Scheme => out.extend_from_slice(self.scheme.as_str().as_bytes()),
            RequestVariable::Host => {
                out.extend_from_slice(self.host().as_deref().unwrap_or_default().as_bytes());
            }
            RequestVariable::RequestMethod => out.extend_from_slice(self.method.as_bytes()),
            RequestVariable::RequestUri => {
                out.extend_from_slice(path_and_query(self.target.sent));
            }
            RequestVariable::Uri => out.extend_from_slice(&self.path()),
            RequestVariable::Args => out.extend_from_slice(self.query().unwrap_or_default()),
            RequestVariable::IsArgs => {
                if self.query().is_some_and(|query| !query.is_empty()) {
                    out.push(b'?');
                }
            }
            RequestVariable::Request => self.append_request_line(out),
            RequestVariable::ServerProtocol => out.extend_from_slice(self.protocol.as_bytes()),
            RequestVariable::RequestId => out.extend_from_slice(self.request_id.as_bytes()),
            RequestVariable::Route => out.extend_from_slice(self.route.as_bytes()),
            RequestVariable::Arg(name) => out.extend_from_slice(self.parameter(name)),
            RequestVariable::Cookie(name) => {
                out.extend_from_slice(cookie(self.headers, name).unwrap_or_default());
            }
            RequestVariable::Http(name) => append_list(self.headers, name, out),
            RequestVariable::Geo(field) => {
                let text = self.place.map_or("", |place| place.text(*field));
                out.extend_from_slice(text.as_bytes());
            }
            RequestVariable::SslClient(field) => {
                out.extend_from_slice(self.client_certificate(*field).as_bytes());
            }
            RequestVariable::Capture(number) => out.extend_from_slice(self.captures.get(*number)),
            RequestVariable::HostCapture(group) => self.append_host_group(group, out),
            RequestVariable::Connection(property) => self.append_of_connection(*property, out),
            RequestVariable::ForwardedFor => {
                if let Some(origin) = self.origin {
                    write_forwarded_for(out, origin);
                }
            }
            RequestVariable::Time(form) => times::write(SystemTime::now(), *form, out),
            RequestVariable::Hostname => {
                out.extend_from_slice(rustix::system::uname().nodename().to_bytes());
            }
            RequestVariable::Pid => write_number(u64::from(std::process::id()), out),
            RequestVariable::Own(own) => append_own(own, self, out),
        }
    }

    fn append_of_connection(&self, property: ConnectionVariable, out: &mut Vec<u8>) {
        let ConnectionView {
            tls,
            socket,
            serial,
        } = self.connection;
        let local = || socket?.local_addr()?.as_inet();
        let peer_port = || Some(socket?.peer_addr()?.as_inet()?.port());
        let is_direct = |origin: &Origin| origin.client.ip() == origin.peer.ip();
        let number = match property {
            ConnectionVariable::PeerPort => peer_port().map(u64::from),
            ConnectionVariable::RemotePort => {
                let port = self.origin.filter(|origin| is_direct(origin));
                port.and_then(|_| peer_port()).map(u64::from)
            }
            ConnectionVariable::ServerPort => local().map(|local| u64::from(local.port())),
            ConnectionVariable::Number => Some(serial.connection),
            ConnectionVariable::Requests => Some(u64::from(serial.request)),
            ConnectionVariable::ServerAddr => {
                if let Some(local) = local() {
                    write_address(local.ip().to_canonical(), out);
                }
                None
            }
            ConnectionVariable::Https
            | ConnectionVariable::Http2
            | ConnectionVariable::SslProtocol
            | ConnectionVariable::SslCipher => {
                let text = match property {
                    ConnectionVariable::Https => tls.map_or("", |_| "on"),
                    ConnectionVariable::SslProtocol => tls.map_or("", |tls| &tls.version),
                    ConnectionVariable::SslCipher => tls.map_or("", |tls| &tls.cipher),
                    _ if self.protocol != "HTTP/2.0" => "",
                    _ => tls.map_or("h2c", |_| "h2"),
                };
                out.extend_from_slice(text.as_bytes());
                None
            }
        };
        if let Some(number) = number {
            write_number(number, out);
        }
    }

    /// Appends a group of the first pattern of hosts that matches, by its name or number.
    fn append_host_group(&self, group: &str, out: &mut Vec<u8>) {
        let Some(host) = self.host() else {
            return;
        };
        let mut patterns = self.captures.hosts.iter();
        let Some(found) = patterns.find_map(|pattern| pattern.captures(host.as_bytes())) else {
            return;
        };
        let number = group.parse::<usize>().ok();
        let text = number.map_or_else(|| found.name(group), |number| found.get(number));
        out.extend_from_slice(text.map(|text| text.as_bytes()).unwrap_or_default());
    }

    /// Returns the normalised host of the request; `None` if it is missing or invalid.
    pub fn host(&self) -> Option<Cow<'_, str>> {
        let authority = self.authority.map(str::as_bytes);
        host::normalize(authority.or_else(|| self.headers.lines("host").next())?)
    }

    fn client_certificate(&self, field: ClientCertificateField) -> &str {
        let tls = self.connection.tls;
        let certificate = tls.map(|tls| tls.extension.get::<ClientCertificate>());
        match (certificate, field) {
            (Some(Some(certificate)), _) => certificate.text(field),
            (Some(None), ClientCertificateField::Verify) => "NONE",
            _ => "",
        }
    }

    /// Returns the path of the target that the route was chosen by, decoded and normalised.
    pub fn path(&self) -> Cow<'_, [u8]> {
        query::normalize(split_query(path_and_query(self.target.routed)).0)
    }

    /// Returns the query of the target that the route was chosen by.
    pub fn query(&self) -> Option<&[u8]> {
        split_query(path_and_query(self.target.routed)).1
    }

    fn append_request_line(&self, out: &mut Vec<u8>) {
        let parts = [
            self.method.as_bytes(),
            self.target.sent,
            self.protocol.as_bytes(),
        ];
        let mut is_first = true;
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            if !std::mem::take(&mut is_first) {
                out.push(b' ');
            }
            out.extend_from_slice(part);
        }
    }

    /// Returns the value of the first query parameter of a name.
    fn parameter(&self, name: &str) -> &[u8] {
        let mut pairs = self.query().unwrap_or_default().split(|&byte| byte == b'&');
        let value = |pair| {
            let (key, value) = split_at_byte(pair, b'=')?;
            key.eq_ignore_ascii_case(name.as_bytes()).then_some(value)
        };
        pairs.find_map(value).unwrap_or_default()
    }
}

impl<H: Headers> Values for View<'_, H> {
    fn append_of_request(&self, variable: &RequestVariable, out: &mut Vec<u8>) {
        self.append(variable, out);
    }

    /// There is no response yet.
    fn append_of_response(&self, _: &ResponseVariable, _: &mut Vec<u8>) {}
}

/// Returns the value of the first cookie of a name (RFC 6265, 4.2).
pub fn cookie<'h>(headers: &'h impl Headers, name: &str) -> Option<&'h [u8]> {
    let lines = headers.lines("cookie");
    let mut pairs = lines.flat_map(|line| line.split(|&byte| byte == b';'));
    pairs.find_map(|pair| {
        let (key, value) = split_at_byte(pair, b'=')?;
        (key.trim_ascii() == name.as_bytes()).then(|| value.trim_ascii())
    })
}

/// Returns the path and the query of a target in any form (RFC 9112, 3.2): the part after the
/// authority, if there is one.
#[must_use]
pub fn path_and_query(target: &[u8]) -> &[u8] {
    if target.first() == Some(&b'/') {
        return target;
    }
    let Some(scheme_end) = memchr::memmem::find(target, b"://") else {
        return target;
    };
    let rest = &target[scheme_end + 3..];
    match rest.iter().position(|byte| matches!(byte, b'/' | b'?')) {
        Some(start) => &rest[start..],
        None => b"/",
    }
}

/// Splits a target at the first question mark.
#[must_use]
pub fn split_query(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    match split_at_byte(target, b'?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    }
}

/// Returns `true` if a target, in whichever form, has the path of an IP query.
#[must_use]
pub fn is_query_target(target: &[u8]) -> bool {
    query::is_query(split_query(path_and_query(target)).0)
}

fn split_at_byte(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(byte, text)?;
    Some((&text[..at], &text[at + 1..]))
}

#[cfg(test)]
pub(in crate::gateway) mod tests {
    use std::sync::Arc;

    use http::{HeaderName, HeaderValue};

    use super::super::client_ip::{PeerAddr, resolve};
    use super::*;
    use crate::config::model::{
        Captures, ClientIp, ForwardedHeader, OwnVariables, TrustedProxies, UntrustedHeaders,
    };
    use crate::geo::{Codes, Database, Field, Names, Table};
    use crate::tree::Range as AddressRange;
    use http::HeaderMap;

    /// Database in which `1.0.0.x` is in Fuzhou.
    pub fn database() -> Database {
        let mut table = Table::default();
        let value = table.records.intern([
            (Field::Country, "中国"),
            (Field::Province, "福建"),
            (Field::City, "福州"),
            (Field::Isp, "电信"),
            (Field::TimeZone, "Asia/Shanghai"),
        ]);
        table.v4 = [AddressRange {
            first: 0x0100_0000,
            last: 0x0100_00ff,
            value,
        }]
        .into();
        Database::build(table, &Codes::built_in(), Names::Canonical).unwrap()
    }

    pub fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_bytes(value.as_bytes()).unwrap())
        };
        let mut headers = HeaderMap::new();
        for (name, value) in lines.iter().map(pair) {
            headers.append(name, value);
        }
        headers
    }

    /// Expands a template for a request from 1.0.0.7 through a trusted 10.0.0.1.
    fn expand(target: &str, lines: &[(&'static str, &str)], text: &str) -> String {
        expand_in("", target, lines, text)
    }

    /// Same as [`expand`], with the own variables of a configuration.
    pub fn expand_in(
        config: &str,
        target: &str,
        lines: &[(&'static str, &str)],
        text: &str,
    ) -> String {
        let own = own_variables(config);
        let config = ClientIp {
            trusted_proxies: TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]),
            header: ForwardedHeader::XForwardedFor,
            untrusted_headers: UntrustedHeaders::default(),
        };
        let mut headers = headers(lines);
        headers.insert("x-forwarded-for", HeaderValue::from_static("1.0.0.7"));
        let peer = PeerAddr::new("10.0.0.1:1".parse().unwrap());
        let origin = resolve(peer, &headers, &config);
        let database = database();
        let groups = [Some(0..4), Some(1..4), None];
        let view = View {
            origin: Some(&origin),
            place: database.lookup(origin.client.ip()),
            scheme: Scheme::Https,
            method: "GET",
            target: RoutedTarget::sent(target.as_bytes()),
            protocol: "HTTP/1.1",
            authority: None,
            headers: &headers,
            request_id: "abc",
            route: "shop",
            captures: Captured {
                text: b"/one/two",
                groups: &groups,
                hosts: &[],
            },
            connection: ConnectionView::default(),
        };
        let captures = Captures::new([None, Some("word".to_owned()), None]).with_own(&own);
        let template = Template::<RequestVariable>::parse(text, &captures).unwrap();
        String::from_utf8(view.expand(&template)).unwrap()
    }

    /// Own variables of a configuration.
    fn own_variables(config: &str) -> Arc<OwnVariables> {
        let config = crate::config::parse(config, "test", &crate::config::Overrides::default());
        config.unwrap().own_variables
    }

    #[track_caller]
    fn check(target: &str, lines: &[(&'static str, &str)], text: &str, expected: &str) {
        assert_eq!(expand(target, lines, text), expected, "{text}");
    }

    #[test]
    fn a_request_has_its_parts() {
        let lines = [("host", "Example.COM:8443")];
        for (text, expected) in [
            ("$remote_addr $peer_addr", "1.0.0.7 10.0.0.1"),
            ("$scheme://$host", "https://example.com"),
            ("$request_method $server_protocol", "GET HTTP/1.1"),
            ("$request_uri", "/a%20b/../c?x=1&y=%20"),
            ("$uri", "/c"),
            ("$args", "x=1&y=%20"),
            ("$request", "GET /a%20b/../c?x=1&y=%20 HTTP/1.1"),
            ("$request_id $route", "abc shop"),
            ("[$1] [$2] [$word]", "[one] [] [one]"),
        ] {
            check("/a%20b/../c?x=1&y=%20", &lines, text, expected);
        }
    }

    #[test]
    fn the_place_is_known_by_field_and_by_short_name() {
        check("/", &[], "$country $country_name", "CN 中国");
        check(
            "/",
            &[],
            "$region $region_code $city $city_code",
            "福建 350000 福州 350100",
        );
        check("/", &[], "$isp|$org|$geo_time_zone", "电信||Asia/Shanghai");
    }

    #[test]
    fn a_target_may_have_any_form() {
        check("http://a/x?y", &[], "$request_uri $uri $args", "/x?y /x y");
        check("http://a", &[], "$request_uri $uri", "/ /");
        check("http://a?x=/", &[], "$uri$is_args$args", "/?x=/");
        check("http://a/b?", &[], "$uri$is_args$args", "/b");
        check("*", &[], "$request_uri $uri", "* /*");
    }

    #[test]
    fn parameters_are_taken_as_sent_and_the_first_counts() {
        let target = "/?a=%31&A=2&b&c=&d=x=y&ab=3";
        check(target, &[], "$arg_a $arg_A $arg_ab", "%31 %31 3");
        check(
            target,
            &[],
            "[$arg_b] [$arg_c] [$arg_d] [$arg_e]",
            "[] [] [x=y] []",
        );
    }

    #[test]
    fn cookies_and_headers_are_found_by_name() {
        let lines = [
            ("cookie", "a=1; b=2"),
            ("cookie", "c=x=y;d"),
            ("x-two", "1"),
            ("x-two", "2"),
        ];
        check("/", &lines, "$cookie_a $cookie_b $cookie_c", "1 2 x=y");
        check("/", &lines, "[$cookie_d] [$cookie_A]", "[] []");
        check("/", &lines, "$http_x_two $http_X_Two", "1, 2 1, 2");
        check("/", &lines, "$http_cookie", "a=1; b=2; c=x=y;d");
        check("/", &lines, "[$http_none]", "[]");
        check(
            "/",
            &[("authorization", "Basic dXNlcjpwYXNz")],
            "$remote_user",
            "user",
        );
    }

    #[test]
    fn what_is_not_known_of_a_connection_is_empty() {
        check("/", &[], "$forwarded_for", "1.0.0.7, 10.0.0.1");
        check(
            "/",
            &[],
            "[$https$http2$ssl_protocol$remote_port$server_addr]",
            "[]",
        );
        let pid = std::process::id().to_string();
        check("/", &[], "$pid", &pid);
    }

    #[test]
    fn in_clear_text_there_is_no_certificate() {
        check("/", &[], "[$ssl_client_verify$ssl_client_s_dn]", "[]");
    }

    #[test]
    fn what_is_no_host_is_empty() {
        check("/", &[("host", "a/b")], "[$host]", "[]");
        check("/", &[], "[$host]", "[]");
    }
}
