//! Background work for the peers of a pool: name resolution and health checks.
//!
//! It runs on a thread of its own with a single-threaded runtime, because a pool is created before
//! any other runtime exists, and because slow work here must not delay requests. The thread ends
//! when the pool is retired or dropped, so that configurations can be replaced.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::{Semaphore, oneshot};

use super::endpoints::Endpoints;
use super::probe::Prober;
use super::resolver;
use crate::config::model::{HealthCheck, PeerAddress};

/// Maximum time that a new pool waits for the addresses of its peers before it is used without
/// them.
const PATIENCE: Duration = Duration::from_secs(5);

/// Minimum time between two queries for a name, whatever its TTL is.
const SHORTEST: Duration = Duration::from_secs(1);

/// Maximum number of concurrent health checks.
const AT_A_TIME: usize = 64;

/// Handle of the background thread, which ends when this is dropped.
pub struct Keeper {
    _stop: oneshot::Sender<()>,
}

impl Keeper {
    /// Starts the thread if the upstream has names or health checks, and waits until every name was
    /// queried once.
    pub fn start(endpoints: &Arc<Endpoints>) -> Option<Keeper> {
        let upstream = &endpoints.upstream;
        let is_name = |address: &PeerAddress| !matches!(address, PeerAddress::Socket(_));
        let names = upstream.peers.iter().map(|peer| &peer.address);
        let has_names = names.clone().any(is_name);
        if !has_names && upstream.health_check.is_none() {
            return None;
        }
        let (stop, stopped) = oneshot::channel();
        let (asked, was_asked) = mpsc::channel();
        let kept = Arc::clone(endpoints);
        let thread = std::thread::Builder::new().name("upstream".to_owned());
        let started = thread.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            match runtime {
                Ok(runtime) => runtime.block_on(keep(&kept, stopped, asked)),
                Err(error) => log::error!("upstream {}: {error}", kept.upstream.name),
            }
        });
        if let Err(error) = started {
            log::error!("upstream {}: no thread: {error}", upstream.name);
        }
        if has_names {
            // Without an answer in time, requests are rejected until there is one.
            let _ = was_asked.recv_timeout(PATIENCE);
        }
        Some(Keeper { _stop: stop })
    }
}

async fn keep(endpoints: &Endpoints, stopped: oneshot::Receiver<()>, asked: mpsc::Sender<()>) {
    let names = (0..).zip(&endpoints.upstream.peers);
    let names = names.filter(|(_, peer)| !matches!(peer.address, PeerAddress::Socket(_)));
    // Each task drops its sender after the first query; when all are dropped, the wait ends.
    let follow =
        names.map(|(index, peer)| follow(endpoints, index, &peer.address, Some(asked.clone())));
    let follow = join_all(follow.collect::<Vec<_>>());
    drop(asked);
    let check = async {
        match &endpoints.upstream.health_check {
            Some(check) => watch(endpoints, check).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        // An error means that the sender is dropped, so the pool is gone.
        _ = stopped => {}
        ((), _) = async { tokio::join!(check, follow) } => {}
    }
}

/// Resolves a name periodically.
async fn follow(
    endpoints: &Endpoints,
    index: usize,
    name: &PeerAddress,
    mut asked: Option<mpsc::Sender<()>>,
) {
    let upstream = &endpoints.upstream;
    let mut pause = SHORTEST;
    let mut is_lost = false;
    loop {
        match resolver::resolve(name, &upstream.resolver).await {
            Ok(answer) => {
                is_lost = false;
                pause = answer.time_to_live.min(upstream.resolve_interval);
                let addresses: Vec<_> =
                    answer.found.iter().map(|f| f.address.to_string()).collect();
                let addresses = addresses.join(", ");
                if endpoints.set_found(index, answer.found) {
                    log::info!("upstream {}: {name} is [{addresses}]", upstream.name);
                }
            }
            Err(reason) => {
                if is_lost {
                    pause = (pause * 2).min(upstream.resolve_interval);
                } else {
                    is_lost = true;
                    log::warn!(
                        "upstream {}: {name} cannot be resolved, what is known of it stays: {reason}",
                        upstream.name
                    );
                    pause = SHORTEST;
                }
            }
        }
        // The first query is done: `Keeper::start` need not wait for this name.
        drop(asked.take());
        tokio::time::sleep(pause.max(SHORTEST)).await;
    }
}

/// Checks all peers periodically.
async fn watch(endpoints: &Endpoints, check: &HealthCheck) {
    let prober = Prober::new(check);
    let at_a_time = Semaphore::new(AT_A_TIME);
    // The first checks run at once, so that a dead peer is detected before the first request.
    let mut jitter = Duration::ZERO;
    loop {
        let start = Instant::now();
        let snapshot = endpoints.snapshot();
        let checks = snapshot.peers.iter().map(|peer| {
            let (prober, at_a_time) = (&prober, &at_a_time);
            async move {
                // Spreads the checks of peers, and of gateways that were started together.
                tokio::time::sleep(jitter.mul_f32(fastrand::f32())).await;
                let _one = at_a_time.acquire().await;
                let result = prober.check(peer).await;
                let (policy, now) = (&endpoints.policy, endpoints.now());
                let good = result.is_ok();
                let peer_health = &peer.state.peer_health;
                let change = peer_health.checked(good, check.rise, check.fall, policy, now);
                let reason = result.err().unwrap_or_default();
                endpoints.say(
                    change,
                    &peer.address,
                    &format!("its health check: {reason}"),
                );
            }
        });
        join_all(checks.collect::<Vec<_>>()).await;
        jitter = check.interval / 10;
        tokio::time::sleep(check.interval.saturating_sub(start.elapsed())).await;
    }
}
