//! HTTP as values: bytes in, types out.
//!
//! Nothing here knows pingora, tokio or the settings, so all of it is tested and fuzzed without a
//! socket. What two servers could read in two ways is refused here, once for all engines.

pub mod authority;
pub mod h1;
pub mod headers;
pub mod hop_by_hop;
pub mod target;
pub mod websocket;
