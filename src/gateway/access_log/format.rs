//! What a line looks like: a template of text, or JSON of several.
//!
//! The built-in formats are templates too. A template that was taken apart when the configuration was
//! read costs a branch for each variable, which is not to be seen beside what the values cost.

use super::entry::{Entry, Source};
use super::text::{escape_controls_from, escape_from, escape_json_from, write_peer};
use crate::config::model::{
    Captures, LogFormat, Part, RequestVariable, ResponseVariable, Template, Variable,
};
use crate::gateway::client_ip::HeaderLines;

/// nginx's `main` with ours behind it.
const MAIN: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status \
    $body_bytes_sent \"$http_referer\" \"$http_user_agent\" \"$http_x_forwarded_for\" \
    \"$upstream_addr\" $request_time $upstream_response_time $country \"$region\" $request_id";

/// The same by name, and more of where a request went.
const JSON: [(&str, &str); 20] = [
    ("time", "$time_iso8601"),
    ("remote_addr", "$remote_addr"),
    ("remote_user", "$remote_user"),
    ("country", "$country"),
    ("region", "$region"),
    ("method", "$request_method"),
    ("uri", "$request_uri"),
    ("protocol", "$server_protocol"),
    ("status", "$status"),
    ("body_bytes_sent", "$body_bytes_sent"),
    ("http_referer", "$http_referer"),
    ("http_user_agent", "$http_user_agent"),
    ("http_x_forwarded_for", "$http_x_forwarded_for"),
    ("route", "$route"),
    ("upstream", "$upstream_name"),
    ("upstream_addr", "$upstream_addr"),
    ("request_time", "$request_time"),
    ("upstream_response_time", "$upstream_response_time"),
    ("request_id", "$request_id"),
    ("trace_id", "$trace_id"),
];

/// What a line looks like, ready to be written.
pub struct Format {
    shape: Shape,
    wants_id: bool,
    wants_trace: bool,
}

enum Shape {
    Text(Template<Variable>),
    Json(Vec<Member>),
}

/// A member of a JSON object.
struct Member {
    /// What stands before its value: `{"name":`, or with a comma.
    start: Vec<u8>,
    value: Template<Variable>,
}

impl Format {
    /// As the configuration has it.
    #[must_use]
    pub fn new(config: &LogFormat) -> Self {
        let shape = match config {
            LogFormat::Main => Shape::Text(built_in(MAIN)),
            LogFormat::Json => {
                Shape::Json(members(JSON.map(|(name, value)| (name, built_in(value)))))
            }
            LogFormat::Text(template) => Shape::Text(template.clone()),
            LogFormat::Members(own) => Shape::Json(members(
                own.iter().map(|(name, value)| (&**name, value.clone())),
            )),
        };
        // The built-in formats show what is there.
        let is_own = !matches!(config, LogFormat::Main | LogFormat::Json);
        let wants = |wanted: fn(&Variable) -> bool| {
            is_own && shape.templates().flat_map(Template::variables).any(wanted)
        };
        let is_id = |variable: &_| *variable == Variable::Request(RequestVariable::RequestId);
        let is_trace = |variable: &_| {
            let (id, span) = (ResponseVariable::TraceId, ResponseVariable::SpanId);
            matches!(variable, Variable::Response(of_trace) if [id, span].contains(of_trace))
        };
        Format {
            wants_id: wants(is_id),
            wants_trace: wants(is_trace),
            shape,
        }
    }

    /// Whether the user asks for the id of every request, even where none is needed otherwise.
    #[must_use]
    pub fn wants_id(&self) -> bool {
        self.wants_id
    }

    /// Whether the user asks for the trace of every request.
    #[must_use]
    pub fn wants_trace(&self) -> bool {
        self.wants_trace
    }

    /// Appends a line.
    pub(super) fn write<H: HeaderLines>(
        &self,
        entry: &Entry<H>,
        share: f64,
        out: &mut Vec<u8>,
    ) {
        match &self.shape {
            Shape::Text(template) => {
                for part in template.parts() {
                    match part {
                        Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                        Part::Variable(variable) => write_text(entry, variable, share, out),
                    }
                }
            }
            Shape::Json(members) => {
                for member in members {
                    out.extend_from_slice(&member.start);
                    match member.value.parts() {
                        [Part::Variable(variable)] => write_json(entry, variable, share, out),
                        parts => write_json_string(out, |out| {
                            for part in parts {
                                match part {
                                    Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                                    Part::Variable(variable) => {
                                        entry.append(variable, share, out);
                                    }
                                }
                            }
                        }),
                    }
                }
                out.push(b'}');
            }
        }
        out.push(b'\n');
    }
}

impl Shape {
    fn templates(&self) -> impl Iterator<Item = &Template<Variable>> {
        let (text, members) = match self {
            Shape::Text(template) => (Some(template), &[][..]),
            Shape::Json(members) => (None, &members[..]),
        };
        text.into_iter().chain(members.iter().map(|member| &member.value))
    }
}

fn built_in(text: &str) -> Template<Variable> {
    Template::parse(text, &Captures::default()).expect("the names of built-in formats are known")
}

fn members<'n>(named: impl IntoIterator<Item = (&'n str, Template<Variable>)>) -> Vec<Member> {
    let member = |(index, (name, value)): (usize, (&str, _))| {
        let mut start = vec![if index == 0 { b'{' } else { b',' }];
        write_json_string(&mut start, |out| out.extend_from_slice(name.as_bytes()));
        start.push(b':');
        Member { start, value }
    };
    named.into_iter().enumerate().map(member).collect()
}

/// As nginx: what is not there is a dash.
fn write_text<H: HeaderLines>(
    entry: &Entry<H>,
    variable: &Variable,
    share: f64,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    match entry.append(variable, share, out) {
        Source::Plain => {}
        Source::Ours => escape_controls_from(start, out),
        Source::Foreign => escape_from(start, out),
    }
    if out.len() == start {
        out.push(b'-');
    }
}

/// Numbers are numbers, or `null` if they are not there; the peers are an array; all else is a
/// string, empty if it is not there.
fn write_json<H: HeaderLines>(
    entry: &Entry<H>,
    variable: &Variable,
    share: f64,
    out: &mut Vec<u8>,
) {
    match variable {
        Variable::Response(
            ResponseVariable::Status
            | ResponseVariable::BodyBytesSent
            | ResponseVariable::RequestTime
            | ResponseVariable::UpstreamResponseTime
            | ResponseVariable::Msec
            | ResponseVariable::SampleRate,
        ) => {
            let start = out.len();
            entry.append(variable, share, out);
            if out.len() == start {
                out.extend_from_slice(b"null");
            }
        }
        Variable::Response(ResponseVariable::UpstreamAddr) => {
            out.push(b'[');
            for (index, peer) in entry.peers.iter().enumerate() {
                out.extend_from_slice(if index == 0 { b"\"" } else { b",\"" });
                write_peer(*peer, out);
                out.push(b'"');
            }
            out.push(b']');
        }
        _ => write_json_string(out, |out| {
            entry.append(variable, share, out);
        }),
    }
}

fn write_json_string(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    let start = out.len();
    write(out);
    escape_json_from(start, out);
    out.push(b'"');
}
