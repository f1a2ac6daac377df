//! Static files.

use std::path::PathBuf;

use super::compression::Coding;
use super::template::Template;
use super::variable::RequestVariable;

/// Answer to a request for which there is no file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fallback {
    /// This status, from 200 to 599.
    Status(u16),
    /// This path, which is requested anew. It may have a query.
    Path(Template<RequestVariable>),
    /// The route of this name, with the path of the request.
    Route(String),
}

/// Form of the listing of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// HTML.
    Html,
    /// A JSON array of objects.
    Json,
}

/// Settings for serving static files from a folder.
#[derive(Debug, Clone)]
pub struct Files {
    /// Absolute path of the folder. It does not have to exist yet.
    pub root: PathBuf,
    /// Index file names for a request of a folder. The first that exists is requested anew.
    pub index: Vec<String>,
    /// Paths that are tried in place of the request's, a folder if the template ends in a slash;
    /// `None` for the path itself, as a file or a folder.
    pub tried: Option<Vec<Template<RequestVariable>>>,
    /// Answer where nothing is found.
    pub fallback: Fallback,
    /// Codings of files that are looked for beside a file, such as `a.css.gz`, in order of preference.
    pub precompressed: Vec<Coding>,
    /// Form of the listing of a folder without an index; `None` for no listing.
    pub listing: Option<Listing>,
    /// Maximum number of ranges of a request that are sent; 0 for none.
    pub max_ranges: usize,
    /// Media types by extension, in lower case without a dot; they override the built-in ones.
    pub types: Vec<(String, String)>,
    /// True if extensions without a type of their own have the built-in ones.
    pub known_types: bool,
    /// Media type of files with an unknown extension.
    pub default_type: String,
    /// True if symbolic links may point outside the root.
    pub follow_links: bool,
    /// True if names that begin with a dot are served. `/.well-known/` is always served.
    pub hidden: bool,
}
