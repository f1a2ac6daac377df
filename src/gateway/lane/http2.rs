//! Connections of HTTP/2 clients: every stream is a request for [`Duplex`].
//!
//! The h2 crate implements the frames, [`super::h2_stream`] the streams. The loop is geogate's own,
//! because pingora's waits for the preface of a connection forever, does not limit the requests of
//! a connection, and does not announce a shutdown to clients before the listeners are closed.

use std::sync::Arc;

use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Options, default_h2_options, handshake};
use pingora::protocols::{Digest, Stream};
use pingora::server::ShutdownWatch;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep_until, timeout_at};

use super::connection::Arrival;
use super::duplex::Duplex;
use super::h2_stream::{Accepted, accept};
use crate::gateway::Gateway;
use crate::gateway::metrics::Refused;

/// Number of malformed requests after which a connection is closed.
const MALFORMED_LIMIT: u32 = 32;

/// Maximum time for a client to close the connection after a graceful shutdown was announced.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves a connection to its end. The handshake must be complete at `deadline`.
pub async fn serve(
    gateway: &Gateway,
    duplex: &Arc<Duplex>,
    stream: Stream,
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
    let digest = Arc::new(digest_of(&stream));
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
            accepted = accept(&mut connection, &digest) => match accepted {
                Ok(Some(Accepted::Request(stream))) => {
                    fresh = None;
                    served += 1;
                    let duplex = Arc::clone(duplex);
                    requests.spawn(async move {
                        let session = ServerSession::new_custom(stream);
                        duplex.serve_stream(session).await;
                    });
                    if !leaving && (served >= client.keepalive_requests || gateway.drain.is_draining()) {
                        leaving = true;
                        connection.graceful_shutdown();
                    }
                }
                Ok(Some(Accepted::Refused)) => {
                    malformed += 1;
                    if malformed >= MALFORMED_LIMIT {
                        break;
                    }
                }
                // The connection has ended, with or without an error.
                Ok(None) | Err(_) => break,
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
    options
}

fn digest_of(stream: &Stream) -> Digest {
    Digest {
        ssl_digest: stream.get_ssl_digest(),
        timing_digest: stream.get_timing_digest(),
        proxy_digest: stream.get_proxy_digest(),
        socket_digest: stream.get_socket_digest(),
    }
}
