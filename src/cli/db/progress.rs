//! Progress of long work, shown on a terminal.
//!
//! It shows the number of steps and a running clock. In a pipe it is hidden: logs and scripts get
//! only the result.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Progress bar on standard error that disappears when the work is done.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Creates a bar of this many steps. It is hidden if standard error is not a terminal.
    pub(super) fn of(steps: usize) -> Self {
        let bar = ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{spinner} [{bar:20}] {elapsed} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        Progress(bar)
    }

    /// Runs one step.
    pub(super) fn step<T>(&self, name: impl Into<String>, work: impl FnOnce() -> T) -> T {
        self.0.set_message(name.into());
        let done = work();
        self.0.inc(1);
        done
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
