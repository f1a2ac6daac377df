//! Telemetry: what operators read of requests, failures, reloads and workers.

pub mod access_log;
pub mod access_logs;
pub(in crate::gateway) mod failure_log;
pub mod heartbeat;
pub mod log_file;
pub mod metrics;
pub mod reloads;
pub mod syslog;
