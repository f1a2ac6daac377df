//! `geo` and `tree` of the gateway, and nothing above them but the scanner of chunked bodies.

#![allow(missing_docs)]

#[path = "../../../src/gateway/lane/chunks.rs"]
pub mod chunks;
#[path = "../../../src/geo/mod.rs"]
pub mod geo;
#[path = "../../../src/tree/mod.rs"]
pub mod tree;
