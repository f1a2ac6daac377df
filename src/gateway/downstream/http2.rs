//! Connections of HTTP/2 clients: every stream is a request for `exchange::forward`.
//!
//! The h2 crate implements the frames. The loop is geogate's own, because pingora's waits for the
//! preface of a connection forever, does not limit the requests of a connection, and does not
//! announce a shutdown to clients before the listeners are closed.

use std::sync::Arc;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{self, SendResponse};
use pingora::protocols::Stream;
use pingora::protocols::http::v2::server::{H2Options, default_h2_options, handshake};
use pingora::server::ShutdownWatch;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep_until, timeout_at};

use super::connection::ConnectionGuards;
use crate::gateway::Gateway;
use crate::gateway::access::drain::Counted;
use crate::gateway::exchange::client::Http2Request;
use crate::gateway::exchange::forward::{Forwarder, Http2Connection};
use crate::gateway::request::client_ip::PeerAddr;
use crate::gateway::request::request_view::Serial;
use crate::gateway::request::validate;
use crate::gateway::telemetry::metrics::Refused;

/// Bytes of a response that are given to the h2 crate and not yet written to the connection. What a
/// client does not take is held there, beside one piece.
const SEND_BUFFER: usize = 32 << 10;

/// Number of malformed requests after which a connection is closed.
const MALFORMED_LIMIT: u32 = 32;

/// Maximum time for a client to close the connection after a graceful shutdown was announced.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves a connection to its end. The handshake must be complete at `deadline`.
pub async fn serve(
    gateway: &Gateway,
    forwarder: &Arc<Forwarder>,
    stream: Stream,
    peer: PeerAddr,
    guards: ConnectionGuards<'_>,
    shutdown: &ShutdownWatch,
    deadline: Instant,
) {
    let ConnectionGuards { open, fresh } = guards;
    let (options, keepalive) = {
        let settings = gateway.settings();
        let client = &settings.client;
        let streams = settings.listening.http2.max_concurrent_streams;
        let options = options(streams, client.max_header_size);
        (
            options,
            (client.keepalive_timeout, client.keepalive_requests),
        )
    };
    let of_stream = {
        let socket = stream.get_socket_digest();
        let local = || socket.as_ref()?.local_addr()?.as_inet().copied();
        Http2Connection {
            peer,
            tls: stream.get_ssl_digest(),
            socket: socket.clone(),
            redirect_port: gateway.settings().listening.listeners.redirect(local),
            serial: Serial {
                connection: open.number(),
                request: 0,
            },
        }
    };
    let begun = timeout_at(deadline, handshake(stream, Some(options))).await;
    let connection = match begun {
        Ok(Ok(connection)) => connection,
        Ok(Err(_)) => return,
        Err(_) => return gateway.metrics.refused(Refused::Slow),
    };
    let mut serving = Serving {
        gateway,
        forwarder,
        connection,
        of_stream,
        requests: JoinSet::new(),
        fresh: Some(fresh),
        keepalive_timeout: keepalive.0,
        requests_left: keepalive.1,
        malformed: 0,
        is_leaving: false,
        end: Instant::now() + keepalive.0,
    };
    serving.run(shutdown.clone()).await;
    // Requests in flight detect by themselves that the client has left, and log it.
    serving.requests.detach_all();
}

/// A connection whose handshake is complete.
struct Serving<'g> {
    gateway: &'g Gateway,
    forwarder: &'g Arc<Forwarder>,
    connection: server::Connection<Stream, Bytes>,
    of_stream: Http2Connection,
    requests: JoinSet<()>,
    /// Guard that counts the connection until its first request.
    fresh: Option<Counted>,
    keepalive_timeout: Duration,
    requests_left: u32,
    /// Number of malformed requests.
    malformed: u32,
    /// `true` after a graceful shutdown was announced.
    is_leaving: bool,
    /// Time at which a connection without requests ends.
    end: Instant,
}

impl Serving<'_> {
    async fn run(&mut self, mut stopping: ShutdownWatch) {
        loop {
            tokio::select! {
                accepted = self.connection.accept() => match accepted {
                    Some(Ok((request, respond))) => {
                        self.begin(request, respond);
                        if self.malformed >= MALFORMED_LIMIT {
                            return;
                        }
                    }
                    // The connection has ended, with or without an error.
                    None | Some(Err(_)) => return,
                },
                Some(_) = self.requests.join_next() => {
                    if self.requests.is_empty() {
                        self.end = Instant::now() + self.patience();
                    }
                }
                _ = stopping.changed(), if !self.is_leaving => self.leave(),
                () = sleep_until(self.end), if self.requests.is_empty() => {
                    if self.is_leaving {
                        return;
                    }
                    self.leave();
                }
            }
        }
    }

    /// Begins to serve a request.
    fn begin(&mut self, request: http::Request<RecvStream>, respond: SendResponse<Bytes>) {
        self.fresh = None;
        self.requests_left = self.requests_left.saturating_sub(1);
        let (head, body) = request.into_parts();
        let refusal = validate::refusal(&head, &self.gateway.settings().client);
        self.malformed += u32::from(refusal == Some(400));
        let request = Http2Request {
            head,
            body,
            respond,
            refusal,
        };
        self.of_stream.serial.request += 1;
        let (forwarder, of_stream) = (Arc::clone(self.forwarder), self.of_stream.clone());
        self.requests
            .spawn(async move { forwarder.serve_stream(of_stream, request).await });
        if !self.is_leaving && (self.requests_left == 0 || self.gateway.drain.is_draining()) {
            self.leave();
        }
    }

    /// Announces the end of the connection. Requests in flight go on.
    fn leave(&mut self) {
        self.is_leaving = true;
        self.end = Instant::now() + PATIENCE;
        self.connection.graceful_shutdown();
    }

    /// Maximum time without requests.
    fn patience(&self) -> Duration {
        if self.is_leaving {
            PATIENCE
        } else {
            self.keepalive_timeout
        }
    }
}

/// Returns the options of HTTP/2. pingora's defaults are those of its security advisories; these
/// are stricter.
fn options(streams: u32, headers: usize) -> H2Options {
    let mut options = default_h2_options();
    // The h2 crate answers a head beyond its limit itself, unseen by logs and metrics. So its limit
    // is higher, and most heads that are too long are the gateway's to reject.
    let unseen = headers.saturating_mul(2);
    options.max_header_list_size(u32::try_from(unseen).unwrap_or(u32::MAX));
    options.max_concurrent_streams(streams);
    options.max_send_buffer_size(SEND_BUFFER);
    options
}
