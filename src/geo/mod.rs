//! What an address means: sources read, codes looked up, a database built and swapped.
//!
//! [`format`](mod@format) reads a file into a [`Table`]; [`layers`] makes one table of several; [`place`]
//! gives its records codes and uniform names; [`Database`] arranges the result for lookup; [`Live`] is
//! how a running gateway holds it. [`report`] is what can be said about databases: what they cover,
//! where they differ, whether they are sound.

pub mod answer;
pub mod codes;
pub mod database;
pub mod format;
pub mod intern;
pub mod layers;
pub mod live;
pub mod place;
pub mod record;
pub mod report;
pub mod seat;
pub mod table;

pub use codes::Codes;
pub use database::{Database, Place, PlaceCopy};
pub use live::Live;
pub use place::Names;
pub use record::{Field, Records};
pub use table::Table;

/// The database that is built into the binary, see `data/README.md`.
pub const EMBEDDED: &[u8] = include_bytes!("../../data/default.pack");
