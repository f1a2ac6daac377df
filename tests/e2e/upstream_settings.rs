//! Settings of `[[upstream]]` that show only over several requests: connections, choice, names.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::harness::{
    Client, ENGINES, Engine, EngineClient, Gateway, HTTP1_UPSTREAM_ENGINES, Incoming, NameServer,
    Origin, PATIENCE, Peer, Port, wait_for_metrics,
};
use crate::processes::Process;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(5);

const EMPTY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// An address where connections are neither accepted nor refused: its queue is full.
fn silent() -> (SocketAddr, Socket, Vec<TcpStream>) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
        waiting.push(stream);
    }
    (address, socket, waiting)
}

/// By default the route's time would be over before the first peer is given up.
#[test]
fn a_peer_that_does_not_take_a_connection_is_given_up() {
    for engine in ENGINES {
        let (silent, _socket, _waiting) = silent();
        let origin = Origin::start();
        let gateway = engine.start(&format!(
            "[[upstream]]\npeers = ['{silent}', '{}']\nconnect_timeout = '50ms'\n\
             [[route]]\nupstream = 'default'\ntimeout = '4s'\n",
            origin.address
        ));
        let mut client = gateway.client();
        for _ in 0..2 {
            assert_eq!(client.get("/", "").status, 200);
        }
        let alone = engine.with_peers(&[silent], "connect_timeout = '50ms'", "");
        let alone = alone.unreached();
        assert_eq!(alone.client().get("/", "").status, 504);
    }
}

#[test]
fn an_idle_connection_is_closed_in_time() {
    for engine in HTTP1_UPSTREAM_ENGINES {
        let peer = Peer::listen();
        let gateway = engine.with_peers(&[peer.address], "idle_timeout = '10ms'", "");
        let mut client = gateway.client();
        client.ask("GET", "/", "", b"");
        let mut upstream = peer.accept();
        upstream.head();
        upstream.send(EMPTY);
        assert_eq!(client.response().status, 200);
        let mut stream = upstream.into_stream();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }
}

#[test]
fn no_more_idle_connections_are_kept_than_allowed() {
    for engine in HTTP1_UPSTREAM_ENGINES {
        let peer = Peer::listen();
        let gateway = engine.with_peers(&[peer.address], "keepalive = 1", "");
        let mut clients = [gateway.client(), gateway.client()];
        let mut connections = clients.each_mut().map(|client| {
            client.ask("GET", "/", "", b"");
            let mut upstream = peer.accept();
            upstream.head();
            upstream
        });
        for (client, upstream) in clients.iter_mut().zip(&mut connections) {
            upstream.send(EMPTY);
            assert_eq!(client.response().status, 200);
        }
        let (heard, hear) = channel();
        for mut stream in connections.map(Incoming::into_stream) {
            let heard = heard.clone();
            std::thread::spawn(move || heard.send(stream.read(&mut [0]).unwrap()).unwrap());
        }
        let heard = || hear.recv_timeout(PATIENCE).unwrap();
        assert_eq!(heard(), 0, "one connection is closed");
        clients[0].ask("GET", "/", "", b"");
        assert_eq!(heard(), 1, "the other one is used again");
        // Nobody waits for an answer, or the gateway would, for as long as it is given to stop.
        clients.into_iter().for_each(EngineClient::leave);
    }
}

#[test]
fn cookies_of_one_key_name_the_same_peer_everywhere() {
    let origin = Origin::start();
    let cookie = |engine: Engine, key: &str| {
        let sticky = format!("sticky_cookie = 'peer'\nsticky_key = '{key}'");
        let gateway = engine.with_peers(&[origin.address], &sticky, "");
        let response = gateway.client().get("/", "");
        response.header("set-cookie").unwrap().to_owned()
    };
    let first = cookie(ENGINES[0], "0123456789abcdef");
    assert!(first.starts_with("peer="), "{first}");
    for engine in ENGINES {
        assert_eq!(first, cookie(engine, "0123456789abcdef"));
        assert_ne!(first, cookie(engine, "fedcba9876543210"));
    }
}

/// Before the questions are all asked, the default interval would be over only once.
#[test]
fn names_are_asked_for_again_though_their_time_to_live_is_long() {
    let (origin, dns) = (Origin::start(), NameServer::with_time_to_live(3600));
    dns.set_addresses("app.test.", &["127.0.0.1"]);
    let gateway = Gateway::start(&format!(
        "[[upstream]]\npeers = ['app.test:{}']\nresolver = ['{}']\nresolve_interval = '1s'\n",
        origin.address.port(),
        dns.address
    ));
    assert_eq!(gateway.client().get("/", "").status, 200);
    let start = Instant::now();
    // One for each family.
    while dns.questions() < 2 * 3 {
        assert!(start.elapsed() < PATIENCE, "{} questions", dns.questions());
        std::thread::sleep(PAUSE);
    }
}

/// A peer that comes back gets a tenth of its share at first, drawn at random.
#[test]
fn a_peer_that_is_back_starts_slowly() {
    for (engine, slow_start, few) in ENGINES
        .into_iter()
        .flat_map(|engine| [(engine, "slow_start = '1h'", true), (engine, "", false)])
    {
        let (a, b) = (Origin::start(), Port::reserve());
        let settings = format!("name = 'api'\n{slow_start}\n");
        let check = "[upstream.health_check]\ntype = 'tcp'\ninterval = '10ms'\nrise = 1\n";
        let peers = [a.address, b.address];
        let gateway = engine.with_peers(&peers, &format!("{settings}{check}"), "");
        let is_down = |value: u8| {
            let peer = b.address;
            format!("geogate_upstream_peer_down{{upstream=\"api\",peer=\"{peer}\"}} {value}")
        };
        wait_for_metrics(gateway.admin.address, &[&is_down(1)]);
        let up = is_down(0);
        let b = Origin::restart(b);
        wait_for_metrics(gateway.admin.address, &[&up]);
        let mut client = gateway.client();
        for _ in 0..100 {
            assert_eq!(client.get("/", "").status, 200);
        }
        let share = b.requests().len();
        assert!(
            if few { share < 30 } else { share == 50 },
            "{slow_start}: {share}"
        );
    }
}

/// With the default of five minutes the last of these failures would be hours away.
#[test]
fn a_peer_that_fails_is_tried_again_after_the_longest_time_at_the_latest() {
    let settings = "name = 'api'\nretry_budget = '100%'\n\
                    fail_timeout = '1ms'\nmax_fail_timeout = '2ms'";
    for engine in ENGINES {
        let (origin, dead) = (Origin::start(), Port::reserve());
        let gateway = engine.with_peers(&[origin.address, dead.address], settings, "");
        let (start, mut client) = (Instant::now(), gateway.client());
        let line = format!(
            "upstream_failures_total{{upstream=\"api\",peer=\"{}\"}} 30\n",
            dead.address
        );
        while !gateway.metrics().contains(&line) {
            assert!(start.elapsed() < PATIENCE);
            assert_eq!(client.get("/", "").status, 200);
        }
    }
}

/// A request that failed is tried on so many peers.
#[test]
fn a_request_is_tried_on_so_many_peers() {
    for (settings, expected) in [("tries = 1", 1), ("", 3), ("tries = 4", 4)] {
        for engine in ENGINES {
            let dead = [(); 4].map(|()| Port::reserve());
            let peers = dead.each_ref().map(|port| port.address);
            let gateway = engine.with_peers(&peers, settings, "").unreached();
            assert_eq!(gateway.client().get("/", "").status, 502);
            let metrics = gateway.metrics();
            let start = "geogate_upstream_tries_total{";
            let lines = metrics.lines().filter(|line| line.starts_with(start));
            assert_eq!(
                lines.filter(|line| line.ends_with(" 1")).count(),
                expected,
                "{settings}"
            );
        }
    }
}

/// One peer has a request already.
#[test]
fn busy_peers_get_less_or_not() {
    for (balance, expected) in [
        ("", [4, 4]),
        ("balance = 'round_robin'", [4, 4]),
        ("balance = 'least_connections'", [0, 8]),
        ("balance = 'power_of_two'", [0, 8]),
    ] {
        for engine in ENGINES {
            let (a, b) = (Origin::start(), Origin::start());
            let peers = [a.address, b.address];
            let gateway = engine.with_peers(&peers, balance, "");
            let mut waiting = gateway.client();
            waiting.ask("GET", "/stall", "", b"");
            let start = Instant::now();
            while a.requests().len() + b.requests().len() == 0 {
                assert!(start.elapsed() < PATIENCE);
                std::thread::sleep(PAUSE);
            }
            let (busy, free) = if a.requests().is_empty() {
                (b, a)
            } else {
                (a, b)
            };
            let mut client = gateway.client();
            for _ in 0..8 {
                assert_eq!(client.get("/", "").status, 200);
            }
            let found = [busy.requests().len() - 1, free.requests().len()];
            assert_eq!(found, expected, "{balance}");
        }
    }
}

#[test]
fn a_random_choice_has_no_order() {
    for engine in ENGINES {
        let (a, b) = (Origin::start(), Origin::start());
        let peers = [a.address, b.address];
        let gateway = engine.with_peers(&peers, "balance = 'random'", "");
        let mut client = gateway.client();
        let mut choices = String::new();
        for _ in 0..64 {
            let before = a.requests().len();
            assert_eq!(client.get("/", "").status, 200);
            let is_a = a.requests().len() > before;
            choices.push(if is_a { 'a' } else { 'b' });
        }
        for pattern in ["aa", "bb", "ab", "ba"] {
            assert!(choices.contains(pattern), "{choices}");
        }
    }
}

/// The next check comes when the one before has had its effect.
#[test]
fn so_many_checks_in_a_row_turn_a_peer() {
    let (peer, admin) = (Peer::listen(), Port::reserve());
    let check = "[upstream.health_check]\npath = '/health'\ninterval = '1ms'\nrise = 3\nfall = 2\n";
    let more = format!("[admin]\nlisten = ['{}']", admin.address);
    let _gateway = Gateway::with_peers(&[peer.address], &format!("name = 'api'\n{check}"), &more);
    let mut next = peer.accept();
    for (status, is_down) in [
        // The first one counts at once.
        (500, 1),
        (200, 1),
        (200, 1),
        (200, 0),
        (500, 0),
        (200, 0),
        (500, 0),
        (500, 1),
        (200, 1),
        (200, 1),
        (500, 1),
        (200, 1),
        (200, 1),
        (200, 0),
    ] {
        next.head();
        next.send(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"));
        next = peer.accept();
        let metrics = Client::connect(admin.address).get("/metrics", "");
        let address = peer.address;
        let line = format!("upstream_peer_down{{upstream=\"api\",peer=\"{address}\"}} {is_down}\n");
        assert!(
            metrics.text().contains(&line),
            "{line} in {}",
            metrics.text()
        );
    }
}

// Keys: upstream.health_check.timeout
#[test]
fn a_check_that_is_not_answered_in_time_is_a_bad_one() {
    let (folder, peer, port) = (
        tempfile::tempdir().unwrap(),
        Peer::listen(),
        Port::reserve(),
    );
    let configuration = format!(
        "[[upstream]]\nname = 'api'\npeers = ['{}']\n\
         [upstream.health_check]\ninterval = '10ms'\ntimeout = '50ms'\n",
        peer.address
    );
    let mut gateway = Process::start_with(&configuration, folder.path(), port.address, &[]);
    gateway.wait_for("its health check: no answer within 50ms");
}
