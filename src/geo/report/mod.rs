//! What can be said about databases: what one covers, whether it is sound, where two differ, how far
//! several agree.
//!
//! Everything here is a sweep over sorted ranges and ends in plain numbers and texts; how they are
//! printed is not known here. Numbers of addresses are exact, except that all of IPv6 together counts
//! one short (it does not fit 128 bits).

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

use super::database::Database;
use super::seat::{Seat, Seats};
use crate::tree::Range;

/// Where each place of a database is, for comparing it with those of others.
fn seats(database: &Database, seats: &mut Seats) -> Vec<Seat> {
    let places = database.places();
    let numbers = 0..places.len() as u32;
    let seat = |place| seats.seat(|field| places.text(place, field));
    numbers.map(seat).collect()
}

/// Both ends of a range of any family, and its value.
fn wide<A: Into<u128>>(range: Range<A>) -> (u128, u128, u32) {
    (range.first.into(), range.last.into(), range.value)
}
