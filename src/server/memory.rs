//! Periodic measurement of the process's memory, so that no request has to measure it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::gateway::Gateway;

/// Interval between two measurements. At a growth of 1 GB/s, memory grows by half a gigabyte in
/// between.
const EVERY: Duration = Duration::from_millis(500);

/// Measures once, then starts a thread that measures periodically and ends with the gateway.
pub(super) fn watch(gateway: &Arc<Gateway>) -> io::Result<()> {
    look(gateway);
    let gateway = Arc::downgrade(gateway);
    let look = move || {
        std::thread::sleep(EVERY);
        while let Some(gateway) = gateway.upgrade() {
            look(&gateway);
            drop(gateway);
            std::thread::sleep(EVERY);
        }
    };
    let thread = std::thread::Builder::new().name("memory".to_owned());
    thread.spawn(look).map(drop)
}

fn look(gateway: &Gateway) {
    let ceiling = gateway.settings().caps().memory;
    gateway.load().look_at_memory(ceiling);
}
