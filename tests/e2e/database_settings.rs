//! Settings of databases: where they are published, and how they are read and judged.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use mmdb_writer::{Value, Writer};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sha2::{Digest, Sha256};

use crate::commands::{check_configuration, run, stderr};
use crate::harness::{Authority, Gateway, Identity, SelfSigned};

const IP: &str = "/api/ip_query?ip=1.0.0.1";
const PLACES: &str = "start,end,country,province\n1.0.0.0,1.0.0.255,中国,内蒙古自治区\n";

trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

/// Gives files by their paths, each on a connection of its own, until the test's process ends.
struct Publisher(u16);

impl Publisher {
    fn start(files: &[(&str, &str)], identity: Option<&Identity>) -> Publisher {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let owned = |(path, text): &(&str, &str)| ((*path).to_owned(), (*text).to_owned());
        let files: BTreeMap<String, String> = files.iter().map(owned).collect();
        let tls = identity.map(server_config);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let stream: Box<dyn Stream> = match &tls {
                    None => Box::new(stream),
                    Some(config) => {
                        let session = ServerConnection::new(Arc::clone(config)).unwrap();
                        Box::new(StreamOwned::new(session, stream))
                    }
                };
                // An error is a client that does not trust us.
                let _ = answer(BufReader::new(stream), &files);
            }
        });
        Publisher(port)
    }

    /// The section of a database that is published here, in `{folder}`.
    fn database(&self, scheme: &str, more: &str) -> String {
        let base = format!("{scheme}://localhost:{}", self.0);
        let more = more.replace("{base}", &base);
        format!("[[database]]\nurl = '{base}/places.csv'\nfile = '{{folder}}/places.csv'\n{more}\n")
    }
}

fn server_config(identity: &Identity) -> Arc<ServerConfig> {
    let cert = CertificateDer::from_pem_slice(identity.cert.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_no_client_auth();
    Arc::new(builder.with_single_cert(vec![cert], key).unwrap())
}

fn answer(
    mut stream: BufReader<Box<dyn Stream>>,
    files: &BTreeMap<String, String>,
) -> std::io::Result<()> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let path = head.split(' ').nth(1).unwrap_or_default();
    match files.get(path) {
        // It never comes.
        Some(text) if text == "silence" => {
            stream.read_exact(&mut [0])?;
        }
        file => {
            let status = file.map_or("404 Not Found", |_| "200 OK");
            let text = file.map_or("", |text| text);
            write!(
                stream.get_mut(),
                "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{text}",
                text.len()
            )?;
            stream.get_mut().flush()?;
        }
    }
    Ok(())
}

fn sha256(text: &str) -> String {
    let mut sum = String::new();
    for byte in Sha256::digest(text) {
        write!(sum, "{byte:02x}").unwrap();
    }
    sum
}

/// The fields of an answer.
fn fields(gateway: &Gateway) -> Vec<String> {
    let response = gateway.client().get(IP, "");
    serde_json::from_slice(&response.body).unwrap()
}

/// Runs a gateway that does not start; what it says.
fn refusal(configuration: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let text = configuration.replace("{folder}", &folder.path().display().to_string());
    let file = folder.path().join("geogate.toml");
    std::fs::write(
        &file,
        format!("{text}\n[server]\nlisten = ['127.0.0.1:0']\n"),
    )
    .unwrap();
    let output = run(&["run", "-c", &file.display().to_string()], "");
    assert_eq!(output.status.code(), Some(1));
    stderr(&output).to_owned()
}

#[test]
fn a_published_file_has_its_checksum() {
    let (right, wrong) = (sha256(PLACES), sha256("other"));
    let publisher = Publisher::start(
        &[
            ("/places.csv", PLACES),
            ("/right.sha256", &format!("{right}  places.csv\n")),
            ("/wrong.sha256", &wrong),
        ],
        None,
    );
    let with_sum = |name: &str| {
        let checksum = format!("checksum_url = '{{base}}/{name}.sha256'");
        publisher.database("http", &checksum)
    };
    assert_eq!(fields(&Gateway::start(&with_sum("right")))[0], "中国");
    let said = refusal(&with_sum("wrong"));
    assert!(said.contains(&format!("the SHA-256 is {right}")), "{said}");
    assert!(
        said.contains(&format!("wrong.sha256 says {wrong}")),
        "{said}"
    );
    let said = refusal(&with_sum("none"));
    assert!(said.contains("none.sha256: status 404"), "{said}");
}

// Keys: database.timeout
#[test]
fn a_publisher_that_is_silent_is_given_up() {
    let publisher = Publisher::start(&[("/places.csv", "silence")], None);
    let said = refusal(&publisher.database("http", "timeout = '100ms'"));
    assert!(said.contains("/places.csv: timeout"), "{said}");
}

// Keys: database.ca_file
#[test]
fn a_publisher_is_trusted_by_its_authority() {
    let (authority, other) = (Authority::new(), Authority::new());
    let identity = authority.sign(&["localhost"]);
    let publisher = Publisher::start(&[("/places.csv", PLACES)], Some(&identity));
    let trusting = |authority: &Authority| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), authority.pem()).unwrap();
        let ca_file = format!("ca_file = '{}'", file.path().display());
        (publisher.database("https", &ca_file), file)
    };
    let (configuration, _file) = trusting(&authority);
    assert_eq!(fields(&Gateway::start(&configuration))[0], "中国");
    let (configuration, _file) = trusting(&other);
    let said = refusal(&configuration);
    assert!(said.contains("invalid peer certificate"), "{said}");
    let said = refusal(&publisher.database("https", ""));
    assert!(said.contains("https://localhost"), "{said}");
}

/// `openssl req -x509` marks a certificate as an authority's, so it cannot be verified as a server's.
// Keys: database.ca_file
#[test]
fn a_publisher_is_trusted_by_its_own_certificate() {
    let (own, other) = (
        SelfSigned::authority("localhost"),
        SelfSigned::authority("localhost"),
    );
    let old = SelfSigned::authority_until("localhost", 2002);
    let elsewhere = SelfSigned::authority("elsewhere.test");
    let plain = SelfSigned::of("localhost");
    for (shown, trusted, expected) in [
        (&own, &own, None),
        (&plain, &plain, None),
        (&own, &other, Some("UnknownIssuer")),
        (&plain, &own, Some("UnknownIssuer")),
        (&old, &old, Some("Expired")),
        (&elsewhere, &elsewhere, Some("invalid peer certificate")),
    ] {
        let identity = Identity {
            cert: shown.certificate(),
            key: shown.key(),
        };
        let publisher = Publisher::start(&[("/places.csv", PLACES)], Some(&identity));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), trusted.certificate()).unwrap();
        let ca_file = format!("ca_file = '{}'", file.path().display());
        let configuration = publisher.database("https", &ca_file);
        match expected {
            None => assert_eq!(fields(&Gateway::start(&configuration))[0], "中国"),
            Some(expected) => {
                let said = refusal(&configuration);
                assert!(said.contains(expected), "{said}");
            }
        }
    }
}

/// What was fetched has no name of its own yet.
#[test]
fn a_fetched_file_that_is_no_database_is_named_by_its_place() {
    let publisher = Publisher::start(&[("/places.csv", "no database")], None);
    let said = refusal(&publisher.database("http", ""));
    assert!(said.contains("places.csv, as it was fetched: "), "{said}");
}

#[test]
fn names_are_as_the_database_has_them_or_as_the_tables_have_them() {
    for (settings, expected) in [
        ("", "内蒙古"),
        ("canonical_names = true", "内蒙古"),
        ("canonical_names = false", "内蒙古自治区"),
    ] {
        let configuration =
            format!("[[database]]\nfile = '{{folder}}/places.csv'\n[geo]\n{settings}\n");
        let gateway = Gateway::start_in(&configuration, |folder| {
            std::fs::write(folder.join("places.csv"), PLACES).unwrap();
        });
        assert_eq!(fields(&gateway)[2], expected, "{settings}");
    }
}

#[test]
fn a_probe_names_what_must_be_answered() {
    let probe = |province: &str| {
        let folder = tempfile::tempdir().unwrap();
        let places = folder.path().join("places.csv");
        std::fs::write(&places, PLACES).unwrap();
        let text = format!(
            "[[database]]\nfile = '{}'\n[[geo.probe]]\nip = '1.0.0.7'\nprovince = '{province}'\n",
            places.display()
        );
        check_configuration(folder.path(), &text)
    };
    assert_eq!(probe("内蒙古"), (Some(0), String::new()));
    let (code, said) = probe("福建");
    assert_eq!(code, Some(1));
    let expected = "probe 1.0.0.7: province is \"内蒙古\", not \"福建\"";
    assert!(said.contains(expected), "{said}");
}

#[test]
fn the_embedded_database_may_be_a_layer_below() {
    let configuration = "[[database]]\nfile = '{folder}/places.csv'\n\
                         [[database]]\nembedded = true\n";
    let gateway = Gateway::start_in(configuration, |folder| {
        std::fs::write(folder.join("places.csv"), PLACES).unwrap();
    });
    let mut client = gateway.client();
    let mut text = |ip: &str| {
        let response = client.get(&format!("/api/ip_query?ip={ip}"), "");
        response.text().to_owned()
    };
    assert!(text("1.0.0.1").contains("内蒙古"));
    assert!(text("114.114.114.114").contains("江苏"));
}

#[test]
fn names_are_in_the_language_that_is_asked_for_first() {
    let name = |tag: &str, name: &str| (tag.to_owned(), Value::from(name));
    let names = [
        name("en", "Japan"),
        name("zh-CN", "日本"),
        name("fr", "Japon"),
    ];
    let country = Value::map([
        ("iso_code".to_owned(), Value::from("JP")),
        ("names".to_owned(), Value::map(names)),
    ]);
    let mut writer = Writer::builder("Test-City").build();
    let network: ipnet::IpNet = "1.0.0.0/8".parse().unwrap();
    let record = Value::map([("country".to_owned(), country)]);
    writer.insert_value(network, record).unwrap();
    let file = writer.to_bytes().unwrap();
    for (settings, expected) in [
        ("", "日本"),
        ("languages = ['en', 'zh-CN']", "Japan"),
        ("languages = ['de', 'fr']", "Japon"),
    ] {
        let configuration =
            format!("[[database]]\nfile = '{{folder}}/places.mmdb'\n[geo]\n{settings}\n");
        let gateway = Gateway::start_in(&configuration, |folder| {
            std::fs::write(folder.join("places.mmdb"), &file).unwrap();
        });
        assert_eq!(fields(&gateway)[0], expected, "{settings}");
    }
}

#[test]
fn codes_are_looked_up_in_the_users_own_tables() {
    let places = "start,end,country\n1.0.0.0,1.0.0.255,Freedonia\n";
    for (settings, expected) in [("", "None"), ("codes = '{folder}'", "FD")] {
        let configuration =
            format!("[[database]]\nfile = '{{folder}}/places.csv'\n[geo]\n{settings}\n");
        let gateway = Gateway::start_in(&configuration, |folder| {
            std::fs::write(folder.join("places.csv"), places).unwrap();
            std::fs::write(folder.join("country_list.txt"), "Freedonia\tFD\n").unwrap();
        });
        assert_eq!(fields(&gateway)[1], expected, "{settings}");
    }
}
