//! Log entry of a finished request, with the value of each variable.

use std::time::{Duration, Instant, SystemTime};

use crate::config::model::{RequestVariable, ResponseVariable, Variable};
use crate::gateway::failure::reason::FailureReason;
use crate::gateway::request::head_lines::HeadLines;
use crate::gateway::request::own_value::{Leaf, Values, each_leaf};
use crate::gateway::request::times;
use crate::gateway::request::trace_context::Trace;
use crate::gateway::request::upstream_view::UpstreamView;
use crate::gateway::request::variables::View;
use crate::proto::headers::Headers;
use crate::proto::text::{write_number, write_seconds, write_share};

/// Finished request to log. Text is raw as the client sent it; the formats escape it.
pub struct Entry<'r, H> {
    /// Request.
    pub view: View<'r, H>,
    /// Time of the end of the request.
    pub time: SystemTime,
    /// Status of the response; 499 if the client closed the connection before the response.
    pub status: u16,
    /// Bytes of the response body that were sent.
    pub body_bytes: usize,
    /// Bytes of the response's head that were sent, as far as they are known.
    pub head_bytes: usize,
    /// Bytes of the request's head and body.
    pub request_bytes: u64,
    /// Head of the response as it was sent, if it is kept for the log.
    pub sent: HeadLines<'r>,
    /// Tries on an upstream, to the end of the response.
    pub upstream: UpstreamView<'r>,
    /// Time from the head of the request to the end of the response.
    pub request_time: Duration,
    /// Trace of the request, if it is known.
    pub trace: Option<&'r Trace>,
    /// Reason of a failure.
    pub failure: Option<FailureReason>,
}

// Derived implementations would require `H: Clone` and `H: Copy`.
impl<H> Clone for Entry<'_, H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H> Copy for Entry<'_, H> {}

/// Source of a value, which decides how it must be escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Digits and signs that geogate writes itself.
    Plain,
    /// Text of the configuration or the database: UTF-8.
    Ours,
    /// Text of the client or the upstream: any bytes.
    Foreign,
}

impl<'r, H: Headers> Entry<'r, H> {
    /// Creates the entry of a local reply that was sent just now.
    #[must_use]
    pub fn new(view: View<'r, H>, status: u16, body_bytes: usize, start: Instant) -> Self {
        Entry {
            view,
            time: SystemTime::now(),
            status,
            body_bytes,
            head_bytes: 0,
            request_bytes: 0,
            sent: HeadLines::default(),
            upstream: UpstreamView::default(),
            request_time: start.elapsed(),
            trace: None,
            failure: None,
        }
    }

    /// Id of the trace or else of the request, for consistent sampling.
    #[must_use]
    pub fn id(&self) -> Option<&[u8]> {
        let own = Some(self.view.request_id.as_bytes()).filter(|id| !id.is_empty());
        self.trace.map(|trace| &trace.id[..]).or(own)
    }

    /// Calls `take` with the raw pieces of a variable's value and the source of each. `share` is the
    /// fraction of requests like this one that are logged.
    pub fn each_piece(
        &self,
        variable: &Variable,
        share: f64,
        mut take: impl FnMut(&mut dyn FnMut(&mut Vec<u8>), Source),
    ) {
        let values = Sampled { entry: self, share };
        let mut take_leaf = |leaf: &Leaf| match leaf {
            Leaf::Text(text) => {
                take(
                    &mut |out| out.extend_from_slice(text.as_bytes()),
                    Source::Ours,
                );
            }
            Leaf::Request(variable) => take(
                &mut |out| values.append_of_request(variable, out),
                source_of_request(variable),
            ),
            Leaf::Response(variable) => take(
                &mut |out| values.append_of_response(variable, out),
                source_of_response(variable),
            ),
            Leaf::Group { text, .. } => {
                take(&mut |out| out.extend_from_slice(text), Source::Foreign);
            }
        };
        match variable {
            Variable::Request(RequestVariable::Own(own))
            | Variable::Response(ResponseVariable::Own(own)) => {
                each_leaf(own, &values, &mut take_leaf);
            }
            Variable::Request(variable) => take_leaf(&Leaf::Request(variable)),
            Variable::Response(variable) => take_leaf(&Leaf::Response(variable)),
        }
    }

    /// Appends the raw value of a variable, or nothing if there is none.
    pub fn append(&self, variable: &Variable, share: f64, out: &mut Vec<u8>) {
        self.each_piece(variable, share, |write, _| write(out));
    }
}

/// Values of an entry with the fraction of requests like it that are logged.
struct Sampled<'e, 'r, H> {
    entry: &'e Entry<'r, H>,
    share: f64,
}

impl<H: Headers> Values for Sampled<'_, '_, H> {
    fn append_of_request(&self, variable: &RequestVariable, out: &mut Vec<u8>) {
        match variable {
            RequestVariable::Time(form) => times::write(self.entry.time, *form, out),
            variable => self.entry.view.append(variable, out),
        }
    }

    fn append_of_response(&self, variable: &ResponseVariable, out: &mut Vec<u8>) {
        let entry = self.entry;
        match variable {
            ResponseVariable::Status => write_number(u64::from(entry.status), out),
            ResponseVariable::BodyBytesSent => write_number(entry.body_bytes as u64, out),
            ResponseVariable::BytesSent => {
                write_number((entry.head_bytes + entry.body_bytes) as u64, out);
            }
            ResponseVariable::RequestLength => write_number(entry.request_bytes, out),
            ResponseVariable::RequestTime => write_seconds(entry.request_time, out),
            ResponseVariable::TraceId => {
                out.extend_from_slice(entry.trace.map_or(&[], |trace| &trace.id));
            }
            ResponseVariable::SpanId => {
                out.extend_from_slice(entry.trace.map_or(&[], |trace| &trace.span));
            }
            ResponseVariable::SampleRate => write_share(self.share, out),
            ResponseVariable::FailureReason => {
                let word = entry.failure.map_or("", FailureReason::as_str);
                out.extend_from_slice(word.as_bytes());
            }
            ResponseVariable::SentHttp(name) => entry.sent.append(name, out),
            _ => entry.upstream.append(variable, out),
        }
    }
}

fn source_of_request(variable: &RequestVariable) -> Source {
    match variable {
        RequestVariable::Geo(_) | RequestVariable::Route | RequestVariable::Hostname => {
            Source::Ours
        }
        RequestVariable::RemoteAddr
        | RequestVariable::PeerAddr
        | RequestVariable::RequestId
        | RequestVariable::Scheme
        | RequestVariable::Connection(_)
        | RequestVariable::ForwardedFor
        | RequestVariable::Time(_)
        | RequestVariable::Pid => Source::Plain,
        _ => Source::Foreign,
    }
}

fn source_of_response(variable: &ResponseVariable) -> Source {
    match variable {
        ResponseVariable::UpstreamName => Source::Ours,
        ResponseVariable::SentHttp(_)
        | ResponseVariable::UpstreamHttp(_)
        | ResponseVariable::UpstreamCookie(_) => Source::Foreign,
        _ => Source::Plain,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::IpAddr;
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::config::model::{ClientIp, ForwardedHeader, TrustedProxies, UntrustedHeaders};
    use crate::gateway::request::client_ip::{PeerAddr, resolve};
    use crate::gateway::request::variables::tests::{database, headers};
    use crate::gateway::request::variables::{Captured, ConnectionView, RoutedTarget};
    use crate::proto::scheme::Scheme;
    use http::HeaderMap;

    /// Passes the entry of a request from Fuzhou with a local reply to `read`.
    pub fn with_entry<T>(read: impl FnOnce(Entry<HeaderMap>) -> T) -> T {
        let headers = headers(&[("user-agent", "curl/8"), ("host", "example.com")]);
        let config = ClientIp {
            trusted_proxies: TrustedProxies::default(),
            header: ForwardedHeader::XForwardedFor,
            untrusted_headers: UntrustedHeaders::default(),
        };
        let peer = PeerAddr::new((IpAddr::from([1, 0, 0, 7]), 80).into());
        let origin = resolve(peer, &headers, &config);
        let database = database();
        let view = View {
            origin: Some(&origin),
            place: database.lookup(origin.client.ip()),
            scheme: Scheme::Http,
            method: "GET",
            target: RoutedTarget::sent(b"/a?b=c"),
            protocol: "HTTP/1.1",
            authority: None,
            headers: &headers,
            request_id: "",
            route: "",
            captures: Captured::default(),
            connection: ConnectionView::default(),
        };
        read(Entry {
            time: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
            request_time: Duration::from_micros(1_234_567),
            ..Entry::new(view, 200, 612, Instant::now())
        })
    }
}
