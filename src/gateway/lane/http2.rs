//! Connections of HTTP/2 clients: every stream is a request for the [`Forwarder`].
//!
//! The h2 crate implements the frames. The loop is geogate's own, because pingora's waits for the
//! preface of a connection forever, does not limit the requests of a connection, and does not
//! announce a shutdown to clients before the listeners are closed.

use std::sync::Arc;

use pingora::protocols::Stream;
use pingora::protocols::http::v2::server::{H2Options, default_h2_options, handshake};
use pingora::server::ShutdownWatch;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep_until, timeout_at};

use super::connection::Arrival;
use crate::gateway::client_ip::PeerAddr;
use crate::gateway::exchange::client::Http2Request;
use crate::gateway::exchange::forward::{Forwarder, Http2Connection};
use crate::gateway::metrics::Refused;
use crate::gateway::{Gateway, strict};

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
    arrival: Arrival<'_>,
    shutdown: &ShutdownWatch,
    deadline: Instant,
) {
    let (client, options) = {
        let settings = gateway.settings();
        (
            settings.client.clone(),
            options(
                settings.http2.max_concurrent_streams,
                settings.client.max_header_size,
            ),
        )
    };
    let Arrival { open: _open, fresh } = arrival;
    let mut fresh = Some(fresh);
    let of_stream = {
        let socket = stream.get_socket_digest();
        let local = || socket.as_ref()?.local_addr()?.as_inet().copied();
        Http2Connection {
            peer,
            tls: stream.get_ssl_digest(),
            redirect_port: gateway.settings().listeners.redirect(local),
        }
    };
    let begun = timeout_at(deadline, handshake(stream, Some(options))).await;
    let mut connection = match begun {
        Ok(Ok(connection)) => connection,
        Ok(Err(_)) => return,
        Err(_) => return gateway.metrics.refused(Refused::Slow),
    };
    let mut stopping = shutdown.clone();
    let mut requests = JoinSet::new();
    let (mut served, mut malformed, mut leaving) = (0, 0, false);
    let mut end = Instant::now() + client.keepalive_timeout;
    loop {
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    fresh = None;
                    served += 1;
                    let (head, body) = request.into_parts();
                    let refusal = strict::refusal(&head, &gateway.settings().client);
                    malformed += u32::from(refusal == Some(400));
                    let request = Http2Request { head, body, respond, refusal };
                    let (forwarder, of_stream) = (Arc::clone(forwarder), of_stream.clone());
                    requests.spawn(async move {
                        forwarder.serve_stream(of_stream, request).await;
                    });
                    if malformed >= MALFORMED_LIMIT {
                        break;
                    }
                    if !leaving && (served >= client.keepalive_requests || gateway.drain.is_draining()) {
                        leaving = true;
                        connection.graceful_shutdown();
                    }
                }
                // The connection has ended, with or without an error.
                None | Some(Err(_)) => break,
            },
            Some(_) = requests.join_next() => {
                if requests.is_empty() {
                    end = Instant::now() + if leaving { PATIENCE } else { client.keepalive_timeout };
                }
            }
            _ = stopping.changed(), if !leaving => {
                leaving = true;
                end = Instant::now() + PATIENCE;
                connection.graceful_shutdown();
            }
            () = sleep_until(end), if requests.is_empty() => {
                if leaving {
                    break;
                }
                leaving = true;
                end = Instant::now() + PATIENCE;
                connection.graceful_shutdown();
            }
        }
    }
    drop(fresh);
    // Requests in flight detect by themselves that the client has left, and log it.
    requests.detach_all();
}

/// Returns the options of HTTP/2. pingora's defaults are those of its security advisories; these
/// are stricter.
fn options(streams: u32, headers: usize) -> H2Options {
    let mut options = default_h2_options();
    options.max_header_list_size(headers as u32);
    options.max_concurrent_streams(streams);
    options.max_send_buffer_size(SEND_BUFFER);
    options
}
