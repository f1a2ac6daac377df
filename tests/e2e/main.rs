//! The program as its users see it: clients and upstreams on real sockets of loopback, and the
//! command line. Each test has a gateway, a database and origins of its own.

mod access_log;
mod admin;
mod blame;
mod certificates;
mod client_settings;
mod commands;
mod compression;
mod configuring;
mod countries;
mod database_settings;
mod databases;
mod endings;
mod engines;
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
mod metrics;
mod processes;
mod proxy_protocol;
mod proxying;
mod query;
mod rates;
mod redirects;
mod reloading;
mod request_id;
mod route_settings;
mod routing;
mod server_settings;
mod slow_clients;
mod strict;
#[cfg(target_os = "linux")]
mod stuck_worker;
mod through;
mod tls;
mod tracing;
mod upstream_settings;
mod upstream_tls;
mod upstreams;
