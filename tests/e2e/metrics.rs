//! `/metrics` as scrapers read it: in the format that they ask for, and well-formed.

use std::collections::{BTreeMap, BTreeSet};

use crate::harness::{Authority, Client, Gateway, Origin, Port};

const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A gateway that has something to tell in every family, and its admin listener.
fn start(origin: &Origin) -> (Gateway, Port) {
    let (admin, authority) = (Port::reserve(), Authority::new());
    let configuration = format!(
        "[server]\nlisten = ['{{address}}']\n\
         [tls]\ncertificates = [{{ cert = '{{folder}}/a.pem', key = '{{folder}}/a.key' }}]\n\
         client_auth = 'optional'\nclient_ca = '{{folder}}/ca.pem'\n\
         [admin]\nlisten = ['{}']\n\
         [[access]]\nname = 'office'\ndefault = 'allow'\nrules = []\n\
         [[rate_limit]]\nname = 'clients'\nrate = '1000/s'\n\
         [limits]\naccess = 'office'\nrate_limit = 'clients'\n\
         [[upstream]]\nname = 'api \"1\"'\npeers = ['{}']\n\
         [[route]]\nname = 'all \\\\'\nmax_requests = 100\nupstream = 'api \"1\"'\n",
        admin.address, origin.address
    );
    let gateway = Gateway::start_in(&configuration, |folder| {
        authority.sign(&["localhost"]).write(folder, "a");
        std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    });
    let mut client = gateway.client();
    assert_eq!(client.get("/", "").status, 200);
    assert_eq!(client.get("/api/ip_query?ip=1.0.0.1", "").status, 200);
    (gateway, admin)
}

#[test]
fn the_format_is_the_one_that_is_asked_for() {
    let origin = Origin::start();
    let (_gateway, admin) = start(&origin);
    let mut client = Client::connect(admin.address);
    for (accept, expected) in [
        ("", PROMETHEUS),
        ("Accept: */*\r\n", PROMETHEUS),
        ("Accept: text/plain;version=0.0.4\r\n", PROMETHEUS),
        ("Accept: text/html\r\n", PROMETHEUS),
        (
            "Accept: application/openmetrics-text; version=1.0.0\r\n",
            OPEN_METRICS,
        ),
        (
            "Accept: application/openmetrics-text;q=0.3, text/plain;q=0.4\r\n",
            PROMETHEUS,
        ),
        (
            "Accept: text/plain;q=0.3\r\nAccept: application/openmetrics-text;q=0.4\r\n",
            OPEN_METRICS,
        ),
        (
            "Accept: application/openmetrics-text;version=1.0.0;q=0.5,\
             application/openmetrics-text;version=0.0.1;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2\r\n",
            OPEN_METRICS,
        ),
    ] {
        let response = client.get("/metrics", accept);
        assert_eq!(response.header("content-type"), Some(expected), "{accept}");
        assert_eq!(response.header("vary"), Some("Accept"));
        let has_end = response.text().ends_with("\n# EOF\n");
        assert_eq!(has_end, expected == OPEN_METRICS, "{accept}");
    }
}

#[test]
fn both_formats_are_well_formed_and_have_the_same_samples() {
    let origin = Origin::start();
    let (_gateway, admin) = start(&origin);
    let mut client = Client::connect(admin.address);
    let text = client.get("/metrics", "");
    let open = client.get("/metrics", "Accept: application/openmetrics-text\r\n");
    let text = Exposition::read(text.text(), false);
    let open = Exposition::read(open.text(), true);
    assert_eq!(text.samples, open.samples);
    for family in [
        "geogate_config_reloads_total",
        "geogate_certificate_reloads_total",
    ] {
        assert_eq!(text.types[family], "counter");
    }
    assert_eq!(open.types["geogate_config_reloads"], "counter");
    assert_eq!(text.types["geogate_build_info"], "gauge");
    assert_eq!(open.types["geogate_build"], "info");
    let histogram = "geogate_request_duration_seconds";
    assert_eq!(
        [text.types[histogram], open.types[histogram]],
        ["histogram"; 2]
    );
}

/// Metrics, read by the rules of their format.
#[derive(Default)]
struct Exposition<'t> {
    /// By family.
    types: BTreeMap<&'t str, &'t str>,
    /// Names with their labels.
    samples: BTreeSet<&'t str>,
}

impl<'t> Exposition<'t> {
    #[track_caller]
    fn read(text: &'t str, is_open_metrics: bool) -> Exposition<'t> {
        let mut exposition = Exposition::default();
        let mut helped = BTreeSet::new();
        let mut family = "";
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["#", "HELP", name, _, ..] => {
                    assert!(helped.insert(name), "a second {line}");
                    family = name;
                }
                ["#", "TYPE", name, kind] => {
                    assert_eq!(name, family, "{line} is not behind its help");
                    assert_eq!(exposition.types.insert(name, kind), None, "a second {line}");
                    let kinds: &[_] = if is_open_metrics {
                        &["counter", "gauge", "histogram", "info"]
                    } else {
                        &["counter", "gauge", "histogram"]
                    };
                    assert!(kinds.contains(&kind), "{line}");
                }
                ["#", "UNIT", name, unit] if is_open_metrics => {
                    assert!(name == family && name.ends_with(unit), "{line}");
                }
                ["#", "EOF"] if is_open_metrics => {
                    assert_eq!(lines.peek(), None, "nothing is behind the end");
                }
                _ => exposition.add(family, line, is_open_metrics),
            }
        }
        assert!(text.ends_with('\n'));
        assert_eq!(is_open_metrics, text.ends_with("# EOF\n"));
        exposition
    }

    #[track_caller]
    fn add(&mut self, family: &'t str, line: &'t str, is_open_metrics: bool) {
        let (sample, value) = line.rsplit_once(' ').expect("a sample and its value");
        let value: f64 = value.parse().expect("a number");
        assert!(self.samples.insert(sample), "a second {sample}");
        let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
        let labels = labels.strip_suffix('}').expect("labels in braces");
        check_labels(labels);
        let suffixes: &[_] = match (self.types[family], is_open_metrics) {
            ("counter", true) => &["_total"],
            ("info", _) => &["_info"],
            ("histogram", _) => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        let suffix = name.strip_prefix(family).expect("a sample of its family");
        assert!(suffixes.contains(&suffix), "{line} in {family}");
        if self.types[family] == "counter" {
            assert!(name.ends_with("_total") && value >= 0.0, "{line}");
        }
        assert_eq!(suffix == "_bucket", labels.contains("le=\""), "{line}");
    }
}

/// `name="value",...`, in values a backslash before a backslash, a quote or an `n`.
#[track_caller]
fn check_labels(mut labels: &str) {
    while !labels.is_empty() {
        let (name, rest) = labels.split_once("=\"").expect("a name and a quote");
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        assert!(!name.is_empty() && name.bytes().all(is_name), "{labels}");
        let mut bytes = rest.bytes().enumerate();
        let end = loop {
            match bytes.next().expect("the end of a value") {
                (_, b'\\') => {
                    let (_, escaped) = bytes.next().unwrap();
                    assert!(b"\\\"n".contains(&escaped), "{labels}");
                }
                (end, b'"') => break end,
                _ => {}
            }
        };
        labels = rest[end + 1..].trim_start_matches(',');
    }
}
