//! Versions of a published file that need no download.
//!
//! A version counts once its file was kept, or was rejected for its content. A version that failed
//! for another reason (a full disk, another database that is being replaced) is downloaded again at
//! the next check.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Version of a published file, as its server names it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Version {
    /// Value of `ETag`; empty if there is none.
    pub etag: String,
    /// Value of `Last-Modified`; empty if there is none.
    pub last_modified: String,
}

/// One version of a published file, by its server and by its content.
#[derive(Debug, Clone, Default)]
pub struct Release {
    /// Version in the words of the server.
    pub version: Version,
    /// SHA-256 of the content, for servers without version headers. Empty if it is unknown.
    pub sum: String,
}

/// Versions of a published file that are not downloaded again. Clones share them.
#[derive(Clone, Default)]
pub struct Versions(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    /// Version of the file that is in place.
    kept: Release,
    /// Latest version that was rejected for its content.
    rejected: Option<Release>,
    /// Version that was downloaded and is being checked. It must not be downloaded a second time if
    /// the check takes longer than the interval.
    pending: Option<Release>,
}

impl Versions {
    /// Lets a rejected version be downloaded again: it may be accepted together with other files.
    pub fn retry_rejected(&self) {
        self.lock().rejected = None;
    }

    /// Reads the version of the file that is in place, if there is one.
    pub fn read(&self, file: &Path) {
        if file.exists() {
            self.lock().kept.version = Version::read(&version_file(file));
        }
    }

    /// Returns the latest version that needs no download.
    pub fn last(&self) -> Version {
        self.lock().last().version.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Every change is one assignment, so a panic cannot leave it inconsistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Latest version that needs no download.
    fn last(&mut self) -> &mut Release {
        let last = self.pending.as_mut().or(self.rejected.as_mut());
        last.unwrap_or(&mut self.kept)
    }
}

/// A downloaded version whose check is not over. Dropping it ends the check without a result.
pub struct Pending {
    versions: Versions,
    /// The version that is checked.
    pub release: Release,
}

impl Pending {
    /// Begins the check of a version. Returns `None` if its content is that of the latest version.
    pub fn begin(versions: &Versions, release: Release) -> Option<Self> {
        let mut known = versions.lock();
        let last = known.last();
        if last.sum == release.sum {
            last.version = release.version;
            return None;
        }
        known.pending = Some(release.clone());
        drop(known);
        Some(Pending {
            versions: versions.clone(),
            release,
        })
    }

    /// Ends the check: the file was kept.
    pub fn kept(self) {
        let mut known = self.versions.lock();
        known.kept = self.release.clone();
        known.rejected = None;
    }

    /// Ends the check: the content is not usable.
    pub fn rejected(self) {
        self.versions.lock().rejected = Some(self.release.clone());
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let mut known = self.versions.lock();
        // The server may have published a further version meanwhile.
        if known
            .pending
            .as_ref()
            .is_some_and(|pending| pending.sum == self.release.sum)
        {
            known.pending = None;
        }
    }
}

impl Version {
    /// Reads a version; a missing or unreadable file counts as no version.
    fn read(file: &Path) -> Self {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let mut lines = text.lines().map(str::to_owned);
        Version {
            etag: lines.next().unwrap_or_default(),
            last_modified: lines.next().unwrap_or_default(),
        }
    }

    /// Writes the version to a file.
    ///
    /// # Errors
    /// If the operating system returns an error.
    pub fn write(&self, file: &Path) -> io::Result<()> {
        std::fs::write(file, format!("{}\n{}\n", self.etag, self.last_modified))
    }
}

/// Returns the path of the file that holds the version of a downloaded file: its `ETag` on the
/// first line, its `Last-Modified` on the second.
pub fn version_file(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".version");
    name.into()
}
