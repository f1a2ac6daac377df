//! The PID file: the process ID, as long as the gateway listens.

use std::path::{Path, PathBuf};

/// A file with the ID of this process. Dropping the value removes it, unless another process has
/// written its own ID meanwhile, as it does when it takes over the listeners.
pub(super) struct PidFile {
    path: PathBuf,
    content: String,
}

impl PidFile {
    /// Writes the file in one step, because during an upgrade the file of the old process is there.
    pub(super) fn write(path: &Path) -> std::io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let content = format!("{}\n", std::process::id());
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let new = path.with_file_name(name);
        let written = std::fs::write(&new, &content).and_then(|()| std::fs::rename(&new, path));
        if let Err(error) = written {
            let _ = std::fs::remove_file(&new);
            return Err(error);
        }
        Ok(PidFile {
            path: path.to_owned(),
            content,
        })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let found = std::fs::read_to_string(&self.path);
        if found.is_ok_and(|found| found == self.content)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            log::warn!("pid file {}: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_goes_with_its_process_and_with_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/geogate.pid");
        let file = PidFile::write(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{}\n", std::process::id()));
        drop(file);
        assert!(!path.exists());
        let file = PidFile::write(&path).unwrap();
        std::fs::write(&path, "1\n").unwrap();
        drop(file);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1\n");
    }

    #[test]
    fn a_file_that_cannot_be_written_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        // No file can replace a folder.
        let path = folder.path().join("geogate.pid");
        std::fs::create_dir(&path).unwrap();
        assert!(PidFile::write(&path).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
