//! Errors of building a tree of ranges.

use std::fmt;

use super::MAX_VALUE;

/// Reason why ranges do not make a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// A range ends before it starts.
    Inverted {
        /// Position of the range in the input, counted from 0.
        index: usize,
    },
    /// A value is above [`MAX_VALUE`].
    ValueTooLarge {
        /// Position of the range in the input, counted from 0.
        index: usize,
        /// The value.
        value: u32,
    },
    /// The nodes need more than 4 GiB.
    TreeTooLarge,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inverted { index } => write!(f, "range[{index}]: ends before it starts"),
            Self::ValueTooLarge { index, value } => {
                write!(f, "range[{index}]: value {value} is above {MAX_VALUE}")
            }
            Self::TreeTooLarge => f.write_str("the ranges make a tree of more than 4 GiB"),
        }
    }
}

impl std::error::Error for BuildError {}
