//! The database changes while the gateway serves.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::commands::check_configuration;
use crate::harness::{Client, Gateway, PATIENCE, Peer, Port};

/// Between two looks. Without it the looking itself would keep the cores from those who are to do
/// something.
const PAUSE: Duration = Duration::from_millis(5);

const IP: &str = "/api/ip_query?ip=1.0.0.1";

fn country(client: &mut Client) -> String {
    let response = client.get(IP, "");
    assert_eq!(response.status, 200, "{}", response.text());
    let fields: Vec<String> = serde_json::from_slice(&response.body).unwrap();
    fields[0].clone()
}

/// A CSV of so many ranges of one country.
fn csv(country: &str, ranges: usize) -> String {
    let line = |n: usize| format!("1.0.{n}.0,1.0.{n}.9,{country}\n");
    (0..ranges).fold("start,end,country\n".to_owned(), |text, n| text + &line(n))
}

/// Replaces a file as one should.
fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(&new, file).unwrap();
}

/// Lets a symbolic link lead elsewhere in one step.
fn switch(link: &Path, target: &str) {
    let new = link.with_file_name("next");
    std::os::unix::fs::symlink(target, &new).unwrap();
    std::fs::rename(&new, link).unwrap();
}

struct Reloading {
    gateway: Gateway,
    admin: Port,
    client: Client,
}

impl Reloading {
    /// A gateway on `places.csv` in its folder.
    fn start(text: &str, more: &str) -> Reloading {
        Reloading::on("file = '{folder}/places.csv'", more, |folder| {
            std::fs::write(folder.join("places.csv"), text).unwrap();
        })
    }

    fn on(database: &str, more: &str, prepare: impl FnOnce(&Path)) -> Reloading {
        let admin = Port::reserve();
        let configuration = format!(
            "[client]\nkeepalive_requests = 1000000000\n[[database]]\n{database}\n{more}\n[admin]\nlisten = ['{}']\n",
            admin.address
        );
        let gateway = Gateway::start_in(&configuration, prepare);
        let client = gateway.client();
        Reloading {
            gateway,
            admin,
            client,
        }
    }

    fn replace(&self, text: &str) {
        replace(&self.gateway.file("places.csv"), text);
    }

    /// Asks until the country is this one; it may only be `before` until then.
    #[track_caller]
    fn wait_for_country(&mut self, before: &str, after: &str) {
        loop {
            match country(&mut self.client) {
                found if found == after => return,
                found => assert_eq!(found, before),
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Asks the admin listener until a metric has this value.
    #[track_caller]
    fn wait_for_metric(&self, line: &str) {
        let mut client = Client::connect(self.admin.address);
        let start = Instant::now();
        loop {
            let metrics = client.get("/metrics", "");
            if metrics.text().lines().any(|found| found == line) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{}", metrics.text());
            std::thread::sleep(PAUSE);
        }
    }
}

#[test]
fn a_file_that_changes_is_read_again() {
    let mut it = Reloading::start(&csv("中国", 3), "");
    assert_eq!(country(&mut it.client), "中国");
    it.replace(&csv("韩国", 3));
    it.wait_for_country("中国", "韩国");
    // In place, in two steps.
    let (file, text) = (it.gateway.file("places.csv"), csv("日本", 3));
    std::fs::write(&file, &text[..text.len() / 2]).unwrap();
    std::fs::write(&file, &text).unwrap();
    it.wait_for_country("韩国", "日本");
    it.wait_for_metric("geogate_database_info{format=\"csv\",source=\"\",date=\"\"} 1");
}

#[test]
fn a_symbolic_link_may_be_switched() {
    let mut it = Reloading::on("file = '{folder}/places.csv'", "", |folder| {
        std::fs::write(folder.join("a.csv"), csv("中国", 1)).unwrap();
        std::fs::write(folder.join("b.csv"), csv("韩国", 1)).unwrap();
        std::os::unix::fs::symlink("a.csv", folder.join("places.csv")).unwrap();
    });
    switch(&it.gateway.file("places.csv"), "b.csv");
    it.wait_for_country("中国", "韩国");
}

/// A link to a folder further up, as releases have it, and links to links, as Kubernetes has them.
#[test]
fn a_symbolic_link_further_up_may_be_switched() {
    let mut it = Reloading::on("file = '{folder}/places.csv'", "", |folder| {
        for (release, country) in [("1", "中国"), ("2", "韩国"), ("3", "日本")] {
            let release = folder.join("releases").join(release);
            std::fs::create_dir_all(&release).unwrap();
            std::fs::write(release.join("places.csv"), csv(country, 1)).unwrap();
        }
        std::os::unix::fs::symlink("releases/1", folder.join("..data")).unwrap();
        std::os::unix::fs::symlink("..data/places.csv", folder.join("places.csv")).unwrap();
    });
    let link = it.gateway.file("..data");
    switch(&link, "releases/2");
    it.wait_for_country("中国", "韩国");
    // Behind the link that was switched, files are noticed, too.
    let file = it.gateway.file("releases/2/places.csv");
    replace(&file, &csv("中国", 1));
    it.wait_for_country("韩国", "中国");
    switch(&link, "releases/3");
    it.wait_for_country("中国", "日本");
}

#[test]
fn a_bad_database_is_refused_and_the_one_before_serves_on() {
    let probe =
        "[geo]\nmax_shrinkage = '50%'\n[[geo.probe]]\nip = '1.0.1.1'\ncountry_code = 'CN'\n";
    let mut it = Reloading::start(&csv("中国", 4), probe);
    for (count, bad) in [
        "start,end,country\n1.0.0.0,1.0.0.9\n".to_owned(),
        "start,end,country\n".to_owned(),
        "no database at all".to_owned(),
        csv("中国", 1),
        csv("韩国", 4),
    ]
    .iter()
    .enumerate()
    {
        it.replace(bad);
        let refused = count + 1;
        it.wait_for_metric(&format!(
            "geogate_database_reloads_total{{result=\"refused\"}} {refused}"
        ));
        assert_eq!(country(&mut it.client), "中国");
    }
    it.wait_for_metric("geogate_database_reloads_total{result=\"replaced\"} 0");
    // Not a word of it was held against the next good one.
    it.replace(&csv("中国", 5));
    it.wait_for_metric("geogate_database_reloads_total{result=\"replaced\"} 1");
}

/// By default a third of the ranges may be lost.
#[test]
fn a_database_may_shrink_as_far_as_configured() {
    let mut it = Reloading::start(&csv("中国", 4), "[geo]\nmax_shrinkage = '90%'\n");
    it.replace(&csv("韩国", 1));
    it.wait_for_metric("geogate_database_reloads_total{result=\"replaced\"} 1");
    assert_eq!(country(&mut it.client), "韩国");
}

/// Beside a gateway that watches the same file, and has noticed two changes of it.
#[test]
fn a_database_that_is_not_watched_is_read_at_a_reload() {
    let mut watching = Reloading::start(&csv("中国", 4), "");
    let file = watching.gateway.file("places.csv");
    let database = format!("file = '{}'", file.display());
    let mut other = Reloading::on(&database, "[geo]\nwatch = false\n", |_| ());
    for country in ["韩国", "日本"] {
        watching.replace(&csv(country, 4));
        let before = if country == "韩国" {
            "中国"
        } else {
            "韩国"
        };
        watching.wait_for_country(before, country);
    }
    assert_eq!(country(&mut other.client), "中国");
    let reloaded = Client::connect(other.admin.address).request("POST", "/reload", "", b"");
    assert_eq!(reloaded.status, 200);
    assert_eq!(country(&mut other.client), "日本");
}

#[test]
fn a_database_that_fails_a_probe_is_no_start() {
    let said = check_file("[[geo.probe]]\nip = '1.1.1.1'\ncountry_code = 'KR'\n");
    let expected = "geogate.toml: geo.probe: database: probe 1.1.1.1: country_code is \"CN\", \
                    not \"KR\" (line 1)\n";
    assert!(said.ends_with(expected), "{said}");
}

/// What `geogate check` says of a configuration.
fn check_file(text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    check_configuration(folder.path(), text).1
}

#[test]
fn no_query_fails_while_databases_come_and_go() {
    let it = Reloading::start(&csv("中国", 200), "");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let querying: Vec<_> = (0..3)
            .map(|_| {
                let mut client = it.gateway.client();
                let done = &done;
                scope.spawn(move || {
                    let mut asked = 0;
                    while !done.load(Ordering::Relaxed) {
                        let found = country(&mut client);
                        assert!(found == "中国" || found == "韩国", "{found}");
                        asked += 1;
                    }
                    asked
                })
            })
            .collect();
        for turn in 1..=10 {
            let country = if turn % 2 == 0 { "中国" } else { "韩国" };
            it.replace(&csv(country, 200));
            it.wait_for_metric(&format!(
                "geogate_database_reloads_total{{result=\"replaced\"}} {turn}"
            ));
        }
        done.store(true, Ordering::Relaxed);
        for thread in querying {
            assert!(thread.join().unwrap() > 0);
        }
    });
}

/// Answers every request with the current text, on a connection of its own.
struct Publisher {
    port: Port,
    text: Arc<Mutex<String>>,
}

impl Publisher {
    fn start(text: &str) -> Publisher {
        let port = Port::reserve();
        let listener = std::net::TcpListener::bind(port.address).unwrap();
        let text = Arc::new(Mutex::new(text.to_owned()));
        let published = Arc::clone(&text);
        std::thread::spawn(move || {
            use std::io::{BufRead, BufReader, Write};
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                let mut line = String::new();
                while line != "\r\n" {
                    line.clear();
                    if stream.read_line(&mut line).unwrap_or(0) == 0 {
                        break;
                    }
                }
                let text = published.lock().unwrap().clone();
                let status = if text.is_empty() {
                    "404 Not Found"
                } else {
                    "200 OK"
                };
                let length = text.len();
                let _ = write!(
                    stream.get_mut(),
                    "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{text}"
                );
            }
        });
        Publisher { port, text }
    }

    fn publish(&self, text: &str) {
        text.clone_into(&mut self.text.lock().unwrap());
    }
}

#[test]
fn a_published_database_is_followed() {
    let publisher = Publisher::start(&csv("中国", 3));
    let database = format!(
        "url = 'http://{}/places.csv'\nfile = '{{folder}}/places.csv'\ninterval = '1s'",
        publisher.port.address
    );
    let check = |folder: &str| {
        let database = database.replace("{folder}", folder);
        check_file(&format!("[[database]]\n{database}\n"))
    };
    let note = format!(
        "geogate: http://{}/places.csv is not here yet; `geogate run` fetches it\n",
        publisher.port.address
    );
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(check(&empty.path().display().to_string()), note);
    // It would be written there.
    let said = check("/nonexistent");
    let problem = "geogate.toml: database[0].file: /nonexistent: No such file or directory (os error 2) \
                   (line 3)\n";
    assert!(said.starts_with(&note) && said.ends_with(problem), "{said}");
    let mut it = Reloading::on(&database, "", |_| ());
    assert_eq!(country(&mut it.client), "中国");
    let file = it.gateway.file("places.csv");
    let kept = || std::fs::read_to_string(&file).unwrap();
    assert_eq!(kept(), csv("中国", 3));

    publisher.publish(&csv("韩国", 3));
    it.wait_for_country("中国", "韩国");
    assert_eq!(kept(), csv("韩国", 3));

    publisher.publish("no database at all");
    it.wait_for_metric("geogate_database_reloads_total{result=\"refused\"} 1");
    publisher.publish("");
    it.wait_for_metric("geogate_database_fetch_failures_total 1");
    assert_eq!(country(&mut it.client), "韩国");
    assert_eq!(kept(), csv("韩国", 3));
}

/// A request that lasts keeps nothing that was replaced, and nothing waits for it.
#[test]
fn a_web_socket_holds_no_database() {
    let peer = Peer::listen();
    let upstream = format!("[[upstream]]\npeers = ['{}']\n", peer.address);
    let mut it = Reloading::start(&csv("中国", 3), &upstream);
    let mut sockets = Vec::new();
    for (before, after) in [("中国", "韩国"), ("韩国", "日本"), ("日本", "中国")] {
        let mut client = it.gateway.client();
        client.send(
            "GET /ws HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        );
        let mut upstream = peer.accept();
        upstream.head();
        upstream.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        );
        assert_eq!(client.response().status, 101);
        sockets.push((client, upstream));
        it.replace(&csv(after, 3));
        it.wait_for_country(before, after);
        let mut admin = Client::connect(it.admin.address);
        assert_eq!(admin.request("POST", "/reload", "", b"").status, 200);
        // A query or a scrape that has just ended may hold it for a moment longer.
        it.wait_for_metric("geogate_database_retired 0");
    }
    it.wait_for_metric("geogate_database_reloads_total{result=\"replaced\"} 3");
    for (client, upstream) in &mut sockets {
        upstream.send("still here");
        let mut bytes = [0; 10];
        client.read_exact(&mut bytes);
        assert_eq!(&bytes, b"still here");
    }
}

/// A log that was replaced is written to its end by its own thread.
#[test]
fn a_log_that_nobody_reads_holds_up_no_reload() {
    let mut it = Reloading::on(
        "file = '{folder}/places.csv'",
        "[access_log]\ntarget = '{folder}/pipe'\n",
        |folder| {
            std::fs::write(folder.join("places.csv"), csv("中国", 3)).unwrap();
            let mut make = std::process::Command::new("mkfifo");
            assert!(make.arg(folder.join("pipe")).status().unwrap().success());
            // Its reader does not read.
            let mut options = std::fs::OpenOptions::new();
            let reader = options.read(true).write(true).open(folder.join("pipe"));
            std::mem::forget(reader.unwrap());
        },
    );
    let filler = "x".repeat(4000);
    for _ in 0..100 {
        // More than a pipe holds.
        let path = format!("{IP}&{filler}");
        assert_eq!(it.client.get(&path, "").status, 200);
    }
    let reload = || {
        let response = Client::connect(it.admin.address).request("POST", "/reload", "", b"");
        assert_eq!((response.status, response.text()), (200, "reloaded\n"));
    };
    it.gateway
        .reconfigure(|text| text.replace("/pipe'", "/other.log'"));
    reload();
    // Before this one the log of the first is gone.
    reload();
    assert_eq!(country(&mut it.client), "中国");
}
