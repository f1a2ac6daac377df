//! The engine that serves requests, for each pair of versions of HTTP: a gateway whose clients and
//! upstreams speak these versions, and a client that takes the same steps in both.
//!
//! A test that runs on every engine of [`ENGINES`] shows that none of them differs from the others. It
//! fails if its requests were not served in the versions that it asked for: when a [`Chain`] ends, it
//! looks at the metric that counts them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{Client, EngineClient, Gateway, Http2, PATIENCE, Port, QUERY_FORMS};

/// Versions of HTTP of the client and of the upstream, as the metrics name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Engine {
    pub client: &'static str,
    pub upstream: &'static str,
}

const fn engine(client: &'static str, upstream: &'static str) -> Engine {
    Engine { client, upstream }
}

pub const ENGINES: [Engine; 4] = [
    engine("http1", "http1"),
    engine("http1", "http2"),
    engine("http2", "http1"),
    engine("http2", "http2"),
];

/// For tests that play a client of HTTP/1 by hand.
pub const HTTP1_CLIENT_ENGINES: [Engine; 2] = [ENGINES[0], ENGINES[1]];

/// For tests that play an upstream of HTTP/1 by hand, or of HTTP/2.
pub const HTTP1_UPSTREAM_ENGINES: [Engine; 2] = [ENGINES[0], ENGINES[2]];
pub const HTTP2_UPSTREAM_ENGINES: [Engine; 2] = [ENGINES[1], ENGINES[3]];

/// For requests that the gateway answers itself.
pub const LOCAL_ENGINES: [Engine; 2] = [engine("http1", "none"), engine("http2", "none")];

/// A gateway between clients and upstreams, in the versions of an engine.
pub struct Chain {
    pub engine: Engine,
    pub admin: Port,
    gateway: Gateway,
    /// Number of responses that the engine gave to clients.
    served: Arc<AtomicUsize>,
    reaches_a_peer: bool,
    is_checked: bool,
}

/// A peer that speaks HTTP/1 only, as an engine reaches it: behind a second gateway if its upstream
/// is of HTTP/2.
pub struct Bridge {
    pub address: SocketAddr,
    _second: Option<Gateway>,
}

impl Engine {
    pub fn is_http1(self) -> bool {
        self.client == "http1"
    }

    /// The forms in which its client may send an IP query: `Connection` is of HTTP/1 alone.
    pub fn query_forms(self) -> &'static [&'static str] {
        &QUERY_FORMS[..if self.is_http1() { 2 } else { 1 }]
    }

    /// Starts a gateway as [`Gateway::start`] does. Its listener, and the protocol of its upstreams,
    /// are those of the engine.
    pub fn start(self, configuration: &str) -> Chain {
        self.start_in(configuration, |_| ())
    }

    /// As [`Engine::start`], with more files in the folder.
    pub fn start_in(self, configuration: &str, prepare: impl FnOnce(&Path)) -> Chain {
        let admin = Port::reserve();
        let upstream = match self.upstream {
            "http2" => "[[upstream]]\nprotocol = 'http2'\n",
            _ => "[[upstream]]\n",
        };
        let configuration = format!(
            "[server]\nlisten = [{{ address = '{{address}}', h2c = true }}]\n\
             [admin]\nlisten = ['{}']\n{}",
            admin.address,
            configuration.replace("[[upstream]]\n", upstream)
        );
        Chain {
            engine: self,
            gateway: Gateway::start_in(&configuration, prepare),
            admin,
            served: Arc::default(),
            reaches_a_peer: self.upstream != "none",
            is_checked: false,
        }
    }

    /// Starts a gateway with these peers and more configuration.
    pub fn with_peers(self, peers: &[SocketAddr], upstream: &str, more: &str) -> Chain {
        let peers: Vec<_> = peers.iter().map(|peer| format!("'{peer}'")).collect();
        let peers = peers.join(", ");
        self.start(&format!(
            "{more}\n[[upstream]]\npeers = [{peers}]\n{upstream}\n"
        ))
    }

    pub fn bridge(self, peer: SocketAddr) -> Bridge {
        let second = (self.upstream == "http2").then(|| Gateway::h2c(peer, "max_fails = 0"));
        Bridge {
            address: second.as_ref().map_or(peer, |second| second.address),
            _second: second,
        }
    }
}

impl Chain {
    pub fn client(&self) -> EngineClient {
        let served = Arc::clone(&self.served);
        if self.engine.is_http1() {
            EngineClient::http1(self.gateway.client(), served)
        } else {
            EngineClient::http2(Http2::connect(self.gateway.address), served)
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.gateway.address
    }

    /// A client of HTTP/1 that the test plays by hand.
    pub fn http1_client(&self) -> Client {
        self.gateway.client()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.gateway.file(name)
    }

    /// Changes its configuration file and reads it again; status and text of the answer.
    pub fn reload(&self, change: impl FnOnce(String) -> String) -> (u16, String) {
        self.gateway.reconfigure(change);
        let response = Client::connect(self.admin.address).request("POST", "/reload", "", b"");
        (response.status, response.text().to_owned())
    }

    /// The lines of its access log so far.
    pub fn log(&self) -> Vec<String> {
        self.gateway.log()
    }

    /// For a test in which no peer can be connected to.
    pub fn unreached(mut self) -> Chain {
        self.reaches_a_peer = false;
        self
    }

    pub fn metrics(&self) -> String {
        let response = Client::connect(self.admin.address).get("/metrics", "");
        response.text().to_owned()
    }

    /// Stops the gateway; the lines of its access log.
    pub fn stop(mut self) -> Vec<String> {
        self.check_versions();
        self.gateway.shut_down();
        self.gateway.log()
    }

    /// Checks that all requests were served in the versions of the engine. A request is counted a
    /// moment after its response.
    #[track_caller]
    fn check_versions(&mut self) {
        self.is_checked = true;
        let Engine { client, upstream } = self.engine;
        let of = |upstream: &str| format!("client=\"{client}\",upstream=\"{upstream}\"");
        let start = Instant::now();
        loop {
            let metrics = self.metrics();
            let counts = metrics.lines().filter_map(|line| {
                let line = line.strip_prefix("geogate_engine_requests_total{")?;
                let (labels, count) = line.split_once("} ")?;
                Some((labels, count.parse::<usize>().unwrap()))
            });
            let (mut forwarded, mut local) = (0, 0);
            for (labels, count) in counts {
                if labels == of("none") {
                    local = count;
                } else if labels == of(upstream) {
                    forwarded = count;
                } else {
                    assert_eq!(count, 0, "{:?}: {labels}", self.engine);
                }
            }
            let is_counted = forwarded + local >= self.served.load(Ordering::SeqCst);
            if is_counted && (forwarded > 0 || !self.reaches_a_peer) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{:?}: {metrics}", self.engine);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this fails on {:?}", self.engine);
        } else if !self.is_checked {
            self.check_versions();
        }
    }
}
