//! Format of a log line: a text template, or a JSON object with a template for each member.
//!
//! The built-in formats are templates, too. Templates are parsed with the configuration, so at run
//! time a variable costs one branch, which is negligible beside its value.

use super::entry::{Entry, Source};
use crate::config::model::{
    Captures, ConnectionVariable, LogFormat, Part, RequestVariable, ResponseVariable, Template,
    TimeForm, Variable,
};
use crate::gateway::request::upstream_view::{Wants, append_peer};
use crate::proto::headers::Headers;
use crate::proto::text::{escape_controls_from, escape_from, escape_json_from};

/// nginx's `main` format with fields of geogate appended; the last one is the reason of a failure.
const MAIN: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status \
    $body_bytes_sent \"$http_referer\" \"$http_user_agent\" \"$http_x_forwarded_for\" \
    \"$upstream_addr\" $request_time $upstream_response_time $country \"$region\" $request_id \
    $failure_reason";

/// The fields of `main` as JSON members, and more about the route and the upstream.
const JSON: [(&str, &str); 21] = [
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
    ("failure_reason", "$failure_reason"),
];

/// Compiled format of a line.
pub struct Format {
    shape: Shape,
    wants_id: bool,
    wants_trace: bool,
    wants_sent: bool,
    of_upstream: Wants,
}

enum Shape {
    Text(Template<Variable>),
    Json(Vec<Member>),
}

/// Member of a JSON object.
struct Member {
    /// Text before the value: `{"name":`, or with a leading comma.
    start: Vec<u8>,
    value: Template<Variable>,
}

impl Format {
    /// Creates the format of a configuration.
    #[must_use]
    pub fn new(config: &LogFormat) -> Self {
        Format::with(config, &[])
    }

    /// Creates the format of a configuration. `more` are other variables that are needed for a line.
    #[must_use]
    pub fn with(config: &LogFormat, more: &[&Variable]) -> Self {
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
        // The built-in formats show these values only if they exist anyway.
        let is_own = !matches!(config, LogFormat::Main | LogFormat::Json);
        let more = more.iter().copied();
        let wants = |wanted: fn(&Variable) -> bool| {
            let own = shape.templates().filter(|_| is_own);
            let mut variables = own.flat_map(Template::variables).chain(more.clone());
            variables.any(|variable| variable.any(&mut { wanted }))
        };
        let is_id = |variable: &_| *variable == Variable::Request(RequestVariable::RequestId);
        let is_trace = |variable: &_| {
            let (id, span) = (ResponseVariable::TraceId, ResponseVariable::SpanId);
            matches!(variable, Variable::Response(of_trace) if [id, span].contains(of_trace))
        };
        let is_sent =
            |variable: &_| matches!(variable, Variable::Response(ResponseVariable::SentHttp(_)));
        let (wants_id, wants_trace) = (wants(is_id), wants(is_trace));
        Format {
            wants_id,
            wants_trace,
            wants_sent: wants(is_sent),
            of_upstream: Wants::of(
                shape
                    .templates()
                    .flat_map(Template::variables)
                    .chain(more.clone()),
            ),
            shape,
        }
    }

    /// Parts of the upstream's response that the format needs.
    #[must_use]
    pub fn of_upstream(&self) -> Wants {
        self.of_upstream
    }

    /// Returns `true` if the configured format needs the id of every request, even if nothing else
    /// does.
    #[must_use]
    pub fn wants_id(&self) -> bool {
        self.wants_id
    }

    /// Returns `true` if the configured format needs the trace of every request.
    #[must_use]
    pub fn wants_trace(&self) -> bool {
        self.wants_trace
    }

    /// Returns `true` if the configured format needs header lines of responses.
    #[must_use]
    pub fn wants_sent(&self) -> bool {
        self.wants_sent
    }

    /// Appends a line.
    pub(super) fn write<H: Headers>(&self, entry: &Entry<H>, share: f64, out: &mut Vec<u8>) {
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
        text.into_iter()
            .chain(members.iter().map(|member| &member.value))
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

/// Writes a value as nginx does: a missing value is a dash.
fn write_text<H: Headers>(entry: &Entry<H>, variable: &Variable, share: f64, out: &mut Vec<u8>) {
    let start = out.len();
    entry.each_piece(variable, share, |write, source| {
        let start = out.len();
        write(out);
        match source {
            Source::Plain => {}
            Source::Ours => escape_controls_from(start, out),
            Source::Foreign => escape_from(start, out),
        }
    });
    if out.len() == start {
        out.push(b'-');
    }
}

/// Writes a value as JSON: numbers as numbers, or `null` if missing; the peers as an array; all
/// other values as strings, empty if missing.
fn write_json<H: Headers>(entry: &Entry<H>, variable: &Variable, share: f64, out: &mut Vec<u8>) {
    match variable {
        Variable::Response(
            ResponseVariable::Status
            | ResponseVariable::BodyBytesSent
            | ResponseVariable::BytesSent
            | ResponseVariable::RequestLength
            | ResponseVariable::RequestTime
            | ResponseVariable::UpstreamConnectTime
            | ResponseVariable::UpstreamHeaderTime
            | ResponseVariable::UpstreamResponseTime
            | ResponseVariable::SampleRate,
        )
        | Variable::Request(
            RequestVariable::Time(TimeForm::Msec)
            | RequestVariable::Pid
            | RequestVariable::Connection(
                ConnectionVariable::PeerPort
                | ConnectionVariable::RemotePort
                | ConnectionVariable::ServerPort
                | ConnectionVariable::Number
                | ConnectionVariable::Requests,
            ),
        ) => {
            let start = out.len();
            entry.append(variable, share, out);
            if out.len() == start {
                out.extend_from_slice(b"null");
            }
        }
        Variable::Response(ResponseVariable::UpstreamAddr) => {
            out.push(b'[');
            for (index, peer) in entry.upstream.peers.iter().enumerate() {
                out.extend_from_slice(if index == 0 { b"\"" } else { b",\"" });
                append_peer(peer, out);
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

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::super::entry::tests::with_entry;
    use super::*;
    use crate::gateway::failure::reason::FailureReason;
    use crate::gateway::request::head_lines::HeadLines;
    use crate::gateway::request::trace_context::Trace;
    use crate::gateway::request::upstream_view::UpstreamView;
    use crate::gateway::request::variables::View;
    use crate::gateway::request::variables::tests::headers;

    /// Template as configured by a user.
    pub fn format(text: &str) -> LogFormat {
        LogFormat::Text(built_in(text))
    }

    fn line<H: Headers>(config: &LogFormat, entry: &Entry<H>) -> String {
        let mut out = Vec::new();
        Format::new(config).write(entry, 1.0, &mut out);
        String::from_utf8(out).unwrap()
    }

    /// Checks a line of `main` without its time, which depends on the time zone of the machine.
    #[track_caller]
    fn check_main<H: Headers>(entry: &Entry<H>, before: &str, after: &str) {
        let line = line(&LogFormat::Main, entry);
        let (start, rest) = line.split_once(" [").unwrap();
        let (time, end) = rest.split_once("] ").unwrap();
        assert_eq!((start, end), (before, after));
        assert_eq!(time.len(), "23/Nov/2026:12:50:44 +0800".len(), "{time}");
    }

    #[test]
    fn main_is_nginx_with_upstream_times_place_and_id_behind() {
        with_entry(|entry| {
            check_main(
                &entry,
                "1.0.0.7 - -",
                "\"GET /a?b=c HTTP/1.1\" 200 612 \"-\" \"curl/8\" \"-\" \"-\" 1.234 - CN \"福建\" - -\n",
            );
            let headers = headers(&[
                ("authorization", "Basic am9lOng="),
                ("x-forwarded-for", "6.6.6.6"),
                ("referer", "/r"),
            ]);
            let peers = ["127.0.0.1:1", "127.0.0.1:2"].map(|peer| peer.parse().unwrap());
            let proxied = Entry {
                view: View {
                    headers: &headers,
                    place: None,
                    request_id: "abc",
                    ..entry.view
                },
                upstream: UpstreamView {
                    peers: &peers,
                    time: Some(Duration::from_millis(7)),
                    ..UpstreamView::default()
                },
                failure: Some(FailureReason::UpstreamClosed),
                ..entry
            };
            check_main(
                &proxied,
                "1.0.0.7 - joe",
                "\"GET /a?b=c HTTP/1.1\" 200 612 \"/r\" \"-\" \"6.6.6.6\" \
                 \"127.0.0.1:1, 127.0.0.1:2\" 1.234 0.007 - \"-\" abc upstream_closed\n",
            );
        });
    }

    #[test]
    fn no_text_of_a_client_ends_a_field_or_a_line() {
        let headers = headers(&[("user-agent", "a\tb中")]);
        with_entry(|entry| {
            let hostile = Entry {
                view: View {
                    method: "",
                    target: crate::gateway::request::variables::RoutedTarget::sent(
                        b"/\"\r\n\\\xff",
                    ),
                    protocol: "",
                    headers: &headers,
                    ..entry.view
                },
                ..entry
            };
            let format = format("\"$request\" \"$http_user_agent\" $uri $region");
            assert_eq!(
                line(&format, &hostile),
                "\"/\\x22\\x0D\\x0A\\x5C\\xFF\" \"a\\x09b\\xE4\\xB8\\xAD\" \
                 /\\x22\\x0D\\x0A\\x5C\\xFF 福建\n"
            );
            let json = line(&LogFormat::Json, &hostile);
            let value: Value = serde_json::from_str(&json).unwrap();
            assert_eq!(value["uri"], "/\"\r\n\\\u{fffd}");
            assert_eq!(value["http_user_agent"], "a\tb中");
            assert_eq!(json.matches('\n').count(), 1);
        });
    }

    #[test]
    fn json_has_the_same_in_types() {
        let peers = ["127.0.0.1:1".parse().unwrap()];
        let parent = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let trace = Trace::parse(parent).unwrap();
        with_entry(|entry| {
            let proxied = Entry {
                view: View {
                    request_id: "abc",
                    route: "shop",
                    ..entry.view
                },
                upstream: UpstreamView {
                    name: "api",
                    peers: &peers,
                    time: Some(Duration::from_millis(7)),
                    ..UpstreamView::default()
                },
                trace: Some(&trace),
                ..entry
            };
            let value: Value = serde_json::from_str(&line(&LogFormat::Json, &proxied)).unwrap();
            let time = value["time"].as_str().unwrap();
            let time: jiff::Timestamp = time.parse().unwrap();
            assert_eq!(time.as_second(), 1_700_000_000);
            let expected = json!({
                "time": value["time"],
                "remote_addr": "1.0.0.7",
                "remote_user": "",
                "country": "CN",
                "region": "福建",
                "method": "GET",
                "uri": "/a?b=c",
                "protocol": "HTTP/1.1",
                "status": 200,
                "body_bytes_sent": 612,
                "http_referer": "",
                "http_user_agent": "curl/8",
                "http_x_forwarded_for": "",
                "route": "shop",
                "upstream": "api",
                "upstream_addr": ["127.0.0.1:1"],
                "request_time": 1.234,
                "upstream_response_time": 0.007,
                "request_id": "abc",
                "trace_id": "0af7651916cd43dd8448eb211c80319c",
                "failure_reason": "",
            });
            assert_eq!(value, expected);
            let value: Value = serde_json::from_str(&line(&LogFormat::Json, &entry)).unwrap();
            assert_eq!(value["upstream_response_time"], Value::Null);
            assert_eq!(value["upstream_addr"], json!([]));
        });
    }

    #[test]
    fn members_are_the_users_own() {
        let members = [
            ("b\"", "$status"),
            ("a", "$status"),
            ("line", "$request_method $uri \"$status\""),
            ("at", "$msec"),
            ("took", "${request_time}s"),
            ("none", "$upstream_response_time"),
            ("text", "constant"),
            ("empty", ""),
        ];
        let members = members.map(|(name, value)| (name.to_owned(), built_in(value)));
        let line = with_entry(|entry| line(&LogFormat::Members(members.into()), &entry));
        assert_eq!(
            line,
            "{\"b\\\"\":200,\"a\":200,\"line\":\"GET /a \\\"200\\\"\",\"at\":1700000000.123,\
             \"took\":\"1.234s\",\"none\":null,\"text\":\"constant\",\"empty\":\"\"}\n"
        );
    }

    #[test]
    fn what_the_user_asks_for_is_made_for_it() {
        #[track_caller]
        fn check(config: &LogFormat, id: bool, trace: bool) {
            let format = Format::new(config);
            assert_eq!(
                (format.wants_id(), format.wants_trace()),
                (id, trace),
                "{config:?}"
            );
        }
        check(&LogFormat::Main, false, false);
        check(&LogFormat::Json, false, false);
        check(&format("$status $http_x_request_id"), false, false);
        check(&format("$request_id"), true, false);
        check(&format("$span_id"), false, true);
        let members = vec![("a".to_owned(), built_in("$status-$trace_id"))];
        check(&LogFormat::Members(members), false, true);
    }

    #[test]
    fn headers_of_the_response_have_names() {
        with_entry(|entry| {
            let format = format("$sent_http_x_cache [$sent_http_X_Two] $sent_http_none");
            let sent = Entry {
                sent: HeadLines(b"HTTP/1.1 200 OK\r\nX-Cache: HIT\r\nx-two: 1\r\nx-two: 2\r\n\r\n"),
                ..entry
            };
            assert_eq!(line(&format, &sent), "HIT [1, 2] -\n");
            assert_eq!(line(&format, &entry), "- [-] -\n");
        });
    }
}
