//! Files that are noticed when they change: databases, code tables, certificates.
//!
//! Folders are watched and not files: a file is best replaced by renaming another one to its name, and
//! a watch on the file would stay with the old one. A path may also lead through symbolic links
//! (`current/` to `releases/2`, a link to a link, Kubernetes' `..data`), and then the files change
//! when any of these links is switched. So every folder in which a part of the path is looked up is
//! watched, for that name alone; when a link leads elsewhere, the folders are found anew.
//!
//! An event is only a reason to look. Fingerprints tell if a file is another one.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

/// What tells one content of a file from another without reading it: device, inode, size, and when
/// it was modified (seconds and nanoseconds). `None` for a file that is not there.
type Fingerprint = Option<(u64, u64, u64, i64, i64)>;

/// How long files must have been left alone before they are read: a copy takes many steps.
const QUIET: Duration = Duration::from_millis(300);

/// Files that are never left alone are read after this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often files are looked at that cannot be watched.
const LOOK: Duration = Duration::from_secs(2);

/// The most symbolic links that one path may lead through, as the kernel has it.
const MAX_LINKS: usize = 40;

/// Called when something may have happened to the files.
type Notify = Arc<dyn Fn() + Send + Sync>;

/// Files that belong together, and their state when they were read last.
pub struct WatchedFiles {
    files: Vec<PathBuf>,
    /// The fingerprints when they were read last.
    known: Vec<Fingerprint>,
    subscription: Option<Subscription>,
}

impl WatchedFiles {
    /// Calls `changed` when something may have happened to the files, until the value is dropped. To
    /// be called before the files are read: their state at this moment counts as read.
    pub fn watched(files: Vec<PathBuf>, changed: impl Fn() + Send + Sync + 'static) -> Self {
        let steps = steps(&files);
        let watch = |steps| Subscription::new(steps, Arc::new(changed));
        WatchedFiles {
            subscription: (!steps.is_empty()).then(|| watch(steps)),
            ..WatchedFiles::unwatched(files)
        }
    }

    /// Files that are only looked at when somebody asks.
    pub fn unwatched(files: Vec<PathBuf>) -> Self {
        WatchedFiles {
            known: fingerprints(&files),
            files,
            subscription: None,
        }
    }

    /// Tells if changes are reported.
    pub fn is_watched(&self) -> bool {
        self.subscription.is_some()
    }

    /// Tells if a file is another one than what was read.
    pub fn have_changed(&mut self) -> bool {
        self.follow_links();
        fingerprints(&self.files) != self.known
    }

    /// The files are about to be read as they are now.
    pub fn note_all(&mut self) {
        self.known = fingerprints(&self.files);
    }

    /// One of the files was written by ourselves, as it is now.
    pub fn note(&mut self, file: &Path) {
        for (own, known) in self.files.iter().zip(&mut self.known) {
            if own == file {
                *known = fingerprint(file);
            }
        }
    }

    /// Waits until the files have been left alone for a while. Returns the event, if one that is no
    /// change ends the wait. Neighbours of the files, a log perhaps, may go on changing.
    pub fn wait_for_quiet<E>(
        &mut self,
        events: &Receiver<E>,
        is_change: impl Fn(&E) -> bool,
    ) -> Option<E> {
        let start = Instant::now();
        let (mut since, mut last) = (start, fingerprints(&self.files));
        while since.elapsed() < QUIET && start.elapsed() < PATIENCE {
            match events.recv_timeout(QUIET.saturating_sub(since.elapsed())) {
                Ok(event) if is_change(&event) => {
                    drop(event);
                    self.follow_links();
                    let now = fingerprints(&self.files);
                    if now != last {
                        (since, last) = (Instant::now(), now);
                    }
                }
                Ok(event) => return Some(event),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
        None
    }

    /// Watches other folders if a link on the way leads elsewhere. The files are looked at after it, so
    /// what happens between the two is seen.
    fn follow_links(&mut self) {
        let Some(subscription) = &mut self.subscription else {
            return;
        };
        // While it is being followed, the way may change again.
        for _ in 0..MAX_LINKS {
            let now = steps(&self.files);
            if now == subscription.steps {
                return;
            }
            *subscription = Subscription::new(now, Arc::clone(&subscription.changed));
        }
    }
}

/// A name that is looked up on the way to a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Step {
    /// The folder's own path, free of links.
    folder: PathBuf,
    /// Its device and inode: a folder can be replaced by another one of its name.
    identity: Option<(u64, u64)>,
    name: OsString,
}

/// All names that are looked up on the way to these files, as the links lead now.
fn steps(files: &[PathBuf]) -> BTreeSet<Step> {
    let mut found = BTreeSet::new();
    for file in files {
        add_steps(file, &mut found);
    }
    found
}

fn add_steps(file: &Path, found: &mut BTreeSet<Step>) {
    let Ok(file) = std::path::absolute(file) else {
        return;
    };
    let mut folder = PathBuf::from("/");
    let mut rest: Vec<OsString> = components(&file);
    let mut links = 0;
    while let Some(name) = rest.pop() {
        if name == "/" {
            folder = PathBuf::from("/");
            continue;
        }
        if name == ".." {
            folder.pop();
            continue;
        }
        let path = folder.join(&name);
        let identity = std::fs::metadata(&folder).ok();
        found.insert(Step {
            folder: folder.clone(),
            identity: identity.map(|data| (data.dev(), data.ino())),
            name,
        });
        match std::fs::read_link(&path) {
            Ok(target) if links < MAX_LINKS => {
                links += 1;
                rest.extend(components(&target));
            }
            Err(_) if path.is_dir() => folder = path,
            // The file itself, or nothing, or too many links.
            _ => return,
        }
    }
}

/// The parts of a path, the last one first.
fn components(path: &Path) -> Vec<OsString> {
    let parts = path
        .components()
        .filter(|part| !matches!(part, Component::CurDir));
    let mut parts: Vec<_> = parts.map(|part| part.as_os_str().to_owned()).collect();
    parts.reverse();
    parts
}

/// Calls `changed` for these steps as long as it lives.
struct Subscription {
    steps: BTreeSet<Step>,
    changed: Notify,
    _watch: Watch,
}

/// How changes are noticed.
enum Watch {
    /// By the system.
    Events { _watcher: RecommendedWatcher },
    /// By looking now and then. The thread ends with the sender.
    Looks { _end: Sender<()> },
}

impl Subscription {
    /// The system has only so many watches for all programs of a user, and a folder may be closed to
    /// us. Then the files are looked at every two seconds.
    fn new(steps: BTreeSet<Step>, changed: Notify) -> Self {
        let watch = events(&steps, &changed).unwrap_or_else(|error| {
            log::warn!("files are looked at every {LOOK:?}, as they cannot be watched: {error}");
            looks(&changed)
        });
        Subscription {
            steps,
            changed,
            _watch: watch,
        }
    }
}

fn events(steps: &BTreeSet<Step>, changed: &Notify) -> notify::Result<Watch> {
    let paths = steps.iter().map(|step| step.folder.join(&step.name));
    let paths: BTreeSet<PathBuf> = paths.collect();
    let changed = Arc::clone(changed);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let concerns_us = event.as_ref().map_or(true, |event| {
            // Reading the files is an event as well.
            let is_access = matches!(event.kind, EventKind::Access(_));
            let is_ours = event.paths.iter().any(|path| paths.contains(path));
            event.need_rescan() || is_ours && !is_access
        });
        if concerns_us {
            changed();
        }
    })?;
    let folders: BTreeSet<_> = steps.iter().map(|step| &step.folder).collect();
    for folder in folders {
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
    }
    Ok(Watch::Events { _watcher: watcher })
}

fn looks(changed: &Notify) -> Watch {
    let (end, ended) = channel::<()>();
    let changed = Arc::clone(changed);
    let thread = std::thread::Builder::new().name("watch".to_owned());
    let look = move || {
        while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            changed();
        }
    };
    if let Err(error) = thread.spawn(look) {
        log::warn!("files are not looked at: {error}; a reload (HUP) reads them");
    }
    Watch::Looks { _end: end }
}

fn fingerprints(files: &[PathBuf]) -> Vec<Fingerprint> {
    files.iter().map(|file| fingerprint(file)).collect()
}

fn fingerprint(file: &Path) -> Fingerprint {
    let data = std::fs::metadata(file).ok()?;
    Some((
        data.dev(),
        data.ino(),
        data.size(),
        data.mtime(),
        data.mtime_nsec(),
    ))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder of its own, by a path without links.
    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        (folder, path)
    }

    /// The steps within `root`, as paths below it.
    fn names(root: &Path, file: &Path) -> Vec<String> {
        let steps = steps(&[file.to_owned()]);
        let paths = steps.iter().map(|step| step.folder.join(&step.name));
        let inner = paths.filter_map(|path| Some(path.strip_prefix(root).ok()?.to_owned()));
        let inner = inner.filter(|path| !path.as_os_str().is_empty());
        inner.map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn every_link_on_the_way_is_a_step() {
        let (_folder, root) = folder();
        let file = |name: &str| root.join(name);
        std::fs::create_dir_all(file("releases/2")).unwrap();
        std::fs::write(file("releases/2/a.csv"), "").unwrap();
        symlink("releases/2", file("current")).unwrap();
        symlink("current/../2/a.csv", file("latest")).unwrap();
        symlink(file("latest"), file("link")).unwrap();
        assert_eq!(
            names(&root, &file("current/a.csv")),
            ["current", "releases", "releases/2", "releases/2/a.csv"]
        );
        // `..` is the folder above the link's target, as the kernel has it.
        assert_eq!(
            names(&root, &file("link")),
            [
                "current",
                "latest",
                "link",
                "releases",
                "releases/2",
                "releases/2/a.csv"
            ]
        );
        // As far as there is something.
        assert_eq!(names(&root, &file("none/yet")), ["none"]);
    }

    #[test]
    fn links_in_a_circle_have_an_end() {
        let (_folder, root) = folder();
        symlink("b", root.join("a")).unwrap();
        symlink("a", root.join("b")).unwrap();
        assert_eq!(names(&root, &root.join("a/file")), ["a", "b"]);
    }

    struct Watching {
        files: WatchedFiles,
        events: Receiver<()>,
    }

    impl Watching {
        fn start(file: PathBuf) -> Self {
            let (sender, events) = channel();
            let files = WatchedFiles::watched(vec![file], move || {
                let _ = sender.send(());
            });
            Watching { files, events }
        }

        /// Waits for events until the files are others, and takes note of it.
        fn wait_for_change(&mut self) {
            while !self.files.have_changed() {
                self.events.recv().expect("the watch lives");
            }
            self.files.note_all();
        }
    }

    #[test]
    fn a_switched_link_is_noticed_and_so_is_what_is_behind_it() {
        let (_folder, root) = folder();
        let file = |name: &str| root.join(name);
        for release in ["1", "2"] {
            std::fs::create_dir_all(file(release)).unwrap();
            std::fs::write(file(release).join("x"), release).unwrap();
        }
        symlink("1", file("current")).unwrap();
        let mut watching = Watching::start(file("current/x"));
        assert!(!watching.files.have_changed());
        symlink("2", file("next")).unwrap();
        std::fs::rename(file("next"), file("current")).unwrap();
        watching.wait_for_change();
        // The folder that the link leads to now is watched, too.
        std::fs::write(file("2/new"), "more").unwrap();
        std::fs::rename(file("2/new"), file("2/x")).unwrap();
        watching.wait_for_change();
    }

    #[test]
    fn a_folder_that_is_replaced_or_comes_later_is_noticed() {
        let (_folder, root) = folder();
        let file = |name: &str| root.join(name);
        let mut watching = Watching::start(file("later/x"));
        for content in ["a", "bb"] {
            std::fs::create_dir(file("new")).unwrap();
            std::fs::write(file("new/x"), content).unwrap();
            if file("later").exists() {
                std::fs::rename(file("later"), file("old")).unwrap();
            }
            std::fs::rename(file("new"), file("later")).unwrap();
            watching.wait_for_change();
        }
    }

    #[test]
    fn files_that_cannot_be_watched_are_looked_at() {
        let (sender, events) = channel();
        let notify: Notify = Arc::new(move || {
            let _ = sender.send(());
        });
        let watch = looks(&notify);
        events.recv().unwrap();
        drop((watch, notify));
        // The thread ends, and with it the last that could send.
        while events.recv().is_ok() {}
    }
}
