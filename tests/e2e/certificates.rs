//! Certificates of the listeners: odd ones, and what becomes of new ones.

use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::commands::check_configuration;
use crate::harness::{
    Authority, Client, Gateway, Identity, Port, trusting_client, wait_for_metrics,
};

const IP: &str = "/api/ip_query?ip=1.0.0.1";

/// A TLS listener with the certificate `a.pem` in its folder, and `more` in `[tls]` and behind it.
fn start(more: &str, identity: &Identity, prepare: impl FnOnce(&Path)) -> Gateway {
    let configuration = format!(
        "[server]\nlisten = [{{ address = '{{address}}', tls = true }}]\n[tls]\n\
         certificates = [{{ cert = '{{folder}}/a.pem', key = '{{folder}}/a.key' }}]\n{more}\n"
    );
    Gateway::start_in(&configuration, |folder| {
        identity.write(folder, "a");
        prepare(folder);
    })
}

/// The certificate that a client was shown.
fn shown(client: &Client) -> CertificateDer<'static> {
    let shown = &client.session().peer_certificates().unwrap()[0];
    shown.clone().into_owned()
}

fn certificate(identity: &Identity) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(identity.cert.as_bytes()).unwrap()
}

/// Clients that verify nothing, or know the certificate, still use such a server.
#[test]
fn a_certificate_of_version_1_is_served() {
    let identity = Identity::version_1();
    let gateway = start("", &identity, |_| ());
    let mut client = Client::connect_tls(gateway.address, &trusting_client(), "localhost");
    assert!(shown(&client) == certificate(&identity));
    assert_eq!(client.get(IP, "").status, 200);
}

#[test]
fn what_is_odd_about_a_certificate_is_said_by_check() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    Identity::version_1().write(folder.path(), "v1");
    authority.sign(&["a.example"]).write(folder.path(), "a");
    let pair = |cert: &str, key: &str| {
        let folder = folder.path().display();
        format!("{{ cert = '{folder}/{cert}.pem', key = '{folder}/{key}.key' }}")
    };
    let check = |pairs: &[String]| {
        let text = format!("[tls]\ncertificates = [{}]\n", pairs.join(", "));
        check_configuration(folder.path(), &text)
    };
    let (code, said) = check(&[pair("v1", "v1")]);
    let warning = "v1.pem: is an X.509 certificate of version 1, which many clients refuse";
    assert!(code == Some(0) && said.contains(warning), "{said}");
    let (code, said) = check(&[pair("v1", "a")]);
    assert!(
        code == Some(1) && said.contains("a.key: is not the key of"),
        "{said}"
    );
    let (code, said) = check(&[pair("a", "a"), pair("v1", "v1")]);
    assert!(
        code == Some(1) && said.contains("v1.pem: names no host"),
        "{said}"
    );
}

/// Waits for metrics of an admin listener, and returns the time in one of them.
fn time_of(admin: &Port, lines: &[&str], name: &str) -> u64 {
    wait_for_metrics(admin.address, lines);
    let metrics = Client::connect(admin.address).get("/metrics", "");
    let line = metrics.text().lines().find(|line| line.starts_with(name));
    line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn reloads_of_certificates_are_counted_by_kind_and_dated() {
    let (authority, admin) = (Authority::new(), Port::reserve());
    let first = authority.sign(&["localhost"]);
    let tls = "client_auth = 'optional'\nclient_ca = '{folder}/clients.pem'";
    let more = format!("{tls}\n[admin]\nlisten = ['{}']\n", admin.address);
    let gateway = start(&more, &first, |folder| {
        std::fs::write(folder.join("clients.pem"), authority.pem()).unwrap();
    });
    let count = |kind: &str, result: &str, count: u32| {
        format!("geogate_certificate_reloads_total{{kind=\"{kind}\",result=\"{result}\"}} {count}")
    };
    let last = |kind: &str, value: u32| {
        format!("geogate_certificate_last_reload_successful{{kind=\"{kind}\"}} {value}")
    };
    let (success, failure) = (
        "geogate_certificate_last_reload_success_timestamp_seconds{kind=\"server\"}",
        "geogate_certificate_last_reload_failure_timestamp_seconds{kind=\"client_ca\"}",
    );
    let start = time_of(
        &admin,
        &[&count("server", "applied", 0), &last("server", 1)],
        success,
    );
    assert!(start > 0);
    assert_eq!(time_of(&admin, &[], failure), 0);

    let wrong = Identity {
        cert: "nothing".to_owned(),
        ..first.clone()
    };
    wrong.write(gateway.folder.path(), "a");
    let lines = [
        count("server", "rejected", 1),
        last("server", 0),
        count("client_ca", "rejected", 0),
        last("client_ca", 1),
    ];
    wait_for_metrics(admin.address, &lines.each_ref().map(String::as_str));

    first.write(gateway.folder.path(), "a");
    let lines = [count("server", "applied", 1), last("server", 1)];
    let time = time_of(&admin, &lines.each_ref().map(String::as_str), success);
    assert!(time >= start);

    std::fs::write(gateway.file("clients.pem"), "nothing").unwrap();
    let lines = [count("client_ca", "rejected", 1), last("client_ca", 0)];
    let time = time_of(&admin, &lines.each_ref().map(String::as_str), failure);
    assert!(time >= start);
    let metrics = Client::connect(admin.address).get("/metrics", "");
    assert!(
        metrics.text().contains(&last("server", 1)),
        "{}",
        metrics.text()
    );
}

/// What is watched is read in the order of its changes, so when the database is read, the
/// certificate would have been.
// Keys: tls.watch
#[test]
fn certificates_that_are_not_watched_are_read_at_a_reload() {
    let (authority, admin) = (Authority::new(), Port::reserve());
    let (first, second) = (
        authority.sign(&["localhost"]),
        authority.sign(&["localhost"]),
    );
    let csv = |country: &str| format!("start,end,country\n1.0.0.0,1.0.0.255,{country}\n");
    let more = format!(
        "watch = false\n[[database]]\nfile = '{{folder}}/places.csv'\n[admin]\nlisten = ['{}']\n",
        admin.address
    );
    let gateway = start(&more, &first, |folder| {
        std::fs::write(folder.join("places.csv"), csv("中国")).unwrap();
    });
    let config = authority.client(&[]);
    let connect = || Client::connect_tls(gateway.address, &config, "localhost");
    second.write(gateway.folder.path(), "a");
    std::fs::write(gateway.file("places.csv"), csv("韩国")).unwrap();
    while !connect().get(IP, "").text().contains("韩国") {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(shown(&connect()) == certificate(&first));
    let reloaded = Client::connect(admin.address).request("POST", "/reload", "", b"");
    assert_eq!(reloaded.status, 200);
    assert!(shown(&connect()) == certificate(&second));
}
