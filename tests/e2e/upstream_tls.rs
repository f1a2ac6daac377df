//! TLS with peers: a peer's own certificate as what is trusted, and reasons of failures.

use std::net::SocketAddr;
use std::path::Path;

use crate::commands::check_configuration;
use crate::harness::{
    Authority, Chain, Client, ENGINES, Engine, HTTP1_CLIENT_ENGINES, Peer, Port, Secure,
    SelfSigned, Speaks, wait_for_metrics,
};
use crate::processes::Process;

const SETTINGS: &str = "tls = true\nsni = 'app.test'\nca_file = '{folder}/ca.pem'\n";

fn upstream(peers: &[SocketAddr], settings: &str) -> String {
    let peers: Vec<_> = peers.iter().map(|peer| format!("'{peer}'")).collect();
    format!(
        "[[upstream]]\nname = 'api'\npeers = [{}]\n{settings}\n",
        peers.join(", ")
    )
}

fn start(engine: Engine, peers: &[SocketAddr], settings: &str, trusted: &[&SelfSigned]) -> Chain {
    engine.start_in(&upstream(peers, settings), |folder| trust(folder, trusted))
}

/// Writes `ca.pem`.
fn trust(folder: &Path, trusted: &[&SelfSigned]) {
    let certificates = trusted.iter().map(|own| own.certificate());
    std::fs::write(folder.join("ca.pem"), certificates.collect::<String>()).unwrap();
}

fn secure(own: &SelfSigned, engine: Engine) -> Secure {
    Secure::start(&Speaks {
        tls: Some(own),
        client: None,
        http2: engine.upstream == "http2",
    })
}

#[test]
fn a_peers_own_certificate_is_trusted_as_such() {
    let own = SelfSigned::authority("app.test");
    let (renewed, other) = (
        SelfSigned::authority("app.test"),
        SelfSigned::authority("other.test"),
    );
    for engine in ENGINES {
        let origin = secure(&own, engine);
        for trusted in [&[&own][..], &[&other, &renewed, &own]] {
            let gateway = start(engine, &[origin.address], SETTINGS, trusted);
            let response = gateway.client().get("/path", "");
            let expected = format!("{} app.test - test GET /path ", engine.upstream);
            assert_eq!((response.status, response.text()), (200, &*expected));
        }
    }
}

#[test]
fn a_certificate_that_is_not_the_peers_own_is_refused_before_a_request_is_sent() {
    let (own, foreign) = (
        SelfSigned::authority("app.test"),
        SelfSigned::authority("app.test"),
    );
    let expired = SelfSigned::authority_until("app.test", 2002);
    let other_name = SETTINGS.replace("app.test", "other.test");
    for engine in ENGINES {
        for (shown, trusted, settings) in [
            (&foreign, &own, SETTINGS),
            (&expired, &expired, SETTINGS),
            (&own, &own, &*other_name),
        ] {
            let origin = secure(shown, engine);
            let settings = format!("{settings}max_fails = 0");
            let gateway = start(engine, &[origin.address], &settings, &[trusted]).unreached();
            // A connection of HTTP/2 would still be there at the second one.
            for _ in 0..4 {
                assert_eq!(gateway.client().get("/", "").status, 502);
            }
            assert!(origin.connections() > 0);
            assert_eq!(origin.requests(), 0);
        }
    }
}

/// Nothing was sent, so it does not matter that a `POST` is not repeated.
#[test]
fn any_request_goes_on_to_another_peer() {
    let (own, foreign) = (
        SelfSigned::authority("app.test"),
        SelfSigned::authority("app.test"),
    );
    for engine in ENGINES {
        let (bad, good) = (secure(&foreign, engine), secure(&own, engine));
        let settings = format!("{SETTINGS}max_fails = 0");
        let gateway = start(engine, &[bad.address, good.address], &settings, &[&own]);
        let mut client = gateway.client();
        for _ in 0..4 {
            assert_eq!(client.request("POST", "/", "", b"body").status, 200);
        }
        assert!(bad.connections() > 0);
        assert_eq!((bad.requests(), good.requests()), (0, 4));
    }
}

#[test]
fn health_checks_trust_a_peers_own_certificate_and_no_other() {
    let (own, foreign) = (
        SelfSigned::authority("app.test"),
        SelfSigned::authority("app.test"),
    );
    let checks = ["type = 'tcp'", "type = 'http'\npath = '/'"];
    for (engine, check) in HTTP1_CLIENT_ENGINES
        .into_iter()
        .flat_map(|e| checks.map(|c| (e, c)))
    {
        let (good, bad) = (secure(&own, engine), secure(&foreign, engine));
        let settings = format!(
            "{SETTINGS}[upstream.health_check]\n{check}\ninterval = '10ms'\nrise = 1\nfall = 1\n"
        );
        let gateway = start(engine, &[good.address, bad.address], &settings, &[&own]).unreached();
        let down = |peer: SocketAddr, value: u8| {
            format!("geogate_upstream_peer_down{{upstream=\"api\",peer=\"{peer}\"}} {value}")
        };
        let (good, bad) = (down(good.address, 0), down(bad.address, 1));
        wait_for_metrics(gateway.admin.address, &[&good, &bad]);
    }
}

#[test]
fn the_log_says_why_there_is_no_tls() {
    let (leaf, expired) = (
        SelfSigned::of("app.test"),
        SelfSigned::authority_until("app.test", 2002),
    );
    let (foreign, authority, client) = (
        SelfSigned::authority("app.test"),
        SelfSigned::authority("authority.test"),
        SelfSigned::of("client.test"),
    );
    // It answers before it has read anything, as a server does that cannot read a handshake.
    let plain = Peer::listen();
    let plain_address = plain.address;
    let refusing = std::thread::spawn(move || {
        let mut connection = plain.accept();
        connection.send("HTTP/1.1 400 Bad Request\r\n\r\n");
        connection.is_closed()
    });
    let picky = Secure::start(&Speaks {
        tls: Some(&leaf),
        client: Some(&client),
        http2: false,
    });
    let origins = [
        (
            "name",
            secure(&leaf, ENGINES[0]),
            "other.test",
            &leaf,
            "name mismatch",
        ),
        (
            "time",
            secure(&expired, ENGINES[0]),
            "app.test",
            &expired,
            "certificate expired",
        ),
        (
            "issuer",
            secure(&leaf, ENGINES[0]),
            "app.test",
            &authority,
            "unknown issuer: neither",
        ),
        (
            "authority",
            secure(&foreign, ENGINES[0]),
            "app.test",
            &leaf,
            "marked as an authority's",
        ),
        (
            "pin",
            secure(&foreign, ENGINES[0]),
            "app.test",
            &expired,
            "unknown issuer",
        ),
        ("client", picky, "app.test", &leaf, "CertificateRequired"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let mut configuration = String::new();
    let mut add = |name: &str, peer: SocketAddr, sni: &str, trusted: &SelfSigned| {
        let file = folder.path().join(name).with_extension("pem");
        std::fs::write(&file, trusted.certificate()).unwrap();
        let text = format!(
            "[[upstream]]\nname = '{name}'\npeers = ['{peer}']\ntls = true\nsni = '{sni}'\n\
             ca_file = '{}'\n[[route]]\nprefix = '/{name}'\nupstream = '{name}'\n",
            file.display()
        );
        configuration.push_str(&text);
    };
    add("plain", plain_address, "app.test", &leaf);
    let mut expected = vec![("plain", "peer does not speak TLS")];
    for (name, origin, sni, trusted, reason) in &origins {
        add(name, origin.address, sni, trusted);
        expected.push((*name, *reason));
    }
    let port = Port::reserve();
    let mut gateway = Process::start_with(&configuration, folder.path(), port.address, &[]);
    gateway.wait_for("listening on");
    for (name, reason) in expected {
        let response = Client::connect(gateway.address).get(&format!("/{name}"), "");
        assert_eq!(response.status, 502, "{name}");
        let line = gateway.wait_for(reason);
        assert!(line.contains(name), "{line}");
        assert!(line.contains("TLS: "), "{line}");
    }
    refusing.join().unwrap();
}

/// The connection is closed without an answer: there is no reason to read in what TLS says.
#[test]
fn a_peer_that_hangs_up_fails_like_any_other() {
    let own = SelfSigned::authority("app.test");
    let settings = format!("{SETTINGS}max_fails = 0");
    for engine in ENGINES {
        let peer = Peer::listen();
        let gateway = start(engine, &[peer.address], &settings, &[&own]).unreached();
        let mut client = gateway.client();
        client.ask("GET", "/", "", b"");
        peer.accept().close();
        assert_eq!(client.response().status, 502);
    }
}

#[test]
fn certificates_that_cannot_be_used_are_said_with_their_setting() {
    let folder = tempfile::tempdir().unwrap();
    crate::harness::Identity::version_1().write(folder.path(), "v1");
    Authority::new().sign(&["a"]).write(folder.path(), "a");
    let check = |cert: &str, key: &str| {
        let (folder, files) = (folder.path(), folder.path().display());
        let text = format!(
            "[[upstream]]\npeers = ['127.0.0.1:1']\ntls = true\nverify = false\n\
             client_cert = '{files}/{cert}.pem'\nclient_key = '{files}/{key}.key'\n"
        );
        check_configuration(folder, &text).1
    };
    let said = check("v1", "v1");
    let expected = "v1.pem: is an X.509 certificate of version 1: version 3 is needed (line 5)\n";
    assert!(
        said.contains("client_cert") && said.ends_with(expected),
        "{said}"
    );
    let said = check("a", "v1");
    assert!(
        said.ends_with("v1.key: is not the key of client_cert (line 6)\n"),
        "{said}"
    );
}
