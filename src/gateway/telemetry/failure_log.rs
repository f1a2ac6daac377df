//! Error log lines of requests that failed because of an upstream or the gateway.
//!
//! If an upstream is down, every request fails, and a line for each would fill the disk. So each
//! kind of failure is limited to a few lines a second; a line contains the number of suppressed
//! lines before it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::config::model::SocketAddress;
use crate::gateway::failure::reason::{FailureReason, Side};
use crate::gateway::failure::tls;

/// Maximum number of lines of one kind in a window.
const LINES: u32 = 10;

/// Length of a window.
const WINDOW: Duration = Duration::from_secs(1);

/// Maximum length of the logged request target, in bytes.
const TARGET: usize = 200;

/// Rate-limited log of failed requests.
pub struct FailureLog {
    kinds: [Mutex<Limiter>; FailureReason::ALL.len()],
    /// Messages of scripts.
    scripts: Mutex<Limiter>,
}

/// Contents of a log line.
pub struct Line<'l> {
    /// Reason of the failure.
    pub reason: FailureReason,
    /// Name of the upstream; empty if no upstream was chosen.
    pub upstream: &'l str,
    /// Last peer that was tried.
    pub peer: Option<SocketAddress>,
    /// Method of the request.
    pub method: &'l str,
    /// Request target, as sent.
    pub target: &'l [u8],
    /// Status that the client got.
    pub status: u16,
    /// Error with more details, if there is one.
    pub detail: Option<&'l pingora::Error>,
}

impl Default for FailureLog {
    fn default() -> Self {
        FailureLog {
            kinds: std::array::from_fn(|_| Mutex::default()),
            scripts: Mutex::default(),
        }
    }
}

impl FailureLog {
    /// Logs a failed request, unless the client caused the failure or the limit of its kind is
    /// reached.
    pub fn log(&self, line: &Line) {
        if line.reason.side() == Side::Client || !log::log_enabled!(log::Level::Error) {
            return;
        }
        if let Some(left_out) = admit(&self.kinds[line.reason as usize]) {
            log::error!("{}", line.text(left_out));
        }
    }

    /// Logs what a script wrote to its error output, unless that is nothing or the limit is reached.
    pub fn log_script(&self, upstream: &str, peer: &SocketAddress, message: &[u8]) {
        let message = message.trim_ascii();
        if message.is_empty() || !log::log_enabled!(log::Level::Error) {
            return;
        }
        if let Some(left_out) = admit(&self.scripts) {
            let text = script_text(upstream, peer, message, left_out);
            log::error!("{text}");
        }
    }
}

/// Asks a limiter for a line. Returns the number of lines that were left out before it; `None` if there
/// is no room for it.
fn admit(limiter: &Mutex<Limiter>) -> Option<u64> {
    // The limiter holds only numbers, so a panic cannot leave it inconsistent.
    let mut limiter = limiter.lock().unwrap_or_else(PoisonError::into_inner);
    limiter.admit(Instant::now())
}

/// Text of a script's message, on one line.
fn script_text(upstream: &str, peer: &SocketAddress, message: &[u8], left_out: u64) -> String {
    use std::fmt::Write;

    let message = String::from_utf8_lossy(message);
    let message = message.replace(char::is_control, " ");
    let mut text = format!("upstream {upstream:?}: script on peer {peer}: {message}");
    if left_out > 0 {
        let _ = write!(text, " ({left_out} messages before it were left out)");
    }
    text
}

impl Line<'_> {
    fn text(&self, left_out: u64) -> String {
        use std::fmt::Write;
        let mut text = String::new();
        // Writing to a String cannot fail.
        if !self.upstream.is_empty() {
            let _ = write!(text, "upstream {:?}: ", self.upstream);
        }
        let target = &self.target[..self.target.len().min(TARGET)];
        let _ = write!(
            text,
            "{}: {} {} answered with {}",
            self.reason.as_str(),
            self.method,
            target.escape_ascii(),
            self.status
        );
        if let Some(peer) = &self.peer {
            let _ = write!(text, ", peer {peer}");
        }
        if let Some(detail) = self.detail {
            let _ = match tls::describe(detail) {
                Some(reason) => write!(text, ": {reason}"),
                None => write!(text, ": {detail}"),
            };
        }
        if left_out > 0 {
            let _ = write!(text, " ({left_out} more requests failed like this before)");
        }
        text
    }
}

/// Rate limiter of the lines of one kind.
#[derive(Default)]
struct Limiter {
    since: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl Limiter {
    /// Returns the number of lines that were suppressed since the last one, if this one is logged.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        let is_over = |since| now.saturating_duration_since(since) >= WINDOW;
        if self.since.is_none_or(is_over) {
            self.since = Some(now);
            self.lines = 0;
        }
        if self.lines == LINES {
            self.left_out += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_ten_lines_and_the_next_line_says_what_was_left_out() {
        let (mut limiter, start) = (Limiter::default(), Instant::now());
        let mut admit = |millis| limiter.admit(start + Duration::from_millis(millis));
        assert!((0..10).all(|millis| admit(millis) == Some(0)));
        assert!((10..15).all(|millis| admit(millis).is_none()));
        assert_eq!(admit(999), None);
        assert_eq!((admit(1000), admit(1001)), (Some(6), Some(0)));
        assert_eq!(admit(90_000), Some(0));
    }

    #[test]
    fn a_line_names_the_upstream_the_peer_and_the_request() {
        let error = pingora::Error::explain(pingora::ErrorType::ReadTimedout, "reading");
        let mut line = Line {
            reason: FailureReason::UpstreamReadTimeout,
            upstream: "api",
            peer: Some("127.0.0.1:80".parse().unwrap()),
            method: "GET",
            target: b"/a\r\n\xff",
            status: 504,
            detail: None,
        };
        assert_eq!(
            line.text(0),
            "upstream \"api\": upstream_read_timeout: GET /a\\r\\n\\xff answered with 504, \
             peer 127.0.0.1:80"
        );
        line.detail = Some(&error);
        let text = line.text(3);
        assert!(
            text.contains("reading")
                && text.ends_with(" (3 more requests failed like this before)")
        );
        let no_upstream = Line {
            upstream: "",
            peer: None,
            detail: None,
            reason: FailureReason::Overloaded,
            status: 503,
            ..line
        };
        assert!(no_upstream.text(0).starts_with("overloaded: GET "));
    }
}
