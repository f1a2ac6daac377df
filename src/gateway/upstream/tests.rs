use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use http::HeaderMap;

use super::*;
use crate::config::model::{
    Balance, HealthCheck, HealthProbe, Peer as Configured, PeerAddress, Sticky,
};

fn address(port: u16) -> SocketAddress {
    SocketAddr::from(([127, 0, 0, 1], port)).into()
}

/// A peer at this port of the loopback address.
fn configured(port: u16) -> Configured {
    Configured {
        address: PeerAddress::Socket(address(port)),
        weight: 1,
        is_backup: false,
        is_draining: false,
        max_requests: None,
    }
}

/// An upstream with this many peers, from port 1 on.
fn upstream(peers: u16) -> Upstream {
    let second = Duration::from_secs(1);
    Upstream {
        name: "test".to_owned(),
        peers: (1..=peers).map(configured).collect(),
        balance: Balance::RoundRobin,
        sticky: None,
        protocol: Protocol::Http1,
        tls: None,
        send_proxy_protocol: None,
        connect_timeout: second,
        read_timeout: second,
        write_timeout: second,
        max_header_size: 64 << 10,
        max_headers: 256,
        idle_timeout: second,
        keepalive: 1,
        tries: 3,
        retry_on: vec![503],
        x_accel_redirect: false,
        retry_budget: 0.2,
        max_fails: 1,
        fail_timeout: Duration::from_secs(3600),
        max_fail_timeout: Duration::from_secs(3600),
        slow_start: None,
        max_requests: None,
        health_check: None,
        resolver: Vec::new(),
        resolve_interval: second,
    }
}

fn pool_after(upstream: &Upstream, before: Option<&Pool>) -> Pool {
    Pool::new(upstream, Transport::load(upstream).unwrap(), before)
}

fn pool(upstream: &Upstream) -> Pool {
    pool_after(upstream, None)
}

fn choose(pool: &Pool, tried: &[u16]) -> Result<u16, NoPeer> {
    let tried: Vec<_> = tried.iter().copied().map(address).collect();
    let turn = pool.choose(&tried, &Affinity::default())?;
    Ok(turn.peer().address.inet().unwrap().port())
}

/// Ports that consecutive requests go to.
fn order(pool: &Pool, requests: usize) -> Vec<u16> {
    (0..requests).map(|_| choose(pool, &[]).unwrap()).collect()
}

fn peer(pool: &Pool, port: u16) -> Arc<Peer> {
    let snapshot = pool.endpoints.snapshot();
    let found = snapshot
        .peers
        .iter()
        .find(|peer| peer.address == address(port));
    Arc::clone(found.unwrap())
}

fn fail(pool: &Pool, port: u16) {
    pool.failed(&peer(pool, port), "a test");
}

#[test]
fn peers_take_turns_by_weight() {
    assert_eq!(order(&pool(&upstream(3)), 6), [1, 2, 3, 1, 2, 3]);
    let mut weighted = upstream(2);
    weighted.peers[0].weight = 3;
    assert_eq!(order(&pool(&weighted), 8), [1, 1, 2, 1, 1, 1, 2, 1]);
}

#[test]
fn a_failed_peer_is_passed_over_until_it_answers() {
    let pool = pool(&upstream(2));
    fail(&pool, 1);
    assert_eq!(order(&pool, 4), [2, 2, 2, 2]);
    pool.succeeded(&peer(&pool, 1));
    assert_eq!(order(&pool, 4).iter().filter(|port| **port == 1).count(), 2);
}

#[test]
fn a_failed_peer_is_better_than_none() {
    let pool = pool(&upstream(2));
    fail(&pool, 1);
    fail(&pool, 2);
    assert!(choose(&pool, &[]).is_ok());
    assert_eq!(choose(&pool, &[2]), Ok(1));
}

#[test]
fn no_peer_is_tried_twice_and_no_request_too_often() {
    let mut two_tries = upstream(3);
    two_tries.tries = 2;
    let pool = pool(&two_tries);
    let has_another = |tried: &[u16]| {
        let tried: Vec<_> = tried.iter().copied().map(address).collect();
        pool.has_another(&tried)
    };
    assert!(has_another(&[1]));
    assert_ne!(choose(&pool, &[1]), Ok(1));
    assert!(!has_another(&[1, 2]));
    assert_eq!(choose(&pool, &[1, 2]), Err(NoPeer::NoneLeft));
    assert!(!super::tests::pool(&upstream(1)).has_another(&[address(1)]));
}

#[test]
fn a_backup_serves_while_no_other_is_well() {
    let mut with_backup = upstream(3);
    with_backup.peers[1].is_backup = true;
    let pool = pool(&with_backup);
    assert_eq!(order(&pool, 4), [1, 3, 1, 3]);
    fail(&pool, 1);
    assert_eq!(order(&pool, 2), [3, 3]);
    fail(&pool, 3);
    assert_eq!(order(&pool, 2), [2, 2]);
    pool.succeeded(&peer(&pool, 1));
    assert_eq!(order(&pool, 2), [1, 1]);
}

#[test]
fn requests_are_counted_as_long_as_they_are_there_and_limited() {
    let mut limited = upstream(2);
    limited.peers[0].max_requests = Some(1);
    limited.max_requests = Some(3);
    let pool = pool(&limited);
    let none = Affinity::default();
    let mut turns: Vec<_> = (0..3).map(|_| pool.choose(&[], &none).unwrap()).collect();
    let in_flight = || {
        pool.status()
            .iter()
            .map(|s| s.in_flight)
            .collect::<Vec<_>>()
    };
    assert_eq!(in_flight(), [1, 2]);
    assert_eq!(choose(&pool, &[]), Err(NoPeer::Full), "the pool is full");
    turns.retain(|turn| turn.peer().address == address(1));
    assert_eq!(in_flight(), [1, 0]);
    assert_eq!(choose(&pool, &[2]), Err(NoPeer::Full), "the peer is full");
    assert_eq!(choose(&pool, &[1, 2]), Err(NoPeer::NoneLeft));
    turns.clear();
    assert_eq!(in_flight(), [0, 0]);
    assert_eq!(choose(&pool, &[2]), Ok(1));
}

fn sticky_upstream(peers: u16) -> Upstream {
    let sticky = Some(Sticky {
        cookie: "peer".to_owned(),
        key: None,
    });
    Upstream {
        sticky,
        ..upstream(peers)
    }
}

/// Affinity of a client with the sticky cookie of this peer.
fn belongs_to(pool: &Pool, port: u16) -> Affinity {
    let peer = peer(pool, port);
    let cookie = pool.cookie(&peer, &Affinity::default(), false).unwrap();
    let pair = cookie.to_str().unwrap().split(';').next().unwrap();
    let line = (http::header::COOKIE, HeaderValue::from_str(pair).unwrap());
    let headers: HeaderMap = [line].into_iter().collect();
    pool.affinity(&headers, None)
}

#[test]
fn a_client_stays_with_its_peer_while_that_is_well() {
    let pool = pool(&sticky_upstream(3));
    let client = belongs_to(&pool, 2);
    let chosen = || {
        pool.choose(&[], &client)
            .unwrap()
            .peer()
            .address
            .inet()
            .unwrap()
            .port()
    };
    assert_eq!([chosen(), chosen(), chosen()], [2, 2, 2]);
    assert_eq!(pool.cookie(&peer(&pool, 2), &client, false), None);
    fail(&pool, 2);
    assert_ne!(chosen(), 2);
    assert!(pool.cookie(&peer(&pool, 1), &client, false).is_some());
}

#[test]
fn a_draining_peer_keeps_its_own_clients_and_gets_no_new_ones() {
    let mut draining = sticky_upstream(2);
    draining.peers[0].is_draining = true;
    let pool = pool(&draining);
    assert_eq!(order(&pool, 3), [2, 2, 2]);
    let client = belongs_to(&pool, 1);
    assert_eq!(
        pool.choose(&[], &client).unwrap().peer().address,
        address(1)
    );
    fail(&pool, 2);
    assert_eq!(choose(&pool, &[]), Ok(2), "not even then");
}

#[test]
fn the_same_key_goes_to_the_same_peer() {
    let mut hashed = upstream(5);
    hashed.balance = Balance::Hash(crate::config::model::HashKey::ClientIp);
    let pool = pool(&hashed);
    let chosen = |client: u8| {
        let affinity = pool.affinity(&HeaderMap::new(), Some([10, 0, 0, client].into()));
        pool.choose(&[], &affinity)
            .unwrap()
            .peer()
            .address
            .inet()
            .unwrap()
            .port()
    };
    let all: std::collections::BTreeSet<_> = (0..=255)
        .map(|client| {
            assert_eq!(chosen(client), chosen(client));
            chosen(client)
        })
        .collect();
    assert_eq!(all.len(), 5);
}

#[test]
fn the_least_busy_peer_is_chosen_by_weight() {
    let mut least = upstream(2);
    least.balance = Balance::LeastConnections;
    least.peers[1].weight = 3;
    let pool = pool(&least);
    let turns: Vec<_> = (0..8)
        .map(|_| pool.choose(&[], &Affinity::default()).unwrap())
        .collect();
    let heavy = turns.iter().filter(|t| t.peer().address == address(2));
    assert_eq!(heavy.count(), 6);
}

#[test]
fn a_peer_that_is_back_gets_little_at_first() {
    for balance in [
        Balance::RoundRobin,
        Balance::LeastConnections,
        Balance::PowerOfTwo,
        Balance::Random,
    ] {
        let mut slow = upstream(2);
        slow.balance = balance;
        slow.slow_start = Some(Duration::from_secs(3600));
        let pool = pool(&slow);
        let share = || {
            order(&pool, 10_000)
                .iter()
                .filter(|port| **port == 1)
                .count()
        };
        assert!(share() > 4_000, "no peer has failed");
        fail(&pool, 1);
        pool.succeeded(&peer(&pool, 1));
        assert!((300..2_000).contains(&share()));
    }
}

#[test]
fn what_is_known_of_a_peer_outlives_a_change_of_the_others() {
    let before = pool(&sticky_upstream(2));
    fail(&before, 1);
    let turn = before.choose(&[], &Affinity::default()).unwrap();
    assert_eq!(turn.peer().address, address(2));
    let client = belongs_to(&before, 2);

    let after = pool_after(&sticky_upstream(3), Some(&before));
    let status = after.status();
    assert_eq!(
        status.iter().map(|s| s.is_healthy).collect::<Vec<_>>(),
        [false, true, true]
    );
    assert_eq!(status[1].in_flight, 1);
    assert_eq!(belongs_to(&after, 2), client);
    drop(turn);
    assert_eq!(after.status()[1].in_flight, 0);
}

#[test]
fn the_retry_budget_outlives_a_change_of_the_peers() {
    let mut without_share = upstream(2);
    without_share.retry_budget = 0.0;
    let before = pool(&without_share);
    order(&before, 1000);
    let tries = |pool: &Pool| pool.endpoints.current().tries();
    // Long after these requests, in a window without any.
    let later = Instant::now() + Duration::from_secs(3600);
    let spend = |pool: &Pool| {
        (0..200)
            .filter(|_| pool.budget.spend(tries(pool), later))
            .count()
    };
    assert_eq!(spend(&before), 100);

    let mut with_share = upstream(3);
    with_share.retry_budget = 1.0;
    let after = pool_after(&with_share, Some(&before));
    assert_eq!(tries(&after), 1000);
    assert_eq!(
        spend(&after),
        0,
        "the tries before that window do not count"
    );
    assert_eq!((after.retries(), after.retries_refused()), (100, 300));
    order(&after, 300);
    // 100 of these tries were the retries; as many more are allowed as the other 200 and the reserve
    // leave.
    assert_eq!(spend(&after), 100);
}

#[test]
fn tries_on_a_peer_that_is_gone_still_count() {
    let before = pool(&upstream(2));
    order(&before, 10);
    let tries = |pool: &Pool| pool.endpoints.current().tries();
    let after = pool_after(&upstream(1), Some(&before));
    assert_eq!((tries(&after), after.status()[0].tries), (10, 5));
    // A name that resolves to another address.
    after.endpoints.set_found(0, vec![address(9).into()]);
    assert_eq!((tries(&after), after.status()[0].tries), (10, 0));
    order(&after, 7);
    assert_eq!(tries(&after), 17);
    after.endpoints.set_found(0, Vec::new());
    assert_eq!(tries(&after), 17);
}

#[test]
fn who_is_no_longer_checked_is_no_longer_down() {
    let mut checked = upstream(1);
    checked.health_check = Some(HealthCheck {
        probe: HealthProbe::Tcp,
        interval: Duration::from_secs(3600),
        timeout: Duration::from_secs(1),
        rise: 1,
        fall: 1,
    });
    let before = pool(&upstream(1));
    let (policy, peer_health) = (
        &before.endpoints.policy,
        &peer(&before, 1).state.peer_health,
    );
    peer_health.checked(false, 1, 1, policy, 1);
    assert!(before.status()[0].is_down);
    assert!(pool_after(&checked, Some(&before)).status()[0].is_down);
    assert!(!pool_after(&upstream(1), Some(&before)).status()[0].is_down);
}

/// Otherwise its checks would continue while one of its requests is in flight, and would change the
/// state of peers that are no longer configured to be checked.
#[test]
fn a_pool_that_is_retired_checks_nothing() {
    let checks = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut checked = upstream(1);
    checked.peers = vec![configured(checks.local_addr().unwrap().port())];
    checked.health_check = Some(HealthCheck {
        probe: HealthProbe::Tcp,
        interval: Duration::from_millis(1),
        timeout: Duration::from_secs(1),
        rise: 1,
        fall: 1,
    });
    let pool = pool(&checked);
    let turn = pool.choose(&[], &Affinity::default()).unwrap();
    checks.accept().unwrap();
    pool.retire();
    // The thread holds a reference to them until it ends.
    let start = Instant::now();
    while Arc::strong_count(&pool.endpoints) > 1 {
        assert!(start.elapsed() < Duration::from_secs(60), "it goes on");
        std::thread::yield_now();
    }
    drop(turn);
    assert_eq!(pool.status()[0].in_flight, 0);
}

#[test]
fn only_the_same_settings_are_the_same_upstream() {
    let (one, other) = (upstream(2), upstream(3));
    let pool = pool(&one);
    let is_for = |upstream| pool.is_for(upstream, &Transport::load(upstream).unwrap());
    assert!(is_for(&one) && !is_for(&other));
}
