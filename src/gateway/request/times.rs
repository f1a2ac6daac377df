//! Times as text.
//!
//! Formatting a time costs more than the rest of a line, so each thread caches the last second.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::model::TimeForm;
use crate::proto::text::write_seconds;

/// One second in the two formats of log lines.
struct Times {
    second: u64,
    /// `23/Nov/2026:12:50:44 +0800`, local time.
    local: String,
    /// `2026-11-23T12:50:44+08:00`, local time.
    iso: String,
}

/// Passes the formatted second of `time` to `read`.
fn with_times<T>(time: SystemTime, read: impl FnOnce(&Times) -> T) -> T {
    thread_local! {
        static LAST: RefCell<Option<Times>> = const { RefCell::new(None) };
    }
    let second = time
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs());
    LAST.with_borrow_mut(|last| match last {
        Some(times) if times.second == second => read(times),
        _ => read(last.insert(format_times(second))),
    })
}

/// Appends a time.
pub fn write(time: SystemTime, form: TimeForm, out: &mut Vec<u8>) {
    match form {
        TimeForm::Local => with_times(time, |times| out.extend_from_slice(times.local.as_bytes())),
        TimeForm::Iso8601 => with_times(time, |times| out.extend_from_slice(times.iso.as_bytes())),
        TimeForm::Msec => {
            let since = time.duration_since(UNIX_EPOCH);
            write_seconds(since.unwrap_or_default(), out);
        }
    }
}

fn format_times(second: u64) -> Times {
    let timestamp = i64::try_from(second)
        .ok()
        .and_then(|second| jiff::Timestamp::from_second(second).ok());
    let zoned = jiff::Zoned::new(timestamp.unwrap_or_default(), jiff::tz::TimeZone::system());
    Times {
        second,
        local: zoned.strftime("%d/%b/%Y:%H:%M:%S %z").to_string(),
        iso: zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// The time zone of the machine is unknown to the test, so the test compares the meaning of the
    /// text.
    #[test]
    fn both_forms_say_the_same_second() {
        for second in [1_700_000_000_u32, 1_700_000_001, 0] {
            let time = UNIX_EPOCH + Duration::from_millis(u64::from(second) * 1000 + 999);
            let (local, iso) = with_times(time, |times| (times.local.clone(), times.iso.clone()));
            let read: jiff::Timestamp = iso.parse().unwrap();
            assert_eq!(read.as_second(), i64::from(second));
            let read = jiff::Timestamp::strptime("%d/%b/%Y:%H:%M:%S %z", &local).unwrap();
            assert_eq!(read.as_second(), i64::from(second));
        }
    }
}
