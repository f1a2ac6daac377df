//! Tries on an upstream's peers and the last response, for variables.

use std::time::Duration;

use super::head_lines::HeadLines;
use crate::config::model::{ResponseVariable, SocketAddress, Variable};
use crate::proto::text::{write_number, write_peer, write_seconds};

/// View of the tries of a request, as far as they are known.
#[derive(Clone, Copy, Default)]
pub struct UpstreamView<'r> {
    /// Name of the upstream; empty for a local reply.
    pub name: &'r str,
    /// Peers that the request was tried on, in this order.
    pub peers: &'r [SocketAddress],
    /// Statuses of tries that were followed by another one, and of a last one without a response.
    pub failed: &'r [u16],
    /// Status of the response that the client gets.
    pub status: Option<u16>,
    /// Time until the last peer was connected to.
    pub connect_time: Option<Duration>,
    /// Time until the head of the last peer's response.
    pub header_time: Option<Duration>,
    /// Time since the choice of the first peer.
    pub time: Option<Duration>,
    /// Head of the last peer's response, if it is kept.
    pub head: HeadLines<'r>,
}

/// Facts of an upstream's response that variables need; others are not kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// Times until the connection and until the response's head.
    pub times: bool,
    /// Head of the response.
    pub head: bool,
}

impl Wants {
    /// Returns what variables need.
    pub fn of<'v>(variables: impl IntoIterator<Item = &'v Variable>) -> Self {
        let mut wants = Wants::default();
        for variable in variables {
            variable.any(&mut |variable| {
                let Variable::Response(variable) = variable else {
                    return false;
                };
                wants.times |= matches!(
                    variable,
                    ResponseVariable::UpstreamConnectTime | ResponseVariable::UpstreamHeaderTime
                );
                wants.head |= matches!(
                    variable,
                    ResponseVariable::UpstreamHttp(_) | ResponseVariable::UpstreamCookie(_)
                );
                false
            });
        }
        wants
    }

    /// Returns what either needs.
    #[must_use]
    pub fn and(self, other: Wants) -> Self {
        Wants {
            times: self.times | other.times,
            head: self.head | other.head,
        }
    }
}

impl UpstreamView<'_> {
    /// Appends the value of a variable of the upstream; nothing for any other variable.
    pub fn append(&self, variable: &ResponseVariable, out: &mut Vec<u8>) {
        let time = match variable {
            ResponseVariable::UpstreamConnectTime => self.connect_time,
            ResponseVariable::UpstreamHeaderTime => self.header_time,
            ResponseVariable::UpstreamResponseTime => self.time,
            _ => None,
        };
        if let Some(time) = time {
            return write_seconds(time, out);
        }
        match variable {
            ResponseVariable::UpstreamName => out.extend_from_slice(self.name.as_bytes()),
            ResponseVariable::UpstreamAddr => {
                for (index, peer) in self.peers.iter().enumerate() {
                    separate(index, out);
                    append_peer(peer, out);
                }
            }
            ResponseVariable::UpstreamStatus => {
                let statuses = self.failed.iter().chain(&self.status);
                for (index, status) in statuses.enumerate() {
                    separate(index, out);
                    write_number(u64::from(*status), out);
                }
            }
            ResponseVariable::UpstreamHttp(name) => self.head.append(name, out),
            ResponseVariable::UpstreamCookie(name) => self.head.append_cookie(name, out),
            _ => {}
        }
    }
}

fn separate(index: usize, out: &mut Vec<u8>) {
    if index > 0 {
        out.extend_from_slice(b", ");
    }
}

/// Appends the address of a peer, as nginx writes it.
pub fn append_peer(peer: &SocketAddress, out: &mut Vec<u8>) {
    match peer {
        SocketAddress::Inet(address) => write_peer(*address, out),
        SocketAddress::Unix(path) => {
            out.extend_from_slice(b"unix:");
            out.extend_from_slice(path.as_bytes());
        }
    }
}
