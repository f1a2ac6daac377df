//! HTTP/2 with a client: every stream is a request for the proxy.
//!
//! The frames are the h2 crate's and the streams pingora's. The loop is ours, because pingora's
//! waits for the preface of a connection for ever, keeps a connection for as many requests as
//! come, and tells nobody that the gateway is on its way out until the listeners are closed.

use std::sync::Arc;

use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{
    H2Accept, H2Options, HttpSession, default_h2_options, handshake,
};
use pingora::protocols::{Digest, Stream};
use pingora::server::ShutdownWatch;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep_until, timeout_at};

use super::connection::Arrival;
use super::duplex::Duplex;
use crate::gateway::Gateway;
use crate::gateway::metrics::Refused;

/// How many requests of a connection may be wrong in a way that ends them before they begin.
const MALFORMED_LIMIT: u32 = 32;

/// How long a client may take to go once it was told to.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves a connection to its end. Its first bytes are due at `deadline`.
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
            accepted = HttpSession::from_h2_conn(&mut connection, Arc::clone(&digest)) => match accepted {
                Ok(Some(H2Accept::Session(session))) => {
                    fresh = None;
                    served += 1;
                    let duplex = Arc::clone(duplex);
                    requests.spawn(async move {
                        let session = ServerSession::new_http2(session);
                        duplex.serve_stream(session).await;
                    });
                    if !leaving && (served >= client.keepalive_requests || gateway.drain.is_draining()) {
                        leaving = true;
                        connection.graceful_shutdown();
                    }
                }
                Ok(Some(H2Accept::Rejected)) => {
                    malformed += 1;
                    if malformed >= MALFORMED_LIMIT {
                        break;
                    }
                }
                // It ended, well or not.
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
    // They see for themselves that the client is gone, and say so in the log.
    requests.detach_all();
}

/// pingora's own are what its advisories ask for; these are stricter.
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
