//! A gateway that runs in this process until it is dropped.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;

use geogate::config::{self, Overrides};
use geogate::geo::format::dat;
use geogate::server::{Server, Stop, StopHandle};
use tempfile::TempDir;

use super::{Client, Port};

/// Inclusive ends with their texts, as a .dat file has them.
const PLACES: [([u8; 4], &str); 7] = [
    ([0, 255, 255, 255], "保留地址\t保留地址\t\t"),
    ([1, 0, 255, 255], "中国\t福建\t福州\t某大学\t电信"),
    ([1, 2, 255, 255], "韩国\t韩国\t\t"),
    (
        [126, 255, 255, 255],
        "美国\t加利福尼亚\t\"Quoted\" City\t\tComcast",
    ),
    ([127, 255, 255, 255], "本机地址\t本机地址\t\t"),
    ([255, 255, 254, 255], ""),
    ([255, 255, 255, 255], "TEST\t2026010203\t\t"),
];

/// Configuration of a database of one range that a process reads at once, where the embedded one
/// takes seconds of a debug build. The file is in this folder.
pub fn small_database(folder: &Path) -> String {
    let file = folder.join("small.csv");
    std::fs::write(&file, "cidr,country\n1.0.0.0/8,中国\n").unwrap();
    format!("[[database]]\nfile = '{}'\n", file.display())
}

pub struct Gateway {
    pub address: SocketAddr,
    pub folder: TempDir,
    stop: Option<StopHandle>,
    thread: Option<JoinHandle<()>>,
    _port: Port,
}

impl Gateway {
    /// Starts a gateway with this configuration, in which `{folder}` is its own folder. The
    /// listener, the database and the access log are set, unless it says otherwise. One that
    /// says what its listeners are has `{address}` for the gateway's.
    pub fn start(configuration: &str) -> Gateway {
        Gateway::start_in(configuration, |_| ())
    }

    /// As [`Gateway::start`], with more files in the folder.
    pub fn start_in(configuration: &str, prepare: impl FnOnce(&Path)) -> Gateway {
        let (port, folder) = (Port::reserve(), tempfile::tempdir().unwrap());
        let (database, log) = (
            folder.path().join("places.dat"),
            folder.path().join("access.log"),
        );
        std::fs::write(&database, database_file()).unwrap();
        prepare(folder.path());
        let sections = [
            ("[[database]]", format!("file = '{}'", database.display())),
            ("[access_log]", format!("target = '{}'", log.display())),
            ("[server]", "workers = 1\nwork_stealing = true".to_owned()),
        ];
        let mut text = configuration
            .replace("{folder}", &folder.path().display().to_string())
            .replace("{address}", &port.address.to_string());
        for (section, setting) in sections {
            let key = setting.split(' ').next().unwrap_or_default();
            let has_key = configuration.contains(&format!("{section}\n{key} ="));
            if has_key || configuration.contains("[[database]]\n") && section == "[[database]]" {
                continue;
            }
            if !text.contains(section) {
                text = format!("{text}\n{section}\n");
            }
            text = text.replacen(section, &format!("{section}\n{setting}\n"), 1);
        }
        let listen = if configuration.contains("{address}") {
            Vec::new()
        } else {
            vec![port.address]
        };
        let file = folder.path().join("geogate.toml");
        std::fs::write(&file, text).unwrap();
        let overrides = Overrides {
            listen,
            ..Overrides::default()
        };
        let load = move || config::load(Some(&file), &overrides);
        let server = Server::prepare(load().unwrap(), false).unwrap();
        let server = server.reloading(Box::new(load));
        let (stop, stopped) = Stop::handle();
        let (listening, is_listening) = channel();
        let thread = std::thread::spawn(move || {
            server.run(stopped, || listening.send(()).unwrap()).unwrap();
        });
        is_listening.recv().expect("the gateway listens");
        Gateway {
            address: port.address,
            folder,
            stop: Some(stop),
            thread: Some(thread),
            _port: port,
        }
    }

    /// A gateway with these peers and more configuration.
    pub fn with_peers(peers: &[SocketAddr], upstream: &str, more: &str) -> Gateway {
        let peers: Vec<_> = peers
            .iter()
            .map(|peer| format!("{:?}", peer.to_string()))
            .collect();
        let peers = peers.join(", ");
        Gateway::start(&format!(
            "{more}\n[[upstream]]\npeers = [{peers}]\n{upstream}\n"
        ))
    }

    /// A gateway for HTTP/1 and, without TLS, HTTP/2, with one peer and more for its upstream.
    pub fn h2c(peer: SocketAddr, upstream: &str) -> Gateway {
        Gateway::start(&format!(
            "[server]\nlisten = [{{ address = '{{address}}', h2c = true }}]\n\
             [[upstream]]\npeers = ['{peer}']\n{upstream}\n"
        ))
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Changes its configuration file; a reload reads it.
    pub fn reconfigure(&self, change: impl FnOnce(String) -> String) {
        let file = self.file("geogate.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, change(text)).unwrap();
    }

    /// Stops the gateway; the lines of its access log.
    pub fn stop(mut self) -> Vec<String> {
        self.shut_down();
        self.log()
    }

    /// The lines of its access log so far.
    pub fn log(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.file("access.log")).unwrap();
        log.lines().map(str::to_owned).collect()
    }

    /// Stops the gateway; its folder stays.
    pub fn shut_down(&mut self) {
        if let (Some(stop), Some(thread)) = (self.stop.take(), self.thread.take()) {
            stop.stop();
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.expect("the gateway ends well");
            }
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.shut_down();
    }
}

fn database_file() -> Vec<u8> {
    let entry = |(last, text): ([u8; 4], &str)| (u32::from_be_bytes(last), text.into());
    dat::write(&PLACES.map(entry))
}
