//! Errors of reading the files of an nginx configuration.

use super::place::Place;

/// Reason why a configuration cannot be translated.
#[derive(Debug, thiserror::Error)]
pub enum NginxError {
    /// The main file does not exist or cannot be read.
    #[error("{file}: {error}")]
    Io {
        /// Name of the file.
        file: String,
        /// Error of the operating system.
        #[source]
        error: std::io::Error,
    },
    /// The content is not valid nginx syntax, or exceeds a limit.
    #[error("{place}: {fault}")]
    Syntax {
        /// Position of the fault.
        place: Place,
        /// The fault at that position.
        fault: Fault,
    },
    /// geogate refuses the result, and no single setting can be removed to fix it.
    #[error("the translation is not valid: {0}")]
    Refused(String),
}

/// Fault in the syntax or the size of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A word is not UTF-8.
    #[error("this is not UTF-8")]
    NotUtf8,
    /// The file ends within a quoted string.
    #[error("the quote has no end")]
    QuoteWithoutEnd,
    /// A quoted string is followed by text without a space.
    #[error("a space, \";\", \"{{\" or \")\" is expected after a quoted text")]
    TextAfterQuote,
    /// The file ends within a directive.
    #[error("the file ends where \";\" or \"{{\" is expected")]
    DirectiveWithoutEnd,
    /// The file ends within a block.
    #[error("the block has no \"}}\"")]
    BlockWithoutEnd,
    /// `}` after words, or without an open block.
    #[error("unexpected \"}}\"")]
    UnexpectedClose,
    /// `;` without words.
    #[error("unexpected \";\"")]
    UnexpectedEnd,
    /// `{` without words.
    #[error("unexpected \"{{\"")]
    UnexpectedOpen,
    /// Blocks are nested too deeply, over all files.
    #[error("blocks are nested deeper than {0}")]
    TooDeep(usize),
    /// The files have too many bytes, with those that are included.
    #[error("more than {0} bytes, with what is included")]
    TooLong(u64),
    /// The files have too many directives.
    #[error("more than {0} directives")]
    TooMany(usize),
    /// Too many levels of `include`. Most likely a file includes itself.
    #[error("files include one another {0} levels deep")]
    IncludeTooDeep(usize),
}
