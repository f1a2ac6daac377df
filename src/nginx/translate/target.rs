//! Servers behind: where a location's requests go, and the times of `[[upstream]]`.

use super::super::Output;
use super::super::document::Table;
use super::super::tree::Directive;
use super::super::units;

/// Server to which a location's requests go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// The name of a block `upstream`, or a host.
    pub(super) host: String,
    /// If the location says it.
    pub(super) port: Option<u16>,
    pub(super) tls: bool,
    /// HTTP/2 without asking, as for gRPC.
    pub(super) http2: bool,
}

/// Sets a key to a time, or says why not.
pub(super) fn time(directive: &Directive, key: &str, table: &mut Table, output: &mut Output) {
    match units::milliseconds(directive.arg(0)) {
        Some(time) if time > 0 => table.set(key, units::duration(time), Some(directive)),
        _ => output.notes.lost(directive, "This is no time."),
    }
}
