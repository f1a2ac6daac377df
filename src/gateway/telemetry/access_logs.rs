//! All access logs of a configuration: the default one and those that it and routes name.

use std::io;
use std::sync::Arc;

use super::access_log::{AccessLog, Entry};
use crate::config::model::{self, ExtraLog, LogRef};
use crate::gateway::request::upstream_view::Wants;
use crate::proto::headers::Headers;

/// Access logs.
pub struct AccessLogs {
    /// The default log, then the others in the order of the configuration.
    all: Vec<Arc<AccessLog>>,
    /// Positions of the logs of requests whose route names none.
    default: Box<[usize]>,
}

impl AccessLogs {
    /// Opens all logs. Those of `before` with the same configuration are taken over. On failure, the
    /// configuration of the log is returned with the error.
    ///
    /// # Errors
    /// If a file cannot be opened.
    pub fn open<'c>(
        default: &'c model::AccessLog,
        extra: &'c [ExtraLog],
        before: Option<&AccessLogs>,
    ) -> Result<Self, (&'c model::AccessLog, io::Error)> {
        let configs = std::iter::once(default).chain(extra.iter().map(|extra| &extra.log));
        let known = before.map_or(&[][..], |before| &before.all);
        let mut taken = vec![false; known.len()];
        let mut all = Vec::new();
        for (position, config) in configs.enumerate() {
            let same = (0..known.len()).find(|at| !taken[*at] && known[*at].is_for(config));
            if let Some(at) = same {
                taken[at] = true;
                all.push(Arc::clone(&known[at]));
                continue;
            }
            // The count of dropped lines continues that of the log in the same place.
            let replaced = known.get(position).map(AsRef::as_ref);
            let opened = AccessLog::open(config, replaced);
            all.push(Arc::new(opened.map_err(|error| (config, error))?));
        }
        let also = default.also.iter().map(|extra| extra + 1);
        Ok(AccessLogs {
            all,
            default: std::iter::once(0).chain(also).collect(),
        })
    }

    /// Returns the positions of the logs that a route names.
    #[must_use]
    pub fn named(&self, refs: &[LogRef]) -> Box<[usize]> {
        let mut named = Vec::new();
        for log in refs {
            match log {
                LogRef::Default => named.extend_from_slice(&self.default),
                LogRef::Extra(extra) => named.push(extra + 1),
            }
        }
        named.sort_unstable();
        named.dedup();
        named.into()
    }

    /// Logs a request to the logs of its route, or else to the default ones.
    pub fn log<H: Headers>(&self, of_route: Option<&[usize]>, entry: &Entry<H>) {
        for at in of_route.unwrap_or(&self.default) {
            if let Some(log) = self.all.get(*at) {
                log.log(entry);
            }
        }
    }

    /// All logs.
    #[must_use]
    pub fn all(&self) -> &[Arc<AccessLog>] {
        &self.all
    }

    /// Returns `true` if requests without a route are logged; otherwise values for it need not be
    /// collected.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.default
            .iter()
            .any(|at| self.all.get(*at).is_some_and(|log| log.is_on()))
    }

    /// Returns `true` if a format needs the id of every request.
    #[must_use]
    pub fn wants_id(&self) -> bool {
        self.all.iter().any(|log| log.format().wants_id())
    }

    /// Returns `true` if a format needs the trace of every request.
    #[must_use]
    pub fn wants_trace(&self) -> bool {
        self.all.iter().any(|log| log.format().wants_trace())
    }

    /// Returns `true` if a format needs header lines of responses.
    #[must_use]
    pub fn wants_sent(&self) -> bool {
        self.all.iter().any(|log| log.format().wants_sent())
    }

    /// Parts of the upstream's response that the formats need.
    #[must_use]
    pub fn of_upstream(&self) -> Wants {
        let wants = self.all.iter().map(|log| log.format().of_upstream());
        wants.fold(Wants::default(), Wants::and)
    }

    /// Number of lines of all logs that were lost since the start of the process.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.all.iter().map(|log| log.dropped()).sum()
    }
}
