//! Variables that the operator defines: values that follow from the values of other variables.

use std::fmt;

use super::part::Part;
use super::value_table::ValueTable;

/// Most variables and texts that one value is put together from. It bounds the work that variables
/// which use each other can make.
pub const MAX_WEIGHT: u32 = 256;

/// A variable that the operator defines. `V` is the type of the variables that it uses.
pub struct OwnVariable<V> {
    /// Name, without the dollar.
    pub name: String,
    /// Text that decides the value.
    pub source: Vec<Part<V>>,
    /// Position in `values` for each text of the source.
    pub table: ValueTable,
    /// Values that the table leads to.
    pub values: Vec<Vec<Part<Mapped<V>>>>,
    /// Value of a source that the table does not have.
    pub default: Vec<Part<Mapped<V>>>,
    /// Upper bound of the variables and texts that a value is put together from.
    pub weight: u32,
}

/// A variable in a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mapped<V> {
    /// Group of the regular expression that matched the source.
    Group(usize),
    /// Any other variable.
    Variable(V),
}

impl<V> OwnVariable<V> {
    /// Returns all values that the variable can have; `None` if one of them contains variables.
    #[must_use]
    pub fn constants(&self) -> Option<Vec<String>> {
        if let ValueTable::Source = self.table {
            return Some(vec![constant(&self.source)?]);
        }
        let all = self.values.iter().chain([&self.default]);
        all.map(|parts| constant(parts)).collect()
    }

    /// Returns the variables that the value depends on, without those that these depend on.
    pub fn variables(&self) -> impl Iterator<Item = &V> {
        let of_source = self.source.iter().filter_map(Part::variable);
        let values = self.values.iter().chain([&self.default]).flatten();
        let of_values = values.filter_map(|part| match part {
            Part::Variable(Mapped::Variable(variable)) => Some(variable),
            _ => None,
        });
        of_source.chain(of_values)
    }
}

/// Returns the text of parts that are all literal.
fn constant<V>(parts: &[Part<V>]) -> Option<String> {
    let texts = parts.iter().map(|part| match part {
        Part::Text(text) => Some(text.as_str()),
        Part::Variable(_) => None,
    });
    texts.collect()
}

impl<V: PartialEq> PartialEq for OwnVariable<V> {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.source == other.source
            && self.table == other.table
            && self.values == other.values
            && self.default == other.default
    }
}

impl<V: Eq> Eq for OwnVariable<V> {}

/// The name alone: the tables may have thousands of lines.
impl<V> fmt::Debug for OwnVariable<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${}", self.name)
    }
}
