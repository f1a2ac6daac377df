//! Parts of a text with variables.

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part<V> {
    /// Literal text; never empty.
    Text(String),
    /// A variable, which is replaced by its value.
    Variable(V),
}

impl<V> Part<V> {
    /// Returns the variable; `None` for literal text.
    pub fn variable(&self) -> Option<&V> {
        match self {
            Part::Text(_) => None,
            Part::Variable(variable) => Some(variable),
        }
    }
}
