//! TLS with clients: certificates, their change, client certificates, HSTS, the way from clear text.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rcgen::date_time_ymd;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::harness::{
    Authority, Client, EngineClient, Gateway, Http2, Identity, Origin, Port, QUERY_FORMS, connect,
    wait_for_metrics,
};

const IP: &str = "/api/ip_query?ip=1.0.0.1";

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// A TLS listener with these certificates, files `a`, `b`, ... in its folder.
fn start(identities: &[Identity], tls: &str, more: &str) -> Gateway {
    let names = ["a", "b", "c"];
    let pairs = names[..identities.len()]
        .iter()
        .map(|name| format!("{{ cert = '{{folder}}/{name}.pem', key = '{{folder}}/{name}.key' }}"));
    let pairs: Vec<_> = pairs.collect();
    let configuration = format!(
        "[server]\nlisten = [{{ address = '{{address}}', tls = true }}]\n\
         [tls]\ncertificates = [{}]\n{tls}\n{more}\n",
        pairs.join(", ")
    );
    Gateway::start_in(&configuration, |folder| {
        for (name, identity) in names.iter().zip(identities) {
            identity.write(folder, name);
        }
    })
}

fn upstream(origin: &Origin) -> String {
    format!("[[upstream]]\npeers = ['{}']", origin.address)
}

/// The certificate that a client was shown.
fn shown(client: &Client) -> CertificateDer<'static> {
    client.session().peer_certificates().unwrap()[0]
        .clone()
        .into_owned()
}

fn certificate(identity: &Identity) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(identity.cert.as_bytes()).unwrap()
}

/// A client of each version of HTTP, and the forms in which it may send a query.
fn clients(
    gateway: &Gateway,
    authority: &Authority,
) -> [(EngineClient, &'static [&'static str]); 2] {
    let (address, name) = (gateway.address, "localhost");
    let http1 = Client::connect_tls(address, &authority.client(&["http/1.1"]), name);
    let http2 = Http2::connect_tls(address, &authority.client(&["h2"]), name);
    [
        (EngineClient::http1(http1, Arc::default()), &QUERY_FORMS),
        (
            EngineClient::http2(http2, Arc::default()),
            &QUERY_FORMS[..1],
        ),
    ]
}

#[test]
fn queries_and_proxied_requests_come_over_tls() {
    let (authority, origin) = (Authority::new(), Origin::start());
    let gateway = start(&[authority.sign(&["localhost"])], "", &upstream(&origin));
    for (mut client, forms) in clients(&gateway, &authority) {
        for form in forms {
            let answer = client.get(IP, form);
            assert_eq!(answer.status, 200);
            assert!(answer.text().contains("福建"), "{}", answer.text());
            assert_eq!(answer.header("strict-transport-security"), None);
        }
        assert_eq!(client.get("/large/3000000", "").body.len(), 3_000_000);
        assert_eq!(origin.last().values("x-forwarded-proto"), ["https"]);
        let echoed = client.request("POST", "/", "", b"a body");
        assert_eq!(echoed.text(), "a body");
        assert_eq!(origin.last().values("x-forwarded-proto"), ["https"]);
    }
    let config = authority.client(&["http/1.1"]);
    let mut client = Client::connect_tls(gateway.address, &config, "localhost");
    client.send(format!(
        "GET {IP} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    ));
    assert_eq!(client.response().status, 200);
    // With a goodbye: an end without one would be an error.
    assert_eq!(client.rest(), b"");
}

#[test]
fn many_answers_reach_a_client_that_reads_late() {
    let authority = Authority::new();
    let gateway = start(&[authority.sign(&["localhost"])], "", "");
    let config = authority.client(&[]);
    let mut client = Client::connect_tls(gateway.address, &config, "localhost");
    for _ in 0..10 {
        client.send(format!("GET {IP} HTTP/1.1\r\nHost: a\r\n\r\n").repeat(90));
        for _ in 0..90 {
            assert_eq!(client.response().status, 200);
        }
    }
}

#[test]
fn the_head_is_read_as_strictly_as_in_clear_text() {
    let authority = Authority::new();
    let gateway = start(&[authority.sign(&["localhost"])], "hsts = '1y'", "");
    let config = authority.client(&[]);
    for head in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
    ] {
        let mut client = Client::connect_tls(gateway.address, &config, "localhost");
        client.send(head);
        let answer = client.response();
        assert_eq!(answer.status, 400, "{head:?}");
        let hsts = answer.header("strict-transport-security");
        assert_eq!(hsts, Some("max-age=31536000"));
        assert!(client.is_closed());
    }
}

#[test]
fn a_client_is_shown_the_certificate_of_the_host_that_it_names() {
    let authority = Authority::new();
    let first = authority.sign(&["one.example", "localhost"]);
    let second = authority.sign(&["Two.example", "*.two.example"]);
    let third = authority.sign(&["a.two.example"]);
    let gateway = start(&[first.clone(), second.clone(), third.clone()], "", "");
    let config = authority.client(&[]);
    let check = |name: &str, expected: &Identity| {
        let client = Client::connect_tls(gateway.address, &config, name);
        assert!(shown(&client) == certificate(expected), "{name}");
    };
    check("one.example", &first);
    check("two.example", &second);
    check("TWO.example", &second);
    check("b.two.example", &second);
    check("a.two.example", &third);
    // No name, or one that is not known: the first.
    check("localhost", &first);
    let unknown = |name: &str| {
        let error = Client::after(connect(gateway.address), b"", &config, name);
        let error = error.err().expect("another host's certificate").to_string();
        assert!(error.contains("not valid for name"), "{error}");
    };
    unknown("x.b.two.example");
    unknown("three.example");
    unknown("127.0.0.1");
}

#[test]
fn of_two_kinds_of_keys_the_client_is_shown_one_that_it_can_check() {
    let authority = Authority::new();
    let ecdsa = authority.sign(&["localhost"]);
    let ed25519 = authority.sign_for(&["localhost"], &rcgen::PKCS_ED25519);
    let gateway = start(&[ed25519.clone(), ecdsa.clone()], "", "");
    let config = authority.client(&[]);
    let client = Client::connect_tls(gateway.address, &config, "localhost");
    assert!(shown(&client) == certificate(&ed25519));
    let config = authority.client_without(rustls::SignatureScheme::ED25519);
    let client = Client::connect_tls(gateway.address, &config, "localhost");
    assert!(shown(&client) == certificate(&ecdsa));
}

#[test]
fn certificates_that_change_are_shown_to_new_connections() {
    let authority = Authority::new();
    let (before, after) = (
        authority.sign(&["localhost"]),
        authority.sign(&["localhost"]),
    );
    let gateway = start(std::slice::from_ref(&before), "", "");
    let config = authority.client(&[]);
    let mut old = Client::connect_tls(gateway.address, &config, "localhost");
    assert!(shown(&old) == certificate(&before));
    after.write(gateway.folder.path(), "a");
    loop {
        let mut client = Client::connect_tls(gateway.address, &config, "localhost");
        assert_eq!(client.get(IP, "").status, 200);
        if shown(&client) == certificate(&after) {
            break;
        }
        assert!(shown(&client) == certificate(&before));
        std::thread::sleep(PAUSE);
    }
    assert_eq!(old.get(IP, "").status, 200);
}

/// As certbot has it: a link of the operator's own to a link that is switched at each renewal.
#[test]
fn a_link_to_a_link_that_is_switched_is_noticed() {
    use std::os::unix::fs::symlink;
    let authority = Authority::new();
    let pairs = [(); 2].map(|()| authority.sign(&["localhost"]));
    let text = "[server]\nlisten = [{ address = '{address}', tls = true }]\n[tls]\n\
                certificates = [{ cert = '{folder}/own/cert', key = '{folder}/own/key' }]\n";
    let gateway = Gateway::start_in(text, |folder| {
        for name in ["own", "live", "archive"] {
            std::fs::create_dir(folder.join(name)).unwrap();
        }
        pairs[0].write(&folder.join("archive"), "1");
        pairs[1].write(&folder.join("archive"), "2");
        for (own, kind) in [("cert", "pem"), ("key", "key")] {
            let live = folder.join("live").join(kind);
            symlink(&live, folder.join("own").join(own)).unwrap();
            symlink(format!("../archive/1.{kind}"), &live).unwrap();
        }
    });
    for kind in ["pem", "key"] {
        let (live, next) = (gateway.file("live").join(kind), gateway.file("live/next"));
        symlink(format!("../archive/2.{kind}"), &next).unwrap();
        std::fs::rename(&next, &live).unwrap();
    }
    let config = authority.client(&[]);
    loop {
        let client = Client::connect_tls(gateway.address, &config, "localhost");
        if shown(&client) == certificate(&pairs[1]) {
            return;
        }
        assert!(shown(&client) == certificate(&pairs[0]));
        std::thread::sleep(PAUSE);
    }
}

#[test]
fn a_bad_pair_is_refused_and_the_one_before_serves_on() {
    let authority = Authority::new();
    let before = authority.sign(&["localhost"]);
    let gateway = start(std::slice::from_ref(&before), "", "");
    let config = authority.client(&[]);
    let show = || shown(&Client::connect_tls(gateway.address, &config, "localhost"));
    let after = authority.sign(&["localhost"]);
    let mismatch = Identity {
        cert: after.cert.clone(),
        key: before.key.clone(),
    };
    mismatch.write(gateway.folder.path(), "a");
    assert!(show() == certificate(&before));
    after.write(gateway.folder.path(), "a");
    loop {
        let shown = show();
        if shown == certificate(&after) {
            return;
        }
        assert!(shown == certificate(&before));
        std::thread::sleep(PAUSE);
    }
}

#[track_caller]
fn check_refused(gateway: &Gateway, config: &std::sync::Arc<rustls::ClientConfig>) {
    // In TLS 1.3 a client hears only after its own last word that it is turned away.
    let client = Client::after(connect(gateway.address), b"", config, "localhost");
    assert!(client.is_err() || client.is_ok_and(|mut client| client.fails()));
}

#[test]
fn clients_show_certificates_where_they_must() {
    let (authority, others) = (Authority::new(), Authority::new());
    let versions = [&rustls::version::TLS12, &rustls::version::TLS13];
    for (kind, without) in [("required", false), ("optional", true)] {
        let tls = format!("client_auth = '{kind}'\nclient_ca = '{{folder}}/ca.pem'");
        let ca = authority.pem().to_owned();
        let identity = authority.sign(&["localhost"]);
        let configuration = format!(
            "[server]\nlisten = [{{ address = '{{address}}', tls = true }}]\n\
             [tls]\ncertificates = [{{ cert = '{{folder}}/a.pem', key = '{{folder}}/a.key' }}]\n{tls}\n"
        );
        let gateway = Gateway::start_in(&configuration, |folder| {
            identity.write(folder, "a");
            std::fs::write(folder.join("ca.pem"), ca).unwrap();
        });
        for version in versions {
            let client = |of: Option<&Authority>| {
                let identity = of.map(|of| of.sign(&["client"]));
                authority.client_with(&[], &[version], identity.as_ref())
            };
            let mut known =
                Client::connect_tls(gateway.address, &client(Some(&authority)), "localhost");
            assert_eq!(known.get(IP, "").status, 200);
            check_refused(&gateway, &client(Some(&others)));
            if without {
                let mut nobody = Client::connect_tls(gateway.address, &client(None), "localhost");
                assert_eq!(nobody.get(IP, "").status, 200);
            } else {
                check_refused(&gateway, &client(None));
            }
        }
    }
}

/// Upstreams and the log are told whose certificate it is, whichever protocol is spoken.
#[test]
fn upstreams_are_told_of_a_clients_certificate() {
    let (authority, origin) = (Authority::new(), Origin::start());
    let (identity, ca) = (authority.sign(&["localhost"]), authority.pem().to_owned());
    let configuration = format!(
        "[server]\nlisten = [{{ address = '{{address}}', tls = true }}]\n\
         [tls]\ncertificates = [{{ cert = '{{folder}}/a.pem', key = '{{folder}}/a.key' }}]\n\
         client_auth = 'optional'\nclient_ca = '{{folder}}/ca.pem'\n\
         [[upstream]]\nname = 'o'\npeers = ['{}']\n[[route]]\nupstream = 'o'\n\
         [route.request_headers.set]\nX-SSL-Client-Verify = '$ssl_client_verify'\n\
         X-SSL-Client-S-DN = '$ssl_client_s_dn'\nX-SSL-Client-I-DN = '$ssl_client_i_dn'\n\
         X-SSL-Client-SAN = '$ssl_client_san'\nX-SSL-Client-Serial = '$ssl_client_serial'\n\
         X-SSL-Client-Fingerprint = '$ssl_client_fingerprint'\n\
         [access_log]\nformat = '$ssl_client_verify \"$ssl_client_s_dn\" $request'\n",
        origin.address
    );
    let gateway = Gateway::start_in(&configuration, |folder| {
        identity.write(folder, "a");
        std::fs::write(folder.join("ca.pem"), ca).unwrap();
    });
    let client = authority.sign_with(&["client.example"], |params| {
        let mut name = rcgen::DistinguishedName::new();
        name.push(rcgen::DnType::OrganizationName, "Example, Inc");
        name.push(rcgen::DnType::CommonName, "client");
        params.distinguished_name = name;
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&[0x1f, 0xa0]));
    });
    let forged = "X-SSL-Client-Verify: SUCCESS\r\nX_SSL_Client_S_DN: CN=root\r\n";
    let versions = [&rustls::version::TLS12, &rustls::version::TLS13];
    for version in versions {
        let config = |of| authority.client_with(&["http/1.1"], &[version], of);
        let known = config(Some(&client));
        // The second session is taken up, without a certificate of its own.
        for _ in 0..2 {
            let mut client = Client::connect_tls(gateway.address, &known, "localhost");
            assert_eq!(client.get("/a", forged).status, 200);
            let sent = origin.last();
            for (name, value) in [
                ("x-ssl-client-verify", "SUCCESS"),
                ("x-ssl-client-s-dn", "CN=client,O=Example\\, Inc"),
                ("x-ssl-client-i-dn", "CN=tests"),
                ("x-ssl-client-san", "DNS:client.example"),
                ("x-ssl-client-serial", "1FA0"),
            ] {
                assert_eq!(sent.values(name), [value], "{sent:?}");
            }
            let fingerprint = sent.values("x-ssl-client-fingerprint");
            assert!(
                matches!(fingerprint[..], [hex] if hex.len() == 64),
                "{sent:?}"
            );
            assert_eq!(sent.values("x_ssl_client_s_dn"), [""; 0]);
        }
        let mut nobody = Client::connect_tls(gateway.address, &config(None), "localhost");
        assert_eq!(nobody.get("/b", forged).status, 200);
        let sent = origin.last();
        assert_eq!(sent.values("x-ssl-client-verify"), ["NONE"]);
        for name in ["x-ssl-client-s-dn", "x_ssl_client_s_dn", "x-ssl-client-san"] {
            assert_eq!(sent.values(name), [""; 0], "{sent:?}");
        }
    }
    let config = authority.client_with(&["h2"], &[versions[1]], Some(&client));
    let mut client = Http2::connect_tls(gateway.address, &config, "localhost");
    let forged = [("x-ssl-client-verify", "NONE"), ("x_ssl_client_s_dn", "x")];
    assert_eq!(client.get("https://localhost/c", &forged).status, 200);
    let sent = origin.last();
    assert_eq!(sent.values("x-ssl-client-verify"), ["SUCCESS"]);
    assert_eq!(
        sent.values("x-ssl-client-s-dn"),
        ["CN=client,O=Example\\, Inc"]
    );
    drop(client);
    let log = gateway.stop();
    let has = |start: &str| log.iter().any(|line| line.starts_with(start));
    assert!(has("SUCCESS \"CN=client,O=Example"), "{log:?}");
    assert!(
        has("NONE \"-\" GET /b") || has("NONE \"\" GET /b"),
        "{log:?}"
    );
}

/// A session that is taken up is not asked for a certificate again.
#[test]
fn sessions_end_with_the_authorities_of_clients() {
    let (authority, others) = (Authority::new(), Authority::new());
    let (identity, ca) = (authority.sign(&["localhost"]), authority.pem().to_owned());
    let configuration = "[server]\nlisten = [{ address = '{address}', tls = true }]\n[tls]\n\
         certificates = [{ cert = '{folder}/a.pem', key = '{folder}/a.key' }]\n\
         client_auth = 'required'\nclient_ca = '{folder}/ca.pem'\n";
    let gateway = Gateway::start_in(configuration, |folder| {
        identity.write(folder, "a");
        std::fs::write(folder.join("ca.pem"), ca).unwrap();
    });
    let client = |of: &Authority, version| {
        authority.client_with(&[], &[version], Some(&of.sign(&["client"])))
    };
    let versions = [&rustls::version::TLS12, &rustls::version::TLS13];
    let known = versions.map(|version| client(&authority, version));
    for config in &known {
        let mut client = Client::connect_tls(gateway.address, config, "localhost");
        assert_eq!(client.get(IP, "").status, 200);
    }
    let new = gateway.file("new.pem");
    std::fs::write(&new, others.pem()).unwrap();
    std::fs::rename(&new, gateway.file("ca.pem")).unwrap();
    let connect = |config| Client::after(connect(gateway.address), b"", config, "localhost");
    // In TLS 1.2 a client hears at once whether it is taken.
    let other = client(&others, versions[0]);
    while connect(&other).is_err() {
        std::thread::sleep(PAUSE);
    }
    for config in &known {
        if let Ok(client) = connect(config) {
            let kind = client.session().handshake_kind();
            assert_eq!(kind, Some(rustls::HandshakeKind::Full));
        }
        check_refused(&gateway, config);
    }
}

#[test]
fn versions_that_are_too_old_are_refused() {
    let authority = Authority::new();
    let gateway = start(&[authority.sign(&["localhost"])], "min_version = '1.3'", "");
    let only = |version| authority.client_with(&[], &[version], None);
    check_refused(&gateway, &only(&rustls::version::TLS12));
    let new = only(&rustls::version::TLS13);
    let mut client = Client::connect_tls(gateway.address, &new, "localhost");
    assert_eq!(client.get(IP, "").status, 200);
}

#[test]
fn sessions_are_taken_up_again_unless_turned_off() {
    let authority = Authority::new();
    for (tls, expected) in [
        ("", rustls::HandshakeKind::Resumed),
        ("session_tickets = false", rustls::HandshakeKind::Full),
    ] {
        let gateway = start(&[authority.sign(&["localhost"])], tls, "");
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let config = authority.client_with(&[], &[version], None);
            let mut kinds = Vec::new();
            for _ in 0..2 {
                let mut client = Client::connect_tls(gateway.address, &config, "localhost");
                assert_eq!(client.get(IP, "").status, 200);
                kinds.push(client.session().handshake_kind().unwrap());
            }
            assert_eq!(kinds, [rustls::HandshakeKind::Full, expected]);
        }
    }
}

#[test]
fn hsts_is_on_every_answer_over_tls_and_on_none_in_clear_text() {
    let (authority, origin, clear) = (Authority::new(), Origin::start(), Port::reserve());
    let identity = authority.sign(&["localhost"]);
    let configuration = format!(
        "[server]\nlisten = ['{}', {{ address = '{{address}}', tls = true }}]\n[tls]\n\
         hsts = {{ max_age = '1d', include_subdomains = true, preload = true }}\n\
         certificates = [{{ cert = '{{folder}}/a.pem', key = '{{folder}}/a.key' }}]\n\
         [client]\nmax_body_size = '1k'\n{}\nread_timeout = '1s'\n",
        clear.address,
        upstream(&origin)
    );
    let gateway = Gateway::start_in(&configuration, |folder| identity.write(folder, "a"));
    for (method, target, body, form) in [
        ("GET", IP, "", QUERY_FORMS[0]),
        ("GET", IP, "", QUERY_FORMS[1]),
        ("POST", "/api/ip_query", "{}", QUERY_FORMS[0]),
        ("POST", "/api/ip_query", "{}", QUERY_FORMS[1]),
        ("GET", "/here", "", ""),
        ("POST", "/here", "a body", ""),
        ("GET", "/close", "", ""),
    ] {
        let mut plain = Client::connect(clear.address);
        let plain = plain.request(method, target, form, body.as_bytes());
        assert_eq!(plain.header("strict-transport-security"), None);
        for (mut client, forms) in clients(&gateway, &authority) {
            if forms.contains(&form) {
                let tls = client.request(method, target, form, body.as_bytes());
                let hsts = tls.header("strict-transport-security");
                let expected = "max-age=86400; includeSubDomains; preload";
                assert_eq!(hsts, Some(expected), "{target}");
                assert_eq!(plain.status, tls.status);
            }
        }
    }
    for (mut client, _) in clients(&gateway, &authority) {
        let large = client.request("POST", "/here", "", &[b'x'; 2000]);
        assert_eq!(large.status, 413);
        assert!(large.header("strict-transport-security").is_some());
    }
}

#[test]
fn clear_text_is_led_to_tls() {
    let origin = Origin::start();
    for (setting, port) in [("true", ""), ("8443", ":8443")] {
        let gateway = Gateway::start(&format!(
            "[server]\nlisten = [{{ address = '{{address}}', redirect_to_https = {setting} }}]\n{}\n",
            upstream(&origin)
        ));
        for form in QUERY_FORMS {
            let mut client = gateway.client();
            for (method, target, body) in [
                ("GET", "/a%20b?c=d", ""),
                ("GET", IP, ""),
                ("HEAD", "/", ""),
                ("POST", "/api/ip_query", "{\"ip\":\"1.0.0.1\"}"),
                ("POST", "/", "a body"),
            ] {
                let answer = client.request(method, target, form, body.as_bytes());
                assert_eq!(answer.status, 308, "{method} {target}");
                let location = format!("https://test{port}{target}");
                assert_eq!(answer.header("location"), Some(&location[..]));
            }
            client.send("GET / HTTP/1.1\r\nHost: a/b@c\r\n\r\n");
            assert_eq!(client.response().status, 400);
        }
        let mut client = gateway.client();
        let challenge = client.get("/.well-known/acme-challenge/token-1", "");
        assert_eq!(challenge.status, 200);
        assert!(origin.last().line.contains("token-1"));
    }
    assert_eq!(origin.requests().len(), 2);
}

#[test]
fn failed_handshakes_are_counted_and_hold_nothing() {
    let (authority, admin) = (Authority::new(), Port::reserve());
    let gateway = start(
        &[authority.sign(&["localhost"])],
        "",
        &format!(
            "[client]\nheader_timeout = '300ms'\n[admin]\nlisten = ['{}']",
            admin.address
        ),
    );
    // In clear text where TLS is expected.
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.rest();
    // Silent, or silent after the first bytes.
    for start in [&b""[..], b"\x16\x03\x01\x02"] {
        let mut silent = gateway.client();
        silent.send(start);
        assert!(silent.is_closed());
    }
    // Silent after the handshake, where HTTP/2 has a preface.
    let config = authority.client(&["h2"]);
    let mut silent = Client::connect_tls(gateway.address, &config, "localhost");
    silent.wait_for_end();
    wait_for_metrics(
        admin.address,
        &[
            "geogate_connections_refused_total{reason=\"tls_handshake\"} 1\n",
            "geogate_connections_refused_total{reason=\"slow\"} 3\n",
            "geogate_connections_open 0\n",
        ],
    );
}

#[test]
fn an_expired_certificate_serves_and_is_warned_of() {
    let authority = Authority::new();
    let expired = authority.sign_with(&["localhost"], |params| {
        params.not_after = date_time_ymd(2020, 1, 1);
    });
    let gateway = start(&[expired], "", "");
    let config = authority.client(&[]);
    let error = Client::after(connect(gateway.address), b"", &config, "localhost").err();
    let error = error.expect("the client looks").to_string();
    assert!(error.contains("expired"), "{error}");
}

#[test]
fn a_hostile_start_never_ends_the_listener() {
    let authority = Authority::new();
    let gateway = start(&[authority.sign(&["localhost"])], "", "");
    for start in [
        &[0x16, 3, 1, 0xff, 0xff][..],
        &[0x80; 64],
        &[0x16; 300],
        b"\0",
    ] {
        let mut socket = TcpStream::connect(gateway.address).unwrap();
        socket.write_all(start).unwrap();
    }
    let config = authority.client(&[]);
    let mut client = Client::connect_tls(gateway.address, &config, "localhost");
    assert_eq!(client.get(IP, "").status, 200);
}
