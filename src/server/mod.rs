//! The composition root: everything is created here, passed down, started and stopped.
//!
//! [`Server::prepare`] does all steps that can fail, while the command can still report an error;
//! [`Server::run`] serves until a stop is requested.

mod allocator;
mod certificates;
mod check;
mod database;
mod error_log;
mod handover;
mod listen;
mod memory;
mod notice;
mod reload;
mod stop;
mod successor;
mod watch;

use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use pingora::apps::ServerApp;
use pingora::listeners::ListenerConfig;
use pingora::protocols::l4::stream::L4BufferSettings;
use pingora::server::RunArgs;
use pingora::server::configuration::ServerConf;
use pingora::services::listening::Service;

pub use check::{Checked, check};
use database::fetch_and_load;
pub use database::{
    DatabaseError, Spool, build_database, load_codes, load_database, merge_tables, read_table,
};
pub use error_log::{LastMessages, start as start_error_log};
use handover::Claim;
pub use handover::HandoverError;
use listen::{Listeners, OnListeners};
pub use reload::LoadConfig;
use reload::{ReloadError, ReloadHandle};
use stop::{Helpers, Stopped};
pub use stop::{Stop, StopHandle};
pub use successor::NewProcess;

use crate::admin::Admin;
use crate::config::Config;
use crate::config::model::Limit;
use crate::gateway::access::drain::Drain;
use crate::gateway::access::system::processors;
use crate::gateway::{Downstream, Gateway, Settings, SettingsError};
use crate::geo::{Database, DatabaseHandle};

/// Time limit for the first request of a connection that was accepted shortly before the listeners
/// closed.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// Time limit for writing the access logs at the end of the process. A disk needs milliseconds; a
/// pipe without a reader would block for ever.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Time limit for the start of pingora's services. It takes milliseconds.
const START: Duration = Duration::from_secs(60);

/// Error of a server that cannot start or that ended unexpectedly.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The database cannot be used.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A file that the configuration names cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The system refuses a duplicate of a listening socket.
    #[error("cannot copy the handle of a listener: {0}")]
    Copy(#[source] std::io::Error),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// Address from `server.listen` or `admin.listen`.
        address: SocketAddr,
        /// Error of the operating system.
        #[source]
        error: std::io::Error,
    },
    /// The listeners of the running process cannot be taken over, or the upgrade socket is not
    /// safe.
    #[error("server.upgrade_socket: {0}")]
    Handover(#[from] HandoverError),
    /// The reloading thread cannot be started.
    #[error(transparent)]
    Reload(#[from] ReloadError),
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] std::io::Error),
    /// The gateway ended before it listened.
    #[error("the gateway did not start to listen; its log says why")]
    NotListening,
    /// The gateway ended without a stop request.
    #[error("the gateway ended by itself; its log says why")]
    Ended,
}

/// A gateway that is ready to run.
pub struct Server {
    config: Config,
    load: Option<LoadConfig>,
    database: Arc<DatabaseHandle>,
    drain: Arc<Drain>,
    gateway: Arc<Gateway>,
    workers: usize,
    listeners: ListenersFrom,
    new_process: Option<NewProcess>,
}

/// Source of the listeners.
enum ListenersFrom {
    /// Sockets that this process opened.
    Here(Listeners),
    /// Sockets that the running process hands over.
    Upgrade(Claim),
}

impl Server {
    /// Loads the database, opens the logs and the listeners.
    ///
    /// With `upgrade`, the listeners come from the process that runs now.
    ///
    /// # Errors
    /// With the first error of these steps.
    pub fn prepare(config: Config, upgrade: bool) -> Result<Self, ServerError> {
        let socket = &config.server.upgrade_socket;
        let claim = if upgrade {
            Some(handover::claim(socket)?)
        } else {
            handover::check_folder_of(socket)?;
            None
        };
        let database = Arc::new(DatabaseHandle::new(load_apart(&config)?));
        let listeners = match claim {
            Some(claim) => ListenersFrom::Upgrade(claim),
            None => ListenersFrom::Here(Listeners::open(&addresses(&config), Vec::new())?),
        };
        limit_open_files(config.server.max_open_files);
        let drain = Arc::new(Drain::default());
        let settings = Settings::new(&config, None)?;
        if let Some(tls) = settings.tls() {
            tls.warn();
        }
        settings.warn_of_users();
        let gateway = Gateway::new(settings, Arc::clone(&database), Arc::clone(&drain));
        let workers = match config.server.workers {
            Limit::Auto => processors(),
            Limit::Fixed(workers) => workers as usize,
        };
        Ok(Server {
            config,
            workers,
            load: None,
            database,
            drain,
            gateway: Arc::new(gateway),
            listeners,
            new_process: None,
        })
    }

    /// Sets the command that an upgrade (USR2) runs; the command must pass `--upgrade`. Without it,
    /// an upgrade takes two steps: the operator starts the new process, and then sends QUIT to this
    /// one.
    #[must_use]
    pub fn upgrading(mut self, new_process: NewProcess) -> Self {
        self.new_process = Some(new_process);
        self
    }

    /// Returns the number of worker threads: the configured one, or the number of processors.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// Sets `load`, with which a reload (HUP, or the admin listener) reads the configuration again.
    /// Without it, a reload reads only the databases and the certificates.
    #[must_use]
    pub fn reloading(mut self, load: LoadConfig) -> Self {
        self.load = Some(load);
        self
    }

    /// Serves until `stop` fires and the requests in flight are done, or the grace period is over.
    /// `listening` is called once, when all listeners accept connections.
    ///
    /// # Errors
    /// If the listeners do not come up, or the gateway ends without a stop request.
    pub fn run(self, stop: Stop, listening: impl FnOnce()) -> Result<(), ServerError> {
        let Server {
            config,
            load,
            database,
            drain,
            gateway,
            workers,
            listeners,
            new_process,
        } = self;
        let reloading = reload::start(config.clone(), load, Arc::clone(&gateway), database)?;
        let (reload, _ends_reloading) = reloading;
        memory::watch(&gateway).map_err(ServerError::Thread)?;
        let (listeners, takeover) = match listeners {
            ListenersFrom::Here(listeners) => (listeners, None),
            ListenersFrom::Upgrade(claim) => {
                let mut takeover = handover::take(&claim)?;
                let inherited = std::mem::take(&mut takeover.listeners);
                let listeners = Listeners::open(&addresses(&config), inherited)?;
                (listeners, Some(takeover))
            }
        };
        let listeners = Arc::new(listeners);
        let helpers = Helpers {
            reload: reload.clone(),
            gateway: Arc::clone(&gateway),
            listeners: Arc::clone(&listeners),
            upgrade_socket: config.server.upgrade_socket.clone(),
            new_process,
        };
        let stopping = stop.watch(Arc::clone(&drain), helpers);
        let (started, services) = channel();
        let conf = pingora_conf(&config, workers);
        let pingora = pingora_server(&config, conf, gateway.clone(), reload, &listeners, &started)?;
        drop(started);
        let signal = stopping.signal;
        let serving = std::thread::Builder::new()
            .name("pingora".to_owned())
            .spawn(move || {
                pingora.run(RunArgs {
                    shutdown_signal: Box::new(signal),
                });
            })
            .map_err(ServerError::Thread)?;
        let expected = 1 + usize::from(!config.admin.listen.is_empty());
        if !have_started(&services, expected) {
            return Err(ServerError::NotListening);
        }
        listening();
        if let Some(takeover) = takeover {
            takeover.confirm();
        }
        // pingora sleeps through the whole grace period; we leave as soon as no request is in
        // flight.
        match stopping.asked.wait(|| serving.is_finished()) {
            Stopped::AtOnce => {}
            Stopped::Gracefully(since) => {
                wait_for_requests(&drain, since + config.server.grace_period);
            }
            Stopped::ByItself => {
                write_logs(&gateway, config.server.grace_period);
                return Err(ServerError::Ended);
            }
        }
        write_logs(&gateway, config.server.grace_period);
        Ok(())
    }
}

/// Writes the pending log lines, unless the target of a log accepts no data.
fn write_logs(gateway: &Gateway, grace_period: Duration) {
    let deadline = Instant::now() + LAST_LINES.min(grace_period);
    for lost in gateway.flush_access_logs(deadline) {
        if lost > 0 {
            log::error!(
                "access log: {lost} lines dropped at the end, the target did not take them"
            );
        }
    }
}

/// Loads the database on a thread of its own. When a thread has ended, the allocator releases its
/// memory as soon as another thread frees any of it. The memory of a sleeping thread is kept, so a
/// database that was loaded on the main thread would never be released.
fn load_apart(config: &Config) -> Result<Database, ServerError> {
    let load = || {
        let database = fetch_and_load(&config.databases, &config.geo);
        allocator::give_back();
        database
    };
    let loaded = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("load".to_owned());
        let thread = thread
            .spawn_scoped(scope, load)
            .map_err(ServerError::Thread)?;
        let loaded = thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        loaded.map_err(ServerError::Database)
    });
    allocator::give_back();
    loaded
}

/// Returns every address to listen on.
fn addresses(config: &Config) -> Vec<SocketAddr> {
    let server = config.server.listen.iter().map(|listener| listener.address);
    server.chain(config.admin.listen.iter().copied()).collect()
}

/// Waits until the listeners are closed and the requests in flight are done. Connections that were
/// accepted and have sent no data yet get [`FIRST_REQUEST`]: their request may be on its way.
fn wait_for_requests(drain: &Drain, deadline: Instant) {
    let mut closed = None;
    loop {
        if drain.are_listeners_closed() {
            let closed = *closed.get_or_insert_with(Instant::now);
            let nobody_to_come = drain.fresh() == 0 || closed.elapsed() > FIRST_REQUEST;
            if drain.in_flight() == 0 && nobody_to_come {
                return;
            }
        }
        if Instant::now() >= deadline {
            log::warn!(
                "the grace period is over, {} requests are cut off",
                drain.in_flight()
            );
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until all services have started. Returns `false` if one ended before that, or takes too
/// long. From then on the kernel's queue holds the connections that are not accepted yet.
fn have_started(services: &Receiver<()>, expected: usize) -> bool {
    let deadline = Instant::now() + START;
    (0..expected).all(|_| {
        let left = deadline.saturating_duration_since(Instant::now());
        services.recv_timeout(left).is_ok()
    })
}

/// Sets the soft limit of open files, up or down. The hard limit stays, so that a process which
/// this one starts later may have more.
fn limit_open_files(wanted: u64) {
    let set = || {
        let (soft, hard) = rlimit::Resource::NOFILE.get()?;
        if wanted < soft {
            rlimit::Resource::NOFILE.set(wanted, hard)?;
            return Ok(wanted);
        }
        rlimit::increase_nofile_limit(wanted)
    };
    match set() {
        Ok(limit) if limit < wanted => {
            log::warn!("{limit} files may be open, max_open_files asks for {wanted}");
        }
        Ok(_) => {}
        Err(error) => log::warn!("cannot set the limit of open files: {error}"),
    }
}

fn pingora_server(
    config: &Config,
    conf: ServerConf,
    gateway: Arc<Gateway>,
    reload: ReloadHandle,
    listeners: &Listeners,
    started: &Sender<()>,
) -> Result<pingora::server::Server, ServerError> {
    let mut server = pingora::server::Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let admin = Admin::new(Arc::clone(&gateway), Box::new(reload), error_log::dropped);
    let downstream = Downstream::new(gateway, &server.configuration);
    let mut service = Service::new("gateway".to_owned(), downstream);
    for listener in &config.server.listen {
        let address = &listener.address;
        // The engine reads and writes whole messages: a pair of buffers for each connection would
        // only cost memory. `Downstream` does the TLS handshake itself, because pingora would log every
        // failed handshake as an error of the gateway.
        let listener = ListenerConfig::tcp(address.to_string())
            .l4_buffer(L4BufferSettings::unbuffered())
            .tcp_socket_options(listen::socket_options(address));
        service.add_listener(listener);
    }
    server.add_service(on_listeners(service, listeners, started, |address| {
        !config.admin.listen.contains(address)
    })?);
    if !config.admin.listen.is_empty() {
        let mut service = Service::new("admin".to_owned(), admin);
        service.threads = Some(1);
        for address in &config.admin.listen {
            let listener = ListenerConfig::tcp(address.to_string());
            let options = listen::socket_options(address);
            service.add_listener(listener.tcp_socket_options(options));
        }
        server.add_service(on_listeners(service, listeners, started, |address| {
            config.admin.listen.contains(address)
        })?);
    }
    Ok(server)
}

fn on_listeners<A: ServerApp + Send + Sync + 'static>(
    service: Service<A>,
    listeners: &Listeners,
    started: &Sender<()>,
    wanted: impl Fn(&SocketAddr) -> bool,
) -> Result<OnListeners<A>, ServerError> {
    Ok(OnListeners {
        service,
        sockets: listeners.copies(wanted).map_err(ServerError::Copy)?,
        started: Some(started.clone()),
    })
}

/// Idle HTTP/2 connections to upstreams that pingora keeps for each thread; each is for many requests.
/// Connections of HTTP/1 are kept with their peers.
const POOL: usize = 32;

fn pingora_conf(config: &Config, workers: usize) -> ServerConf {
    let text = |path: &PathBuf| path.display().to_string();
    ServerConf {
        threads: workers,
        work_stealing: config.server.work_stealing,
        pid_file: text(&config.server.pid_file),
        // `Server::run` ends the process and logs what is cut off; this only has to be longer.
        grace_period_seconds: Some(config.server.grace_period.as_secs().saturating_add(10)),
        graceful_shutdown_timeout_seconds: Some(1),
        upstream_keepalive_pool_size: config
            .upstreams
            .iter()
            .map(|u| u.keepalive)
            .sum::<usize>()
            .clamp(1, POOL),
        // The upstream pools count tries, by the current configuration; this only has to be more.
        max_retries: usize::MAX,
        ..ServerConf::default()
    }
}
