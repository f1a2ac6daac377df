//! The next database, while the current one serves.
//!
//! One thread reads, builds and judges, so that workers never do, and one thread for each published
//! file waits for a new one. They have a low priority: clients come first. Whatever is wrong with
//! a new database, the one before serves on, and the log and the metrics say so.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use notify::RecommendedWatcher;

use super::fetch::{Download, FetchError, Fetcher};
use super::{DatabaseError, acceptance, load_downloaded};
use crate::config::model::{Database as Source, Geo, Published};
use crate::geo::{Database, Live};
use crate::server::allocator;
use crate::server::watch::{Files, Fingerprint, PATIENCE};

/// The longest wait before a published file is looked for after a start, or again after a failure.
const SOON: Duration = Duration::from_secs(60);

/// How much nicer than workers the threads are: the most that there is. Where a core is busy to the
/// last they get a sixtieth of it, and a reload takes its time; with less, clients would notice.
const NICENESS: i32 = 19;

/// What the reloading thread hears.
enum Event {
    /// Something happened where the files are.
    Changed,
    /// Somebody wants it.
    Asked,
    /// The source with this number has a new file.
    Fetched(usize, Download),
}

/// Keeps a database up to date as long as it lives.
pub struct Reloader {
    handle: ReloadHandle,
    _watcher: Option<RecommendedWatcher>,
}

/// Asks for a reload.
#[derive(Clone)]
pub struct ReloadHandle {
    events: Sender<Event>,
    fetchers: Vec<Sender<()>>,
}

impl ReloadHandle {
    /// Reads all files again, and looks for published ones now. What comes of it is in the log.
    pub fn reload(&self) {
        // A thread that has ended needs no telling.
        let _ = self.events.send(Event::Asked);
        for fetcher in &self.fetchers {
            let _ = fetcher.send(());
        }
    }
}

impl Reloader {
    /// Keeps `live` up to date with the sources.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn start(sources: Vec<Source>, geo: Geo, live: Arc<Live>) -> std::io::Result<Self> {
        let (events, heard) = channel();
        let files = files(&sources, &geo);
        let watcher = geo.watch.then(|| watch(&files, events.clone())).flatten();
        let mut fetchers = Vec::new();
        for (number, source) in sources.iter().enumerate() {
            if let Source::Published(published) = source {
                let (wake, woken) = channel();
                fetchers.push(wake);
                let (published, events, live) =
                    (published.clone(), events.clone(), Arc::clone(&live));
                spawn("fetch", move || {
                    fetch_for_ever(&published, &live, &woken, |download| {
                        events.send(Event::Fetched(number, download)).is_ok()
                    });
                })?;
            }
        }
        let work = Work {
            known: files.fingerprints(),
            files,
            sources,
            geo,
            live,
        };
        spawn("reload", move || work.run(&heard))?;
        Ok(Reloader {
            handle: ReloadHandle { events, fetchers },
            _watcher: watcher,
        })
    }

    /// A handle to ask for a reload with.
    pub fn handle(&self) -> ReloadHandle {
        self.handle.clone()
    }
}

/// All files that a database is read from.
fn files(sources: &[Source], geo: &Geo) -> Files {
    let databases = sources.iter().filter_map(Source::file);
    let mut files: Vec<_> = databases.map(Path::to_owned).collect();
    if let Some(folder) = &geo.codes {
        files.extend(crate::geo::codes::FILES.map(|file| folder.join(file)));
    }
    Files::new(files)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
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

fn watch(files: &Files, events: Sender<Event>) -> Option<RecommendedWatcher> {
    let watcher = files.watch(move || {
        // Nobody listens any more when the server is on its way out.
        let _ = events.send(Event::Changed);
    });
    watcher
        .inspect_err(|error| {
            log::warn!("database files are not watched: {error}; HUP reloads them");
        })
        .ok()
}

/// What the reloading thread works with.
struct Work {
    sources: Vec<Source>,
    geo: Geo,
    live: Arc<Live>,
    files: Files,
    /// The files' fingerprints when they were read last.
    known: Vec<Fingerprint>,
}

impl Work {
    fn run(mut self, events: &Receiver<Event>) {
        let mut next = None;
        while let Some(event) = next.take().or_else(|| events.recv().ok()) {
            let download = match event {
                Event::Changed => {
                    if self.files.fingerprints() == self.known {
                        continue;
                    }
                    let is_change = |event: &Event| matches!(event, Event::Changed);
                    next = self.files.wait_for_quiet(events, is_change);
                    None
                }
                Event::Asked => None,
                Event::Fetched(number, download) => Some((number, download)),
            };
            // On a thread that ends, as the first load: what the allocator keeps for a thread goes
            // with it.
            let reloaded = std::thread::scope(|scope| scope.spawn(|| self.reload(download)).join());
            if reloaded.is_err() {
                log::error!("the database before serves on: reading the new one failed by a panic");
                self.live.note_refused();
            }
        }
    }

    fn reload(&mut self, download: Option<(usize, Download)>) {
        let start = Instant::now();
        self.known = self.files.fingerprints();
        let before = self.live.current();
        match self.load(download, &before) {
            Ok(database) => {
                drop(before);
                let provenance = database.provenance();
                log::info!(
                    "database replaced after {} ms: {} of {}, {} places",
                    start.elapsed().as_millis(),
                    provenance.format,
                    if provenance.date.is_empty() {
                        "no date"
                    } else {
                        &provenance.date
                    },
                    database.places().len()
                );
                wait_for_readers(&self.live.replace(database));
            }
            Err(error) => {
                log::error!("the database before serves on: {error}");
                self.live.note_refused();
            }
        }
        allocator::give_back();
    }

    fn load(
        &mut self,
        download: Option<(usize, Download)>,
        before: &Database,
    ) -> Result<Database, DatabaseError> {
        let fetched = download.as_ref().map(|(number, _)| *number);
        let downloads = download.into_iter().collect();
        let database = load_downloaded(&self.sources, &self.geo, downloads, |database| {
            acceptance::compare(before, database, self.geo.max_shrinkage)
        })?;
        // A file that was fetched has changed by our own hand. What somebody else changed while we
        // read is still to be noticed.
        if let Some(file) = fetched.and_then(|number| self.sources[number].file()) {
            self.files.note(file, &mut self.known);
        }
        Ok(database)
    }
}

/// Waits until the last request has let go of a database, so that no worker has to free it.
fn wait_for_readers(database: &Arc<Database>) {
    let start = Instant::now();
    while Arc::strong_count(database) > 1 && start.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Looks for a new file again and again, until nobody takes it.
fn fetch_for_ever(
    published: &Published,
    live: &Live,
    woken: &Receiver<()>,
    take: impl Fn(Download) -> bool,
) {
    let mut fetcher = None;
    let mut failures = 0;
    let mut wait = published.interval.min(SOON).mul_f64(fastrand::f64());
    loop {
        match woken.recv_timeout(wait) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        match fetch(published, &mut fetcher) {
            Ok(download) => {
                failures = 0;
                if download.is_some_and(|download| !take(download)) {
                    return;
                }
            }
            Err(error) => {
                log::error!("the database before serves on: {error}");
                live.note_missed();
                failures += 1;
            }
        }
        wait = next_wait(published.interval, failures).mul_f64(0.9 + 0.2 * fastrand::f64());
    }
}

fn fetch(
    published: &Published,
    fetcher: &mut Option<Fetcher>,
) -> Result<Option<Download>, FetchError> {
    let fetcher = match fetcher {
        Some(fetcher) => fetcher,
        None => fetcher.insert(Fetcher::new(published)?),
    };
    fetcher.fetch()
}

/// After a failure sooner than usual, and later each time.
fn next_wait(interval: Duration, failures: u32) -> Duration {
    match failures {
        0 => interval,
        _ => interval.min(SOON * 2_u32.pow((failures - 1).min(10))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_followed_sooner_and_then_later() {
        let day = Duration::from_secs(86_400);
        let waits = [0, 1, 2, 3, 11, 100].map(|failures| next_wait(day, failures).as_secs());
        assert_eq!(waits, [86_400, 60, 120, 240, 61_440, 61_440]);
        let second = Duration::from_secs(1);
        assert_eq!(next_wait(second, 5), second);
    }
}
