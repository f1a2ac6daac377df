//! Targets of locations, and the times of `[[upstream]]`.

use super::super::Output;
use super::super::document::Table;
use super::super::tree::Directive;
use super::super::units;

/// Server that a location's requests go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// Name of an `upstream` block, a host, or `unix:` with the path of a socket.
    pub(super) host: String,
    /// Port, if the location names one.
    pub(super) port: Option<u16>,
    pub(super) tls: bool,
    /// True for HTTP/2 without negotiation, as for gRPC.
    pub(super) http2: bool,
    pub(super) fastcgi: bool,
}

impl Target {
    /// Prefix of the directives for this protocol.
    pub(super) fn family(&self) -> &'static str {
        if self.fastcgi {
            "fastcgi"
        } else if self.http2 {
            "grpc"
        } else {
            "proxy"
        }
    }
}

/// Returns `true` for the path of a UNIX socket in place of a host.
pub(super) fn is_unix(host: &str) -> bool {
    host.starts_with("unix:")
}

/// Splits the port from a host; a UNIX socket has none.
pub(super) fn split_port(host: &str) -> Result<(&str, Option<u16>), &'static str> {
    match host.rsplit_once(':') {
        _ if is_unix(host) => Ok((host, None)),
        // The colons of an IPv6 address are in brackets.
        Some((name, port)) if !port.ends_with(']') => {
            let port = port.parse().map_err(|_| "The port is no number.")?;
            Ok((name, Some(port)))
        }
        _ => Ok((host, None)),
    }
}

/// Sets a key to a time, or notes why that is impossible.
pub(super) fn time(directive: &Directive, key: &str, table: &mut Table, output: &mut Output) {
    match units::milliseconds(directive.arg(0)) {
        Some(time) if time > 0 => table.set(key, units::duration(time), Some(directive)),
        _ => output.notes.lost(directive, "This is no time."),
    }
}
