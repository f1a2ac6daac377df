//! Reports on databases: coverage of one, its soundness, difference of two, agreement of several.
//!
//! Each report is a sweep over sorted ranges and returns plain numbers and texts; the caller
//! prints them. Numbers of addresses are exact, except that the whole IPv6 space counts one short,
//! because its size does not fit in 128 bits.

pub mod agreement;
mod countries;
pub mod coverage;
pub mod difference;
pub mod soundness;
pub mod span;

pub use agreement::agreement;
pub use coverage::{Coverage, coverage};
pub use difference::difference;
pub use soundness::soundness;
pub use span::{Family, Span};

use crate::geo::admin_area::{AdminArea, AdminAreas};
use crate::geo::database::Database;
use crate::tree::Range;

/// Returns the administrative areas of each place of a database, for comparison with other
/// databases.
fn areas(database: &Database, areas: &mut AdminAreas) -> Vec<AdminArea> {
    let places = database.places();
    let numbers = 0..places.len() as u32;
    let area = |place| areas.area(|field| places.text(place, field));
    numbers.map(area).collect()
}

/// Returns both ends of a range of any family, and its value.
fn wide<A: Into<u128>>(range: Range<A>) -> (u128, u128, u32) {
    (range.first.into(), range.last.into(), range.value)
}
