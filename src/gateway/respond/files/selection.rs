//! Part of a file that a request selects: conditions first, then ranges (RFC 9110, 13.2.2 and
//! 14.2).

use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use headers::{
    ETag, HeaderMapExt, IfMatch, IfModifiedSince, IfNoneMatch, IfRange, IfUnmodifiedSince,
    LastModified,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use http_range_header::{SyntacticallyCorrectRange as Spec, parse_range_header};

use super::whole_seconds;
use crate::config::model::Coding;
use crate::gateway::request::request_view::RequestView;
use crate::proto::headers::Headers;

/// Content of the response.
#[derive(Debug, PartialEq, Eq)]
pub enum Selection {
    /// The whole file.
    Whole,
    /// This range of bytes, not empty.
    Part(Range<u64>),
    /// These ranges of bytes, none of which is empty; together not more than the file.
    Parts(Vec<Range<u64>>),
    /// Nothing: the client has the current file (304).
    NotModified,
    /// Nothing: a precondition of the client failed (412).
    Failed,
    /// Nothing: the requested range is outside of the file (416).
    Unsatisfiable,
}

/// Validators that identify one state of a file.
#[derive(Debug)]
pub struct Validators {
    tag: String,
    modified: SystemTime,
}

impl Validators {
    /// Creates the validators of a file. A modification time in the future is replaced by `now`,
    /// because it would be useless in conditions.
    /// A coding of a file has a tag of its own.
    pub fn new(modified: SystemTime, length: u64, coding: Option<Coding>, now: SystemTime) -> Self {
        let since = modified
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        let modified = whole_seconds(modified.min(now));
        Validators {
            tag: match coding {
                None => format!("\"{:x}-{length:x}\"", since.as_nanos()),
                Some(coding) => {
                    let token = coding.token();
                    format!("\"{:x}-{length:x}-{token}\"", since.as_nanos())
                }
            },
            modified: UNIX_EPOCH + Duration::from_secs(modified),
        }
    }

    /// Entity tag, with its quotes.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// Value of `Last-Modified`.
    pub fn last_modified(&self) -> String {
        httpdate::fmt_http_date(self.modified)
    }
}

/// Selects the parts of a file of this length for a request, at most so many.
pub fn select<H: Headers>(
    request: &RequestView<H>,
    file: &Validators,
    length: u64,
    max_ranges: usize,
) -> Selection {
    let headers = &conditions(request.headers);
    let tag: Option<ETag> = file.tag.parse().ok();
    let matches = |condition: &dyn Fn(&ETag) -> bool| tag.as_ref().is_some_and(condition);
    if let Some(condition) = headers.typed_get::<IfMatch>() {
        if !matches(&|tag| condition.precondition_passes(tag)) {
            return Selection::Failed;
        }
    } else if let Some(condition) = headers.typed_get::<IfUnmodifiedSince>()
        && !condition.precondition_passes(file.modified)
    {
        return Selection::Failed;
    }
    if let Some(condition) = headers.typed_get::<IfNoneMatch>() {
        if !matches(&|tag| condition.precondition_passes(tag)) {
            return Selection::NotModified;
        }
    } else if let Some(condition) = headers.typed_get::<IfModifiedSince>()
        && !condition.is_modified(file.modified)
    {
        return Selection::NotModified;
    }
    if *request.method != Method::GET || !is_for_this_state(headers, tag.as_ref(), file) {
        return Selection::Whole;
    }
    let range = headers.get(header::RANGE).map(HeaderValue::to_str);
    match range {
        Some(Ok(range)) => parts(range, length, max_ranges),
        _ => Selection::Whole,
    }
}

/// Conditions of a request, in the form that the parser of conditions reads.
fn conditions(headers: &impl Headers) -> HeaderMap {
    let mut map = HeaderMap::new();
    for name in [
        header::IF_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_NONE_MATCH,
        header::IF_RANGE,
        header::IF_UNMODIFIED_SINCE,
        header::RANGE,
    ] {
        append_lines(&mut map, headers, &name);
    }
    map
}

fn append_lines(map: &mut HeaderMap, headers: &impl Headers, name: &HeaderName) {
    for line in headers.lines(name.as_str()) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            map.append(name, value);
        }
    }
}

/// Evaluates `If-Range`: a part is useful only to a client that has the rest of the same file.
fn is_for_this_state(headers: &HeaderMap, tag: Option<&ETag>, file: &Validators) -> bool {
    if !headers.contains_key(header::IF_RANGE) {
        return true;
    }
    let condition = headers.typed_get::<IfRange>();
    let modified = LastModified::from(file.modified);
    condition.is_some_and(|condition| !condition.is_modified(tag, Some(&modified)))
}

/// Parses `Range`. For an invalid value, for more than `max_ranges`, and for ranges that are together
/// longer than the file, the whole file is sent: it costs less (RFC 9110, 14.2).
fn parts(range: &str, length: u64, max_ranges: usize) -> Selection {
    let specs = parse_range_header(range).map(http_range_header::ParsedRanges::into_ranges);
    let Ok(specs) = specs else {
        return Selection::Whole;
    };
    if specs.len() > max_ranges {
        return Selection::Whole;
    }
    let parts = specs.into_iter().map(|spec| match spec {
        Spec::FromStart(first) => first..length,
        Spec::FromLast(last) => length.saturating_sub(last)..length,
        Spec::Indexed(first, last) => first..last.saturating_add(1).min(length),
    });
    let mut parts: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
    let total = parts.iter().map(|part| part.end - part.start);
    let total = total.fold(0, u64::saturating_add);
    match (parts.pop(), parts.len()) {
        (None, _) => Selection::Unsatisfiable,
        (Some(part), 0) => Selection::Part(part),
        (Some(_), _) if total > length => Selection::Whole,
        (Some(last), _) => {
            parts.push(last);
            Selection::Parts(parts)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pingora::http::RequestHeader;

    const TAG: &str = "\"174876e8003b9aca00-64\"";
    /// 2000-01-01 00:00:01.
    const MODIFIED: u64 = 946_684_801;

    fn file() -> Validators {
        let modified = UNIX_EPOCH + Duration::new(MODIFIED, 500);
        let mut file = Validators::new(modified, 100, None, SystemTime::now());
        assert_eq!(file.last_modified(), "Sat, 01 Jan 2000 00:00:01 GMT");
        file.tag = TAG.to_owned();
        file
    }

    fn selected(method: &str, lines: &[(&'static str, &str)]) -> Selection {
        let mut request = RequestHeader::build(method, b"/", None).unwrap();
        for (name, value) in lines {
            request.append_header(*name, *value).unwrap();
        }
        select(&RequestView::of(&request), &file(), 100, 4)
    }

    #[track_caller]
    fn check(lines: &[(&'static str, &str)], expected: &Selection) {
        assert_eq!(selected("GET", lines), *expected, "{lines:?}");
    }

    #[test]
    fn a_range_is_a_part_of_the_file() {
        for (range, part) in [
            ("bytes=0-0", 0..1),
            ("bytes=10-19", 10..20),
            ("bytes=90-", 90..100),
            ("bytes=90-1000", 90..100),
            ("bytes=99-18446744073709551615", 99..100),
            ("bytes=-1", 99..100),
            ("bytes=-100", 0..100),
            ("bytes=-1000", 0..100),
        ] {
            check(&[("Range", range)], &Selection::Part(part));
        }
        check(&[("Range", "bytes=100-,3-4")], &Selection::Part(3..5));
        for range in ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=100-,200-"] {
            check(&[("Range", range)], &Selection::Unsatisfiable);
        }
    }

    #[test]
    fn several_ranges_are_parts_in_their_order() {
        for (range, parts) in [
            ("bytes=0-1,5-6", vec![0..2, 5..7]),
            ("bytes=90-,0-0", vec![90..100, 0..1]),
            ("bytes=0-1, 200-, 5-5, -1", vec![0..2, 5..6, 99..100]),
            // They overlap, and are not longer than the file.
            ("bytes=0-9,5-14", vec![0..10, 5..15]),
        ] {
            check(&[("Range", range)], &Selection::Parts(parts));
        }
    }

    #[test]
    fn what_is_no_useful_range_gets_the_whole() {
        for range in [
            // Together longer than the file, and more than four.
            "bytes=0-50,50-99",
            "bytes=0-,-1",
            "bytes=0-0,2-2,4-4,6-6,8-8",
            "bytes=0-1,x",
            "bytes=",
            "bytes=x",
            "bytes=5-4",
            "bytes=--1",
            "bytes=+1-2",
            "items=0-1",
            "0-1",
            "",
        ] {
            check(&[("Range", range)], &Selection::Whole);
        }
        assert_eq!(
            selected("HEAD", &[("Range", "bytes=0-1")]),
            Selection::Whole
        );
    }

    #[test]
    fn a_client_that_has_the_file_gets_nothing() {
        let weak = format!("\"x\", W/{TAG}");
        for line in [
            ("If-None-Match", TAG),
            ("If-None-Match", weak.as_str()),
            ("If-None-Match", "*"),
            ("If-Modified-Since", "Sat, 01 Jan 2000 00:00:01 GMT"),
            ("If-Modified-Since", "Sun, 02 Jan 2000 00:00:01 GMT"),
        ] {
            check(&[line], &Selection::NotModified);
            check(&[line, ("Range", "bytes=0-1")], &Selection::NotModified);
            assert_eq!(selected("HEAD", &[line]), Selection::NotModified);
        }
        for lines in [
            &[("If-None-Match", "\"x\"")][..],
            &[("If-Modified-Since", "Fri, 31 Dec 1999 23:59:59 GMT")],
            &[("If-Modified-Since", "yesterday")],
            // The tag takes precedence over the time.
            &[
                ("If-None-Match", "\"x\""),
                ("If-Modified-Since", "Sun, 02 Jan 2000 00:00:01 GMT"),
            ],
        ] {
            check(lines, &Selection::Whole);
        }
    }

    #[test]
    fn a_condition_that_does_not_hold_is_told() {
        for line in [
            ("If-Match", "\"x\""),
            ("If-Unmodified-Since", "Fri, 31 Dec 1999 23:59:59 GMT"),
        ] {
            check(&[line], &Selection::Failed);
        }
        for line in [
            ("If-Match", TAG),
            ("If-Match", "*"),
            ("If-Unmodified-Since", "Sat, 01 Jan 2000 00:00:01 GMT"),
        ] {
            check(&[line], &Selection::Whole);
        }
    }

    #[test]
    fn a_part_is_only_for_who_has_the_same_file() {
        let range = ("Range", "bytes=0-1");
        for same in [TAG, "Sat, 01 Jan 2000 00:00:01 GMT"] {
            check(&[range, ("If-Range", same)], &Selection::Part(0..2));
        }
        let weak = format!("W/{TAG}");
        for other in ["\"x\"", &weak, "Fri, 31 Dec 1999 23:59:59 GMT", "junk"] {
            check(&[range, ("If-Range", other)], &Selection::Whole);
        }
    }

    #[test]
    fn an_empty_file_has_no_parts() {
        for range in ["bytes=0-", "bytes=-5", "bytes=0-0"] {
            assert_eq!(parts(range, 0, 4), Selection::Unsatisfiable);
        }
    }

    #[test]
    fn times_that_http_cannot_write_are_moved() {
        let now = UNIX_EPOCH + Duration::from_secs(MODIFIED);
        for modified in [
            now + Duration::from_secs(1 << 40),
            UNIX_EPOCH - Duration::from_secs(9),
        ] {
            let file = Validators::new(modified, 1, None, now);
            assert!(file.modified <= now && !file.last_modified().is_empty());
        }
    }
}
