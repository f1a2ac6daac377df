//! The program as its users see it: clients and upstreams on real sockets of loopback, and the
//! command line. Each test has a gateway, a database and origins of its own.

mod access_log;
mod admin;
mod commands;
mod compression;
mod configuring;
mod databases;
mod endings;
mod errors;
mod files;
mod forwarding;
mod framing;
mod grpc;
mod harness;
mod http2;
mod interim;
mod lane;
mod limits;
mod processes;
mod proxy_protocol;
mod proxying;
mod query;
mod reloading;
mod request_id;
mod routing;
mod strict;
mod through;
mod tls;
mod tracing;
mod upstreams;
