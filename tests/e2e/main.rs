//! The gateway as its clients and its upstreams see it: real sockets, real processes' worth of
//! threads, everything on loopback. Each test has a gateway, a database and origins of its own.

mod access_log;
mod errors;
mod forwarding;
mod harness;
mod proxying;
mod query;
