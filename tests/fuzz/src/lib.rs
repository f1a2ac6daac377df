//! `geo` and `tree` of the gateway, and nothing above them.

#![allow(missing_docs)]

#[path = "../../../src/geo/mod.rs"]
pub mod geo;
#[path = "../../../src/tree/mod.rs"]
pub mod tree;
