//! The composition root: everything is made here, handed down, started and stopped.
//!
//! [`Server::prepare`] does all that can fail while there is still somebody to tell;
//! [`Server::run`] serves until a stop is asked for.

mod allocator;
mod certificates;
mod database;
mod error_log;
mod listen;
mod memory;
mod reload;
mod stop;
mod watch;

use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pingora::listeners::ListenerConfig;
use pingora::protocols::l4::stream::L4BufferSettings;
use pingora::server::RunArgs;
use pingora::server::configuration::{Opt, ServerConf};
use pingora::services::listening::Service;

use database::fetch_and_load;
pub use database::{
    DatabaseError, build_database, check_databases, load_codes, load_database, merge_tables,
    read_table,
};
pub use error_log::{open as open_error_log, start as start_error_log};
pub use reload::LoadConfig;
use reload::{ReloadError, ReloadHandle};
use stop::{Helpers, Stopped};
pub use stop::{Stop, StopHandle};

use crate::admin::Admin;
use crate::config::Config;
use crate::gateway::{Drain, Gateway, Lane, Settings, SettingsError};
use crate::geo::{Database, Live};

/// How long a connection that was accepted last may take to send its first request.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The database cannot be used.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A file that the configuration names cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A listener cannot be had.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// From `server.listen`.
        address: SocketAddr,
        /// What the system says.
        #[source]
        error: std::io::Error,
    },
    /// A file cannot be used.
    #[error("{what} {path}: {error}")]
    File {
        /// What it is for.
        what: &'static str,
        /// The file.
        path: String,
        /// What the system says.
        #[source]
        error: std::io::Error,
    },
    /// Nothing could be reloaded.
    #[error(transparent)]
    Reload(#[from] ReloadError),
    /// The system refuses a thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] std::io::Error),
    /// The gateway ended before it listened.
    #[error("the gateway did not start to listen; its log says why")]
    NotListening,
    /// The gateway ended though nobody asked it to.
    #[error("the gateway ended by itself; its log says why")]
    Ended,
}

/// A gateway that is ready to run.
pub struct Server {
    config: Config,
    load: Option<LoadConfig>,
    database: Arc<Live>,
    drain: Arc<Drain>,
    gateway: Arc<Gateway>,
    upgrade: bool,
}

impl Server {
    /// Loads the database, opens the logs and makes sure that the listeners can be had.
    ///
    /// With `upgrade` the listeners come from the process that runs now.
    ///
    /// # Errors
    /// With the first of these that fails.
    pub fn prepare(config: Config, upgrade: bool) -> Result<Self, ServerError> {
        let database = Arc::new(Live::new(load_apart(&config)?));
        if upgrade {
            make_folder_of(&config.server.upgrade_socket)?;
        } else {
            listen::check(&listeners(&config))?;
        }
        raise_open_files(config.server.max_open_files);
        let drain = Arc::new(Drain::default());
        let settings = Settings::new(&config, None)?;
        if let Some(tls) = settings.tls() {
            tls.warn();
        }
        let gateway = Gateway::new(settings, Arc::clone(&database), Arc::clone(&drain));
        Ok(Server {
            config,
            load: None,
            database,
            drain,
            gateway: Arc::new(gateway),
            upgrade,
        })
    }

    /// A reload (HUP, or the admin listener) reads the configuration again with `load`. Without it, a
    /// reload is one of the databases alone.
    #[must_use]
    pub fn reloading(mut self, load: LoadConfig) -> Self {
        self.load = Some(load);
        self
    }

    /// Serves until `stop` says so and the requests under way are done, or the grace period is over.
    /// `listening` is called once, when every listener accepts connections.
    ///
    /// # Errors
    /// If the listeners do not come up.
    pub fn run(self, stop: Stop, listening: impl FnOnce()) -> Result<(), ServerError> {
        let Server {
            config,
            load,
            database,
            drain,
            gateway,
            upgrade,
        } = self;
        let reloading = reload::start(config.clone(), load, Arc::clone(&gateway), database)?;
        let (reload, _ends_reloading) = reloading;
        let helpers = Helpers {
            reload: reload.clone(),
            gateway: Arc::clone(&gateway),
        };
        memory::watch(&gateway).map_err(ServerError::Thread)?;
        let stopping = stop.watch(Arc::clone(&drain), helpers);
        let pingora = pingora_server(&config, Arc::clone(&gateway), reload, upgrade);
        let signal = stopping.signal;
        let serving = std::thread::Builder::new()
            .name("pingora".to_owned())
            .spawn(move || {
                pingora.run(RunArgs {
                    shutdown_signal: Box::new(signal),
                });
            })
            .map_err(ServerError::Thread)?;
        if !listen::wait(&listeners(&config), &serving) {
            return Err(ServerError::NotListening);
        }
        listening();
        // pingora sleeps through the whole grace period; we leave as soon as nobody is left.
        match stopping.asked.wait(|| serving.is_finished()) {
            Stopped::AtOnce => {}
            Stopped::Gracefully(since) => {
                wait_for_requests(&drain, since + config.server.grace_period);
            }
            Stopped::ByItself => {
                close_logs(&gateway);
                return Err(ServerError::Ended);
            }
        }
        close_logs(&gateway);
        Ok(())
    }
}

fn close_logs(gateway: &Gateway) {
    gateway.access_logs().iter().for_each(|log| log.close());
}

/// Loads the database on a thread that ends then. The allocator gives back what belonged to a thread
/// that has ended when anybody frees it; what belongs to a thread that sleeps, as ours will, it
/// keeps, and the first database would never be gone.
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

/// Every address that is listened on.
fn listeners(config: &Config) -> Vec<SocketAddr> {
    let server = config.server.listen.iter().map(|listener| listener.address);
    server.chain(config.admin.listen.iter().copied()).collect()
}

/// Waits until the listeners are closed and the requests under way are done. Connections that were
/// accepted and have sent nothing yet get a moment: their request may be on its way.
fn wait_for_requests(drain: &Drain, deadline: Instant) {
    let mut closed = None;
    loop {
        if drain.are_listeners_closed() {
            let closed = *closed.get_or_insert_with(Instant::now);
            let nobody_to_come = drain.fresh() == 0 || closed.elapsed() > FIRST_REQUEST;
            if drain.under_way() == 0 && nobody_to_come {
                return;
            }
        }
        if Instant::now() >= deadline {
            log::warn!(
                "the grace period is over, {} requests are cut off",
                drain.under_way()
            );
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// pingora ends the process with a panic if it is not there.
fn make_folder_of(socket: &Path) -> Result<(), ServerError> {
    let folder = socket.parent().unwrap_or(socket);
    std::fs::create_dir_all(folder).map_err(|error| ServerError::File {
        what: "folder of the upgrade socket",
        path: folder.display().to_string(),
        error,
    })
}

fn raise_open_files(wanted: u64) {
    match rlimit::increase_nofile_limit(wanted) {
        Ok(limit) if limit < wanted => {
            log::warn!("{limit} files may be open, max_open_files asks for {wanted}");
        }
        Ok(_) => {}
        Err(error) => log::warn!("cannot raise the limit of open files: {error}"),
    }
}

fn pingora_server(
    config: &Config,
    gateway: Arc<Gateway>,
    reload: ReloadHandle,
    upgrade: bool,
) -> pingora::server::Server {
    let options = Opt {
        upgrade,
        ..Opt::default()
    };
    let mut server = pingora::server::Server::new_with_opt_and_conf(options, pingora_conf(config));
    server.bootstrap();
    let admin = Admin::new(Arc::clone(&gateway), Box::new(reload));
    let lane = Lane::new(gateway, &server.configuration);
    let mut service = Service::new("gateway".to_owned(), lane);
    for listener in &config.server.listen {
        let address = &listener.address;
        // The lane reads and writes whole messages, and pingora's proxy has buffers of its own:
        // another pair on each connection would only take memory. It shakes hands itself, too:
        // pingora would log every failure as an error of ours.
        let listener = ListenerConfig::tcp(address.to_string())
            .l4_buffer(L4BufferSettings::unbuffered())
            .tcp_socket_options(listen::socket_options(address));
        service.add_listener(listener);
    }
    server.add_service(service);
    if !config.admin.listen.is_empty() {
        let mut service = Service::new("admin".to_owned(), admin);
        service.threads = Some(1);
        for address in &config.admin.listen {
            let listener = ListenerConfig::tcp(address.to_string());
            let options = listen::socket_options(address);
            service.add_listener(listener.tcp_socket_options(options));
        }
        server.add_service(service);
    }
    server
}

/// How many idle connections to upstreams pingora keeps for each thread: those of HTTP/2, each for many
/// requests, and those of the few requests that need its proxy. All others are kept with their peers.
const POOL: usize = 32;

fn pingora_conf(config: &Config) -> ServerConf {
    let text = |path: &PathBuf| path.display().to_string();
    ServerConf {
        threads: config.server.workers,
        work_stealing: config.server.work_stealing,
        pid_file: text(&config.server.pid_file),
        upgrade_sock: text(&config.server.upgrade_socket),
        grace_period_seconds: Some(config.server.grace_period.as_secs()),
        graceful_shutdown_timeout_seconds: Some(1),
        upgrade_sock_connect_accept_max_retries: Some(listen::PATIENCE.as_secs() as usize),
        upstream_keepalive_pool_size: config
            .upstreams
            .iter()
            .map(|u| u.keepalive)
            .sum::<usize>()
            .clamp(1, POOL),
        // Pools count tries, as their configuration says that runs; this must only be more.
        max_retries: usize::MAX,
        ..ServerConf::default()
    }
}
