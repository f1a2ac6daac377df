//! Conversion of the parsed file into the model, one function for each section. Every default is
//! defined here; `conf/geogate.toml` shows the same values, and a test compares the two.

mod access;
mod auth;
mod compression;
mod database;
mod files;
mod geo_headers;
mod limit;
mod log;
mod route;
mod server;
mod syslog;
mod tls;
mod tracing;
mod upstream;
mod variable;

use std::path::PathBuf;

use super::Overrides;
use super::document::{Document, Item, Problem, Problems, Section};
use super::model::Config;
use super::suggest::did_you_mean;

/// Reads all sections and returns the configuration with all problems in them.
pub(super) fn config(document: &Document, overrides: &Overrides) -> (Config, Vec<Problem>) {
    let problems = Problems::default();
    let config = read(document, overrides, &problems);
    (config, problems.into_sorted(&document.secrets))
}

/// Reads all sections and notes the problems in them, and the uses of keys if they are recorded.
pub(super) fn read(document: &Document, overrides: &Overrides, problems: &Problems) -> Config {
    let root = document.root(problems);
    // It is replaced by the files that it names before any section is read.
    root.item("include");
    let named = limit::Named::read(&root);
    let own = variable::variables(&root);
    let (access_log, extra_logs) = log::access_logs(&root, &own);
    let upstreams = upstream::upstreams(&root, overrides, problems);
    let server = server::server(&root.section("server"), overrides);
    // The command line may replace the listeners that routes name.
    let listeners = (&server.listen[..], overrides.listen.is_empty());
    let config = Config {
        tls: tls::tls(&root.section("tls")),
        http2: tls::http2(&root.section("http2")),
        client: server::client(&root.section("client")),
        client_ip: server::client_ip(&root.section("client_ip")),
        databases: database::databases(&root, overrides),
        geo: database::geo(&root.section("geo")),
        geo_headers: geo_headers::geo_headers(&root.section("geo_headers")),
        routes: route::routes(
            &root,
            route::Known {
                upstreams: &upstreams,
                listeners,
                limits: &named,
                own: &own,
                logs: &extra_logs,
            },
            overrides,
            problems,
        ),
        server,
        upstreams,
        own_variables: own,
        limits: limit::limits(&root.section("limits"), &named),
        query: limit::query(&root.section("query"), &named),
        access: named.access,
        auth: named.auth,
        rate_limits: named.rate_limits,
        compression: compression::compression(&root.section("compression")),
        admin: server::admin(&root.section("admin")),
        access_log,
        extra_logs,
        error_log: log::error_log(&root.section("error_log")),
        request_ids: tracing::request_ids(&root.section("request_id")),
        tracing: tracing::tracing(&root.section("tracing")),
        error_page: error_page(&root.section("error_page")),
    };
    server::check_listeners(&root, &config);
    server::refuse_listening_twice(&root, overrides, problems);
    root.refuse_unknown();
    config
}

fn error_page(section: &Section) -> Option<PathBuf> {
    let file = section.value("file", None, |item| path(item).map(Some));
    section.refuse_unknown();
    file
}

fn url_of(item: &Item) -> Result<String, String> {
    let text = item.string()?;
    let uri: Option<http::Uri> = text.parse().ok();
    let known = |uri: &http::Uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()
    };
    if uri.is_some_and(|uri| known(&uri)) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{text:?} is not a URL such as \"https://example.com/places.pack\""
        ))
    }
}

fn path(item: &Item) -> Result<PathBuf, String> {
    match item.string()? {
        "" => Err("a path is expected".to_owned()),
        path => Ok(path.into()),
    }
}

/// A name that can stand in logs, metrics and headers as it is.
fn name(item: &Item) -> Result<String, String> {
    let text = item.string()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if text.is_empty() || !text.bytes().all(plain) {
        return Err(format!(
            "{text:?} is no name of letters, digits, '-', '_' and '.'"
        ));
    }
    Ok(text.to_owned())
}

fn one_of<T: Copy>(item: &Item, known: &[(&str, T)]) -> Result<T, String> {
    let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
    let text = item.name_of(&names)?;
    let found = known
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(text));
    found.map(|(_, value)| *value).ok_or_else(|| {
        let meant = did_you_mean(text, names.iter().copied());
        let names: Vec<_> = names.iter().map(|name| format!("{name:?}")).collect();
        format!("{text:?} is not {}{meant}", names.join(" or "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{Database, Listener};
    use crate::config::{BUILT_IN, ConfigError, parse};

    fn read(text: &str) -> Result<Config, String> {
        let config = parse(text, "file", &Overrides::default());
        config.map_err(|error| error.to_string())
    }

    #[test]
    fn the_built_in_file_shows_the_defaults() {
        let shown = format!("{:?}", read(BUILT_IN).unwrap());
        assert_eq!(shown, format!("{:?}", read("").unwrap()));
    }

    /// Reads the built-in file with the examples in its comments enabled.
    #[test]
    fn the_commented_lines_of_the_built_in_file_are_valid() {
        let uncommented = BUILT_IN
            .lines()
            .map(|line| line.strip_prefix("#: ").unwrap_or(line));
        let text = uncommented.collect::<Vec<_>>().join("\n");
        let config = read(&text).unwrap();
        assert!(!config.upstreams.is_empty() && config.error_page.is_some());
        assert!(config.databases.len() > 1 && config.geo.codes.is_some());
    }

    /// The example of an edge host is the first block of the file.
    #[test]
    fn the_first_example_of_the_built_in_file_is_valid() {
        let example: Vec<_> = BUILT_IN
            .lines()
            .skip_while(|line| !line.starts_with("#     "))
            .take_while(|line| *line == "#" || line.starts_with("#     "))
            .map(|line| line.trim_start_matches('#').trim_start())
            .collect();
        assert!((10..=16).contains(&example.len()), "{}", example.len());
        let config = read(&example.join("\n")).unwrap();
        assert_eq!(config.server.listen.len(), 2);
        assert_eq!(config.upstreams[0].peers.len(), 2);
        assert!(config.tls.is_some());
    }

    #[track_caller]
    fn check_upstream(settings: &str, expected: &str) {
        let text = format!("[[upstream]]\n{settings}");
        let found = read(&text).map_or_else(|problems| problems, |_| String::new());
        assert_eq!(found, expected);
    }

    #[test]
    fn the_name_of_a_peer_of_tls_is_known_if_it_is_to_be_verified() {
        check_upstream("peers = ['app.example:443']\ntls = true\n", "");
        check_upstream(
            "peers = ['1.2.3.4:443']\ntls = true\nsni = 'app.example'\n",
            "",
        );
        check_upstream("peers = ['1.2.3.4:443']\ntls = true\nverify = false\n", "");
        let has_none = "has no name that its certificate could be checked for: set sni";
        check_upstream(
            "peers = ['a:1', '1.2.3.4:443']\ntls = true\n",
            &format!("file: upstream[0].peers[1]: 1.2.3.4:443 {has_none} (line 2)"),
        );
        check_upstream(
            "peers = [{ srv = '_https._tcp.example' }]\ntls = true\n",
            &format!("file: upstream[0].peers[0]: _https._tcp.example {has_none} (line 2)"),
        );
    }

    #[test]
    fn what_would_mean_nothing_is_refused() {
        let peers = "peers = ['127.0.0.1:1']";
        for (settings, key, reason) in [
            ("sni = 'a'", "sni", "without tls = true"),
            ("verify = false", "verify", "without tls = true"),
            (
                "hash_key = 'client_ip'",
                "hash_key",
                "without balance = \"hash\"",
            ),
            (
                "sticky_key = '0123456789abcdef'",
                "sticky_key",
                "without sticky_cookie",
            ),
            (
                "health_check = { type = 'tcp', path = '/' }",
                "health_check.path",
                "with type = \"tcp\"",
            ),
        ] {
            check_upstream(
                &format!("{peers}\n{settings}\n"),
                &format!("file: upstream[0].{key}: means nothing {reason} (line 3)"),
            );
        }
    }

    #[test]
    fn a_connection_that_names_its_client_serves_it_alone() {
        let text = "peers = ['127.0.0.1:1']\nsend_proxy_protocol = 'v2'\n";
        check_upstream(text, "");
        check_upstream(
            &format!("{text}keepalive = 1\n"),
            "file: upstream[0].keepalive: a connection that names its client serves no other one (line 4)",
        );
        check_upstream(
            &format!("{text}protocol = 'http2'\n"),
            "file: upstream[0].send_proxy_protocol: is for upstreams with protocol = \"http1\" (line 3)",
        );
    }

    #[test]
    fn peers_are_addresses_names_and_services() {
        for (peer, reason) in [
            ("'localhost:80'", ""),
            ("'[::1]:80'", ""),
            ("{ srv = '_http._tcp.example.' }", ""),
            (
                "'localhost'",
                "\"localhost\" is not host:port or unix:/path: it has no port",
            ),
            (
                "'a b:80'",
                "\"a b:80\" is not host:port or unix:/path: \"a b\" is no name of a host",
            ),
            (
                "'1.2.3:80'",
                "\"1.2.3:80\" is not host:port or unix:/path: \"1.2.3\" is no name of a host",
            ),
            (
                "'a:0'",
                "\"a:0\" is not host:port or unix:/path: the port is no number from 1 to 65535",
            ),
            (
                "'1.2.3.4:0'",
                "\"1.2.3.4:0\" is not host:port or unix:/path: no port is 0",
            ),
        ] {
            let problem = format!("file: upstream[0].peers[0]: {reason} (line 2)");
            let expected = if reason.is_empty() { "" } else { &problem };
            check_upstream(&format!("peers = [{peer}]\n"), expected);
        }
        check_upstream(
            "peers = [{ address = '127.0.0.1:1', drain = true }]\n",
            "file: upstream[0].peers: no peer is left that takes new clients (line 2)",
        );
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let text = "
            [server]
            listen = ['0.0.0.0']
            workers = 0
            [client_ip]
            trusted_proxies = ['10.0.0.0/8', '10.0.0.0/33']
            [[upstream]]
            peers = ['127.0.0.1:1', '127.0.0.1:1', { address = '127.0.0.1:2', weight = 0 }]
            [gzip]
        ";
        let Err(ConfigError::Wrong { problems, .. }) = parse(text, "file", &Overrides::default())
        else {
            panic!("a wrong configuration was taken")
        };
        let found: Vec<_> = problems
            .iter()
            .map(|p| (p.line(), p.key.as_str()))
            .collect();
        let expected = [
            (3, "server.listen[0]"),
            (4, "server.workers"),
            (6, "client_ip.trusted_proxies[1]"),
            (8, "upstream[0].peers"),
            (8, "upstream[0].peers[2].weight"),
            (9, "gzip"),
        ];
        assert_eq!(found, expected);
    }

    #[track_caller]
    fn check_databases(text: &str, expected: &[Database]) {
        assert_eq!(read(text).unwrap().databases, expected);
    }

    #[track_caller]
    fn check_problem(text: &str, expected: &str) {
        assert_eq!(read(text).unwrap_err(), expected);
    }

    #[test]
    fn databases_are_layers_highest_first() {
        let file = |name: &str| Database::File(name.into());
        check_databases("", &[Database::Embedded]);
        check_databases(
            "[[database]]\nfile = 'a'\n[[database]]\nfile = 'b'\n[[database]]\nembedded = true\n",
            &[file("a"), file("b"), Database::Embedded],
        );
    }

    #[test]
    fn a_database_is_one_thing() {
        check_problem(
            "[[database]]\nfile = 'a'\nembedded = true\n",
            "file: database[0]: has embedded and more; each is a [[database]] of its own (line 1)",
        );
        check_problem(
            "[[database]]\n",
            "file: database[0]: has neither file nor embedded (line 1)",
        );
        check_problem(
            "[[database]]\nembedded = false\n",
            "file: database[0].embedded: true is all that can be said; leave the section out (line 2)",
        );
        check_problem(
            "[database]\nfile = 'a'\n",
            "file: database: an array is expected, not a table (line 1)",
        );
    }

    #[test]
    fn languages_are_a_list_best_first() {
        let config = read("[geo]\nlanguages = ['en', 'de']\n").unwrap();
        let languages: Vec<_> = config.geo.languages.iter().collect();
        assert_eq!(languages, ["en", "de"]);
        check_problem(
            "[geo]\nlanguages = []\n",
            "file: geo.languages: at least one language is needed (line 2)",
        );
    }

    #[test]
    fn the_command_line_goes_above_the_file() {
        let overrides = Overrides {
            listen: vec!["127.0.0.1:80".parse().unwrap()],
            upstream: vec!["127.0.0.1:8080".to_owned(), "127.0.0.1:8081".to_owned()],
            databases: vec![Database::File("x.csv".into()), Database::Embedded],
        };
        let text = "[[upstream]]\npeers = ['127.0.0.1:1']\ntries = 2\n[[database]]\nfile = 'y'\n";
        let config = parse(text, "file", &overrides).unwrap();
        let expected = overrides.listen.iter().copied().map(Listener::plain);
        assert_eq!(config.server.listen, expected.collect::<Vec<_>>());
        assert_eq!(config.databases, overrides.databases);
        let [upstream] = &config.upstreams[..] else {
            panic!("{:?}", config.upstreams)
        };
        assert_eq!((upstream.peers.len(), upstream.tries), (2, 2));
    }

    #[test]
    fn a_peer_of_the_command_line_must_be_an_address() {
        let overrides = Overrides {
            upstream: vec!["127.0.0.1".to_owned()],
            ..Overrides::default()
        };
        let error = parse("", "file", &overrides).unwrap_err().to_string();
        assert!(
            error.contains("--upstream: \"127.0.0.1\" is not host:port or unix:/path"),
            "{error}"
        );
    }
}
