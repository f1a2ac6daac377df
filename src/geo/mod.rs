//! Meaning of an address: sources read, codes looked up, a database built and swapped.
//!
//! [`format`](mod@format) reads a file into a [`Table`]. [`layers`] merges several tables into one.
//! [`place`] resolves the codes and the uniform names of its records. [`Database`] arranges the
//! result for lookup, and a running gateway holds it in [`DatabaseHandle`]. [`report`] examines databases:
//! their coverage, their differences and their soundness.

pub mod admin_area;
pub mod answer;
pub mod codes;
pub mod database;
pub mod format;
pub mod handle;
pub mod intern;
pub mod layers;
pub mod place;
pub mod record;
pub mod report;
pub mod subdivisions;
pub mod table;

pub use codes::{Codes, Regions};
pub use database::{Database, Place, PlaceCopy};
pub use handle::DatabaseHandle;
pub use place::Names;
pub use record::{Field, Records};
pub use table::Table;

/// The database that is built into the binary, see `data/README.md`.
pub const EMBEDDED: &[u8] = include_bytes!("../../data/default.pack");
