//! Formats of `/metrics`, and their negotiation.
//!
//! The registry writes `OpenMetrics`. The older Prometheus format is derived from it line by line:
//! it has the same samples, and differs in the names of families, in the types, and in the end
//! mark.

use std::fmt::Write as _;

use crate::proto::quality;

/// A text format of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format 0.0.4, which every scraper supports.
    Prometheus,
    /// `OpenMetrics` 1.0.0.
    OpenMetrics,
}

/// Precision with which an element of `Accept` names a format: `*/*`, `text/*`, or the type itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Precision {
    Any,
    Kind,
    Type,
}

impl Format {
    /// Returns the format that the lines of `Accept` prefer (RFC 9110, 12.5.1). `OpenMetrics` has
    /// to be named; a client that accepts anything, or neither format, gets Prometheus' own.
    pub fn negotiate(lines: &[&[u8]]) -> Format {
        let prometheus = Format::Prometheus.preference(lines);
        let open_metrics = Format::OpenMetrics.preference(lines);
        match open_metrics {
            Some((Precision::Type, weight))
                if weight > 0 && weight >= prometheus.map_or(0, |(_, weight)| weight) =>
            {
                Format::OpenMetrics
            }
            _ => Format::Prometheus,
        }
    }

    /// Returns the value of `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// Returns the weight of the element that names this format most precisely.
    fn preference(self, lines: &[&[u8]]) -> Option<(Precision, u16)> {
        let elements = lines
            .iter()
            .flat_map(|line| line.split(|&byte| byte == b','));
        let matching = elements.filter_map(|element| {
            let mut parts = element.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
            let range = parts.next().unwrap_or_default();
            let precision = self.precision(range)?;
            let names_other_version = parts
                .clone()
                .any(|parameter| self.is_other_version(parameter));
            (!names_other_version).then(|| (precision, quality::weight(parts)))
        });
        matching.max()
    }

    fn precision(self, range: &[u8]) -> Option<Precision> {
        let (name, kind) = match self {
            Format::Prometheus => ("text/plain", "text/*"),
            Format::OpenMetrics => ("application/openmetrics-text", "application/*"),
        };
        if range.eq_ignore_ascii_case(name.as_bytes()) {
            Some(Precision::Type)
        } else if range.eq_ignore_ascii_case(kind.as_bytes()) {
            Some(Precision::Kind)
        } else {
            (range == b"*/*").then_some(Precision::Any)
        }
    }

    fn is_other_version(self, parameter: &[u8]) -> bool {
        let own = match self {
            Format::Prometheus => "0.0.4",
            Format::OpenMetrics => "1.0.0",
        };
        let Some((name, value)) = parameter.split_at_checked("version=".len()) else {
            return false;
        };
        let value = value.strip_prefix(b"\"").unwrap_or(value);
        let value = value.strip_suffix(b"\"").unwrap_or(value);
        name.eq_ignore_ascii_case(b"version=") && value != own.as_bytes()
    }
}

/// Rewrites `OpenMetrics` text as Prometheus' text format 0.0.4.
///
/// There a counter's family has the name of its samples, with `_total`; an info is a gauge, with
/// `_info`; units and the end mark do not exist.
pub fn to_prometheus(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut lines = open_metrics.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            // The registry writes the type of a family directly after its help.
            let kind = lines.next_if(|line| line.starts_with("# TYPE "));
            let (family, help) = help.split_once(' ').unwrap_or((help, ""));
            let kind = kind.and_then(|line| line.rsplit(' ').next());
            let (suffix, kind) = match kind {
                Some("counter") => ("_total", "counter"),
                Some("info") => ("_info", "gauge"),
                Some(kind) => ("", kind),
                None => ("", "untyped"),
            };
            let written = write!(
                text,
                "# HELP {family}{suffix} {help}\n# TYPE {family}{suffix} {kind}\n"
            );
            written.expect("text can always grow");
        } else if !line.starts_with("# ") {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(accept: &[&str], expected: Format) {
        let lines: Vec<_> = accept.iter().map(|line| line.as_bytes()).collect();
        assert_eq!(Format::negotiate(&lines), expected, "{accept:?}");
    }

    #[test]
    fn open_metrics_goes_to_clients_that_name_it() {
        use Format::{OpenMetrics, Prometheus};
        for (accept, expected) in [
            (&[][..], Prometheus),
            (&["*/*"], Prometheus),
            (&["application/*"], Prometheus),
            (&["application/json"], Prometheus),
            (&["text/plain"], Prometheus),
            (&["text/plain;version=0.0.4"], Prometheus),
            (&["application/openmetrics-text"], OpenMetrics),
            (
                &["Application/OpenMetrics-Text; Version=1.0.0"],
                OpenMetrics,
            ),
            (
                &["application/openmetrics-text; version=\"1.0.0\""],
                OpenMetrics,
            ),
            (&["application/openmetrics-text;version=0.0.1"], Prometheus),
            (&["application/openmetrics-text;q=0"], Prometheus),
            (&["application/openmetrics-text;q=x"], Prometheus),
            (&["application/openmetrics-text, */*"], OpenMetrics),
            (&["text/plain", "application/openmetrics-text"], OpenMetrics),
        ] {
            check(accept, expected);
        }
    }

    #[test]
    fn the_larger_weight_wins_and_the_closest_range_gives_it() {
        use Format::{OpenMetrics, Prometheus};
        check(
            &["application/openmetrics-text;q=0.4,text/plain;q=0.5"],
            Prometheus,
        );
        check(
            &["application/openmetrics-text;q=0.5,text/plain;q=0.4"],
            OpenMetrics,
        );
        check(
            &["application/openmetrics-text;q=0.4,*/*;q=0.9,text/plain;q=0.1"],
            OpenMetrics,
        );
        check(&["application/openmetrics-text;q=0.4,text/*"], Prometheus);
    }

    /// The headers of Prometheus 2 and 3.
    #[test]
    fn prometheus_itself_gets_what_it_prefers() {
        let second = "application/openmetrics-text;version=1.0.0;q=0.5,\
                      application/openmetrics-text;version=0.0.1;q=0.4,\
                      text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        check(&[second], Format::OpenMetrics);
        let third = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;\
                     encoding=delimited;q=0.6,\
                     application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                     application/openmetrics-text;version=0.0.1;q=0.4,\
                     text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,\
                     text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        check(&[third], Format::OpenMetrics);
        let text = "text/plain;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1";
        check(&[text], Format::Prometheus);
    }

    #[test]
    fn families_have_the_names_and_types_of_the_older_format() {
        let open_metrics = "# HELP a_requests Requests by kind\n\
                            # TYPE a_requests counter\n\
                            a_requests_total{kind=\"x # y\"} 1\n\
                            # HELP a_time_seconds Time\n\
                            # TYPE a_time_seconds histogram\n\
                            # UNIT a_time_seconds seconds\n\
                            a_time_seconds_sum 2.0\n\
                            # HELP a_build Program\n\
                            # TYPE a_build info\n\
                            a_build_info{version=\"1\"} 1\n\
                            # HELP a_open Open\n\
                            # TYPE a_open gauge\n\
                            a_open 3\n\
                            # EOF\n";
        let expected = "# HELP a_requests_total Requests by kind\n\
                        # TYPE a_requests_total counter\n\
                        a_requests_total{kind=\"x # y\"} 1\n\
                        # HELP a_time_seconds Time\n\
                        # TYPE a_time_seconds histogram\n\
                        a_time_seconds_sum 2.0\n\
                        # HELP a_build_info Program\n\
                        # TYPE a_build_info gauge\n\
                        a_build_info{version=\"1\"} 1\n\
                        # HELP a_open Open\n\
                        # TYPE a_open gauge\n\
                        a_open 3\n";
        assert_eq!(to_prometheus(open_metrics), expected);
    }
}
