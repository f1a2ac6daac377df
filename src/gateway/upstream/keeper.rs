//! Looks after the peers of a pool: where their names lead, and whether they are well.
//!
//! It has a thread of its own with a runtime of one thread, because a pool is made before there is
//! any other, and because what takes long here must not hold up requests. The thread ends when the
//! pool is retired or dropped, so that configurations may come and go.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::{Semaphore, oneshot};

use super::members::Members;
use super::names;
use super::probe::Prober;
use crate::config::model::{HealthCheck, PeerAddress};

/// How long a pool waits for the addresses of its peers before it is used without them.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is between two questions for a name at least, whatever its time to live is.
const SHORTEST: Duration = Duration::from_secs(1);

/// How many peers are checked at a time.
const AT_A_TIME: usize = 64;

/// A thread that keeps a pool until this is dropped.
pub struct Keeper {
    _stop: oneshot::Sender<()>,
}

impl Keeper {
    /// Starts one, if there is something to keep, and waits until every name was asked for once.
    pub fn start(members: &Arc<Members>) -> Option<Keeper> {
        let upstream = &members.upstream;
        let is_name = |address: &PeerAddress| !matches!(address, PeerAddress::Socket(_));
        let names = upstream.peers.iter().map(|peer| &peer.address);
        let has_names = names.clone().any(is_name);
        if !has_names && upstream.health_check.is_none() {
            return None;
        }
        let (stop, stopped) = oneshot::channel();
        let (asked, was_asked) = mpsc::channel();
        let kept = Arc::clone(members);
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
            // Without an answer in time requests are refused until there is one.
            let _ = was_asked.recv_timeout(PATIENCE);
        }
        Some(Keeper { _stop: stop })
    }
}

async fn keep(members: &Members, stopped: oneshot::Receiver<()>, asked: mpsc::Sender<()>) {
    let names = (0..).zip(&members.upstream.peers);
    let names = names.filter(|(_, peer)| !matches!(peer.address, PeerAddress::Socket(_)));
    // Each name drops its own when it was asked for once; then nobody waits any more.
    let follow =
        names.map(|(index, peer)| follow(members, index, &peer.address, Some(asked.clone())));
    let follow = join_all(follow.collect::<Vec<_>>());
    drop(asked);
    let check = async {
        match &members.upstream.health_check {
            Some(check) => watch(members, check).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        // An error, too, says that the pool is gone.
        _ = stopped => {}
        ((), _) = async { tokio::join!(check, follow) } => {}
    }
}

/// Asks for a name again and again.
async fn follow(
    members: &Members,
    index: usize,
    name: &PeerAddress,
    mut asked: Option<mpsc::Sender<()>>,
) {
    let upstream = &members.upstream;
    let mut pause = SHORTEST;
    let mut is_lost = false;
    loop {
        match names::resolve(name, &upstream.resolver).await {
            Ok(answer) => {
                is_lost = false;
                pause = answer.time_to_live.min(upstream.resolve_interval);
                let addresses: Vec<_> = answer.found.iter().map(|f| f.address).collect();
                if members.set_found(index, answer.found) {
                    log::info!("upstream {}: {name} is {addresses:?}", upstream.name);
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
        // Nobody waits for this one any more.
        drop(asked.take());
        tokio::time::sleep(pause.max(SHORTEST)).await;
    }
}

/// Checks all peers again and again.
async fn watch(members: &Members, check: &HealthCheck) {
    let prober = Prober::new(check);
    let at_a_time = Semaphore::new(AT_A_TIME);
    // The first time at once, so that a dead peer is known before there are requests.
    let mut jitter = Duration::ZERO;
    loop {
        let start = Instant::now();
        let roster = members.roster();
        let checks = roster.peers.iter().map(|peer| {
            let (prober, at_a_time) = (&prober, &at_a_time);
            async move {
                // Peers, and gateways that were started together, are not all asked at once.
                tokio::time::sleep(jitter.mul_f32(fastrand::f32())).await;
                let _one = at_a_time.acquire().await;
                let result = prober.check(peer).await;
                let (policy, now) = (&members.policy, members.now());
                let good = result.is_ok();
                let fitness = &peer.state.fitness;
                let change = fitness.checked(good, check.rise, check.fall, policy, now);
                let reason = result.err().unwrap_or_default();
                members.say(change, peer.address, &format!("its health check: {reason}"));
            }
        });
        join_all(checks.collect::<Vec<_>>()).await;
        jitter = check.interval / 10;
        tokio::time::sleep(check.interval.saturating_sub(start.elapsed())).await;
    }
}
