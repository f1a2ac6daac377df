//! `geo`, `tree` and `proto` of the gateway, and nothing above them.

#![allow(missing_docs)]

#[path = "../../../src/geo/mod.rs"]
pub mod geo;
#[path = "../../../src/proto/mod.rs"]
pub mod proto;
#[path = "../../../src/tree/mod.rs"]
pub mod tree;
