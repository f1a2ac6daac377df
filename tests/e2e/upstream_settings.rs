//! Settings of `[[upstream]]` that show only over several requests: connections, choice, names.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::harness::{
    Client, DOORS, Gateway, Incoming, NameServer, Origin, PATIENCE, Peer, Port, wait_for_metrics,
};
use crate::processes::Process;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(5);

const EMPTY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn ask(client: &mut Client, door: &str) {
    client.send(format!("GET / HTTP/1.1\r\nHost: test\r\n{door}\r\n"));
}

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
    for door in DOORS {
        let (silent, _socket, _waiting) = silent();
        let origin = Origin::start();
        let gateway = Gateway::start(&format!(
            "[[upstream]]\npeers = ['{silent}', '{}']\nconnect_timeout = '50ms'\n\
             [[route]]\nupstream = 'default'\ntimeout = '4s'\n",
            origin.address
        ));
        let mut client = gateway.client();
        for _ in 0..2 {
            assert_eq!(client.get("/", door).status, 200);
        }
        let alone = Gateway::with_peers(&[silent], "connect_timeout = '50ms'", "");
        assert_eq!(alone.client().get("/", door).status, 504);
    }
}

#[test]
fn an_idle_connection_is_closed_in_time() {
    for door in DOORS {
        let peer = Peer::listen();
        let gateway = Gateway::with_peers(&[peer.address], "idle_timeout = '10ms'", "");
        let mut client = gateway.client();
        ask(&mut client, door);
        let mut upstream = peer.accept();
        upstream.head();
        upstream.send(EMPTY);
        assert_eq!(client.response().status, 200);
        let mut stream = upstream.into_stream();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "{door}");
    }
}

#[test]
fn no_more_idle_connections_are_kept_than_allowed() {
    for door in DOORS {
        let peer = Peer::listen();
        let gateway = Gateway::with_peers(&[peer.address], "keepalive = 1", "");
        let mut clients = [gateway.client(), gateway.client()];
        let mut connections = clients.each_mut().map(|client| {
            ask(client, door);
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
        assert_eq!(hear.recv().unwrap(), 0, "one connection is closed");
        ask(&mut clients[0], door);
        assert_eq!(hear.recv().unwrap(), 1, "the other one is used again");
        // Nobody waits for an answer, or the gateway would, for as long as it is given to stop.
        clients.into_iter().for_each(Client::reset);
    }
}

#[test]
fn cookies_of_one_key_name_the_same_peer_everywhere() {
    let origin = Origin::start();
    let cookie = |key: &str| {
        let sticky = format!("sticky_cookie = 'peer'\nsticky_key = '{key}'");
        let gateway = Gateway::with_peers(&[origin.address], &sticky, "");
        let response = gateway.client().get("/", "");
        response.header("set-cookie").unwrap().to_owned()
    };
    let (first, second) = (cookie("0123456789abcdef"), cookie("0123456789abcdef"));
    assert!(first.starts_with("peer="), "{first}");
    assert_eq!(first, second);
    assert_ne!(first, cookie("fedcba9876543210"));
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
    for (slow_start, few) in [("slow_start = '1h'", true), ("", false)] {
        let (a, b, admin) = (Origin::start(), Port::reserve(), Port::reserve());
        let settings = format!("name = 'api'\n{slow_start}\n");
        let more = format!("[admin]\nlisten = ['{}']", admin.address);
        let check = "[upstream.health_check]\ntype = 'tcp'\ninterval = '10ms'\nrise = 1\n";
        let peers = [a.address, b.address];
        let gateway = Gateway::with_peers(&peers, &format!("{settings}{check}"), &more);
        let is_down = |value: u8| {
            let peer = b.address;
            format!("geogate_upstream_peer_down{{upstream=\"api\",peer=\"{peer}\"}} {value}")
        };
        wait_for_metrics(admin.address, &[&is_down(1)]);
        let up = is_down(0);
        let b = Origin::restart(b);
        wait_for_metrics(admin.address, &[&up]);
        let mut client = gateway.client();
        for door in DOORS.into_iter().cycle().take(100) {
            assert_eq!(client.get("/", door).status, 200);
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
    let (origin, dead, admin) = (Origin::start(), Port::reserve(), Port::reserve());
    let peers = [origin.address, dead.address];
    let settings = "name = 'api'\nretry_budget = '100%'\n\
                    fail_timeout = '1ms'\nmax_fail_timeout = '2ms'";
    let more = format!("[admin]\nlisten = ['{}']", admin.address);
    let gateway = Gateway::with_peers(&peers, settings, &more);
    let (start, mut client) = (Instant::now(), gateway.client());
    let line = format!(
        "upstream_failures_total{{upstream=\"api\",peer=\"{}\"}} 30\n",
        dead.address
    );
    while !Client::connect(admin.address)
        .get("/metrics", "")
        .text()
        .contains(&line)
    {
        assert!(start.elapsed() < PATIENCE);
        assert_eq!(client.get("/", "").status, 200);
    }
}

/// A request that failed is tried on so many peers.
#[test]
fn a_request_is_tried_on_so_many_peers() {
    for (settings, expected) in [("tries = 1", 1), ("", 3), ("tries = 4", 4)] {
        for door in DOORS {
            let dead = [(); 4].map(|()| Port::reserve());
            let (peers, admin) = (dead.each_ref().map(|port| port.address), Port::reserve());
            let more = format!("[admin]\nlisten = ['{}']", admin.address);
            let gateway = Gateway::with_peers(&peers, &format!("name = 'api'\n{settings}"), &more);
            assert_eq!(gateway.client().get("/", door).status, 502);
            let metrics = Client::connect(admin.address).get("/metrics", "");
            let start = "geogate_upstream_tries_total{";
            let lines = metrics
                .text()
                .lines()
                .filter(|line| line.starts_with(start));
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
        for door in DOORS {
            let (a, b) = (Origin::start(), Origin::start());
            let peers = [a.address, b.address];
            let gateway = Gateway::with_peers(&peers, balance, "");
            let mut waiting = gateway.client();
            waiting.send(format!("GET /stall HTTP/1.1\r\nHost: test\r\n{door}\r\n"));
            while a.requests().len() + b.requests().len() == 0 {
                std::thread::sleep(PAUSE);
            }
            let (busy, free) = if a.requests().is_empty() {
                (b, a)
            } else {
                (a, b)
            };
            let mut client = gateway.client();
            for _ in 0..8 {
                assert_eq!(client.get("/", door).status, 200);
            }
            let found = [busy.requests().len() - 1, free.requests().len()];
            assert_eq!(found, expected, "{balance}");
        }
    }
}

#[test]
fn a_random_choice_has_no_order() {
    let (a, b) = (Origin::start(), Origin::start());
    let peers = [a.address, b.address];
    let gateway = Gateway::with_peers(&peers, "balance = 'random'", "");
    let mut client = gateway.client();
    let mut choices = String::new();
    for door in DOORS.into_iter().cycle().take(64) {
        let before = a.requests().len();
        assert_eq!(client.get("/", door).status, 200);
        choices.push(if a.requests().len() > before {
            'a'
        } else {
            'b'
        });
    }
    for pattern in ["aa", "bb", "ab", "ba"] {
        assert!(choices.contains(pattern), "{choices}");
    }
}

/// The next check comes when the one before has had its effect.
#[test]
fn so_many_checks_in_a_row_turn_a_peer() {
    let (peer, admin) = (Peer::listen(), Port::reserve());
    let check = "[upstream.health_check]\npath = '/health'\ninterval = '1ms'\nrise = 2\nfall = 3\n";
    let more = format!("[admin]\nlisten = ['{}']", admin.address);
    let _gateway = Gateway::with_peers(&[peer.address], &format!("name = 'api'\n{check}"), &more);
    let mut next = peer.accept();
    for (status, is_down) in [
        // The first one counts at once.
        (500, 1),
        (200, 1),
        (200, 0),
        (500, 0),
        (500, 0),
        (200, 0),
        (500, 0),
        (500, 0),
        (500, 1),
        (200, 1),
        (500, 1),
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
