//! Looks at the process's memory now and then, so that the gateway need not.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::gateway::Gateway;

/// Memory that grows by a gigabyte a second grows by half of one in this time.
const EVERY: Duration = Duration::from_millis(500);

/// Looks once, and starts a thread that looks again and ends with the gateway.
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
    let ceiling = gateway.settings().ceilings().memory;
    gateway.load().look_at_memory(ceiling);
}
