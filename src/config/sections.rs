//! From the document to the model, one function a section. Every default stands here, and
//! `conf/geogate.toml` shows the same values; a test holds the two together.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::Overrides;
use super::document::{Document, Item, Problem, Problems, Section};
use super::model::{
    AccessLog, Admin, Client, ClientIp, Config, Database, ErrorLog, ForwardedHeader, Geo,
    GeoHeaders, HeaderEncoding, HeaderNames, LogFormat, LogTarget, Peer, Probe, Published, Server,
    TrustedProxies, Upstream,
};
use crate::geo::format::Languages;
use crate::geo::{Field, Names};

/// Reads all sections, or says everything that is wrong.
pub(super) fn config(document: &Document, overrides: &Overrides) -> Result<Config, Vec<Problem>> {
    let problems = Problems::default();
    let root = document.root(&problems);
    let config = Config {
        server: server(&root.section("server"), overrides),
        client: client(&root.section("client")),
        client_ip: client_ip(&root.section("client_ip")),
        databases: databases(&root, overrides),
        geo: geo(&root.section("geo")),
        geo_headers: geo_headers(&root.section("geo_headers")),
        upstream: upstreams(&root, overrides, &problems),
        admin: admin(&root.section("admin")),
        access_log: access_log(&root.section("access_log")),
        error_log: error_log(&root.section("error_log")),
        error_page: error_page(&root.section("error_page")),
    };
    root.refuse_unknown();
    let problems = problems.into_sorted();
    if problems.is_empty() {
        Ok(config)
    } else {
        Err(problems)
    }
}

fn server(section: &Section, overrides: &Overrides) -> Server {
    let mut listen = match section.item("listen").map(|item| item.items()) {
        None => vec![SocketAddr::from(([0, 0, 0, 0], 9000))],
        Some(items) => addresses(&items),
    };
    if section
        .item("listen")
        .is_some_and(|item| item.is_empty_array())
    {
        section.note("listen", "at least one address is needed");
    }
    if !overrides.listen.is_empty() {
        listen.clone_from(&overrides.listen);
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = section.value("workers", cores, |item| match item.string() {
        Ok("auto") => Ok(cores),
        Ok(text) => Err(format!(
            "{text:?} is neither \"auto\" nor a number of threads"
        )),
        Err(_) => item.integer(1, 1024).map(|workers| workers as usize),
    });
    let server = Server {
        listen,
        workers,
        work_stealing: section.value("work_stealing", false, Item::boolean),
        max_open_files: section.value("max_open_files", 65_535, |i| i.integer(64, 1 << 30)),
        grace_period: section.value("grace_period", Duration::from_secs(30), Item::duration),
        pid_file: section.value("pid_file", "/run/geogate/geogate.pid".into(), path),
        upgrade_socket: section.value("upgrade_socket", "/run/geogate/upgrade.sock".into(), path),
    };
    section.refuse_unknown();
    server
}

fn admin(section: &Section) -> Admin {
    let items = section.item("listen").map(|item| item.items());
    let admin = Admin {
        listen: addresses(&items.unwrap_or_default()),
    };
    section.refuse_unknown();
    admin
}

fn addresses(items: &[Item]) -> Vec<SocketAddr> {
    let read = |item: &Item| {
        let text = item.string()?;
        let address = text.parse();
        address.map_err(|_| format!("{text:?} is not an address with a port, as \"0.0.0.0:9000\""))
    };
    items.iter().filter_map(|item| item.read(read)).collect()
}

fn client(section: &Section) -> Client {
    let minute = Duration::from_secs(60);
    let client = Client {
        keepalive_timeout: section.value("keepalive_timeout", Duration::from_secs(65), |item| {
            let duration = item.duration()?;
            if duration.subsec_nanos() != 0 {
                return Err("whole seconds are expected".to_owned());
            }
            Ok(duration)
        }),
        keepalive_requests: section.value("keepalive_requests", 1000, |item| {
            item.integer(1, u64::from(u32::MAX))
                .map(|requests| requests as u32)
        }),
        header_timeout: section.value("header_timeout", minute, Item::duration),
        read_timeout: section.value("read_timeout", minute, Item::duration),
        write_timeout: section.value("write_timeout", minute, Item::duration),
        max_body_size: section.value("max_body_size", 10 << 20, Item::size),
    };
    section.refuse_unknown();
    client
}

fn client_ip(section: &Section) -> ClientIp {
    let network = |item: &Item| {
        let text = item.string()?;
        let address = || {
            text.parse()
                .ok()
                .map(|address: IpAddr| IpNet::from(address))
        };
        let network = text.parse::<IpNet>().ok().or_else(address);
        network.ok_or_else(|| format!("{text:?} is neither an address nor a network"))
    };
    let items = section
        .item("trusted_proxies")
        .map(|item| item.items())
        .unwrap_or_default();
    let networks = items.iter().filter_map(|item| item.read(network)).collect();
    let header = section.value("header", ForwardedHeader::XForwardedFor, |item| {
        one_of(
            item,
            &[
                ("X-Forwarded-For", ForwardedHeader::XForwardedFor),
                ("Forwarded", ForwardedHeader::Forwarded),
            ],
        )
    });
    section.refuse_unknown();
    ClientIp {
        trusted_proxies: TrustedProxies::new(networks),
        header,
    }
}

/// The layers, highest first; the embedded database alone if there are none.
fn databases(root: &Section, overrides: &Overrides) -> Vec<Database> {
    let sections = root.sections("database");
    let databases: Vec<_> = sections.iter().filter_map(database).collect();
    if !overrides.databases.is_empty() {
        return overrides.databases.clone();
    }
    if databases.is_empty() {
        return vec![Database::Embedded];
    }
    databases
}

fn database(section: &Section) -> Option<Database> {
    let given = ["file", "embedded", "url"].map(|key| section.item(key).is_some());
    let database = match given {
        [true, false, false] => section.required("file", path).map(Database::File),
        [_, false, true] => published(section).map(Box::new).map(Database::Published),
        [false, true, false] => section.required("embedded", |item| {
            let embedded = item.boolean()?.then_some(Database::Embedded);
            embedded.ok_or_else(|| "true is all that can be said; leave the section out".to_owned())
        }),
        [false, false, false] => {
            section.note("", "has neither file nor embedded");
            None
        }
        [_, true, _] => {
            let reason = "has embedded and more; each is a [[database]] of its own";
            section.note("", reason);
            None
        }
    };
    section.refuse_unknown();
    database
}

fn published(section: &Section) -> Option<Published> {
    let url = section.required("url", url_of);
    let file = section.required("file", path);
    let day = Duration::from_secs(24 * 60 * 60);
    let published = Published {
        checksum_url: section.value("checksum_url", None, |item| url_of(item).map(Some)),
        interval: section.value("interval", day, |item| {
            let interval = item.duration()?;
            if interval < Duration::from_secs(1) {
                return Err("at least a second is expected".to_owned());
            }
            Ok(interval)
        }),
        timeout: section.value("timeout", Duration::from_secs(600), Item::duration),
        ca_file: section.value("ca_file", None, |item| path(item).map(Some)),
        url: url?,
        file: file?,
    };
    Some(published)
}

fn geo(section: &Section) -> Geo {
    let canonical = section.value("canonical_names", true, Item::boolean);
    let geo = Geo {
        codes: section.value("codes", None, |item| path(item).map(Some)),
        names: if canonical {
            Names::Canonical
        } else {
            Names::Raw
        },
        languages: languages(section),
        watch: section.value("watch", true, Item::boolean),
        max_shrinkage: section.value("max_shrinkage", 0.3, Item::share),
        probes: section.sections("probe").iter().filter_map(probe).collect(),
    };
    section.refuse_unknown();
    geo
}

fn probe(section: &Section) -> Option<Probe> {
    let ip = section.required("ip", |item| {
        let text = item.string()?;
        let ip = text
            .parse()
            .map_err(|_| format!("{text:?} is not an address"));
        ip.map(|ip: IpAddr| ip.to_canonical())
    });
    let expected: Vec<_> = Field::ALL
        .into_iter()
        .filter_map(|field| {
            let text = section.item(field.name())?.read(Item::string)?;
            Some((field, text.to_owned()))
        })
        .collect();
    section.refuse_unknown();
    if expected.is_empty() {
        section.note("", "expects nothing, such as country_code = \"CN\"");
    }
    Some(Probe { ip: ip?, expected })
}

fn languages(section: &Section) -> Languages {
    let Some(item) = section.item("languages") else {
        return Languages::default();
    };
    if item.is_empty_array() {
        section.note("languages", "at least one language is needed");
    }
    let tag = |item: &Item| match item.string()? {
        "" => Err("a language such as \"zh-CN\" is expected".to_owned()),
        tag => Ok(tag.to_owned()),
    };
    let items = item.items();
    Languages::new(items.iter().filter_map(|item| item.read(tag)).collect())
}

fn geo_headers(section: &Section) -> GeoHeaders {
    let headers = GeoHeaders {
        enabled: section.value("enabled", true, Item::boolean),
        names: section.value("names", HeaderNames::Geogate, |item| {
            let known = [
                ("geogate", HeaderNames::Geogate),
                ("cloudflare", HeaderNames::Cloudflare),
                ("cloudfront", HeaderNames::CloudFront),
                ("vercel", HeaderNames::Vercel),
            ];
            one_of(item, &known)
        }),
        more: more_fields(section),
        encoding: section.value("encoding", HeaderEncoding::Percent, |item| {
            let known = [
                ("percent", HeaderEncoding::Percent),
                ("utf-8", HeaderEncoding::Utf8),
            ];
            one_of(item, &known)
        }),
    };
    section.refuse_unknown();
    headers
}

fn more_fields(section: &Section) -> Vec<Field> {
    let field = |item: &Item| {
        let text = item.string()?;
        Field::from_name(text).ok_or_else(|| {
            let known = Field::ALL.map(Field::name).join(", ");
            format!("{text:?} is no field; known: {known}")
        })
    };
    let items = section.item("more").map(|item| item.items());
    let items = items.unwrap_or_default();
    items.iter().filter_map(|item| item.read(field)).collect()
}

fn upstreams(root: &Section, overrides: &Overrides, problems: &Problems) -> Option<Upstream> {
    let sections = root.sections("upstream");
    let mut upstreams: Vec<_> = sections.iter().map(upstream).collect();
    for section in sections.iter().skip(1) {
        section.note(
            "",
            "one upstream is all there can be, as long as there are no routes",
        );
    }
    if overrides.upstream.is_empty() {
        return upstreams.into_iter().next();
    }
    let resolve = |name: &String| {
        let peer = resolve(name).map(|address| Peer { address, weight: 1 });
        peer.map_err(|reason| problems.note(0, "--upstream", reason))
            .ok()
    };
    let peers = overrides.upstream.iter().filter_map(resolve).collect();
    let first = upstreams.drain(..).next();
    let settings = first.unwrap_or_else(|| upstream_settings(&root.absent("upstream")));
    Some(Upstream { peers, ..settings })
}

fn upstream(section: &Section) -> Upstream {
    let mut upstream = upstream_settings(section);
    let peers = section
        .required("peers", |item| Ok(item.items()))
        .unwrap_or_default();
    upstream.peers = peers.iter().filter_map(peer).collect();
    if section
        .item("peers")
        .is_some_and(|item| item.is_empty_array())
    {
        section.note("peers", "at least one peer is needed");
    }
    let twice = upstream.peers.iter().enumerate().find(|(index, peer)| {
        upstream.peers[..*index]
            .iter()
            .any(|other| other.address == peer.address)
    });
    if let Some((index, peer)) = twice {
        let reason = format!("{} stands twice; give it a weight instead", peer.address);
        section.note("peers", format!("[{index}]: {reason}"));
    }
    section.refuse_unknown();
    upstream
}

fn upstream_settings(section: &Section) -> Upstream {
    let seconds = Duration::from_secs;
    let name = |item: &Item| item.string().map(str::to_owned);
    Upstream {
        name: section.value("name", "default".to_owned(), name),
        peers: Vec::new(),
        connect_timeout: section.value("connect_timeout", seconds(5), Item::duration),
        read_timeout: section.value("read_timeout", seconds(60), Item::duration),
        write_timeout: section.value("write_timeout", seconds(60), Item::duration),
        idle_timeout: section.value("idle_timeout", seconds(60), Item::duration),
        keepalive: section.value("keepalive", 4096, |i| Ok(i.integer(1, 1 << 20)? as usize)),
        tries: section.value("tries", 3, |i| Ok(i.integer(1, 16)? as usize)),
        fail_timeout: section.value("fail_timeout", seconds(10), Item::duration),
    }
}

/// `"host:port"`, or `{ address = "host:port", weight = 2 }`.
fn peer(item: &Item) -> Option<Peer> {
    if item.string().is_ok() {
        let address = item.read(peer_address)?;
        return Some(Peer { address, weight: 1 });
    }
    let section = item.section();
    let address = section.required("address", peer_address);
    let weight = section.value("weight", 1, |i| Ok(i.integer(1, 1000)? as usize));
    section.refuse_unknown();
    address.map(|address| Peer { address, weight })
}

fn peer_address(item: &Item) -> Result<SocketAddr, String> {
    resolve(item.string()?)
}

/// The first address of `host:port`. A name is resolved once, at the start.
fn resolve(name: &str) -> Result<SocketAddr, String> {
    let not_found = |reason: &str| format!("{name:?} is not host:port: {reason}");
    let mut addresses = name
        .to_socket_addrs()
        .map_err(|error| not_found(&error.to_string()))?;
    addresses
        .next()
        .ok_or_else(|| not_found("the name has no address"))
}

fn access_log(section: &Section) -> AccessLog {
    let log = AccessLog {
        target: section.value("target", LogTarget::Standard, log_target),
        format: section.value("format", LogFormat::Main, |item| {
            one_of(
                item,
                &[("main", LogFormat::Main), ("json", LogFormat::Json)],
            )
        }),
        flush: section.value("flush", Duration::from_secs(1), Item::duration),
    };
    section.refuse_unknown();
    log
}

fn error_log(section: &Section) -> ErrorLog {
    let log = ErrorLog {
        target: section.value("target", LogTarget::Standard, log_target),
        level: section.value("level", log::LevelFilter::Info, |item| {
            let text = item.string()?;
            let level = text.parse();
            level.map_err(|_| format!("{text:?} is not off, error, warn, info, debug or trace"))
        }),
    };
    section.refuse_unknown();
    log
}

fn error_page(section: &Section) -> Option<PathBuf> {
    let file = section.value("file", None, |item| path(item).map(Some));
    section.refuse_unknown();
    file
}

fn log_target(item: &Item) -> Result<LogTarget, String> {
    Ok(match item.string()? {
        "off" => LogTarget::Off,
        "standard" => LogTarget::Standard,
        "" => return Err("\"off\", \"standard\" or a file is expected".to_owned()),
        file => LogTarget::File(file.into()),
    })
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

fn one_of<T: Copy>(item: &Item, known: &[(&str, T)]) -> Result<T, String> {
    let text = item.string()?;
    let found = known
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(text));
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<_> = known.iter().map(|(name, _)| format!("{name:?}")).collect();
        format!("{text:?} is not {}", names.join(" or "))
    })
}

#[cfg(test)]
mod tests {
    use super::super::{BUILT_IN, ConfigError, parse};
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        let config = parse(text, "file", &Overrides::default());
        config.map_err(|error| error.to_string())
    }

    #[test]
    fn the_built_in_file_shows_the_defaults() {
        let shown = format!("{:?}", read(BUILT_IN).unwrap());
        assert_eq!(shown, format!("{:?}", read("").unwrap()));
    }

    /// The examples in the comments of the built-in file are right, too.
    #[test]
    fn the_commented_lines_of_the_built_in_file_are_valid() {
        let uncommented = BUILT_IN
            .lines()
            .map(|line| line.strip_prefix("#: ").unwrap_or(line));
        let text = uncommented.collect::<Vec<_>>().join("\n");
        let config = read(&text).unwrap();
        assert!(config.upstream.is_some() && config.error_page.is_some());
        assert!(config.databases.len() > 1 && config.geo.codes.is_some());
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
        let found: Vec<_> = problems.iter().map(|p| (p.line, p.key.as_str())).collect();
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
        assert_eq!(config.server.listen, overrides.listen);
        assert_eq!(config.databases, overrides.databases);
        let upstream = config.upstream.unwrap();
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
            error.contains("--upstream: \"127.0.0.1\" is not host:port"),
            "{error}"
        );
    }
}
