//! Log entry of a finished request, with the value of each variable.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pingora::protocols::tls::SslDigest;

use super::times::with_times;
use crate::config::model::{RequestVariable, ResponseVariable, SocketAddress, Variable};
use crate::gateway::failure::reason::FailureReason;
use crate::gateway::request::trace_context::Trace;
use crate::gateway::request::variables::View;
use crate::proto::headers::Headers;
use crate::proto::text::{write_number, write_peer, write_seconds, write_share};

/// Head of a response as it was sent: lines behind a first one; empty if it is not kept for the log.
#[derive(Clone, Copy, Default)]
pub struct Sent<'s>(pub &'s [u8]);

/// Writes the address of a peer of an upstream.
pub fn append_peer(peer: &SocketAddress, out: &mut Vec<u8>) {
    match peer {
        SocketAddress::Inet(address) => write_peer(*address, out),
        SocketAddress::Unix(path) => {
            out.extend_from_slice(b"unix:");
            out.extend_from_slice(path.as_bytes());
        }
    }
}

impl Sent<'_> {
    /// Calls `read` with the value of every line of a name.
    pub fn each_line(&self, name: &str, mut read: impl FnMut(&[u8])) {
        for line in self.0.split(|&byte| byte == b'\n').skip(1) {
            let Some(colon) = memchr::memchr(b':', line) else {
                continue;
            };
            if line[..colon].eq_ignore_ascii_case(name.as_bytes()) {
                read(line[colon + 1..].trim_ascii());
            }
        }
    }
}

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
    /// Headers of the response, if the proxy sent it.
    pub sent: Sent<'r>,
    /// Name of the upstream; empty for a local reply.
    pub upstream: &'r str,
    /// Peers that the request was tried on, in this order.
    pub peers: &'r [SocketAddress],
    /// Time from the head of the request to the end of the response.
    pub request_time: Duration,
    /// Time from the choice of the first peer to the end of the response.
    pub upstream_time: Option<Duration>,
    /// Trace of the request, if it is known.
    pub trace: Option<&'r Trace>,
    /// TLS session of the connection, if it is encrypted.
    pub tls: Option<&'r SslDigest>,
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
            sent: Sent::default(),
            upstream: "",
            peers: &[],
            request_time: start.elapsed(),
            upstream_time: None,
            trace: None,
            tls: None,
            failure: None,
        }
    }

    /// Id of the trace or else of the request, for consistent sampling.
    #[must_use]
    pub fn id(&self) -> Option<&[u8]> {
        let own = Some(self.view.request_id.as_bytes()).filter(|id| !id.is_empty());
        self.trace.map(|trace| &trace.id[..]).or(own)
    }

    /// Appends a raw value, or nothing if there is none. `share` is the fraction of requests like
    /// this one that are logged.
    pub fn append(&self, variable: &Variable, share: f64, out: &mut Vec<u8>) -> Source {
        match variable {
            Variable::Request(variable) => self.append_of_request(variable, out),
            Variable::Response(variable) => self.append_of_response(variable, share, out),
        }
    }

    fn append_of_request(&self, variable: &RequestVariable, out: &mut Vec<u8>) -> Source {
        self.view.append(variable, out);
        match variable {
            RequestVariable::Geo(_) | RequestVariable::Route => Source::Ours,
            RequestVariable::RemoteAddr
            | RequestVariable::PeerAddr
            | RequestVariable::RequestId
            | RequestVariable::Scheme => Source::Plain,
            _ => Source::Foreign,
        }
    }

    fn append_of_response(
        &self,
        variable: &ResponseVariable,
        share: f64,
        out: &mut Vec<u8>,
    ) -> Source {
        match variable {
            ResponseVariable::Status => write_number(u64::from(self.status), out),
            ResponseVariable::BodyBytesSent => write_number(self.body_bytes as u64, out),
            ResponseVariable::RequestTime => write_seconds(self.request_time, out),
            ResponseVariable::UpstreamResponseTime => {
                if let Some(time) = self.upstream_time {
                    write_seconds(time, out);
                }
            }
            ResponseVariable::UpstreamAddr => self.append_peers(out),
            ResponseVariable::UpstreamName => {
                out.extend_from_slice(self.upstream.as_bytes());
                return Source::Ours;
            }
            ResponseVariable::TimeLocal => {
                with_times(self.time, |times| {
                    out.extend_from_slice(times.local.as_bytes());
                });
            }
            ResponseVariable::TimeIso8601 => {
                with_times(self.time, |times| {
                    out.extend_from_slice(times.iso.as_bytes());
                });
            }
            ResponseVariable::Msec => {
                let since = self.time.duration_since(UNIX_EPOCH);
                write_seconds(since.unwrap_or_default(), out);
            }
            ResponseVariable::TraceId => {
                out.extend_from_slice(self.trace.map_or(&[], |trace| &trace.id));
            }
            ResponseVariable::SpanId => {
                out.extend_from_slice(self.trace.map_or(&[], |trace| &trace.span));
            }
            ResponseVariable::SslProtocol => {
                out.extend_from_slice(self.tls.map_or("", |tls| &tls.version).as_bytes());
            }
            ResponseVariable::SslCipher => {
                out.extend_from_slice(self.tls.map_or("", |tls| &tls.cipher).as_bytes());
            }
            ResponseVariable::SampleRate => write_share(share, out),
            ResponseVariable::FailureReason => {
                let word = self.failure.map_or("", FailureReason::as_str);
                out.extend_from_slice(word.as_bytes());
            }
            ResponseVariable::SentHttp(name) => {
                self.append_sent(name, out);
                return Source::Foreign;
            }
        }
        Source::Plain
    }

    fn append_peers(&self, out: &mut Vec<u8>) {
        for (index, peer) in self.peers.iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(b", ");
            }
            append_peer(peer, out);
        }
    }

    fn append_sent(&self, name: &str, out: &mut Vec<u8>) {
        let mut is_first = true;
        self.sent.each_line(name, |line| {
            if !std::mem::take(&mut is_first) {
                out.extend_from_slice(b", ");
            }
            out.extend_from_slice(line);
        });
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::config::model::{ClientIp, ForwardedHeader, TrustedProxies, UntrustedHeaders};
    use crate::gateway::request::client_ip::{PeerAddr, resolve};
    use crate::gateway::request::variables::tests::{database, headers};
    use crate::gateway::request::variables::{Captured, RoutedTarget};
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
            tls: None,
        };
        read(Entry {
            time: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
            request_time: Duration::from_micros(1_234_567),
            ..Entry::new(view, 200, 612, Instant::now())
        })
    }
}
