//! Times and sizes, from nginx's spelling to geogate's.

/// Parses a time such as `30`, `90s`, `1m 30s`, `500ms` into milliseconds. A number without a unit
/// is in seconds. Months have 30 days and years 365, as in nginx.
pub(super) fn milliseconds(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut total = 0_u64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = rest.split_at(digits);
        let length = unit.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, next) = unit.split_at(length);
        let factor: u64 = match unit {
            "ms" => 1,
            "" | "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            "M" => 2_592_000_000,
            "y" => 31_536_000_000,
            _ => return None,
        };
        let part = number.parse::<u64>().ok()?.checked_mul(factor)?;
        total = total.checked_add(part)?;
        rest = next.trim_start();
    }
    Some(total)
}

/// Writes a time for geogate's configuration, in the largest unit that divides it.
pub(super) fn duration(milliseconds: u64) -> String {
    let units = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1000, "s"),
    ];
    // Less than five of a unit is written in a smaller one: `120s`, as it was most likely in the
    // file.
    let units = units
        .into_iter()
        .filter(|(factor, _)| milliseconds >= 5 * factor || *factor == 1000);
    let mut fitting = units.filter(|(factor, _)| milliseconds.is_multiple_of(*factor));
    match fitting.next() {
        Some((factor, unit)) if milliseconds > 0 => format!("{}{unit}", milliseconds / factor),
        _ => format!("{milliseconds}ms"),
    }
}

/// Parses a size such as `512`, `128k`, `10m`, `1g` into bytes.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit {
        "" => 1,
        "k" | "K" => 1 << 10,
        "m" | "M" => 1 << 20,
        "g" | "G" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// Writes a size for geogate's configuration.
pub(super) fn size(bytes: u64) -> String {
    let units = [(1 << 30, "g"), (1 << 20, "m"), (1 << 10, "k")];
    let mut fitting = units
        .into_iter()
        .filter(|(factor, _)| bytes.is_multiple_of(*factor));
    match fitting.next() {
        Some((factor, unit)) if bytes > 0 => format!("{}{unit}", bytes / factor),
        _ => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_time(text: &str, expected: Option<&str>) {
        assert_eq!(
            milliseconds(text).map(duration).as_deref(),
            expected,
            "{text}"
        );
    }

    #[track_caller]
    fn check_size(text: &str, expected: Option<&str>) {
        assert_eq!(bytes(text).map(size).as_deref(), expected, "{text}");
    }

    #[test]
    fn times() {
        check_time("65", Some("65s"));
        check_time("120s", Some("120s"));
        check_time("500ms", Some("500ms"));
        check_time("1m 30s", Some("90s"));
        check_time("1h30m", Some("90m"));
        check_time("10m", Some("10m"));
        check_time("30d", Some("30d"));
        check_time("1y", Some("365d"));
        check_time("0", Some("0ms"));
        check_time("", None);
        check_time("1x", None);
        check_time("s", None);
        check_time("99999999999999999999s", None);
        check_time("999999999999999999y", None);
    }

    #[test]
    fn sizes() {
        check_size("128k", Some("128k"));
        check_size("10M", Some("10m"));
        check_size("1048576", Some("1m"));
        check_size("1000", Some("1000"));
        check_size("0", Some("0"));
        check_size("10mb", None);
        check_size("99999999999g", None);
    }
}
