//! Scripts that a FastCGI server runs.

use std::path::PathBuf;

use super::template::Template;
use super::variable::RequestVariable;

/// Settings of a route to a FastCGI upstream: which script runs, and what it is told.
#[derive(Debug, Clone)]
pub struct FastCgi {
    /// Absolute path of the folder with the scripts, as the server sees it.
    pub root: PathBuf,
    /// Script of a folder: the name of a file.
    pub index: String,
    /// The only script, as a path below the root with a leading slash; `None` if the path of the
    /// request names it.
    pub script: Option<String>,
    /// Endings of the names of scripts, each with its dot. At least one.
    pub extensions: Vec<String>,
    /// True if the path may go on behind the script's name.
    pub path_info: bool,
    /// True if a script must be a file below the root on this host.
    pub check_file: bool,
    /// True if symbolic links may point outside the root.
    pub follow_links: bool,
    /// Bytes of a request's body without a length that are held in memory, because a script is told
    /// the length first.
    pub body_buffer: u64,
    /// Parameters beside, or in place of, the standard ones.
    pub params: Vec<(String, Template<RequestVariable>)>,
}
