//! Which peer serves, how it is reached, and what happens to it.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::commands::check_configuration;
use crate::harness::{
    Bridge, Chain, ENGINES, Engine, HTTP1_CLIENT_ENGINES, HTTP2_UPSTREAM_ENGINES, NameServer,
    Origin, Port, Secure, SelfSigned, Speaks, until, wait_for_metrics,
};

/// A gateway of an engine with one upstream.
fn start(engine: Engine, upstream: &str) -> Chain {
    engine.start(&format!("[[upstream]]\n{upstream}\n"))
}

/// Waits until a metric of a peer has this value.
fn wait_for(gateway: &Chain, metric: &str, peer: SocketAddr, value: u64) {
    let line =
        format!("geogate_upstream_{metric}{{upstream=\"default\",peer=\"{peer}\"}} {value}\n");
    wait_for_metrics(gateway.admin.address, &[&line]);
}

fn reconfigure(gateway: &Chain, change: impl FnOnce(String) -> String) {
    let (status, text) = gateway.reload(change);
    assert_eq!(status, 200, "{text}");
}

/// `peers = [...]` of these.
fn peers(origins: &[SocketAddr]) -> String {
    let origins = origins.iter().map(|origin| format!("'{origin}'"));
    format!("peers = [{}]\n", origins.collect::<Vec<_>>().join(", "))
}

/// A peer that gives every request the same answer.
struct Fixed {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
    _bridge: Bridge,
}

impl Fixed {
    fn start(engine: Engine, head: &'static str) -> Fixed {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let bridge = engine.bridge(listener.local_addr().unwrap());
        let fixed = Fixed {
            address: bridge.address,
            requests: Arc::clone(&requests),
            _bridge: bridge,
        };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, requests) = (stream.unwrap(), Arc::clone(&requests));
                std::thread::spawn(move || {
                    let input = BufReader::new(stream.try_clone().unwrap());
                    let heads = input.lines().map_while(Result::ok);
                    for _ in heads.filter(String::is_empty) {
                        requests.fetch_add(1, Ordering::SeqCst);
                        let answer = format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n");
                        let _ = stream.write_all(answer.as_bytes());
                    }
                });
            }
        });
        fixed
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

#[test]
fn requests_with_the_same_key_go_to_the_same_peer() {
    for engine in ENGINES {
        let origins = [(); 3].map(|()| Origin::start());
        let list = peers(&origins.each_ref().map(|origin| origin.address));
        let settings = "balance = 'hash'\nhash_key = 'header:X-User'\n";
        let gateway = start(engine, &format!("{list}{settings}"));
        let mut client = gateway.client();
        for round in 1..=2 {
            for user in 0..20 {
                client.get("/", &format!("X-User: {user}\r\n"));
            }
            let user = |origin: &Origin| {
                let requests = origin.requests();
                let users = requests.iter().map(|r| r.values("x-user")[0].to_owned());
                users.collect::<Vec<_>>()
            };
            let all: Vec<_> = origins.iter().flat_map(user).collect();
            assert_eq!(all.len(), 20 * round);
            for origin in &origins {
                let mine = user(origin);
                assert!(mine.len() < all.len(), "one peer got everything");
                assert_eq!(
                    mine[..mine.len() / round],
                    mine[mine.len() - mine.len() / round..]
                );
            }
        }
    }
}

#[test]
fn a_sticky_cookie_keeps_a_client_with_its_peer() {
    for engine in ENGINES {
        let (a, b) = (Origin::start(), Origin::start());
        let list = peers(&[a.address, b.address]);
        let settings = "sticky_cookie = 'peer'\nfail_timeout = '1h'\n";
        let gateway = start(engine, &format!("{list}{settings}"));
        let mut client = gateway.client();
        let first = client.get("/", "");
        let cookie = first.header("set-cookie").unwrap().to_owned();
        let (pair, attributes) = cookie.split_once("; ").unwrap();
        assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax");
        let (mine, other) = if a.requests().is_empty() {
            (b, a)
        } else {
            (a, b)
        };
        let port = mine.address.port().to_string();
        assert!(!pair.contains(&port), "{pair} tells the peer's address");
        let with_cookie = format!("Cookie: x=1; {pair}\r\n");
        for _ in 0..5 {
            let response = client.get("/", &with_cookie);
            assert_eq!(response.header("set-cookie"), None, "it knows already");
        }
        assert_eq!((mine.requests().len(), other.requests().len()), (6, 0));
        // When it dies its clients get another one.
        let _port = mine.kill();
        let moved = client.get("/", &with_cookie);
        assert_eq!(moved.status, 200);
        let new = moved.header("set-cookie").unwrap();
        assert!(new.starts_with("peer=") && !new.starts_with(pair), "{new}");
    }
}

#[test]
fn a_backup_serves_while_no_other_peer_does() {
    for engine in ENGINES {
        let (a, b) = (Origin::start(), Origin::start());
        let settings = format!(
            "peers = ['{}', {{ address = '{}', backup = true }}]\n\
             fail_timeout = '1ms'\nmax_fail_timeout = '1ms'\n",
            a.address, b.address
        );
        let gateway = start(engine, &settings);
        let mut client = gateway.client();
        let mut get = |times| (0..times).for_each(|_| assert_eq!(client.get("/", "").status, 200));
        get(5);
        assert_eq!((a.requests().len(), b.requests().len()), (5, 0));
        let port = a.kill();
        get(5);
        assert_eq!(b.requests().len(), 5);
        let a = Origin::restart(port);
        until(|| {
            get(1);
            !a.requests().is_empty()
        });
        let before = b.requests().len();
        get(5);
        assert_eq!(b.requests().len(), before);
    }
}

// Keys: upstream.peers.drain
#[test]
fn a_draining_peer_gets_no_new_clients() {
    for engine in ENGINES {
        let (a, b) = (Origin::start(), Origin::start());
        let settings = format!(
            "sticky_cookie = 'peer'\npeers = [{{ address = '{}' }}, '{}']\n",
            a.address, b.address
        );
        let gateway = start(engine, &settings);
        let mut client = gateway.client();
        let mut cookie = String::new();
        until(|| {
            let response = client.get("/", "");
            let whole = response.header("set-cookie").unwrap();
            whole.split(';').next().unwrap().clone_into(&mut cookie);
            !a.requests().is_empty()
        });
        let address = format!("address = '{}'", a.address);
        reconfigure(&gateway, |text| {
            text.replace(&address, &format!("{address}, drain = true"))
        });
        let before = a.requests().len();
        for _ in 0..4 {
            client.get("/", "");
        }
        assert_eq!(a.requests().len(), before);
        client.get("/", &format!("Cookie: {cookie}\r\n"));
        assert_eq!(a.requests().len(), before + 1);
    }
}

// Keys: upstream.health_check.host, upstream.health_check.path
#[test]
fn health_checks_take_a_peer_out_and_bring_it_back() {
    for engine in ENGINES {
        for kind in [
            "type = 'http'\npath = '/health'\nhost = 'check'",
            "type = 'tcp'",
        ] {
            let (a, b) = (Origin::start(), Origin::start());
            let list = peers(&[a.address, b.address]);
            let check = format!("[upstream.health_check]\n{kind}\ninterval = '10ms'\n");
            let gateway = start(engine, &format!("{list}max_fails = 0\n{check}"));
            if kind.contains("http") {
                until(|| !a.requests().is_empty());
                let request = a.last();
                assert_eq!(request.target(), "GET /health");
                assert_eq!(request.values("host"), ["check"]);
            }
            wait_for(&gateway, "peer_down", b.address, 0);
            let (address, port) = (b.address, b.kill());
            wait_for(&gateway, "peer_down", address, 1);
            let mut client = gateway.client();
            for _ in 0..4 {
                assert_eq!(client.get("/", "").status, 200);
            }
            wait_for(&gateway, "failures_total", address, 0);
            let _b = Origin::restart(port);
            wait_for(&gateway, "peer_down", address, 0);
        }
    }
}

#[test]
fn a_check_that_is_answered_with_a_wrong_status_is_a_bad_one() {
    for engine in HTTP1_CLIENT_ENGINES {
        let ill = Fixed::start(engine, "500 Internal Server Error");
        let well = Origin::start();
        let list = peers(&[ill.address, well.address]);
        let check = "[upstream.health_check]\ninterval = '1h'\nstatuses = [200, '300-399']\n";
        let gateway = start(engine, &format!("{list}{check}")).unreached();
        // The first check counts at once.
        wait_for(&gateway, "peer_down", ill.address, 1);
        wait_for(&gateway, "peer_well", well.address, 1);
    }
}

#[test]
fn the_statuses_of_a_good_check_are_those_of_the_configuration() {
    for engine in HTTP1_CLIENT_ENGINES {
        let odd = Fixed::start(engine, "500 Internal Server Error");
        let usual = Origin::start();
        let list = peers(&[odd.address, usual.address]);
        let check = "[upstream.health_check]\ninterval = '1h'\nstatuses = ['500-501', 404]\n";
        let gateway = start(engine, &format!("{list}{check}")).unreached();
        wait_for(&gateway, "peer_down", usual.address, 1);
        wait_for(&gateway, "peer_well", odd.address, 1);
    }
}

/// Requests go to the peers by turns, until the dead one is ejected.
#[test]
fn a_peer_is_ejected_after_so_many_failures() {
    for (max_fails, expected) in [
        ("", 1..=1),
        ("max_fails = 3\n", 3..=3),
        ("max_fails = 0\n", 5..=20),
    ] {
        for engine in ENGINES {
            let (origin, dead) = (Origin::start(), Port::reserve());
            let list = peers(&[origin.address, dead.address]);
            let settings =
                format!("{list}{max_fails}fail_timeout = '1h'\nmax_fail_timeout = '1h'\n");
            let gateway = start(engine, &settings);
            let mut client = gateway.client();
            for _ in 0..20 {
                assert_eq!(client.get("/", "").status, 200);
            }
            let dead = dead.address;
            let line =
                format!("geogate_upstream_failures_total{{upstream=\"default\",peer=\"{dead}\"}} ");
            let metrics = gateway.metrics();
            let mut values = metrics.lines().filter_map(|text| text.strip_prefix(&*line));
            let failures: u32 = values.next().unwrap().parse().unwrap();
            assert!(expected.contains(&failures), "{max_fails}: {failures}");
        }
    }
}

#[test]
fn an_answer_that_counts_as_none_is_asked_for_elsewhere() {
    for engine in ENGINES {
        let ill = Fixed::start(engine, "503 Service Unavailable");
        let well = Origin::start();
        let list = peers(&[ill.address, well.address]);
        let settings = "retry_on = [503]\nfail_timeout = '1ms'\nmax_fail_timeout = '1ms'\n";
        let gateway = start(engine, &format!("{list}{settings}"));
        let mut client = gateway.client();
        until(|| {
            assert_eq!(client.get("/", "").header("x-origin"), Some("yes"));
            ill.requests() >= 3
        });
        // What must not be repeated is passed on as it is.
        until(|| client.request("POST", "/", "", b"x").status == 503);
    }
}

#[test]
fn the_last_refusal_is_passed_on() {
    for engine in ENGINES {
        let ill = Fixed::start(engine, "503 Service Unavailable\r\nX-Ill: yes");
        let other = Fixed::start(engine, "503 Service Unavailable\r\nX-Ill: yes");
        let list = peers(&[ill.address, other.address]);
        let gateway = start(engine, &format!("{list}retry_on = [503]\n"));
        let response = gateway.client().get("/", "");
        assert_eq!(
            (response.status, response.header("x-ill")),
            (503, Some("yes"))
        );
        assert_eq!((ill.requests(), other.requests()), (1, 1));
        // Without the setting an error is an answer as good as any.
        let gateway = start(engine, &list);
        assert_eq!(gateway.client().get("/", "").status, 503);
        assert_eq!(ill.requests() + other.requests(), 3);
    }
}

// Keys: upstream.max_requests, upstream.peers.max_requests
#[test]
fn an_upstream_that_is_full_says_when_to_come_again() {
    let origin = Origin::start();
    let address = origin.address;
    for engine in ENGINES {
        for limit in [
            format!("peers = ['{address}']\nmax_requests = 1\n"),
            format!("peers = [{{ address = '{address}', max_requests = 1 }}]\n"),
        ] {
            let gateway = start(engine, &limit);
            let mut waiting = gateway.client();
            waiting.ask("GET", "/stall", "", b"");
            wait_for(&gateway, "requests_in_flight", address, 1);
            let mut client = gateway.client();
            let response = client.get("/", "");
            assert_eq!(
                (response.status, response.header("retry-after")),
                (503, Some("1"))
            );
            waiting.leave();
            wait_for(&gateway, "requests_in_flight", address, 0);
            assert_eq!(gateway.client().get("/", "").status, 200);
        }
    }
}

#[test]
fn retries_are_a_share_of_the_requests() {
    let dead: Vec<_> = (0..2).map(|_| Port::reserve()).collect();
    let list = peers(&[dead[0].address, dead[1].address]);
    for engine in ENGINES {
        let settings = format!("{list}retry_budget = '0%'\nmax_fails = 0\n");
        check_retries(&start(engine, &settings).unreached());
        // The default of a fifth would refuse some of these.
        let settings = format!("{list}retry_budget = '100%'\nmax_fails = 0\n");
        let gateway = start(engine, &settings).unreached();
        assert_eq!(check_retries(&gateway), 150);
    }
}

/// Returns the number of retries of 150 requests that fail on the first peer.
#[track_caller]
fn check_retries(gateway: &Chain) -> u32 {
    let mut client = gateway.client();
    for _ in 0..150 {
        assert_eq!(client.get("/", "").status, 502);
        // The gateway closes a connection of HTTP/1 after an error.
        if gateway.engine.is_http1() {
            client = gateway.client();
        }
    }
    // The reserve of ten seconds; the test may take some more.
    let text = gateway.metrics();
    let value = |name: &str| {
        let start = format!("geogate_upstream_{name}_total{{upstream=\"default\"}} ");
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(&*start));
        lines.next().unwrap().parse::<u32>().unwrap()
    };
    assert_eq!(value("retries") + value("retries_refused"), 150);
    assert!(value("retries") >= 100, "{text}");
    value("retries")
}

/// Asks an origin of each version through every engine. It is reached as `settings` say, with files
/// beside the gateway; `expected` is what it tells behind its version, or a status without it.
#[track_caller]
fn check_secure(
    speaks: &Speaks,
    settings: &str,
    files: &[(&str, String)],
    expected: Result<&str, u16>,
) {
    for engine in ENGINES {
        let origin = Secure::start(&Speaks {
            http2: engine.upstream == "http2",
            ..*speaks
        });
        let list = peers(&[origin.address]);
        let configuration = format!("[[upstream]]\n{list}{settings}\n");
        let mut gateway = engine.start_in(&configuration, |folder| {
            for (name, text) in files {
                std::fs::write(folder.join(name), text).unwrap();
            }
        });
        let response = gateway.client().get("/path", "");
        match expected {
            Ok(text) => {
                let text = format!("{} {text}", engine.upstream);
                assert_eq!((response.status, response.text()), (200, &*text));
            }
            Err(status) => {
                assert_eq!(response.status, status);
                gateway = gateway.unreached();
            }
        }
        drop(gateway);
    }
}

#[test]
fn a_peer_is_verified_by_its_name_and_authority() {
    let (own, foreign) = (SelfSigned::of("app.test"), SelfSigned::of("app.test"));
    let speaks = Speaks {
        tls: Some(&own),
        ..Speaks::default()
    };
    let ca = |identity: &SelfSigned| [("ca.pem", identity.certificate())];
    let settings = "tls = true\nsni = 'app.test'\nca_file = '{folder}/ca.pem'";
    let answer = "app.test - test GET /path ";
    check_secure(&speaks, settings, &ca(&own), Ok(answer));
    check_secure(&speaks, settings, &ca(&foreign), Err(502));
    let other_name = settings.replace("app.test", "other.test");
    check_secure(&speaks, &other_name, &ca(&own), Err(502));
    let by_system = "tls = true\nsni = 'app.test'";
    check_secure(&speaks, by_system, &[], Err(502));
    let unverified = "tls = true\nverify = false";
    check_secure(&speaks, unverified, &[], Ok("- - test GET /path "));
}

#[test]
fn a_client_certificate_is_shown() {
    let (own, client) = (SelfSigned::of("app.test"), SelfSigned::of("gateway.test"));
    let speaks = Speaks {
        tls: Some(&own),
        client: Some(&client),
        http2: false,
    };
    let settings = "tls = true\nsni = 'app.test'\nca_file = '{folder}/ca.pem'\n";
    let certificate = "client_cert = '{folder}/client.pem'\nclient_key = '{folder}/client.key'";
    let files = [
        ("ca.pem", own.certificate()),
        ("client.pem", client.certificate()),
        ("client.key", client.key()),
    ];
    let answer = "app.test client test GET /path ";
    check_secure(
        &speaks,
        &format!("{settings}{certificate}"),
        &files,
        Ok(answer),
    );
    check_secure(&speaks, settings, &files, Err(502));
}

#[test]
fn peers_without_tls_speak_either_version() {
    check_secure(&Speaks::default(), "", &[], Ok("- - test GET /path "));
}

#[test]
fn requests_share_a_connection_of_http2() {
    for engine in HTTP2_UPSTREAM_ENGINES {
        let origin = Secure::start(&Speaks {
            http2: true,
            ..Speaks::default()
        });
        let gateway = start(engine, &peers(&[origin.address]));
        let mut client = gateway.client();
        for round in 0..5 {
            let response = client.request("POST", "/path", "", format!("body {round}").as_bytes());
            let expected = format!("http2 - - test POST /path body {round}");
            assert_eq!((response.status, response.text()), (200, &*expected));
        }
        assert_eq!(origin.connections(), 1);
    }
}

#[test]
fn health_checks_speak_as_requests_do() {
    let own = SelfSigned::of("app.test");
    for engine in HTTP1_CLIENT_ENGINES {
        let origin = Secure::start(&Speaks {
            tls: Some(&own),
            http2: engine.upstream == "http2",
            client: None,
        });
        for (name, is_down) in [("app.test", 0), ("other.test", 1)] {
            let folder = tempfile::tempdir().unwrap();
            let ca = folder.path().join("ca.pem");
            std::fs::write(&ca, own.certificate()).unwrap();
            let settings = format!(
                "{}tls = true\nsni = '{name}'\nca_file = '{}'\n\
                 [upstream.health_check]\ninterval = '10ms'\nrise = 1\nfall = 1\n",
                peers(&[origin.address]),
                ca.display()
            );
            let gateway = start(engine, &settings).unreached();
            let seen = origin.connections();
            until(|| origin.connections() > seen);
            wait_for(&gateway, "peer_down", origin.address, is_down);
        }
    }
}

#[test]
fn a_certificate_that_cannot_be_read_is_said_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, config) = (
        folder.path().join("ca.pem"),
        folder.path().join("geogate.toml"),
    );
    let check = |text: &str| {
        std::fs::write(&ca, text).unwrap();
        let settings = format!(
            "[[upstream]]\npeers = ['app.invalid:1']\nresolver = ['127.0.0.1:1']\n\
             tls = true\nca_file = '{}'\n[access_log]\ntarget = 'off'\n",
            ca.display()
        );
        check_configuration(folder.path(), &settings).1
    };
    let (name, file) = (config.display(), ca.display());
    assert_eq!(
        check("nothing"),
        format!("{name}: upstream[0].ca_file: {file}: has no certificate (line 5)\n")
    );
    let said = check("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    assert!(
        said.starts_with(&format!("{name}: upstream[0].ca_file: {file}: ")),
        "{said}"
    );
    assert_eq!(
        check(&SelfSigned::of("a.test").certificate()),
        "geogate: app.invalid:1 cannot be resolved; `geogate run` asks again\n"
    );
}

#[test]
fn all_addresses_of_a_name_are_peers_and_follow_it() {
    for engine in HTTP1_CLIENT_ENGINES {
        check_that_peers_follow_a_name(engine);
    }
}

fn check_that_peers_follow_a_name(engine: Engine) {
    let a = Origin::start();
    let port = a.address.port();
    let b = Origin::at(SocketAddr::from(([127, 0, 0, 2], port)));
    let dns = NameServer::start();
    dns.set_addresses("app.test.", &["127.0.0.1", "127.0.0.2"]);
    let settings = format!(
        "peers = ['app.test:{port}']\nresolver = ['{}']\n",
        dns.address
    );
    let gateway = start(engine, &settings);
    let mut client = gateway.client();
    for _ in 0..8 {
        assert_eq!(client.get("/", "").status, 200);
    }
    assert_eq!((a.requests().len(), b.requests().len()), (4, 4));
    // It moves, and is gone: then what is known of it stays.
    dns.set_addresses("app.test.", &["127.0.0.2"]);
    until(|| !gateway.metrics().contains(&a.address.to_string()));
    dns.set_addresses("app.test.", &[]);
    // For each family; the third one comes after the change.
    let asked = dns.questions();
    until(|| dns.questions() >= asked + 3);
    for _ in 0..4 {
        assert_eq!(client.get("/", "").status, 200);
    }
    assert_eq!((a.requests().len(), b.requests().len()), (4, 8));
    dns.set_addresses("app.test.", &["127.0.0.1"]);
    until(|| !gateway.metrics().contains(&b.address.to_string()));
    assert_eq!(client.get("/", "").status, 200);
    assert_eq!(a.requests().len(), 5);
}

#[test]
fn a_name_that_is_not_there_yet_is_waited_for() {
    for engine in ENGINES {
        let (origin, dns) = (Origin::start(), NameServer::start());
        let port = origin.address.port();
        let settings = format!(
            "peers = ['app.test:{port}']\nresolver = ['{}']\n",
            dns.address
        );
        let gateway = start(engine, &settings);
        assert_eq!(gateway.client().get("/", "").status, 502);
        dns.set_addresses("app.test.", &["127.0.0.1"]);
        until(|| gateway.client().get("/", "").status != 502);
        assert_eq!(origin.requests().len(), 1);
    }
}

#[test]
fn the_targets_of_a_service_have_weights_and_stand_in_for_each_other() {
    for engine in ENGINES {
        let (a, b, c) = (Origin::start(), Origin::start(), Origin::start());
        let dns = NameServer::start();
        dns.set_addresses("app.test.", &["127.0.0.1"]);
        let target = |priority, weight, origin: &Origin| {
            (priority, weight, origin.address.port(), "app.test.")
        };
        dns.set_targets(
            "_http._tcp.test.",
            &[target(1, 3, &a), target(1, 1, &b), target(2, 1, &c)],
        );
        let settings = format!(
            "peers = [{{ srv = '_http._tcp.test' }}]\nresolver = ['{}']\n",
            dns.address
        );
        let gateway = start(engine, &settings);
        let mut client = gateway.client();
        let mut get = || assert_eq!(client.get("/", "").status, 200);
        (0..8).for_each(|_| get());
        let counts = [&a, &b, &c].map(|origin| origin.requests().len());
        assert_eq!(counts, [6, 2, 0]);
        let _ports = [a.kill(), b.kill()];
        (0..4).for_each(|_| get());
        assert_eq!(c.requests().len(), 4);
    }
}

#[test]
fn connections_and_counts_outlive_a_change_of_the_peers() {
    for engine in ENGINES {
        let (origin, other) = (Origin::start(), Origin::start());
        let gateway = start(engine, &peers(&[origin.address]));
        let mut client = gateway.client();
        // It is answered on a new connection only.
        assert_eq!(client.get("/once", "").status, 200);
        let more = peers(&[origin.address, other.address]);
        reconfigure(&gateway, |text| {
            text.replace(&peers(&[origin.address]), &more)
        });
        wait_for(&gateway, "tries_total", origin.address, 1);
        let before = origin.requests().len();
        until(|| {
            assert_eq!(client.get("/once", "").status, 200);
            origin.requests().len() > before
        });
        // The kept connection was used, and closed at that; then there was a new one.
        assert_eq!(origin.requests().len(), before + 2);
    }
}
