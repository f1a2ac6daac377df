//! Storage of a download until it is accepted: an unnamed file.
//!
//! If the process is stopped or killed during a download, it cannot remove a temporary file. An
//! unnamed file disappears with the process. It gets a name only when it replaces the previous
//! file. Systems without unnamed files use a named temporary file.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use tempfile::{Builder, NamedTempFile, TempPath};

const MODE: u32 = 0o644;

/// Content that is not in its final place yet.
pub struct Spool {
    content: Content,
    path: PathBuf,
}

enum Content {
    #[cfg(target_os = "linux")]
    Unnamed(File),
    Named(NamedTempFile),
}

impl Spool {
    /// Creates an empty spool on the file system of `target`.
    ///
    /// # Errors
    /// If the operating system returns an error.
    pub fn beside(target: &Path) -> io::Result<Self> {
        let folder = folder_of(target);
        #[cfg(target_os = "linux")]
        if let Some(unnamed) = Spool::unnamed(folder) {
            return Ok(unnamed);
        }
        let file = builder().tempfile_in(folder)?;
        Ok(Spool {
            path: file.path().to_owned(),
            content: Content::Named(file),
        })
    }

    /// Creates an unnamed file; `None` if the kernel or the file system does not support it.
    #[cfg(target_os = "linux")]
    fn unnamed(folder: &Path) -> Option<Self> {
        use std::os::fd::AsRawFd;

        use rustix::fs::{Mode, OFlags, open};

        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = File::from(open(folder, flags, Mode::from_raw_mode(MODE)).ok()?);
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        // Without /proc the file could neither be read by a path nor get a name.
        path.exists().then(|| Spool {
            content: Content::Unnamed(file),
            path,
        })
    }

    /// Returns the file to write the content to.
    pub fn file(&mut self) -> &mut File {
        match &mut self.content {
            #[cfg(target_os = "linux")]
            Content::Unnamed(file) => file,
            Content::Named(file) => file.as_file_mut(),
        }
    }

    /// Returns the path under which this process can read the content.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Flushes the content to the disk.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn sync(&self) -> io::Result<()> {
        match &self.content {
            #[cfg(target_os = "linux")]
            Content::Unnamed(file) => file.sync_all(),
            Content::Named(file) => file.as_file().sync_all(),
        }
    }

    /// Replaces `target`, in one step.
    ///
    /// # Errors
    /// If the operating system returns an error.
    pub fn keep(self, target: &Path) -> io::Result<()> {
        let named: TempPath = match self.content {
            #[cfg(target_os = "linux")]
            Content::Unnamed(_) => link(&self.path, folder_of(target))?,
            Content::Named(file) => file.into_temp_path(),
        };
        named.persist(target).map_err(|error| error.error)
    }
}

/// Links an unnamed file to an unused name.
#[cfg(target_os = "linux")]
fn link(open: &Path, folder: &Path) -> io::Result<TempPath> {
    use rustix::fs::{AtFlags, CWD, linkat};

    let link = |name: &Path| {
        linkat(CWD, open, CWD, name, AtFlags::SYMLINK_FOLLOW).map_err(io::Error::from)
    };
    Ok(builder().make_in(folder, link)?.into_temp_path())
}

fn builder() -> Builder<'static, 'static> {
    let mut builder = Builder::new();
    builder
        .prefix(".geogate-")
        .permissions(Permissions::from_mode(MODE));
    builder
}

fn folder_of(file: &Path) -> &Path {
    let folder = file.parent();
    let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect()
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn content_has_no_name_until_it_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("places.csv");
        std::fs::write(&target, "before").unwrap();
        let mut spool = Spool::beside(&target).unwrap();
        assert!(
            matches!(spool.content, Content::Unnamed(_)),
            "needs O_TMPFILE"
        );
        spool.file().write_all(b"after").unwrap();
        assert_eq!(names(folder.path()), ["places.csv"]);
        assert_eq!(std::fs::read_to_string(spool.path()).unwrap(), "after");
        spool.sync().unwrap();
        spool.keep(&target).unwrap();
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "after");
        assert_eq!(names(folder.path()), ["places.csv"]);
    }

    #[test]
    fn a_temporary_file_with_a_name_does_as_well() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("places.csv");
        let file = builder().tempfile_in(folder.path()).unwrap();
        let mut spool = Spool {
            path: file.path().to_owned(),
            content: Content::Named(file),
        };
        spool.file().write_all(b"after").unwrap();
        spool.keep(&target).unwrap();
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "after");
        assert_eq!(names(folder.path()), ["places.csv"]);
    }
}
