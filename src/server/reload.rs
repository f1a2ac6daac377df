//! The next configuration, the next database and the next certificates, while the ones before serve.
//!
//! One thread does all of it, one thing after the other, so that nothing is ever half of one and
//! half of another. A configuration is read and checked as a whole, with the files that it names and
//! the databases that it asks for; only then is it swapped in. Requests under way finish with the one
//! that they began with. Whatever is wrong, the one before serves on.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::database::{Event as DatabaseEvent, Followed, Tell};
use super::{DatabaseError, certificates};
use crate::admin::Reload;
use crate::config::{Config, ConfigError, model};
use crate::gateway::{Gateway, Settings, SettingsError, Tls};
use crate::geo::Live;

/// How much nicer than workers the thread is: the most that there is. Where a core is busy to the
/// last it gets a sixtieth of it, and a reload takes its time; with less, clients would notice.
const NICENESS: i32 = 19;

/// How often settings that were replaced are looked at, whether requests still need them.
const SWEEP: Duration = Duration::from_secs(1);

/// Reads the configuration again, from where it came.
pub type LoadConfig = Box<dyn Fn() -> Result<Config, ConfigError> + Send>;

/// Why there is nothing new.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The configuration is wrong; every error of it.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file that it names cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A database cannot be used.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The system refuses a thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] std::io::Error),
}

/// What came of a reload: settings that changed and take a restart or an upgrade, by their keys.
pub type Outcome = Result<Vec<&'static str>, ReloadError>;

/// What the reloading thread hears.
enum Event {
    /// Somebody wants it, and may want to know what came of it.
    Asked(Option<oneshot::Sender<Outcome>>),
    Database(DatabaseEvent),
    /// The server is gone.
    Ended,
    /// Something happened where certificates are.
    Certificates,
}

/// Asks for a reload.
#[derive(Clone)]
pub struct ReloadHandle(Sender<Event>);

impl ReloadHandle {
    /// Reads the configuration and what changed of the databases again. What comes of it is in the
    /// log.
    pub fn reload(&self) {
        // Nobody listens any more when the server is on its way out.
        let _ = self.0.send(Event::Asked(None));
    }

    /// As [`ReloadHandle::reload`]; what came of it, or `None` if the server is on its way out.
    async fn reload_and_tell(&self) -> Option<Outcome> {
        let (tell, told) = oneshot::channel();
        self.0.send(Event::Asked(Some(tell))).ok()?;
        told.await.ok()
    }
}

/// Ends the reloading thread, and with it the watch on its files, when the server ends: a process may
/// have one server after the other.
pub struct EndsReloading(ReloadHandle);

impl Drop for EndsReloading {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.0.send(Event::Ended);
    }
}

#[async_trait]
impl Reload for ReloadHandle {
    async fn reload(&self) -> Result<String, String> {
        match self.reload_and_tell().await {
            None => Err("stopping\n".to_owned()),
            Some(Err(error)) => Err(format!("{error}\n")),
            Some(Ok(fixed)) if fixed.is_empty() => Ok("reloaded\n".to_owned()),
            Some(Ok(fixed)) => Ok(format!("reloaded\n{}\n", needs_upgrade(&fixed))),
        }
    }
}

/// Starts the thread, which runs until what is returned beside its handle is dropped.
///
/// # Errors
/// If the system refuses it.
pub fn start(
    config: Config,
    load: Option<LoadConfig>,
    gateway: Arc<Gateway>,
    live: Arc<Live>,
) -> Result<(ReloadHandle, EndsReloading), ReloadError> {
    let (events, heard) = channel();
    let handle = ReloadHandle(events.clone());
    let changes = events.clone();
    let tell: Tell = Arc::new(move |event| events.send(Event::Database(event)).is_ok());
    let databases = Followed::new(config.databases.clone(), config.geo.clone(), live, tell);
    let work = Work {
        certificates: follow_certificates(config.tls.as_ref(), &changes),
        changes,
        databases: databases.map_err(ReloadError::Thread)?,
        config,
        load,
        gateway,
        replaced: Vec::new(),
    };
    spawn("reload", move || work.run(&heard)).map_err(ReloadError::Thread)?;
    let end = EndsReloading(handle.clone());
    Ok((handle, end))
}

/// Starts a thread that stands back behind clients.
pub(super) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let nicely = || {
        // On Linux it is the calling thread's alone. Without it, clients notice a reload more.
        if let Err(error) = rustix::process::nice(NICENESS) {
            log::debug!("nice: {error}");
        }
        work();
    };
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(nicely).map(drop)
}

/// What the reloading thread works with.
struct Work {
    /// What the process was started with, as far as only a new one can change it.
    config: Config,
    load: Option<LoadConfig>,
    gateway: Arc<Gateway>,
    databases: Followed,
    certificates: certificates::Followed,
    /// For who looks at certificates.
    changes: Sender<Event>,
    /// Settings that requests under way may still have. What they hold is freed here, and not by the
    /// worker that lets go of them last.
    replaced: Vec<Arc<Settings>>,
}

impl Work {
    fn run(mut self, events: &Receiver<Event>) {
        let mut next = None;
        loop {
            self.replaced
                .retain(|settings| Arc::strong_count(settings) > 1);
            let event = match next.take() {
                Some(event) => event,
                None => match self.wait(events) {
                    Ok(event) => event,
                    Err(RecvTimeoutError::Timeout) => continue,
                    Err(RecvTimeoutError::Disconnected) => return,
                },
            };
            match event {
                Event::Asked(tell) => {
                    let outcome = self.reload();
                    report(&outcome);
                    if let Some(tell) = tell {
                        // Whoever asked may have left.
                        let _ = tell.send(outcome);
                    }
                }
                Event::Database(DatabaseEvent::Changed) => {
                    if self.databases.have_changed() {
                        let is_change = |event: &Event| {
                            matches!(event, Event::Database(DatabaseEvent::Changed))
                        };
                        next = self.databases.wait_for_quiet(events, is_change);
                        report_database(self.databases.read_changed());
                    }
                }
                Event::Ended => return,
                Event::Certificates => {
                    if self.certificates.have_changed() {
                        let is_change = |event: &Event| matches!(event, Event::Certificates);
                        next = self.certificates.wait_for_quiet(events, is_change);
                        self.read_certificates();
                    }
                }
                Event::Database(DatabaseEvent::Fetched(fetched)) => {
                    report_database(self.databases.take(fetched));
                }
            }
        }
    }

    fn wait(&self, events: &Receiver<Event>) -> Result<Event, RecvTimeoutError> {
        if self.replaced.is_empty() {
            return events.recv().map_err(|_| RecvTimeoutError::Disconnected);
        }
        events.recv_timeout(SWEEP)
    }

    fn read_certificates(&mut self) {
        let tls = self.gateway.settings().tls().cloned();
        if let Some(tls) = tls {
            self.certificates.read_again(&tls);
        }
    }

    fn reload(&mut self) -> Outcome {
        let Some(load) = &self.load else {
            self.read_certificates();
            self.databases.refresh()?;
            return Ok(Vec::new());
        };
        let config = load()?;
        // Listeners that are there go on speaking TLS even if the new configuration has none.
        let spoken = self.gateway.settings().tls().cloned();
        let tls = config.tls.as_ref().or(spoken.as_deref().map(Tls::config));
        let certificates = follow_certificates(tls, &self.changes);
        let settings = Settings::new(&config, Some(&self.gateway.settings()))?;
        if self.databases.are_for(&config.databases, &config.geo) {
            self.databases.refresh()?;
        } else {
            let database = self.databases.prepare(&config.databases, &config.geo)?;
            let (sources, geo) = (config.databases.clone(), config.geo.clone());
            let followed = self.databases.follow(sources, geo, database);
            followed.map_err(ReloadError::Thread)?;
        }
        self.certificates = certificates;
        if let Some(tls) = settings.tls() {
            tls.warn();
        }
        self.replaced.push(self.gateway.replace_settings(settings));
        Ok(fixed_differences(&self.config, &config))
    }
}

/// What happens where they are comes to the thread as everything else.
fn follow_certificates(
    tls: Option<&model::Tls>,
    changes: &Sender<Event>,
) -> certificates::Followed {
    let changes = changes.clone();
    certificates::Followed::new(tls, move || {
        // Nobody listens any more when the server is on its way out.
        let _ = changes.send(Event::Certificates);
    })
}

/// The keys in which a configuration differs that a running process cannot follow.
fn fixed_differences(started: &Config, new: &Config) -> Vec<&'static str> {
    let (a, b) = (&started.server, &new.server);
    let differences = [
        ("server.listen", a.listen != b.listen),
        ("server.workers", a.workers != b.workers),
        ("server.work_stealing", a.work_stealing != b.work_stealing),
        (
            "server.max_open_files",
            a.max_open_files != b.max_open_files,
        ),
        ("server.grace_period", a.grace_period != b.grace_period),
        ("server.pid_file", a.pid_file != b.pid_file),
        (
            "server.upgrade_socket",
            a.upgrade_socket != b.upgrade_socket,
        ),
        ("admin.listen", started.admin.listen != new.admin.listen),
        ("error_log", started.error_log != new.error_log),
    ];
    let differing = differences.into_iter().filter(|(_, differs)| *differs);
    differing.map(|(key, _)| key).collect()
}

fn report(outcome: &Outcome) {
    match outcome {
        Ok(fixed) => {
            log::info!("configuration reloaded");
            if !fixed.is_empty() {
                log::warn!("{}", needs_upgrade(fixed));
            }
        }
        Err(error) => log::error!("the configuration before serves on: {error}"),
    }
}

fn needs_upgrade(keys: &[&str]) -> String {
    let keys = keys.join(", ");
    format!("changed, and takes an upgrade (geogate run --upgrade) or a restart: {keys}")
}

fn report_database(result: Result<(), DatabaseError>) {
    if let Err(error) = result {
        log::error!("the database before serves on: {error}");
    }
}
