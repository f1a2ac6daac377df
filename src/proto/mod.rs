//! HTTP as values: bytes in, types out.
//!
//! This module uses neither pingora nor tokio nor the gateway's settings, so all of it is tested
//! and fuzzed without a socket. Messages that two servers could read differently are rejected here,
//! once for all engines.

pub mod authority;
pub mod date;
pub mod fastcgi;
pub mod h1;
pub mod headers;
pub mod hop_by_hop;
pub mod proxy_protocol;
pub mod quality;
pub mod scheme;
pub mod set_cookie;
pub mod target;
pub mod text;
pub mod trailers;
pub mod websocket;
