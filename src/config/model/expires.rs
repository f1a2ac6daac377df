//! Expiry of responses in caches.

/// Time at which caches drop a response, as nginx counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expires {
    /// This many seconds after the response; if negative, it is not cached.
    AfterResponse(i64),
    /// This many seconds after the time in `Last-Modified`, or after the response without one.
    AfterChange(i64),
    /// Next time of the day, in seconds since midnight UTC.
    Daily(i64),
    /// Always over: 1970.
    Epoch,
    /// After ten years.
    Max,
}

impl Expires {
    /// Parses `30d`, `-1h`, `1y 6M`, `modified +1d`, `@15h30m`, `epoch` or `max`.
    ///
    /// # Errors
    /// If the text is none of these.
    pub fn parse(text: &str) -> Result<Self, String> {
        let invalid = || {
            format!(
                "{text:?} is not a time such as \"30d\", \"-1\", \"modified +1d\", \"@15h30m\", \"epoch\" or \"max\""
            )
        };
        match text {
            "epoch" => return Ok(Expires::Epoch),
            "max" => return Ok(Expires::Max),
            _ => {}
        }
        if let Some(time) = text.strip_prefix('@') {
            let time = seconds(time).filter(|time| *time < 86_400);
            return time.map(Expires::Daily).ok_or_else(invalid);
        }
        let (after_change, time) = match text.strip_prefix("modified ") {
            Some(time) => (true, time.trim_start()),
            None => (false, text),
        };
        let (sign, time) = match time.strip_prefix('-') {
            Some(time) => (-1, time),
            None => (1, time.strip_prefix('+').unwrap_or(time)),
        };
        let time = sign * seconds(time).ok_or_else(invalid)?;
        Ok(if after_change {
            Expires::AfterChange(time)
        } else {
            Expires::AfterResponse(time)
        })
    }
}

/// Reads a sum of times such as `1h 30m` in seconds, each unit at most once and in falling order. A
/// number without a unit is seconds.
fn seconds(text: &str) -> Option<i64> {
    const UNITS: [(char, i64); 7] = [
        ('y', 31_536_000),
        ('M', 2_592_000),
        ('w', 604_800),
        ('d', 86_400),
        ('h', 3_600),
        ('m', 60),
        ('s', 1),
    ];
    let (mut rest, mut total, mut next) = (text, 0_i64, 0);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: i64 = rest[..digits].parse().ok()?;
        let unit = rest[digits..].chars().next().unwrap_or('s');
        let at = UNITS[next..].iter().position(|(known, _)| *known == unit)? + next;
        total = total.checked_add(number.checked_mul(UNITS[at].1)?)?;
        rest = rest[digits..]
            .strip_prefix(unit)
            .unwrap_or_default()
            .trim_start();
        next = at + 1;
    }
    // A century is enough, and stays far from the limits of dates.
    (!text.is_empty() && total <= 100 * UNITS[0].1).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_by_nginx() {
        for (text, expected) in [
            ("30d", Expires::AfterResponse(2_592_000)),
            ("0", Expires::AfterResponse(0)),
            ("60", Expires::AfterResponse(60)),
            ("-1", Expires::AfterResponse(-1)),
            ("+1h30m", Expires::AfterResponse(5_400)),
            (
                "1y 6M 1s",
                Expires::AfterResponse(31_536_000 + 15_552_000 + 1),
            ),
            ("modified +1w", Expires::AfterChange(604_800)),
            ("@15h30m", Expires::Daily(55_800)),
            ("epoch", Expires::Epoch),
            ("max", Expires::Max),
        ] {
            assert_eq!(Expires::parse(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "x",
            "1x",
            "1m1h",
            "1d 1d",
            "@24h",
            "@-1",
            "-",
            "101y",
            "99999999999999999999",
        ] {
            assert!(Expires::parse(text).is_err(), "{text}");
        }
    }
}
