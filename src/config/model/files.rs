//! Static files.

use std::path::PathBuf;

/// Settings for serving static files from a folder.
#[derive(Debug, Clone)]
pub struct Files {
    /// Absolute path of the folder. It does not have to exist yet.
    pub root: PathBuf,
    /// Index file names for a request of a folder; the first that exists is served.
    pub index: Vec<String>,
    /// File that is served for a path that does not exist: relative to the root, no leading slash.
    pub fallback: Option<String>,
    /// Media types by extension, in lower case without a dot; they override the built-in ones.
    pub types: Vec<(String, String)>,
    /// Media type of files with an unknown extension.
    pub default_type: String,
    /// True if symbolic links may point outside the root.
    pub follow_links: bool,
    /// True if names that begin with a dot are served. `/.well-known/` is always served.
    pub hidden: bool,
}
