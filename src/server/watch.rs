//! Detection of changes of files: databases, code tables, certificates.
//!
//! Folders are watched and not files: the usual way to replace a file is to rename another one to
//! its name, and a watch on the file would stay with the old one. A path may also lead through
//! symbolic links (`current/` to `releases/2`, a link to a link, Kubernetes' `..data`), and then
//! the files change when any of these links is switched. So every folder in which a component of
//! the path is looked up is watched, for that name alone; when a link changes, the folders are
//! determined again.
//!
//! An event is only a reason to check. Fingerprints decide if a file has changed.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

/// Identity of a file's content, without reading it: device, inode, size, and modification time
/// (seconds and nanoseconds). `None` for a missing file.
type Fingerprint = Option<(u64, u64, u64, i64, i64)>;

/// Time without changes before files are read: a copy takes many steps.
const QUIET: Duration = Duration::from_millis(300);

/// Longest wait for [`QUIET`]; files that keep changing are read after it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Polling interval for files that cannot be watched.
const LOOK: Duration = Duration::from_secs(2);

/// Maximum number of symbolic links in one path, as in the kernel.
const MAX_LINKS: usize = 40;

/// Called when the files may have changed.
type Notify = Arc<dyn Fn() + Send + Sync>;

/// Files that belong together, and their state when they were read last.
pub struct WatchedFiles {
    files: Vec<PathBuf>,
    /// Fingerprints at the last read.
    known: Vec<Fingerprint>,
    subscription: Option<Subscription>,
}

impl WatchedFiles {
    /// Calls `changed` when the files may have changed, until the value is dropped. Create it
    /// before the files are read: their state at this moment counts as read.
    pub fn watched(files: Vec<PathBuf>, changed: impl Fn() + Send + Sync + 'static) -> Self {
        let steps = steps(&files);
        let watch = |steps| Subscription::new(steps, Arc::new(changed));
        WatchedFiles {
            subscription: (!steps.is_empty()).then(|| watch(steps)),
            ..WatchedFiles::unwatched(files)
        }
    }

    /// Creates a value without a watch: the files are checked only on request.
    pub fn unwatched(files: Vec<PathBuf>) -> Self {
        WatchedFiles {
            known: fingerprints(&files),
            files,
            subscription: None,
        }
    }

    /// Returns `true` if changes are reported.
    pub fn is_watched(&self) -> bool {
        self.subscription.is_some()
    }

    /// Returns `true` if a file differs from what was read last.
    pub fn have_changed(&mut self) -> bool {
        self.follow_links();
        fingerprints(&self.files) != self.known
    }

    /// Records the current state of all files as read. Call it just before they are read.
    pub fn note_all(&mut self) {
        self.known = fingerprints(&self.files);
    }

    /// Records the current state of `file` as read, after this process has written it.
    pub fn note(&mut self, file: &Path) {
        for (own, known) in self.files.iter().zip(&mut self.known) {
            if own == file {
                *known = fingerprint(file);
            }
        }
    }

    /// Waits until the files have been quiet for [`QUIET`]. An event that is not a change ends the
    /// wait and is returned. Changes of other files in the same folder, such as a log, do not
    /// prolong the wait.
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

    /// Watches other folders if a link in a path has changed. The files are checked after this, so
    /// a change in between is noticed.
    fn follow_links(&mut self) {
        let Some(subscription) = &mut self.subscription else {
            return;
        };
        // The path may change again meanwhile.
        for _ in 0..MAX_LINKS {
            let now = steps(&self.files);
            if now == subscription.steps {
                return;
            }
            *subscription = Subscription::new(now, Arc::clone(&subscription.changed));
        }
    }
}

/// A name that is looked up in a folder on the path to a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Step {
    /// Path of the folder, free of links.
    folder: PathBuf,
    /// Device and inode of the folder: another folder can replace it under the same name.
    identity: Option<(u64, u64)>,
    name: OsString,
}

/// Returns all names that are looked up on the paths to these files, with the current links.
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
            // The file itself, a missing file, or too many links.
            _ => return,
        }
    }
}

/// Returns the components of a path, the last one first.
fn components(path: &Path) -> Vec<OsString> {
    let parts = path
        .components()
        .filter(|part| !matches!(part, Component::CurDir));
    let mut parts: Vec<_> = parts.map(|part| part.as_os_str().to_owned()).collect();
    parts.reverse();
    parts
}

/// Calls `changed` for these steps while it exists.
struct Subscription {
    steps: BTreeSet<Step>,
    changed: Notify,
    _watch: Watch,
}

/// Method of noticing changes.
enum Watch {
    /// Events of the operating system.
    Events { _watcher: RecommendedWatcher },
    /// Polling. The thread ends when the sender is dropped.
    Looks { _end: Sender<()> },
}

impl Subscription {
    /// Watches the folders, or polls the files every two seconds if that fails: the system limits
    /// the number of watches of a user, and a folder may be unreadable.
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
            // Reading the files causes events as well.
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

    /// Returns a temporary folder, and its path without links.
    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        (folder, path)
    }

    /// Returns the steps within `root`, as paths relative to it.
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
        // `..` is the folder above the link's target, as in the kernel.
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
        // Only as far as the path exists.
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

        /// Waits for events until the files have changed, and records their state.
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
        // The folder that the link points to now is watched, too.
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
        // The thread ends, and with it the last sender.
        while events.recv().is_ok() {}
    }
}
