//! Files of a configuration: the limit on their size, and the files that an `include` names.

use std::fs::File;
use std::io::{Error, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Limit on the bytes of all files together. A configuration of ten thousand servers is a few
/// megabytes.
pub(super) const BYTES: u64 = 8 << 20;

/// The folder of relative file names, and the number of bytes that may still be read.
pub(super) struct Files {
    folder: PathBuf,
    left: u64,
}

impl Files {
    /// Takes relative names from the folder of the main file, whichever file contains them.
    pub(super) fn of(main: &Path) -> Self {
        Files {
            folder: main.parent().unwrap_or(Path::new("")).to_owned(),
            left: BYTES,
        }
    }

    /// Returns the content of a regular file; `FileTooLarge` if it exceeds the bytes that may still
    /// be read.
    pub(super) fn read(&mut self, path: &Path) -> Result<Vec<u8>, Error> {
        // Opening a pipe blocks until it has a writer, so the type of the file is checked first.
        if !std::fs::metadata(path)?.is_file() {
            return Err(Error::new(ErrorKind::InvalidInput, "not a regular file"));
        }
        let mut bytes = Vec::new();
        let mut file = File::open(path)?.take(self.left + 1);
        let length = file.read_to_end(&mut bytes)? as u64;
        self.left = self
            .left
            .checked_sub(length)
            .ok_or_else(|| Error::new(ErrorKind::FileTooLarge, "the file is too large"))?;
        Ok(bytes)
    }

    /// Returns the files that a pattern names, sorted by name. A name without wildcards must exist;
    /// a pattern may match no file if its folder exists.
    pub(super) fn matching(&self, pattern: &str) -> Result<Vec<PathBuf>, String> {
        let path = self.folder.join(pattern);
        if !pattern.contains(['*', '?', '[']) {
            let found = path.exists().then(|| vec![path]);
            return found.ok_or_else(|| "there is no such file".to_owned());
        }
        // The folder of the main file is literal, even if its name contains a `*`.
        let folder = glob::Pattern::escape(&self.folder.to_string_lossy());
        // nginx gives `**` no meaning of its own.
        let mut pattern = pattern.to_owned();
        while pattern.contains("**") {
            pattern = pattern.replace("**", "*");
        }
        let pattern = Path::new(&folder).join(pattern);
        let paths = glob::glob(&pattern.to_string_lossy()).map_err(|error| error.to_string())?;
        let found: Vec<PathBuf> = paths.filter_map(Result::ok).collect();
        let fixed = path
            .ancestors()
            .find(|part| !part.to_string_lossy().contains(['*', '?', '[']));
        if found.is_empty() && !fixed.is_some_and(Path::is_dir) {
            return Err("there is no such folder".to_owned());
        }
        Ok(found)
    }
}
