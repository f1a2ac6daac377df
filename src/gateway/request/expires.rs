//! `Expires` and `Cache-Control: max-age` of a response, as nginx counts them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::config::model::Expires;
use crate::proto::headers::{EditResponse, Name};

/// `Expires` of a response that is never fresh.
const PAST: &str = "Thu, 01 Jan 1970 00:00:01 GMT";

/// `Expires` of a response that stays fresh, beside a `max-age` of ten years.
const FUTURE: &str = "Thu, 31 Dec 2037 23:55:55 GMT";

const DAY: i64 = 86_400;

/// Sets both headers of a response that is sent `now`. They replace those of the upstream.
pub fn set(expires: Expires, response: &mut impl EditResponse, now: SystemTime) {
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let now = i64::try_from(seconds).unwrap_or_default();
    let (end, max_age) = match expires {
        Expires::Epoch => (PAST.to_owned(), None),
        Expires::Max => (FUTURE.to_owned(), Some(315_360_000)),
        Expires::AfterResponse(time) => after(now, time),
        Expires::Daily(time) => {
            let today = now.rem_euclid(DAY);
            // Now is over: the next one is tomorrow's.
            let wait = (time - today).rem_euclid(DAY);
            after(now, if wait == 0 { DAY } else { wait })
        }
        Expires::AfterChange(time) => {
            let changed = response.first("last-modified");
            let changed = changed.and_then(|text| std::str::from_utf8(text).ok());
            let changed = changed.and_then(|text| httpdate::parse_http_date(text).ok());
            let changed = changed.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            match changed {
                Some(changed) => {
                    let end = i64::try_from(changed.as_secs()).unwrap_or(now) + time;
                    after(now, end - now)
                }
                None => after(now, time),
            }
        }
    };
    let age = match max_age {
        Some(age) => format!("max-age={age}"),
        None => "no-cache".to_owned(),
    };
    response.set(Name::Static("Expires"), end.as_bytes());
    response.set(Name::Static("Cache-Control"), age.as_bytes());
}

/// Returns the date of a time from now, in seconds, and the age; `None` if the time is over.
fn after(now: i64, time: i64) -> (String, Option<i64>) {
    let end = u64::try_from(now.saturating_add(time)).unwrap_or_default();
    let end = UNIX_EPOCH + Duration::from_secs(end);
    (httpdate::fmt_http_date(end), (time >= 0).then_some(time))
}

#[cfg(test)]
mod tests {
    use pingora::http::ResponseHeader;

    use super::*;

    #[track_caller]
    fn check(expires: &str, modified: Option<&str>, end: &str, cache_control: &str) {
        // Sun, 09 Sep 2001 01:46:40 GMT
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let mut response = ResponseHeader::build(200, None).unwrap();
        response.insert_header("Cache-Control", "private").unwrap();
        response.append_header("Cache-Control", "no-store").unwrap();
        response.insert_header("Expires", "0").unwrap();
        if let Some(modified) = modified {
            response.insert_header("Last-Modified", modified).unwrap();
        }
        set(Expires::parse(expires).unwrap(), &mut response, now);
        let all = |name: &str| -> Vec<_> {
            let lines = response.headers.get_all(name).iter();
            lines
                .map(|line| line.to_str().unwrap().to_owned())
                .collect()
        };
        assert_eq!(all("expires"), [end], "{expires}");
        assert_eq!(all("cache-control"), [cache_control], "{expires}");
    }

    #[test]
    fn both_headers_are_those_of_nginx() {
        check("1d", None, "Mon, 10 Sep 2001 01:46:40 GMT", "max-age=86400");
        check("0", None, "Sun, 09 Sep 2001 01:46:40 GMT", "max-age=0");
        check("-1h", None, "Sun, 09 Sep 2001 00:46:40 GMT", "no-cache");
        check("epoch", None, PAST, "no-cache");
        check("max", None, FUTURE, "max-age=315360000");
        check("@2h", None, "Sun, 09 Sep 2001 02:00:00 GMT", "max-age=800");
        check(
            "@1h",
            None,
            "Mon, 10 Sep 2001 01:00:00 GMT",
            "max-age=83600",
        );
        let modified = Some("Sun, 09 Sep 2001 01:00:00 GMT");
        check(
            "modified 1h",
            modified,
            "Sun, 09 Sep 2001 02:00:00 GMT",
            "max-age=800",
        );
        check(
            "modified 1m",
            modified,
            "Sun, 09 Sep 2001 01:01:00 GMT",
            "no-cache",
        );
        check(
            "modified 1m",
            None,
            "Sun, 09 Sep 2001 01:47:40 GMT",
            "max-age=60",
        );
        check(
            "modified 1m",
            Some("x"),
            "Sun, 09 Sep 2001 01:47:40 GMT",
            "max-age=60",
        );
    }
}
