//! Variables of templates, with nginx's names where nginx has them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::own_variable::{Mapped, OwnVariable};
use crate::geo::Field;

/// A set of variables that are available in one place of the configuration.
pub trait Variables: Sized {
    /// Returns the variable of this name, if it exists.
    fn from_name(name: &str, captures: &Captures) -> Option<Self>;

    /// Returns all names, for error messages.
    fn known(captures: &Captures) -> String;

    /// Returns when the variable of this name is known, if that is after this place.
    #[must_use]
    fn known_later(_name: &str, _captures: &Captures) -> Option<&'static str> {
        None
    }
}

/// Names of one place of the configuration, besides the built-in variables: the groups of a route's
/// patterns (`$1` and so on, some with their own names), and the operator's own variables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captures {
    path: Vec<Option<String>>,
    /// Names and numbers of the groups of patterns of hosts.
    hosts: BTreeSet<String>,
    own: Arc<OwnVariables>,
}

/// The operator's own variables, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnVariables {
    /// Variables that depend on the request alone.
    pub of_request: BTreeMap<String, Arc<OwnVariable<Variable>>>,
    /// Variables that depend on the response, too.
    pub of_response: BTreeMap<String, Arc<OwnVariable<Variable>>>,
}

impl Captures {
    /// Takes the names of all groups of the path's pattern in their order; the first group is the
    /// whole match.
    pub fn new(names: impl IntoIterator<Item = Option<String>>) -> Self {
        Captures {
            path: names.into_iter().collect(),
            ..Captures::default()
        }
    }

    /// Adds the operator's own variables.
    #[must_use]
    pub fn with_own(mut self, own: &Arc<OwnVariables>) -> Self {
        self.own = Arc::clone(own);
        self
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

    /// Returns the operator's variable of this name that depends on the request alone.
    #[must_use]
    pub fn own_of_request(&self, name: &str) -> Option<&Arc<OwnVariable<Variable>>> {
        self.own.of_request.get(name)
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
    /// Property of the connection.
    Connection(ConnectionVariable),
    /// Addresses that an upstream gets in `X-Forwarded-For`.
    ForwardedFor,
    /// Current time.
    Time(TimeForm),
    /// Name of this host.
    Hostname,
    /// Id of the process.
    Pid,
    /// Variable of the operator that depends on the request alone.
    Own(Arc<OwnVariable<Variable>>),
}

/// Property of a connection with a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionVariable {
    /// Port of the connection's peer.
    PeerPort,
    /// Port of the client; empty behind a proxy.
    RemotePort,
    /// Local address.
    ServerAddr,
    /// Local port.
    ServerPort,
    /// `on` over TLS.
    Https,
    /// `h2` or `h2c` in HTTP/2.
    Http2,
    /// Serial number of the connection.
    Number,
    /// Number of the request on its connection, from 1 on.
    Requests,
    /// TLS version.
    SslProtocol,
    /// Cipher suite.
    SslCipher,
}

/// Form of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeForm {
    /// Local time as `23/Nov/2026:12:50:44 +0800`.
    Local,
    /// Local time as `2026-11-23T12:50:44+08:00`.
    Iso8601,
    /// Seconds since 1970 with milliseconds.
    Msec,
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
    /// Bytes of head and body sent to the client.
    BytesSent,
    /// Bytes of the request's head and body.
    RequestLength,
    /// Seconds from the request's head to now.
    RequestTime,
    /// Name of the request's upstream.
    UpstreamName,
    /// Addresses of the peers that were tried.
    UpstreamAddr,
    /// Statuses of the responses of the peers that were tried.
    UpstreamStatus,
    /// Seconds until the last peer was connected to.
    UpstreamConnectTime,
    /// Seconds until the head of the last peer's response.
    UpstreamHeaderTime,
    /// Seconds since the first peer was selected.
    UpstreamResponseTime,
    /// Value of a header of the upstream's response. The name is in lower case with `-`.
    UpstreamHttp(String),
    /// Value of a cookie that the upstream's response sets.
    UpstreamCookie(String),
    /// Trace id of the request.
    TraceId,
    /// Span id: geogate's own, or the caller's if geogate has none.
    SpanId,
    /// Fraction of requests like this one that is logged.
    SampleRate,
    /// Reason of the failure, in one word.
    FailureReason,
    /// Value of a response header. The name is in lower case with `-`.
    SentHttp(String),
    /// Variable of the operator that depends on the response, too.
    Own(Arc<OwnVariable<Variable>>),
}

/// Variables of a request and its response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Variable {
    /// Variable of the request.
    Request(RequestVariable),
    /// Variable of the response.
    Response(ResponseVariable),
}

const REQUEST: [(&str, RequestVariable); 44] = [
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
    (
        "peer_port",
        RequestVariable::Connection(ConnectionVariable::PeerPort),
    ),
    (
        "remote_port",
        RequestVariable::Connection(ConnectionVariable::RemotePort),
    ),
    (
        "server_addr",
        RequestVariable::Connection(ConnectionVariable::ServerAddr),
    ),
    (
        "server_port",
        RequestVariable::Connection(ConnectionVariable::ServerPort),
    ),
    (
        "https",
        RequestVariable::Connection(ConnectionVariable::Https),
    ),
    (
        "http2",
        RequestVariable::Connection(ConnectionVariable::Http2),
    ),
    (
        "connection",
        RequestVariable::Connection(ConnectionVariable::Number),
    ),
    (
        "connection_requests",
        RequestVariable::Connection(ConnectionVariable::Requests),
    ),
    (
        "ssl_protocol",
        RequestVariable::Connection(ConnectionVariable::SslProtocol),
    ),
    (
        "ssl_cipher",
        RequestVariable::Connection(ConnectionVariable::SslCipher),
    ),
    ("time_local", RequestVariable::Time(TimeForm::Local)),
    ("time_iso8601", RequestVariable::Time(TimeForm::Iso8601)),
    ("msec", RequestVariable::Time(TimeForm::Msec)),
    ("forwarded_for", RequestVariable::ForwardedFor),
    ("hostname", RequestVariable::Hostname),
    ("pid", RequestVariable::Pid),
];

const RESPONSE: [(&str, ResponseVariable); 15] = [
    ("status", ResponseVariable::Status),
    ("body_bytes_sent", ResponseVariable::BodyBytesSent),
    ("bytes_sent", ResponseVariable::BytesSent),
    ("request_length", ResponseVariable::RequestLength),
    ("request_time", ResponseVariable::RequestTime),
    ("upstream_name", ResponseVariable::UpstreamName),
    ("upstream_addr", ResponseVariable::UpstreamAddr),
    ("upstream_status", ResponseVariable::UpstreamStatus),
    (
        "upstream_connect_time",
        ResponseVariable::UpstreamConnectTime,
    ),
    ("upstream_header_time", ResponseVariable::UpstreamHeaderTime),
    (
        "upstream_response_time",
        ResponseVariable::UpstreamResponseTime,
    ),
    ("trace_id", ResponseVariable::TraceId),
    ("span_id", ResponseVariable::SpanId),
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
        if let Some(own) = captures.own.of_request.get(name) {
            return Some(RequestVariable::Own(Arc::clone(own)));
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
        names.extend(captures.own.of_request.keys().cloned());
        names.join(", ")
    }

    fn known_later(name: &str, captures: &Captures) -> Option<&'static str> {
        Variable::from_name(name, captures).map(|_| "it is known with the response only")
    }
}

impl Variables for ResponseVariable {
    fn from_name(name: &str, captures: &Captures) -> Option<Self> {
        if let Some((_, variable)) = RESPONSE.iter().find(|(known, _)| *known == name) {
            return Some(variable.clone());
        }
        if let Some(own) = captures.own.of_response.get(name) {
            return Some(ResponseVariable::Own(Arc::clone(own)));
        }
        let part = |prefix| {
            name.strip_prefix(prefix)
                .filter(|part: &&str| !part.is_empty())
        };
        if let Some(name) = part("sent_http_") {
            Some(ResponseVariable::SentHttp(header(name)))
        } else if let Some(name) = part("upstream_http_") {
            Some(ResponseVariable::UpstreamHttp(header(name)))
        } else {
            let name = part("upstream_cookie_")?;
            Some(ResponseVariable::UpstreamCookie(name.to_owned()))
        }
    }

    fn known(captures: &Captures) -> String {
        let names = RESPONSE.iter().map(|(name, _)| *name);
        let with_names = [
            "sent_http_NAME",
            "upstream_http_NAME",
            "upstream_cookie_NAME",
        ];
        let own = captures.own.of_response.keys().map(String::as_str);
        let names: Vec<_> = names.chain(with_names).chain(own).collect();
        names.join(", ")
    }
}

impl Variables for Variable {
    fn from_name(name: &str, captures: &Captures) -> Option<Self> {
        if let Some(variable) = RequestVariable::from_name(name, captures) {
            return Some(Variable::Request(variable));
        }
        ResponseVariable::from_name(name, captures).map(Variable::Response)
    }

    fn known(captures: &Captures) -> String {
        let (request, response) = (
            RequestVariable::known(captures),
            ResponseVariable::known(captures),
        );
        format!("{request}, {response}")
    }
}

impl<V: Variables> Variables for Mapped<V> {
    /// A group of the pattern of a value comes before a variable of the same name.
    fn from_name(name: &str, captures: &Captures) -> Option<Self> {
        match captures.number(name) {
            Some(number) => Some(Mapped::Group(number)),
            None => V::from_name(name, captures).map(Mapped::Variable),
        }
    }

    fn known(captures: &Captures) -> String {
        V::known(captures)
    }
}

impl ResponseVariable {
    /// Returns `true` if the variable has its value when the head of the response is sent.
    #[must_use]
    pub fn is_known_at_head(&self) -> bool {
        match self {
            ResponseVariable::BodyBytesSent
            | ResponseVariable::BytesSent
            | ResponseVariable::RequestLength
            | ResponseVariable::SampleRate
            | ResponseVariable::FailureReason => false,
            ResponseVariable::Own(own) => own.variables().all(Variable::is_known_at_head),
            _ => true,
        }
    }
}

impl From<RequestVariable> for Variable {
    fn from(variable: RequestVariable) -> Self {
        Variable::Request(variable)
    }
}

impl Variable {
    /// Returns `true` if the variable has its value when the head of the response is sent.
    #[must_use]
    pub fn is_known_at_head(&self) -> bool {
        match self {
            Variable::Request(_) => true,
            Variable::Response(variable) => variable.is_known_at_head(),
        }
    }

    /// Returns `true` if `is_it` holds for the variable, or for one that it depends on.
    pub fn any(&self, is_it: &mut dyn FnMut(&Variable) -> bool) -> bool {
        match self {
            Variable::Request(RequestVariable::Own(own))
            | Variable::Response(ResponseVariable::Own(own)) => {
                own.variables().any(|variable| variable.any(is_it))
            }
            _ => is_it(self),
        }
    }

    /// Returns the number of variables and texts that the value is put together from, at most.
    #[must_use]
    pub fn weight(&self) -> u32 {
        match self {
            Variable::Request(RequestVariable::Own(own))
            | Variable::Response(ResponseVariable::Own(own)) => own.weight,
            _ => 1,
        }
    }
}

/// Converts a header name from its form in variables: `X_Real_IP` becomes `x-real-ip`.
fn header(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}
