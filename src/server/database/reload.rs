//! The databases of the configuration, followed while they serve.
//!
//! One thread, [`crate::server::reload`]'s, reads, builds and judges, so that workers never do, and
//! one thread for each published file waits for a new one. They have a low priority: clients come
//! first. Whatever is wrong with a new database, the one before serves on, and the log and the
//! metrics say so.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::fetch::{Download, FetchError, Fetcher};
use super::{DatabaseError, acceptance, load_downloaded};
use crate::config::model::{Database as Source, Geo, Published};
use crate::geo::{Database, Live};
use crate::server::allocator;
use crate::server::notice::{Notice, Notices};
use crate::server::watch::{Files, Fingerprint, Watch};

/// The longest wait before a published file is looked for after a start, or again after a failure.
const SOON: Duration = Duration::from_secs(60);

/// What happens to the databases' files.
pub enum Event {
    /// Something, where they are.
    Changed(Notice),
    /// A new one was published.
    Fetched(Fetched),
}

/// A new file of a source.
pub struct Fetched {
    /// Which configuration of databases it was fetched for.
    generation: u64,
    /// The source's place in it.
    number: usize,
    download: Download,
}

/// Who is told what happens; `false` if nobody listens any more.
pub type Tell = Arc<dyn Fn(Event) -> bool + Send + Sync>;

/// The databases that the configuration asks for, and what was seen of them.
pub struct Followed {
    sources: Vec<Source>,
    geo: Geo,
    live: Arc<Live>,
    tell: Tell,
    files: Files,
    /// The files' fingerprints when they were read last.
    known: Vec<Fingerprint>,
    /// Whether what was read last was refused.
    was_refused: bool,
    generation: u64,
    /// Databases that were replaced while somebody still read them.
    retired: Vec<Arc<Database>>,
    changes: Notices,
    /// Wakes who waits for published files. They end when it goes.
    fetchers: Vec<SyncSender<()>>,
    watcher: Option<Watch>,
}

impl Followed {
    /// Follows what `live` was read from.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn new(
        sources: Vec<Source>,
        geo: Geo,
        live: Arc<Live>,
        tell: Tell,
    ) -> std::io::Result<Self> {
        let files = files(&sources, &geo);
        let mut followed = Followed {
            known: files.fingerprints(),
            files,
            sources,
            geo,
            live,
            tell,
            was_refused: false,
            generation: 0,
            retired: Vec::new(),
            changes: Notices::default(),
            fetchers: Vec::new(),
            watcher: None,
        };
        followed.look_out()?;
        Ok(followed)
    }

    /// Starts to wait for what is new of the current sources, and for nothing else.
    fn look_out(&mut self) -> std::io::Result<()> {
        self.generation += 1;
        self.fetchers.clear();
        self.watcher = self.geo.watch.then(|| self.watch()).flatten();
        for (number, source) in self.sources.iter().enumerate() {
            if let Source::Published(published) = source {
                let (wake, woken) = sync_channel(1);
                self.fetchers.push(wake);
                let (published, live) = (published.clone(), Arc::clone(&self.live));
                let (generation, tell) = (self.generation, Arc::clone(&self.tell));
                super::super::reload::spawn("fetch", move || {
                    fetch_for_ever(&published, &live, &woken, |download| {
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

    fn watch(&self) -> Option<Watch> {
        let (tell, changes) = (Arc::clone(&self.tell), self.changes.clone());
        let watcher = self.files.watch(move || {
            if let Some(notice) = changes.next() {
                // Nobody listens any more when the server is on its way out.
                tell(Event::Changed(notice));
            }
        });
        watcher
            .inspect_err(|error| {
                log::warn!("database files are not watched: {error}; a reload (HUP) reads them");
            })
            .ok()
    }

    /// Whether a file is another one than what was read.
    pub fn have_changed(&self) -> bool {
        self.files.fingerprints() != self.known
    }

    /// As [`Files::wait_for_quiet`].
    pub fn wait_for_quiet<T>(
        &self,
        events: &Receiver<T>,
        is_change: impl Fn(&T) -> bool,
    ) -> Option<T> {
        self.files.wait_for_quiet(events, is_change)
    }

    /// Somebody wants to have what is new: files that are not what was read last, and what is
    /// published.
    ///
    /// # Errors
    /// If there is something new that cannot be used; the database before serves on.
    pub fn refresh(&mut self) -> Result<(), DatabaseError> {
        for fetcher in &self.fetchers {
            // One that was woken already looks anyway, and one that has ended needs no telling.
            let _ = fetcher.try_send(());
        }
        if self.have_changed() || self.was_refused {
            return self.read(Vec::new());
        }
        Ok(())
    }

    /// Files have changed.
    ///
    /// # Errors
    /// As [`Followed::refresh`].
    pub fn read_changed(&mut self) -> Result<(), DatabaseError> {
        self.read(Vec::new())
    }

    /// A file was fetched.
    ///
    /// # Errors
    /// As [`Followed::refresh`].
    pub fn take(&mut self, fetched: Fetched) -> Result<(), DatabaseError> {
        if fetched.generation != self.generation {
            return Ok(());
        }
        self.read(vec![(fetched.number, fetched.download)])
    }

    /// Whether another configuration asks for the same databases, read in the same way.
    pub fn are_for(&self, sources: &[Source], geo: &Geo) -> bool {
        self.sources == sources && self.geo == *geo
    }

    /// Reads the databases of another configuration, without serving them yet.
    ///
    /// # Errors
    /// If they cannot be used.
    pub fn prepare(&self, sources: &[Source], geo: &Geo) -> Result<Database, DatabaseError> {
        // What another configuration has more or less is meant to be so: probes alone judge it.
        let prepared = guarded(|| super::fetch_and_load(sources, geo));
        prepared.inspect_err(|_| self.live.note_refused())
    }

    /// Serves and follows from now on what [`Followed::prepare`] has read.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn follow(
        &mut self,
        sources: Vec<Source>,
        geo: Geo,
        database: Database,
    ) -> std::io::Result<()> {
        self.files = files(&sources, &geo);
        self.known = self.files.fingerprints();
        (self.sources, self.geo) = (sources, geo);
        self.was_refused = false;
        self.serve(database, Instant::now());
        self.look_out()
    }

    fn read(&mut self, downloads: Vec<(usize, Download)>) -> Result<(), DatabaseError> {
        let start = Instant::now();
        self.known = self.files.fingerprints();
        let before = self.live.current();
        let result = guarded(|| self.load(downloads, &before));
        drop(before);
        self.was_refused = result.is_err();
        let (database, fetched) = result.inspect_err(|_| self.live.note_refused())?;
        // A file that was fetched has changed by our own hand. What somebody else changed while we
        // read is still to be noticed.
        for number in fetched {
            if let Some(file) = self.sources[number].file() {
                self.files.note(file, &mut self.known);
            }
        }
        self.serve(database, start);
        Ok(())
    }

    fn load(
        &self,
        downloads: Vec<(usize, Download)>,
        before: &Database,
    ) -> Result<(Database, Vec<usize>), DatabaseError> {
        let fetched = downloads.iter().map(|(number, _)| *number).collect();
        let database = load_downloaded(&self.sources, &self.geo, downloads, |database| {
            acceptance::compare(before, database, self.geo.max_shrinkage)
        })?;
        Ok((database, fetched))
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

    /// Frees the databases that nobody reads any more; whether there are none left. Readers hold one
    /// for a moment only (a lookup, a scrape of the metrics), so the first call finds most of them
    /// unused. It is never waited for: what cannot be freed yet is freed by a later call.
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

/// Runs on a thread that ends, as the first load does: what the allocator keeps for a thread goes
/// with it. A panic in a reader is an error as any other.
fn guarded<T: Send>(
    load: impl FnOnce() -> Result<T, DatabaseError> + Send,
) -> Result<T, DatabaseError> {
    let result = std::thread::scope(|scope| scope.spawn(load).join());
    allocator::give_back();
    result.unwrap_or(Err(DatabaseError::Panic))
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
