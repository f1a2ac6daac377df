//! The names that a template can hold: nginx's, where nginx has them.

use crate::geo::Field;

/// A kind of variables: those that a place in the configuration can have.
pub trait Variables: Sized {
    /// The variable of this name, if there is one.
    fn from_name(name: &str, captures: &Captures) -> Option<Self>;

    /// All names, for people.
    fn known(captures: &Captures) -> String;
}

/// The groups of a pattern: `$1` and so on, some with names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captures(Vec<Option<String>>);

impl Captures {
    /// The names of all groups in their order; the first is the whole match.
    pub fn new(names: impl IntoIterator<Item = Option<String>>) -> Self {
        Captures(names.into_iter().collect())
    }

    fn number(&self, name: &str) -> Option<usize> {
        match name.as_bytes() {
            [digit @ b'1'..=b'9'] => {
                let number = usize::from(digit - b'0');
                (number < self.0.len()).then_some(number)
            }
            _ => self
                .0
                .iter()
                .position(|known| known.as_deref() == Some(name)),
        }
    }
}

/// What is known of a request as soon as its head and its client are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestVariable {
    /// The client's address, behind trusted proxies.
    RemoteAddr,
    /// The address of the socket's other end.
    PeerAddr,
    /// The name in `Authorization: Basic`.
    RemoteUser,
    /// `http` or `https`.
    Scheme,
    /// The host that was asked for: lower case, no port.
    Host,
    /// As sent.
    RequestMethod,
    /// The path and the query as sent.
    RequestUri,
    /// The path: decoded, normalised.
    Uri,
    /// The query as sent, without its question mark.
    Args,
    /// `?` if there is a query that is not empty.
    IsArgs,
    /// The whole first line of the request.
    Request,
    /// `HTTP/1.1` and the like.
    ServerProtocol,
    /// The request's id.
    RequestId,
    /// The route's name.
    Route,
    /// A parameter of the query, as sent, by its name in any case.
    Arg(String),
    /// A cookie, by its name.
    Cookie(String),
    /// A header, by its name in lower case with `-`.
    Http(String),
    /// What is known of the client's place.
    Geo(Field),
    /// What the client's certificate says.
    SslClient(ClientCertificateField),
    /// A group of the route's pattern.
    Capture(usize),
}

/// Part of a client's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificateField {
    /// `SUCCESS`, or `NONE` if there is no certificate.
    Verify,
    /// Its subject.
    Subject,
    /// The subject of who signed it.
    Issuer,
    /// Its serial number.
    Serial,
    /// Its digest.
    Fingerprint,
    /// Its alternative names.
    Names,
}

/// What is known only when there is a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResponseVariable {
    /// The status.
    Status,
    /// Bytes of the body that were sent.
    BodyBytesSent,
    /// Seconds from the request's head to now.
    RequestTime,
    /// The upstream that the request went to.
    UpstreamName,
    /// The peers that were tried.
    UpstreamAddr,
    /// Seconds since the first peer was chosen.
    UpstreamResponseTime,
    /// `23/Nov/2026:12:50:44 +0800`, local time.
    TimeLocal,
    /// `2026-11-23T12:50:44+08:00`, local time.
    TimeIso8601,
    /// Seconds since 1970 with milliseconds.
    Msec,
    /// The trace that the request is part of.
    TraceId,
    /// Whose part of it: ours, or the caller's if we have none.
    SpanId,
    /// The version of TLS.
    SslProtocol,
    /// The cipher suite.
    SslCipher,
    /// For which share of requests like this one there is a line.
    SampleRate,
    /// Why the request failed, in one word.
    FailureReason,
    /// A header of the response, by its name in lower case with `-`.
    SentHttp(String),
}

/// What is known of a request and its response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Variable {
    /// Of the request.
    Request(RequestVariable),
    /// Of the response.
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
        } else {
            let field = part("geo_").and_then(Field::from_name)?;
            Some(RequestVariable::Geo(field))
        }
    }

    fn known(captures: &Captures) -> String {
        let mut names: Vec<_> = REQUEST.iter().map(|(name, _)| (*name).to_owned()).collect();
        names.extend(["arg_NAME", "cookie_NAME", "http_NAME"].map(str::to_owned));
        names.extend(Field::ALL.map(|field| format!("geo_{}", field.name())));
        names.extend((1..captures.0.len().min(10)).map(|number| number.to_string()));
        names.extend(captures.0.iter().flatten().cloned());
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

/// A header's name as variables write it: `X_Real_IP` for `x-real-ip`.
fn header(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}
