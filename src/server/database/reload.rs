//! Watch on the configured databases, which are replaced when a newer version appears.
//!
//! One thread, the reloading thread of [`crate::server::reload`], reads, builds and checks
//! databases, so that workers never do. One further thread for each published file waits for a new
//! version. These threads have a low priority, because requests come first. If a new database has
//! an error, the previous one stays in use, and the log and the metrics report it.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::fetch::{Download, FetchError, Fetcher};
use super::versions::Versions;
use super::{DatabaseError, acceptance, load_downloaded, settle};
use crate::config::model::{Database as Source, Geo, Published};
use crate::geo::{Database, DatabaseHandle};
use crate::server::allocator;
use crate::server::notice::{Notice, Notices};
use crate::server::watch::WatchedFiles;

/// Longest wait before a published file is checked after a start, and after a first failure.
const SOON: Duration = Duration::from_secs(60);

/// Event that concerns the database files.
pub enum Event {
    /// A watched file may have changed.
    Changed(Notice),
    /// A new version of a published file was downloaded.
    Fetched(Fetched),
}

/// A downloaded file of a source.
pub struct Fetched {
    /// Generation of sources that it was downloaded for.
    generation: u64,
    /// Index of the source.
    number: usize,
    download: Download,
}

/// Callback for an [`Event`]; returns `false` if the receiver is gone.
pub type Tell = Arc<dyn Fn(Event) -> bool + Send + Sync>;

/// The configured databases, and their state when they were read last.
pub struct Followed {
    sources: Vec<Source>,
    geo: Geo,
    live: Arc<DatabaseHandle>,
    tell: Tell,
    files: WatchedFiles,
    /// True if the last databases that were read were rejected.
    was_refused: bool,
    generation: u64,
    /// Databases that were replaced while readers still held them.
    retired: Vec<Arc<Database>>,
    fetchers: Vec<Fetching>,
}

/// A thread that waits for a published file.
struct Fetching {
    /// Wakes the thread. The thread ends when the sender is dropped.
    wake: SyncSender<()>,
    versions: Versions,
}

/// Databases of another configuration, loaded but not served yet.
pub struct Prepared {
    database: Database,
    sources: Vec<Source>,
    geo: Geo,
    files: WatchedFiles,
}

impl Followed {
    /// Watches the sources from which `live` was loaded.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn new(
        sources: Vec<Source>,
        geo: Geo,
        live: Arc<DatabaseHandle>,
        tell: Tell,
    ) -> std::io::Result<Self> {
        let mut followed = Followed {
            files: watched(&sources, &geo, &tell),
            sources,
            geo,
            live,
            tell,
            was_refused: false,
            generation: 0,
            retired: Vec::new(),
            fetchers: Vec::new(),
        };
        followed.start_fetching()?;
        Ok(followed)
    }

    /// Starts the threads that wait for the published files of the current sources, and ends the
    /// previous threads.
    fn start_fetching(&mut self) -> std::io::Result<()> {
        self.generation += 1;
        self.fetchers.clear();
        for (number, source) in self.sources.iter().enumerate() {
            if let Source::Published(published) = source {
                let (wake, woken) = sync_channel(1);
                let versions = Versions::default();
                self.fetchers.push(Fetching {
                    wake,
                    versions: versions.clone(),
                });
                let (published, live) = (published.clone(), Arc::clone(&self.live));
                let (generation, tell) = (self.generation, Arc::clone(&self.tell));
                super::super::reload::spawn("fetch", move || {
                    fetch_for_ever(&published, &versions, &live, &woken, |download| {
                        tell(Event::Fetched(Fetched {
                            generation,
                            number,
                            download,
                        }))
                    });
                })?;
            }
        }
        Ok(())
    }

    /// Returns `true` if the files are watched and one differs from the file that was read.
    pub fn have_changed(&mut self) -> bool {
        self.files.is_watched() && self.files.have_changed()
    }

    /// Same as [`WatchedFiles::wait_for_quiet`].
    pub fn wait_for_quiet<T>(
        &mut self,
        events: &Receiver<T>,
        is_change: impl Fn(&T) -> bool,
    ) -> Option<T> {
        self.files.wait_for_quiet(events, is_change)
    }

    /// Reads the databases again if a file has changed or the last read was rejected, and checks
    /// for new versions of published files.
    ///
    /// # Errors
    /// If the new content cannot be used; the previous database stays in use.
    pub fn refresh(&mut self) -> Result<(), DatabaseError> {
        let is_due = self.files.have_changed() || self.was_refused;
        if is_due {
            self.retry_rejected();
        }
        for fetcher in &self.fetchers {
            // A fetcher that was woken already checks anyway, and one that has ended need not be
            // woken.
            let _ = fetcher.wake.try_send(());
        }
        if is_due {
            return self.read(Vec::new());
        }
        Ok(())
    }

    /// Lets rejected downloads be downloaded again at the next check, because a file has changed. A
    /// probe or the comparison of sizes may have failed because of the previous content of that file.
    fn retry_rejected(&self) {
        for fetcher in &self.fetchers {
            fetcher.versions.retry_rejected();
        }
    }

    /// Reads the databases again after files have changed.
    ///
    /// # Errors
    /// As [`Followed::refresh`].
    pub fn read_changed(&mut self) -> Result<(), DatabaseError> {
        self.retry_rejected();
        self.read(Vec::new())
    }

    /// Loads the databases with a downloaded file. A download for previous sources is ignored.
    ///
    /// # Errors
    /// As [`Followed::refresh`].
    pub fn take(&mut self, fetched: Fetched) -> Result<(), DatabaseError> {
        if fetched.generation != self.generation {
            return Ok(());
        }
        self.read(vec![(fetched.number, fetched.download)])
    }

    /// Returns `true` if another configuration has the same databases, read in the same way.
    pub fn are_for(&self, sources: &[Source], geo: &Geo) -> bool {
        self.sources == sources && self.geo == *geo
    }

    /// Reads the databases of another configuration, without serving them yet.
    ///
    /// # Errors
    /// If they cannot be used.
    pub fn prepare(&self, sources: &[Source], geo: &Geo) -> Result<Prepared, DatabaseError> {
        let files = watched(sources, geo, &self.tell);
        // Changes in size are intended when the configuration changes: only the probes decide.
        let database = guarded(|| super::fetch_and_load(sources, geo));
        Ok(Prepared {
            database: database.inspect_err(|_| self.live.note_refused())?,
            sources: sources.to_vec(),
            geo: geo.clone(),
            files,
        })
    }

    /// Serves the databases that [`Followed::prepare`] has loaded, and watches their files from now
    /// on.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn follow(&mut self, prepared: Prepared) -> std::io::Result<()> {
        (self.sources, self.geo) = (prepared.sources, prepared.geo);
        self.files = prepared.files;
        for file in self.sources.iter().filter_map(|source| match source {
            Source::Published(published) => Some(&published.file),
            Source::Embedded | Source::File(_) => None,
        }) {
            // It may have been downloaded for the first time.
            self.files.note(file);
        }
        self.was_refused = false;
        self.serve(prepared.database, Instant::now());
        self.start_fetching()
    }

    fn read(&mut self, downloads: Vec<(usize, Download)>) -> Result<(), DatabaseError> {
        let start = Instant::now();
        self.files.note_all();
        let before = self.live.current();
        let loaded = guarded(|| {
            load_downloaded(&self.sources, &self.geo, &downloads, |database| {
                acceptance::compare(&before, database, self.geo.max_shrinkage)
            })
        });
        drop(before);
        let fetched: Vec<_> = downloads.iter().map(|(number, _)| *number).collect();
        let result = settle(downloads, loaded);
        self.was_refused = result.is_err();
        let database = result.inspect_err(|_| self.live.note_refused())?;
        if !fetched.is_empty() {
            self.retry_rejected();
        }
        // A downloaded file was changed by this process. Changes by others during the read must
        // still be noticed.
        for number in fetched {
            if let Some(file) = self.sources[number].file() {
                self.files.note(file);
            }
        }
        self.serve(database, start);
        Ok(())
    }

    fn serve(&mut self, database: Database, start: Instant) {
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
        self.retired.push(self.live.replace(database));
        self.free_retired();
    }

    /// Frees the replaced databases without readers. Returns `true` if none is left. Readers hold a
    /// database for a moment only (a lookup, a scrape of the metrics), so the first call frees most
    /// of them. It never waits: a later call frees the rest.
    pub fn free_retired(&mut self) -> bool {
        let before = self.retired.len();
        self.retired
            .retain(|database| Arc::strong_count(database) > 1);
        if self.retired.len() < before {
            allocator::give_back();
        }
        self.live.note_retired(self.retired.len());
        self.retired.is_empty()
    }
}

/// Loads on a thread of its own, as the first load does: the memory that the allocator keeps for a
/// thread is released when the thread ends. A panic in a reader becomes an error.
fn guarded<T: Send>(
    load: impl FnOnce() -> Result<T, DatabaseError> + Send,
) -> Result<T, DatabaseError> {
    let result = std::thread::scope(|scope| scope.spawn(load).join());
    allocator::give_back();
    result.unwrap_or(Err(DatabaseError::Panic))
}

/// Watches all files that a database is read from.
fn watched(sources: &[Source], geo: &Geo, tell: &Tell) -> WatchedFiles {
    let databases = sources.iter().filter_map(Source::file);
    let mut files: Vec<_> = databases.map(Path::to_owned).collect();
    if let Some(folder) = &geo.codes {
        files.extend(crate::geo::codes::FILES.map(|file| folder.join(file)));
    }
    if !geo.watch {
        return WatchedFiles::unwatched(files);
    }
    let (tell, notices) = (Arc::clone(tell), Notices::default());
    WatchedFiles::watched(files, move || {
        if let Some(notice) = notices.next() {
            // The receiver is gone if the server is shutting down.
            tell(Event::Changed(notice));
        }
    })
}

/// Checks for a new version periodically, until the receiver of the downloads is gone.
fn fetch_for_ever(
    published: &Published,
    versions: &Versions,
    live: &DatabaseHandle,
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
        match fetch(published, versions, &mut fetcher) {
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
    versions: &Versions,
    fetcher: &mut Option<Fetcher>,
) -> Result<Option<Download>, FetchError> {
    let fetcher = match fetcher {
        Some(fetcher) => fetcher,
        None => fetcher.insert(Fetcher::new(published, versions.clone())?),
    };
    fetcher.fetch()
}

/// Returns the wait before the next check. It is shorter after a failure, and doubles with each
/// further failure, up to the interval.
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
