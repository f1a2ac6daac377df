//! The files that are read: how much of them, and which ones an `include` means.

use std::fs::File;
use std::io::{Error, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// All files together. A configuration of ten thousand servers is a few megabytes.
pub(super) const BYTES: u64 = 8 << 20;

/// Where files are looked for, and how much may still be read of them.
pub(super) struct Files {
    folder: PathBuf,
    left: u64,
}

impl Files {
    /// Relative names begin in the folder of the main file, in whichever file they stand.
    pub(super) fn of(main: &Path) -> Self {
        Files {
            folder: main.parent().unwrap_or(Path::new("")).to_owned(),
            left: BYTES,
        }
    }

    /// The content of a regular file; `FileTooLarge` if it is more than may still be read.
    pub(super) fn read(&mut self, path: &Path) -> Result<Vec<u8>, Error> {
        // Opening a pipe waits for a writer, so what it is comes first.
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

    /// The files that a pattern means, in the order of their names. A name without wildcards is
    /// itself, if it is there; a pattern may match nothing in a folder that is there.
    pub(super) fn matching(&self, pattern: &str) -> Result<Vec<PathBuf>, String> {
        let path = self.folder.join(pattern);
        if !pattern.contains(['*', '?', '[']) {
            let found = path.exists().then(|| vec![path]);
            return found.ok_or_else(|| "there is no such file".to_owned());
        }
        // What is not of the pattern is no pattern, even if it has a `*`.
        let folder = glob::Pattern::escape(&self.folder.to_string_lossy());
        // `**` has no meaning of its own in nginx.
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
