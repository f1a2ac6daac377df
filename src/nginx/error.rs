//! What makes a file one that cannot be read.

use super::place::Place;

/// Why there is no translation.
#[derive(Debug, thiserror::Error)]
pub enum NginxError {
    /// The file itself is not there or cannot be read.
    #[error("{file}: {error}")]
    Io {
        /// The file.
        file: String,
        /// What the system says.
        #[source]
        error: std::io::Error,
    },
    /// The content is not what nginx reads.
    #[error("{place}: {fault}")]
    Syntax {
        /// Where it stands.
        place: Place,
        /// What is wrong.
        fault: Fault,
    },
    /// The result is not what geogate reads, and no single setting is to blame.
    #[error("the translation is not valid: {0}")]
    Refused(String),
}

/// What is wrong with the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A word is not UTF-8.
    #[error("this is not UTF-8")]
    NotUtf8,
    /// The file ends within a quoted text.
    #[error("the quote has no end")]
    QuoteWithoutEnd,
    /// Something stands right behind a quoted text.
    #[error("a space, \";\", \"{{\" or \")\" is expected after a quoted text")]
    TextAfterQuote,
    /// The file ends within a directive.
    #[error("the file ends where \";\" or \"{{\" is expected")]
    DirectiveWithoutEnd,
    /// The file ends within a block.
    #[error("the block has no \"}}\"")]
    BlockWithoutEnd,
    /// `}` after words, or where no block is open.
    #[error("unexpected \"}}\"")]
    UnexpectedClose,
    /// `;` without words.
    #[error("unexpected \";\"")]
    UnexpectedEnd,
    /// `{` without words.
    #[error("unexpected \"{{\"")]
    UnexpectedOpen,
    /// Blocks within blocks within blocks.
    #[error("blocks are nested deeper than {0}")]
    TooDeep(usize),
    /// More text than any configuration has.
    #[error("more than {0} bytes, with what is included")]
    TooLong(u64),
    /// More directives than any configuration has.
    #[error("more than {0} directives")]
    TooMany(usize),
    /// Files that include files, too many levels of them, most likely themselves.
    #[error("files include one another {0} levels deep")]
    IncludeTooDeep(usize),
}
