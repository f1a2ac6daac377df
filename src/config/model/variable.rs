//! Variables of templates, with nginx's names where nginx has them.

use std::collections::BTreeSet;

use crate::geo::Field;

/// A set of variables that are available in one place of the configuration.
pub trait Variables: Sized {
    /// Returns the variable of this name, if it exists.
    fn from_name(name: &str, captures: &Captures) -> Option<Self>;

    /// Returns all names, for error messages.
    fn known(captures: &Captures) -> String;
}

/// Names of the groups of a route's patterns: `$1` and so on, some with their own names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captures {
    path: Vec<Option<String>>,
    /// Names and numbers of the groups of patterns of hosts.
    hosts: BTreeSet<String>,
}

impl Captures {
    /// Takes the names of all groups of the path's pattern in their order; the first group is the
    /// whole match.
    pub fn new(names: impl IntoIterator<Item = Option<String>>) -> Self {
        Captures {
            path: names.into_iter().collect(),
            hosts: BTreeSet::new(),
        }
    }

    /// Adds the groups of the patterns of hosts.
    #[must_use]
    pub fn with_hosts(mut self, patterns: impl IntoIterator<Item = Vec<Option<String>>>) -> Self {
        for (number, name) in patterns
            .into_iter()
            .flat_map(|names| names.into_iter().enumerate())
        {
            self.hosts.extend((number > 0).then(|| number.to_string()));
            self.hosts.extend(name);
        }
        self
    }

    fn number(&self, name: &str) -> Option<usize> {
        match name.as_bytes() {
            [digit @ b'1'..=b'9'] => {
                let number = usize::from(digit - b'0');
                (number < self.path.len()).then_some(number)
            }
            _ => self
                .path
                .iter()
                .position(|known| known.as_deref() == Some(name)),
        }
    }
}

/// Variables of a request, known after its head and its client are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestVariable {
    /// Client address, as reported by trusted proxies.
    RemoteAddr,
    /// Address of the connection's peer.
    PeerAddr,
    /// User name in `Authorization: Basic`.
    RemoteUser,
    /// `http` or `https`.
    Scheme,
    /// Requested host: lower case, no port.
    Host,
    /// Method as sent.
    RequestMethod,
    /// Path and query as sent.
    RequestUri,
    /// Path: decoded and normalized.
    Uri,
    /// Query as sent, without its question mark.
    Args,
    /// `?` if there is a query that is not empty.
    IsArgs,
    /// Whole first line of the request.
    Request,
    /// Protocol version such as `HTTP/1.1`.
    ServerProtocol,
    /// Request id.
    RequestId,
    /// Name of the route.
    Route,
    /// Parameter of the query, as sent. The name ignores case.
    Arg(String),
    /// Value of a cookie, by its name.
    Cookie(String),
    /// Value of a header. The name is in lower case with `-`.
    Http(String),
    /// Field of the client's location.
    Geo(Field),
    /// Field of the client's certificate.
    SslClient(ClientCertificateField),
    /// Group of the pattern of the route's path.
    Capture(usize),
    /// Group of the pattern of the route's host, by its name or number.
    HostCapture(String),
}

/// Field of a client certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificateField {
    /// Result of verification: `SUCCESS`, or `NONE` without a certificate.
    Verify,
    /// Subject.
    Subject,
    /// Subject of the issuer.
    Issuer,
    /// Serial number.
    Serial,
    /// Digest of the certificate.
    Fingerprint,
    /// Subject alternative names.
    Names,
}

/// Variables of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResponseVariable {
    /// Status.
    Status,
    /// Bytes of the body sent to the client.
    BodyBytesSent,
    /// Seconds from the request's head to now.
    RequestTime,
    /// Name of the request's upstream.
    UpstreamName,
    /// Addresses of the peers that were tried.
    UpstreamAddr,
    /// Seconds since the first peer was selected.
    UpstreamResponseTime,
    /// Local time as `23/Nov/2026:12:50:44 +0800`.
    TimeLocal,
    /// Local time as `2026-11-23T12:50:44+08:00`.
    TimeIso8601,
    /// Seconds since 1970 with milliseconds.
    Msec,
    /// Trace id of the request.
    TraceId,
    /// Span id: geogate's own, or the caller's if geogate has none.
    SpanId,
    /// TLS version.
    SslProtocol,
    /// Cipher suite.
    SslCipher,
    /// Fraction of requests like this one that is logged.
    SampleRate,
    /// Reason of the failure, in one word.
    FailureReason,
    /// Value of a response header. The name is in lower case with `-`.
    SentHttp(String),
}

/// Variables of a request and its response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Variable {
    /// Variable of the request.
    Request(RequestVariable),
    /// Variable of the response.
    Response(ResponseVariable),
}

const REQUEST: [(&str, RequestVariable); 28] = [
    ("remote_addr", RequestVariable::RemoteAddr),
    ("peer_addr", RequestVariable::PeerAddr),
    ("remote_user", RequestVariable::RemoteUser),
    ("scheme", RequestVariable::Scheme),
    ("host", RequestVariable::Host),
    ("request_method", RequestVariable::RequestMethod),
    ("request_uri", RequestVariable::RequestUri),
    ("uri", RequestVariable::Uri),
    ("args", RequestVariable::Args),
    ("is_args", RequestVariable::IsArgs),
    ("request", RequestVariable::Request),
    ("server_protocol", RequestVariable::ServerProtocol),
    ("request_id", RequestVariable::RequestId),
    ("route", RequestVariable::Route),
    ("country", RequestVariable::Geo(Field::CountryCode)),
    ("country_name", RequestVariable::Geo(Field::Country)),
    ("region", RequestVariable::Geo(Field::Province)),
    ("region_code", RequestVariable::Geo(Field::ProvinceCode)),
    ("city", RequestVariable::Geo(Field::City)),
    ("city_code", RequestVariable::Geo(Field::CityCode)),
    ("org", RequestVariable::Geo(Field::Organization)),
    ("isp", RequestVariable::Geo(Field::Isp)),
    (
        "ssl_client_verify",
        RequestVariable::SslClient(ClientCertificateField::Verify),
    ),
    (
        "ssl_client_s_dn",
        RequestVariable::SslClient(ClientCertificateField::Subject),
    ),
    (
        "ssl_client_i_dn",
        RequestVariable::SslClient(ClientCertificateField::Issuer),
    ),
    (
        "ssl_client_serial",
        RequestVariable::SslClient(ClientCertificateField::Serial),
    ),
    (
        "ssl_client_fingerprint",
        RequestVariable::SslClient(ClientCertificateField::Fingerprint),
    ),
    (
        "ssl_client_san",
        RequestVariable::SslClient(ClientCertificateField::Names),
    ),
];

const RESPONSE: [(&str, ResponseVariable); 15] = [
    ("status", ResponseVariable::Status),
    ("body_bytes_sent", ResponseVariable::BodyBytesSent),
    ("request_time", ResponseVariable::RequestTime),
    ("upstream_name", ResponseVariable::UpstreamName),
    ("upstream_addr", ResponseVariable::UpstreamAddr),
    (
        "upstream_response_time",
        ResponseVariable::UpstreamResponseTime,
    ),
    ("time_local", ResponseVariable::TimeLocal),
    ("time_iso8601", ResponseVariable::TimeIso8601),
    ("msec", ResponseVariable::Msec),
    ("trace_id", ResponseVariable::TraceId),
    ("span_id", ResponseVariable::SpanId),
    ("ssl_protocol", ResponseVariable::SslProtocol),
    ("ssl_cipher", ResponseVariable::SslCipher),
    ("sample_rate", ResponseVariable::SampleRate),
    ("failure_reason", ResponseVariable::FailureReason),
];

impl Variables for RequestVariable {
    fn from_name(name: &str, captures: &Captures) -> Option<Self> {
        if let Some(number) = captures.number(name) {
            return Some(RequestVariable::Capture(number));
        }
        if let Some((_, variable)) = REQUEST.iter().find(|(known, _)| *known == name) {
            return Some(variable.clone());
        }
        let part = |prefix| {
            name.strip_prefix(prefix)
                .filter(|part: &&str| !part.is_empty())
        };
        if let Some(name) = part("arg_") {
            Some(RequestVariable::Arg(name.to_owned()))
        } else if let Some(name) = part("cookie_") {
            Some(RequestVariable::Cookie(name.to_owned()))
        } else if let Some(name) = part("http_") {
            Some(RequestVariable::Http(header(name)))
        } else if let Some(group) = part("host_").filter(|group| captures.hosts.contains(*group)) {
            Some(RequestVariable::HostCapture(group.to_owned()))
        } else {
            let field = part("geo_").and_then(Field::from_name)?;
            Some(RequestVariable::Geo(field))
        }
    }

    fn known(captures: &Captures) -> String {
        let mut names: Vec<_> = REQUEST.iter().map(|(name, _)| (*name).to_owned()).collect();
        names.extend(["arg_NAME", "cookie_NAME", "http_NAME"].map(str::to_owned));
        names.extend(Field::ALL.map(|field| format!("geo_{}", field.name())));
        names.extend((1..captures.path.len().min(10)).map(|number| number.to_string()));
        names.extend(captures.path.iter().flatten().cloned());
        names.extend(captures.hosts.iter().map(|group| format!("host_{group}")));
        names.join(", ")
    }
}

impl Variables for Variable {
    fn from_name(name: &str, captures: &Captures) -> Option<Self> {
        if let Some(variable) = RequestVariable::from_name(name, captures) {
            return Some(Variable::Request(variable));
        }
        let known = RESPONSE.iter().find(|(known, _)| *known == name);
        let variable = known.map(|(_, variable)| variable.clone());
        let sent = name
            .strip_prefix("sent_http_")
            .filter(|name| !name.is_empty());
        variable
            .or_else(|| Some(ResponseVariable::SentHttp(header(sent?))))
            .map(Variable::Response)
    }

    fn known(captures: &Captures) -> String {
        let names = RESPONSE.iter().map(|(name, _)| *name);
        let names: Vec<_> = names.chain(["sent_http_NAME"]).collect();
        format!("{}, {}", RequestVariable::known(captures), names.join(", "))
    }
}

/// Converts a header name from its form in variables: `X_Real_IP` becomes `x-real-ip`.
fn header(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}
