//! Reload of the configuration, the databases and the certificates while the previous ones serve.
//!
//! One thread does all reloads, one after the other, so that two of them never mix. A configuration
//! is read and checked as a whole, with the files and the databases that it names; only then is it
//! swapped in. Requests in flight finish with the configuration that they began with. On any error
//! the previous configuration stays in use.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::oneshot;

use crate::admin::{Reload, Reloaded};
use crate::config::{Config, ConfigError, model};
use crate::gateway::listener::tls::Tls;
use crate::gateway::{Gateway, Settings, SettingsError};
use crate::geo::DatabaseHandle;
use crate::server::database::{Event as DatabaseEvent, Followed, Tell};
use crate::server::notice::{Notice, Notices};
use crate::server::{DatabaseError, certificates};

/// Niceness of the reloading thread, relative to the workers: the maximum. On a fully loaded core
/// it gets about a sixtieth of the CPU time, and a reload takes longer; with a lower niceness, a
/// reload would slow requests down.
const NICENESS: i32 = 19;

/// Interval at which replaced settings and databases are checked for remaining users.
const SWEEP: Duration = Duration::from_secs(1);

/// Reads the configuration again from its source.
pub type LoadConfig = Box<dyn Fn() -> Result<Config, ConfigError> + Send>;

/// Error of a reload.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The configuration is invalid; contains all its errors.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file that the configuration names cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A database cannot be used.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] std::io::Error),
}

/// Outcome of a reload: the keys of changed settings that need a restart or an upgrade.
pub type Outcome = Result<Vec<&'static str>, ReloadError>;

/// Event for the reloading thread.
enum Event {
    /// A reload is requested, and the requester does not wait for it.
    Wanted(Notice),
    /// A reload is requested, and the requester waits for its outcome.
    Asked(oneshot::Sender<Outcome>),
    Database(DatabaseEvent),
    /// The server has ended.
    Ended,
    /// The certificate files may have changed.
    Certificates(Notice),
}

/// Requests reloads.
#[derive(Clone)]
pub struct ReloadHandle {
    events: Sender<Event>,
    wanted: Notices,
}

impl ReloadHandle {
    /// Requests a reload of the configuration and of the changed databases. The outcome goes to the
    /// log.
    pub fn reload(&self) {
        if let Some(notice) = self.wanted.next() {
            // The receiver is gone if the server is shutting down.
            let _ = self.events.send(Event::Wanted(notice));
        }
    }

    /// Reloads as [`ReloadHandle::reload`] does, and returns the outcome; `None` if the server is
    /// shutting down.
    async fn reload_and_tell(&self) -> Option<Outcome> {
        let (tell, told) = oneshot::channel();
        self.events.send(Event::Asked(tell)).ok()?;
        told.await.ok()
    }
}

/// Ends the reloading thread and its file watches when the server ends. This matters because a
/// process may run one server after the other.
pub struct EndsReloading(ReloadHandle);

impl Drop for EndsReloading {
    fn drop(&mut self) {
        // The thread may have ended by itself.
        let _ = self.0.events.send(Event::Ended);
    }
}

#[async_trait]
impl Reload for ReloadHandle {
    async fn reload(&self) -> Reloaded {
        match self.reload_and_tell().await {
            None => Reloaded::Stopping,
            Some(Err(error)) => Reloaded::Nothing(error.to_string()),
            Some(Ok(fixed)) if fixed.is_empty() => Reloaded::All,
            Some(Ok(fixed)) => Reloaded::Partly(fixed),
        }
    }
}

/// Starts the reloading thread. It runs until the returned [`EndsReloading`] is dropped.
///
/// # Errors
/// If a thread cannot be started.
pub fn start(
    config: Config,
    load: Option<LoadConfig>,
    gateway: Arc<Gateway>,
    live: Arc<DatabaseHandle>,
) -> Result<(ReloadHandle, EndsReloading), ReloadError> {
    let (events, heard) = channel();
    let handle = ReloadHandle {
        events: events.clone(),
        wanted: Notices::default(),
    };
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

/// Starts a thread of low priority, so that requests come first.
pub(super) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let nicely = || {
        // On Linux niceness applies to the calling thread only. If it fails, the reload runs at
        // normal priority and slows requests down more.
        if let Err(error) = rustix::process::nice(NICENESS) {
            log::debug!("nice: {error}");
        }
        work();
    };
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(nicely).map(drop)
}

/// State of the reloading thread.
struct Work {
    /// Configuration that the process was started with. Reloads are compared with it to find the
    /// settings that need a new process.
    config: Config,
    load: Option<LoadConfig>,
    gateway: Arc<Gateway>,
    databases: Followed,
    certificates: certificates::Followed,
    /// Sender for the watch on certificates.
    changes: Sender<Event>,
    /// Replaced settings that requests in flight may still use. Their contents are freed on this
    /// thread, and not by the worker that drops the last reference.
    replaced: Vec<Arc<Settings>>,
}

impl Work {
    fn run(mut self, events: &Receiver<Event>) {
        let mut next = None;
        loop {
            self.replaced
                .retain(|settings| Arc::strong_count(settings) > 1);
            let all_freed = self.databases.free_retired() && self.replaced.is_empty();
            let event = match next.take() {
                Some(event) => event,
                None => match wait(events, all_freed) {
                    Ok(event) => event,
                    Err(RecvTimeoutError::Timeout) => continue,
                    Err(RecvTimeoutError::Disconnected) => return,
                },
            };
            match event {
                Event::Wanted(notice) => {
                    drop(notice);
                    // The outcome is in the log and in the metrics.
                    let _ = self.reload_and_report();
                }
                Event::Asked(tell) => {
                    // The requester may have left.
                    let _ = tell.send(self.reload_and_report());
                }
                Event::Database(DatabaseEvent::Changed(notice)) | Event::Certificates(notice) => {
                    drop(notice);
                    next = self.read_changed_files(events);
                }
                Event::Ended => return,
                Event::Database(DatabaseEvent::Fetched(fetched)) => {
                    report_database(self.databases.take(fetched));
                }
            }
        }
    }

    /// Reloads; the outcome also goes to the log and the metrics.
    fn reload_and_report(&mut self) -> Outcome {
        let outcome = self.reload();
        report(&outcome);
        self.count(&outcome);
        outcome
    }

    /// Reads the changed files, once they have been quiet for a while. Returns another event, if
    /// one ended the wait. Certificates and databases may lie in the same folder, where each watch
    /// reports the other's changes: a certificate must not be read before its key is there because
    /// a database was touched.
    fn read_changed_files(&mut self, events: &Receiver<Event>) -> Option<Event> {
        let is_change = |event: &Event| {
            matches!(
                event,
                Event::Certificates(_) | Event::Database(DatabaseEvent::Changed(_))
            )
        };
        let mut other = None;
        if self.certificates.have_changed() {
            other = self.certificates.wait_for_quiet(events, is_change);
        }
        if other.is_none() && self.databases.have_changed() {
            other = self.databases.wait_for_quiet(events, is_change);
        }
        if self.certificates.have_changed() {
            self.read_certificates();
        }
        if self.databases.have_changed() {
            report_database(self.databases.read_changed());
        }
        other
    }

    /// Counts a requested reload. It counts for the certificates, too, because it reads the TLS
    /// files.
    fn count(&self, outcome: &Outcome) {
        let reloads = self.gateway.reloads();
        match outcome {
            Ok(_) => reloads.config.applied(),
            Err(_) => reloads.config.rejected(),
        }
        match outcome {
            Ok(_) if self.load.is_some() => reloads.certificates_applied(),
            Err(ReloadError::Settings(SettingsError::Tls(error))) => {
                reloads.certificates_rejected(error);
            }
            _ => {}
        }
    }

    fn read_certificates(&mut self) {
        let tls = self.gateway.settings().tls().cloned();
        if let Some(tls) = tls {
            self.certificates.read_again(&tls, self.gateway.reloads());
        }
    }

    fn reload(&mut self) -> Outcome {
        let Some(load) = &self.load else {
            self.read_certificates();
            self.databases.refresh()?;
            return Ok(Vec::new());
        };
        let config = load()?;
        // TLS listeners stay TLS listeners even if the new configuration has no `tls`.
        let spoken = self.gateway.settings().tls().cloned();
        let tls = config.tls.as_ref().or(spoken.as_deref().map(Tls::config));
        let certificates = follow_certificates(tls, &self.changes);
        let settings = Settings::new(&config, Some(&self.gateway.settings()))?;
        if self.databases.are_for(&config.databases, &config.geo) {
            self.databases.refresh()?;
        } else {
            let prepared = self.databases.prepare(&config.databases, &config.geo)?;
            let followed = self.databases.follow(prepared);
            followed.map_err(ReloadError::Thread)?;
        }
        self.certificates = certificates;
        if let Some(tls) = settings.tls() {
            tls.warn();
        }
        settings.warn_of_users();
        self.replaced.push(self.gateway.replace_settings(settings));
        Ok(fixed_differences(&self.config, &config))
    }
}

/// Waits for the next event. While replaced settings or databases are still in use, the wait ends
/// after [`SWEEP`], so that they are checked again.
fn wait(events: &Receiver<Event>, all_freed: bool) -> Result<Event, RecvTimeoutError> {
    if all_freed {
        return events.recv().map_err(|_| RecvTimeoutError::Disconnected);
    }
    events.recv_timeout(SWEEP)
}

/// Watches the certificate files; a change becomes an event of the reloading thread.
fn follow_certificates(
    tls: Option<&model::Tls>,
    changes: &Sender<Event>,
) -> certificates::Followed {
    let (changes, notices) = (changes.clone(), Notices::default());
    certificates::Followed::new(tls, move || {
        if let Some(notice) = notices.next() {
            // The receiver is gone if the server is shutting down.
            let _ = changes.send(Event::Certificates(notice));
        }
    })
}

/// Returns the keys of the settings that differ and that a running process cannot change.
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
