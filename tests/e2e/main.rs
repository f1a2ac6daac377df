//! The program as its users see it: clients and upstreams on real sockets of loopback, and the
//! command line. Each test has a gateway, a database and origins of its own.

mod access_log;
mod admin;
mod certificates;
mod client_settings;
mod commands;
mod compression;
mod configuring;
mod database_settings;
mod databases;
mod errors;
mod files;
mod forwarding;
mod grpc;
mod harness;
mod http2;
mod lane;
mod limits;
mod metrics;
mod processes;
mod proxy_protocol;
mod proxying;
mod query;
mod rates;
mod reloading;
mod request_id;
mod route_settings;
mod routing;
mod server_settings;
mod strict;
mod through;
mod tls;
mod tracing;
mod upstream_settings;
mod upstream_tls;
mod upstreams;
