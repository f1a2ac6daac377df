//! The date of a message.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

/// Calls `read` with the date in the format of HTTP (RFC 9110, 5.6.7). Each thread formats it once
/// a second.
pub fn with_date(now: SystemTime, read: impl FnOnce(&str)) {
    thread_local! {
        static LAST: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
    }
    let second = now
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs());
    LAST.with_borrow_mut(|(known, date)| {
        if *known != second {
            *known = second;
            *date = httpdate::fmt_http_date(now);
        }
        read(date);
    });
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_date_is_that_of_its_second() {
        for (seconds, expected) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (1, "Thu, 01 Jan 1970 00:00:01 GMT"),
            (1, "Thu, 01 Jan 1970 00:00:01 GMT"),
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        ] {
            let time = UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 999);
            with_date(time, |date| assert_eq!(date, expected));
        }
    }
}
