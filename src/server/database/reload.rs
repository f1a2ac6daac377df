//! The databases of the configuration, followed while they serve.
//!
//! One thread, [`crate::server::reload`]'s, reads, builds and judges, so that workers never do, and
//! one thread for each published file waits for a new one. They have a low priority: clients come
//! first. Whatever is wrong with a new database, the one before serves on, and the log and the
//! metrics say so.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use super::fetch::{Download, FetchError, Fetcher};
use super::{DatabaseError, acceptance, load_downloaded};
use crate::config::model::{Database as Source, Geo, Published};
use crate::geo::{Database, Live};
use crate::server::allocator;
use crate::server::notice::{Notice, Notices};
use crate::server::watch::WatchedFiles;

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
    files: WatchedFiles,
    /// Whether what was read last was refused.
    was_refused: bool,
    generation: u64,
    /// Databases that were replaced while somebody still read them.
    retired: Vec<Arc<Database>>,
    /// Wakes who waits for published files. They end when it goes.
    fetchers: Vec<Sender<()>>,
}

/// Databases of another configuration, read and not served yet.
pub struct Prepared {
    database: Database,
    sources: Vec<Source>,
    geo: Geo,
    files: WatchedFiles,
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

    /// Starts to wait for what is published of the current sources, and for nothing else.
    fn start_fetching(&mut self) -> std::io::Result<()> {
        self.generation += 1;
        self.fetchers.clear();
        for (number, source) in self.sources.iter().enumerate() {
            if let Source::Published(published) = source {
                let (wake, woken) = channel();
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

    /// Tells if the files are watched and one is another one than what was read.
    pub fn have_changed(&mut self) -> bool {
        self.files.is_watched() && self.files.have_changed()
    }

    /// As [`WatchedFiles::wait_for_quiet`].
    pub fn wait_for_quiet<T>(
        &mut self,
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
            // A thread that has ended needs no telling.
            let _ = fetcher.send(());
        }
        if self.files.have_changed() || self.was_refused {
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
    pub fn prepare(&self, sources: &[Source], geo: &Geo) -> Result<Prepared, DatabaseError> {
        let files = watched(sources, geo, &self.tell);
        // What another configuration has more or less is meant to be so: probes alone judge it.
        let database = guarded(|| super::fetch_and_load(sources, geo));
        Ok(Prepared {
            database: database.inspect_err(|_| self.live.note_refused())?,
            sources: sources.to_vec(),
            geo: geo.clone(),
            files,
        })
    }

    /// Serves and follows from now on what [`Followed::prepare`] has read.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn follow(&mut self, prepared: Prepared) -> std::io::Result<()> {
        (self.sources, self.geo) = (prepared.sources, prepared.geo);
        self.files = prepared.files;
        for file in self.sources.iter().filter_map(|source| match source {
            Source::Published(published) => Some(&published.file),
            Source::Embedded | Source::File(_) => None,
        }) {
            // It may have been fetched for the first time.
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
        let result = guarded(|| self.load(downloads, &before));
        drop(before);
        self.was_refused = result.is_err();
        let (database, fetched) = result.inspect_err(|_| self.live.note_refused())?;
        // A file that was fetched has changed by our own hand. What somebody else changed while we
        // read is still to be noticed.
        for number in fetched {
            if let Some(file) = self.sources[number].file() {
                self.files.note(file);
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
            // Nobody listens any more when the server is on its way out.
            tell(Event::Changed(notice));
        }
    })
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
