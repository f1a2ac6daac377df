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
use super::notice::{Notice, Notices};
use super::{DatabaseError, certificates};
use crate::admin::{Reload, Reloaded};
use crate::config::{Config, ConfigError, model};
use crate::gateway::{Gateway, Settings, SettingsError, Tls};
use crate::geo::Live;

/// How much nicer than workers the thread is: the most that there is. Where a core is busy to the
/// last it gets a sixtieth of it, and a reload takes its time; with less, clients would notice.
const NICENESS: i32 = 19;

/// How often settings and databases that were replaced are looked at, whether requests still need them.
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
    /// Somebody wants a reload, without waiting for it.
    Wanted(Notice),
    /// Somebody waits for a reload and its outcome.
    Asked(oneshot::Sender<Outcome>),
    Database(DatabaseEvent),
    /// The server is gone.
    Ended,
    /// Something happened where certificates are.
    Certificates(Notice),
}

/// Asks for a reload.
#[derive(Clone)]
pub struct ReloadHandle {
    events: Sender<Event>,
    wanted: Notices,
}

impl ReloadHandle {
    /// Reads the configuration and what changed of the databases again. What comes of it is in the
    /// log.
    pub fn reload(&self) {
        if let Some(notice) = self.wanted.next() {
            // Nobody listens any more when the server is on its way out.
            let _ = self.events.send(Event::Wanted(notice));
        }
    }

    /// As [`ReloadHandle::reload`]; what came of it, or `None` if the server is on its way out.
    async fn reload_and_tell(&self) -> Option<Outcome> {
        let (tell, told) = oneshot::channel();
        self.events.send(Event::Asked(tell)).ok()?;
        told.await.ok()
    }
}

/// Ends the reloading thread, and with it the watch on its files, when the server ends: a process may
/// have one server after the other.
pub struct EndsReloading(ReloadHandle);

impl Drop for EndsReloading {
    fn drop(&mut self) {
        // It may have ended by itself.
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
                    // It is in the log and in the metrics.
                    let _ = self.reload_and_report();
                }
                Event::Asked(tell) => {
                    // Whoever asked may have left.
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

    /// Reloads; the outcome is in the log and in the metrics, too.
    fn reload_and_report(&mut self) -> Outcome {
        let outcome = self.reload();
        report(&outcome);
        self.count(&outcome);
        outcome
    }

    /// Reads the files that have changed, once they are left alone; what else was heard meanwhile.
    /// Certificates and databases may lie in one folder, and then each hears of the other's changes:
    /// a certificate must not be read before its key is there because a database was touched.
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

    /// Counts a reload that was asked for. It reads the TLS files of the configuration, too.
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
        // Listeners that are there go on speaking TLS even if the new configuration has none.
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
        self.replaced.push(self.gateway.replace_settings(settings));
        Ok(fixed_differences(&self.config, &config))
    }
}

/// The next event. While something that was replaced is still in use, the wait has an end, so that it is
/// looked at again.
fn wait(events: &Receiver<Event>, all_freed: bool) -> Result<Event, RecvTimeoutError> {
    if all_freed {
        return events.recv().map_err(|_| RecvTimeoutError::Disconnected);
    }
    events.recv_timeout(SWEEP)
}

/// What happens where they are comes to the thread as everything else.
fn follow_certificates(
    tls: Option<&model::Tls>,
    changes: &Sender<Event>,
) -> certificates::Followed {
    let (changes, notices) = (changes.clone(), Notices::default());
    certificates::Followed::new(tls, move || {
        if let Some(notice) = notices.next() {
            // Nobody listens any more when the server is on its way out.
            let _ = changes.send(Event::Certificates(notice));
        }
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
