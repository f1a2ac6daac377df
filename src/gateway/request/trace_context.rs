//! W3C Trace Context of a request: `traceparent` and `tracestate`.
//!
//! Continuing a trace has a cost: its flag makes every service behind the gateway record it, and
//! its id links it to other requests. The standard therefore allows a front gateway to start a new
//! trace (3.4, restart, and the section on security). So the headers of an untrusted client are
//! removed. Trusted headers are passed on unchanged, or, if the gateway takes part in tracing, with
//! a new parent id that is also in the access log.

use http::HeaderValue;

use super::random;
use crate::config::model::Tracing;
use crate::proto::headers::{EditHeaders, Headers, Name};

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// Flag: the caller may have recorded its part.
const SAMPLED: u8 = 1;
/// Flag: at least the last seven bytes of the trace id are random (level 2).
const RANDOM: u8 = 2;

/// Length of a `traceparent` of version 00, in bytes.
const LENGTH: usize = 55;

/// Maximum number of members of a `tracestate`.
const MOST_MEMBERS: usize = 32;

/// Maximum length of a key and of a value of a `tracestate`, in bytes.
const LONGEST: usize = 256;

/// Position of a request in a trace: the trace, and the span within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    /// Trace id: lower-case hexadecimal, not all zero.
    pub id: [u8; 32],
    /// Span id of the caller, or of the gateway if it takes part. Lower-case hexadecimal, not all
    /// zero.
    pub span: [u8; 16],
    flags: u8,
}

/// Trace headers of the request to the upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// Position of the request in a trace, if it is part of a known trace.
    pub trace: Option<Trace>,
    parent: Parent,
    keeps_state: bool,
}

/// Treatment of `traceparent`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Parent {
    Kept,
    Written(HeaderValue),
    Deleted,
}

impl TraceContext {
    /// Decides the trace headers for a request with these headers.
    #[must_use]
    pub fn of(headers: &impl Headers, peer_is_trusted: bool, config: &Tracing) -> Self {
        let believed = config.accept.trusts(peer_is_trusted);
        let sent = if believed { sent(headers) } else { None };
        let keeps_state = sent.is_some() && is_state(headers.lines(TRACESTATE));
        let (trace, parent) = match (sent, config.participate) {
            (Some(trace), false) => (Some(trace), Parent::Kept),
            (None, false) => (None, Parent::Deleted),
            (Some(trace), true) => trace.with_span(),
            (None, true) => Trace::start(fastrand::f64() < config.sampled).with_span(),
        };
        TraceContext {
            trace,
            parent,
            keeps_state,
        }
    }

    /// Changes the trace headers of the request to the upstream.
    pub fn apply(&self, request: &mut impl EditHeaders) {
        match &self.parent {
            Parent::Kept => {}
            Parent::Deleted => request.remove(TRACEPARENT),
            Parent::Written(value) => request.set(Name::Static(TRACEPARENT), value.as_bytes()),
        }
        if !self.keeps_state {
            request.remove(TRACESTATE);
        }
    }
}

/// Returns the trace of a request's headers; `None` if the header is repeated or invalid.
#[must_use]
pub fn sent(headers: &impl Headers) -> Option<Trace> {
    let mut lines = headers.lines(TRACEPARENT);
    let line = lines.next().filter(|_| lines.next().is_none())?;
    Trace::parse(line)
}

impl Trace {
    /// Parses a `traceparent`. Future versions may append fields to those of version 00.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let value = value.trim_ascii();
        let (known, more) = value.split_at_checked(LENGTH)?;
        let version = number(&known[..2])?;
        let flags = number(&known[53..])?;
        let is_complete = match version {
            0 => more.is_empty(),
            0xff => false,
            _ => more.is_empty() || more.starts_with(b"-"),
        };
        let dashes = [2, 35, 52].into_iter().all(|at| known[at] == b'-');
        let id: [u8; 32] = known[3..35].try_into().ok()?;
        let span: [u8; 16] = known[36..52].try_into().ok()?;
        let understood = if version == 0 {
            SAMPLED | RANDOM
        } else {
            SAMPLED
        };
        (is_complete && dashes && is_id(&id) && is_id(&span)).then_some(Trace {
            id,
            span,
            flags: flags & understood,
        })
    }

    /// Starts a new trace.
    fn start(sampled: bool) -> Self {
        Trace {
            id: random::hex(random::id()),
            span: [b'0'; 16],
            flags: RANDOM | if sampled { SAMPLED } else { 0 },
        }
    }

    /// Creates the gateway's own span of the trace, and the header for the upstream.
    fn with_span(self) -> (Option<Trace>, Parent) {
        let trace = Trace {
            span: random::hex(u128::from(random::short_id())),
            ..self
        };
        (Some(trace), Parent::Written(trace.to_value()))
    }

    /// Formats the `traceparent`, in version 00.
    fn to_value(self) -> HeaderValue {
        let mut value = [b'-'; LENGTH];
        value[..2].copy_from_slice(b"00");
        value[3..35].copy_from_slice(&self.id);
        value[36..52].copy_from_slice(&self.span);
        value[53..].copy_from_slice(&random::hex::<2>(u128::from(self.flags)));
        HeaderValue::from_bytes(&value).expect("hexadecimal digits and dashes")
    }
}

/// Returns `true` for lower-case hexadecimal digits that are not all zero.
fn is_id(digits: &[u8]) -> bool {
    digits.iter().all(|&digit| is_digit(digit)) && digits.iter().any(|&digit| digit != b'0')
}

fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// Parses two lower-case hexadecimal digits.
fn number(digits: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(digits).ok()?;
    let is_number = digits.len() == 2 && digits.iter().all(|&digit| is_digit(digit));
    u8::from_str_radix(text, 16).ok().filter(|_| is_number)
}

/// Returns `true` if the lines form one valid `tracestate` of level 2: at least one member, no
/// repeated key, and no more members than allowed.
fn is_state<'l>(lines: impl Iterator<Item = &'l [u8]>) -> bool {
    let mut keys: Vec<&[u8]> = Vec::new();
    let members = lines.flat_map(|line| line.split(|&byte| byte == b','));
    for member in members.map(trim_spaces).filter(|member| !member.is_empty()) {
        let Some(equals) = member.iter().position(|&byte| byte == b'=') else {
            return false;
        };
        let (key, value) = (&member[..equals], &member[equals + 1..]);
        if !is_key(key) || !is_value(value) || keys.len() == MOST_MEMBERS || keys.contains(&key) {
            return false;
        }
        keys.push(key);
    }
    !keys.is_empty()
}

/// Trims only spaces and tabs: no other whitespace is allowed around a member.
fn trim_spaces(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

fn is_key(key: &[u8]) -> bool {
    let is_start = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_more = |byte: &u8| is_start(byte) || b"_-*/@".contains(byte);
    key.len() <= LONGEST && key.first().is_some_and(is_start) && key.iter().all(is_more)
}

/// Returns `true` for a valid value. Trailing spaces are trimmed already.
fn is_value(value: &[u8]) -> bool {
    let is_allowed = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b'=';
    (1..=LONGEST).contains(&value.len()) && value.iter().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::TraceSource;
    use pingora::http::RequestHeader;

    const ID: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    #[track_caller]
    fn check_parent(value: &str, expected: bool) {
        let trace = Trace::parse(value.as_bytes());
        assert_eq!(trace.is_some(), expected, "{value:?}");
        if let Some(trace) = trace {
            assert_eq!(
                (&trace.id[..], &trace.span[..]),
                (ID.as_bytes(), SPAN.as_bytes())
            );
        }
    }

    /// Cases of the working group's own tests.
    #[test]
    fn traceparent_is_read_strictly() {
        for flags in ["00", "01", "02", "03", "ff"] {
            check_parent(&format!("00-{ID}-{SPAN}-{flags}"), true);
        }
        for spaces in [" ", "\t", "\t "] {
            check_parent(&format!("{spaces}00-{ID}-{SPAN}-01"), true);
            check_parent(&format!("00-{ID}-{SPAN}-01{spaces}"), true);
        }
        let (zero_id, zero_span) = ("0".repeat(32), "0".repeat(16));
        for wrong in [
            String::new(),
            format!("00-{ID}-{SPAN}"),
            format!("00-{ID}-{SPAN}-"),
            format!("00-{ID}-{SPAN}-01."),
            format!("00-{ID}-{SPAN}-01-more"),
            format!("00-{ID}-{SPAN}-01-"),
            format!("00-{ID}-{SPAN}-1"),
            format!("00-{ID}-{SPAN}-001"),
            format!("00-{ID}-{SPAN}-.1"),
            format!("00-{ID}-{SPAN}-0."),
            format!("00-{ID}-{SPAN}-+1"),
            format!("00-{ID}-{SPAN}-0A"),
            format!("ff-{ID}-{SPAN}-01"),
            format!("ff-{ID}-{SPAN}-01-more"),
            format!(".0-{ID}-{SPAN}-01"),
            format!("0.-{ID}-{SPAN}-01"),
            format!("0A-{ID}-{SPAN}-01"),
            format!("0-{ID}-{SPAN}-01"),
            format!("000-{ID}-{SPAN}-01"),
            format!("0000-{ID}-{SPAN}-01"),
            format!("00-{zero_id}-{SPAN}-01"),
            format!("00-{ID}-{zero_span}-01"),
            format!("00-{}-{SPAN}-01", ID.to_uppercase()),
            format!("00-{ID}-{}-01", SPAN.to_uppercase()),
            format!("00-.{}-{SPAN}-01", &ID[1..]),
            format!("00-{}.-{SPAN}-01", &ID[1..]),
            format!("00-{ID}0-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", &ID[1..]),
            format!("00-{ID}-.{}-01", &SPAN[1..]),
            format!("00-{ID}-{}.-01", &SPAN[1..]),
            format!("00-{ID}-{SPAN}0-01"),
            format!("00-{ID}-{}-01", &SPAN[1..]),
            format!("00_{ID}_{SPAN}_01"),
            format!("00-{ID}-{SPAN} 01"),
            "é".repeat(28),
        ] {
            check_parent(&wrong, false);
        }
    }

    #[test]
    fn versions_to_come_are_read_as_far_as_they_are_known() {
        check_parent(&format!("cc-{ID}-{SPAN}-01"), true);
        check_parent(&format!("cc-{ID}-{SPAN}-01-what-the-future-brings"), true);
        check_parent(&format!("cc-{ID}-{SPAN}-01.what-the-future-brings"), false);
        check_parent(&format!("cc-{ID}-{SPAN}-011"), false);
    }

    #[track_caller]
    fn check_state(lines: &[&str], expected: bool) {
        let lines = lines.iter().map(|line| line.as_bytes());
        assert_eq!(
            is_state(lines.clone()),
            expected,
            "{:?}",
            lines.collect::<Vec<_>>()
        );
    }

    #[test]
    fn tracestate_is_read_strictly() {
        check_state(&["foo=1"], true);
        check_state(&["foo=1,bar=2"], true);
        check_state(&["foo=1,bar=2", "rojo=1,congo=2", "baz=3"], true);
        check_state(&["foo=1 \t , \t bar=2, \t baz=3"], true);
        check_state(&["\t foo=1 \t"], true);
        check_state(&["foo=1", ""], true);
        check_state(&["", "foo=1"], true);
        check_state(&["foo=1,,  ,bar=2"], true);
        check_state(&["foo= 1"], true);
        check_state(
            &["0foo@tenant=1,a-z_*/@b=!\"#$%&'()*+-./:;<>?@[\\]^_`{|}~"],
            true,
        );
        check_state(&[&format!("{}={}", "k".repeat(256), "v".repeat(256))], true);
        let members = |count| {
            let members: Vec<_> = (0..count).map(|n| format!("k{n}=1")).collect();
            members.join(",")
        };
        check_state(&[&members(32)], true);
        check_state(&[&members(33)], false);
        for wrong in [
            "",
            " ,\t,",
            "foo",
            "foo=",
            "=1",
            "foo =1",
            "FOO=1",
            "foo.bar=1",
            "@foo=1,bar=2",
            "_foo=1",
            "foo=1=2",
            "foo=\u{7f}",
            "foo=é",
            "foo=1,foo=1",
            "foo=1,foo=2",
            "foo=1\r",
        ] {
            check_state(&[wrong], false);
        }
        check_state(&["foo=1", "foo=2"], false);
        check_state(&[&format!("{}=1", "k".repeat(257))], false);
        check_state(&[&format!("k={}", "v".repeat(257))], false);
        check_state(&[], false);
    }

    const CONFIG: Tracing = Tracing {
        accept: TraceSource::Trusted,
        participate: false,
        sampled: 1.0,
    };

    /// Returns all lines of `traceparent` and of `tracestate` for the upstream.
    fn told(config: &Tracing, trusted: bool, lines: &[(&'static str, &str)]) -> [Vec<String>; 2] {
        let mut request = RequestHeader::build("GET", b"/", None).unwrap();
        for (name, value) in lines {
            request.append_header(*name, *value).unwrap();
        }
        TraceContext::of(&request.headers, trusted, config).apply(&mut request);
        ["traceparent", "tracestate"].map(|name| {
            let values = request.headers.get_all(name).into_iter();
            values
                .map(|value| value.to_str().unwrap().to_owned())
                .collect()
        })
    }

    fn parent(flags: &str) -> String {
        format!("00-{ID}-{SPAN}-{flags}")
    }

    #[test]
    fn a_trusted_trace_is_passed_on_as_it_is() {
        let sent = parent("01");
        let lines = [
            ("traceparent", &*sent),
            ("tracestate", "a=1"),
            ("tracestate", "b=2"),
        ];
        let expected = [vec![sent.clone()], vec!["a=1".to_owned(), "b=2".to_owned()]];
        assert_eq!(told(&CONFIG, true, &lines), expected);
        let anyone = Tracing {
            accept: TraceSource::Anyone,
            ..CONFIG
        };
        assert_eq!(told(&anyone, false, &lines), expected);
    }

    #[test]
    fn what_nobody_believes_is_deleted() {
        let sent = parent("01");
        let lines = [("TraceParent", &*sent), ("TraceState", "a=1")];
        let nobody = Tracing {
            accept: TraceSource::Nobody,
            ..CONFIG
        };
        let nothing = [Vec::<String>::new(), vec![]];
        assert_eq!(told(&CONFIG, false, &lines), nothing);
        assert_eq!(told(&nobody, true, &lines), nothing);
        // A state without a trace, an invalid trace, and two traces.
        assert_eq!(told(&CONFIG, true, &lines[1..]), nothing);
        let wrong = [("traceparent", "00-0-0-0"), ("tracestate", "a=1")];
        assert_eq!(told(&CONFIG, true, &wrong), nothing);
        let two = [lines[0], lines[0], lines[1]];
        assert_eq!(told(&CONFIG, true, &two), nothing);
        // An invalid state does not affect the trace.
        let wrong = [lines[0], ("tracestate", "A")];
        assert_eq!(told(&CONFIG, true, &wrong), [vec![sent.clone()], vec![]]);
    }

    #[test]
    fn who_takes_part_has_a_span_of_its_own() {
        let config = Tracing {
            participate: true,
            ..CONFIG
        };
        for (sent, flags) in [("00", "00"), ("01", "01"), ("03", "03"), ("ff", "03")] {
            let sent = parent(sent);
            let lines = [("traceparent", &*sent), ("tracestate", "a=1")];
            let [parents, states] = told(&config, true, &lines);
            let trace = Trace::parse(parents[0].as_bytes()).unwrap();
            assert_eq!(trace.id, ID.as_bytes());
            assert_ne!(trace.span, SPAN.as_bytes());
            assert!(parents.len() == 1 && parents[0].ends_with(&format!("-{flags}")));
            assert_eq!(states, ["a=1"]);
        }
        // The meaning of a later version's flags is unknown, except for the first one.
        let later = parent("ff").replacen("00", "cc", 1) + "-more";
        let [parents, _] = told(&config, true, &[("traceparent", &later)]);
        assert!(parents[0].starts_with("00-") && parents[0].ends_with("-01"));
    }

    #[test]
    fn who_takes_part_starts_a_trace_where_there_is_none() {
        let sent = parent("01");
        let lines = [("traceparent", &*sent), ("tracestate", "a=1")];
        for (sampled, flags) in [(1.0, "03"), (0.0, "02")] {
            let config = Tracing {
                participate: true,
                sampled,
                ..CONFIG
            };
            let [parents, states] = told(&config, false, &lines);
            let trace = Trace::parse(parents[0].as_bytes()).unwrap();
            assert_ne!(trace.id, ID.as_bytes());
            assert!(parents.len() == 1 && parents[0].ends_with(flags));
            assert!(states.is_empty());
        }
    }
}
