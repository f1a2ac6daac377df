//! A folder whose files are served.

use std::path::PathBuf;

/// A folder whose files are served.
#[derive(Debug, Clone)]
pub struct Files {
    /// The folder, absolute. It need not be there yet.
    pub root: PathBuf,
    /// What is served for a folder: the first of these names that is in it.
    pub index: Vec<String>,
    /// What is served where there is nothing; a path within the root, without a leading slash.
    pub fallback: Option<String>,
    /// Media types by extension, in lower case and without a dot; they go before the known ones.
    pub types: Vec<(String, String)>,
    /// The media type of a file whose extension says nothing.
    pub default_type: String,
    /// Whether symbolic links may lead out of the root.
    pub follow_links: bool,
    /// Whether names that begin with a dot are served. `/.well-known/` is in any case.
    pub hidden: bool,
}
