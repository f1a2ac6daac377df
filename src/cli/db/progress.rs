//! How far long work has come, for whoever watches a terminal.
//!
//! Steps are counted and the clock is seen to run. In a pipe nothing is shown: logs and scripts get
//! the result alone.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar on standard error that goes away when the work is done.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Work of this many steps. The bar hides itself if standard error is no terminal.
    pub(super) fn of(steps: usize) -> Self {
        let bar = ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{spinner} [{bar:20}] {elapsed} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        Progress(bar)
    }

    /// Does one step.
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
