//! Header changes of a route, in requests and responses.
//!
//! Names are checked when the configuration is read. Decoded values and values from a database are
//! percent-encoded where they are not plain text, so that they cannot end a header line. As in
//! nginx, an empty value means that the header is absent.

use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

use super::expires;
use super::geo_headers::remove_other_spellings;
use super::variables::{View, is_decoded};
use crate::config::model::{
    Expires, HeaderChanges, Part, RequestVariable, ResponseChanges, Template,
};
use crate::proto::headers::{EditHeaders, EditResponse, Headers, Name};

/// Characters to escape: all but printable ASCII, and `%` itself.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// Compiled changes of requests or of responses.
#[derive(Default)]
pub struct HeaderRules {
    remove: Vec<HeaderName>,
    set: Vec<Rule>,
    add: Vec<Rule>,
}

/// Compiled changes of responses.
#[derive(Default)]
pub struct ResponseRules {
    always: HeaderRules,
    expires: Option<Expires>,
    on_success: HeaderRules,
}

/// Statuses that count as success, as for `add_header` of nginx.
const SUCCESS: [u16; 10] = [200, 201, 204, 206, 301, 302, 303, 304, 307, 308];

impl ResponseRules {
    /// Compiles the rules of a configuration.
    pub fn new(changes: &ResponseChanges) -> Self {
        ResponseRules {
            always: HeaderRules::new(&changes.always),
            expires: changes.expires,
            on_success: HeaderRules::new(&changes.on_success),
        }
    }

    /// Returns `true` if nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.always.is_empty() && self.expires.is_none() && self.on_success.is_empty()
    }

    /// Changes a response that is sent now.
    pub fn change<H: Headers>(&self, response: &mut impl EditResponse, view: &View<H>) {
        let is_success = SUCCESS.contains(&response.status().as_u16());
        self.always.delete(response);
        if let Some(expires) = self.expires.filter(|_| is_success) {
            expires::set(expires, response, SystemTime::now());
        }
        self.always.write(response, view);
        if is_success {
            self.on_success.delete(response);
            self.on_success.write(response, view);
        }
    }
}

struct Rule {
    name: HeaderName,
    /// Name as the operator wrote it.
    spelling: Bytes,
    value: Value,
}

enum Value {
    /// Constant value; `None` if the header is to be absent.
    Fixed(Option<HeaderValue>),
    Template(Template<RequestVariable>),
}

impl HeaderRules {
    /// Compiles the rules of a configuration.
    pub fn new(changes: &HeaderChanges) -> Self {
        let name = |name: &String| HeaderName::from_bytes(name.as_bytes()).ok();
        let rule = |(spelling, template): &(String, Template<RequestVariable>)| {
            let value = match template.variables().next() {
                None => Value::Fixed(value(template.texts().collect::<String>().into_bytes())),
                Some(_) => Value::Template(template.clone()),
            };
            Some(Rule {
                name: name(spelling)?,
                spelling: Bytes::copy_from_slice(spelling.as_bytes()),
                value,
            })
        };
        HeaderRules {
            remove: changes.remove.iter().filter_map(name).collect(),
            set: changes.set.iter().filter_map(rule).collect(),
            add: changes.add.iter().filter_map(rule).collect(),
        }
    }

    /// Returns `true` if nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }

    /// Changes a request. Many applications treat `_` and `-` in a name as the same, so such
    /// variants are removed together with a header that is set or removed.
    pub fn change_request<H: Headers>(&self, request: &mut impl EditHeaders, view: &View<H>) {
        for name in &self.remove {
            remove_other_spellings(request, name);
            request.remove(name.as_str());
        }
        for rule in &self.set {
            remove_other_spellings(request, &rule.name);
        }
        self.write(request, view);
    }

    fn delete(&self, message: &mut impl EditHeaders) {
        for name in &self.remove {
            message.remove(name.as_str());
        }
    }

    fn write<H: Headers>(&self, message: &mut impl EditHeaders, view: &View<H>) {
        for rule in &self.set {
            match rule.value(view) {
                Some(value) => message.set(Name::Spelled(&rule.spelling), value.as_bytes()),
                None => message.remove(rule.name.as_str()),
            }
        }
        for rule in &self.add {
            if let Some(value) = rule.value(view) {
                message.append(Name::Spelled(&rule.spelling), value.as_bytes());
            }
        }
    }
}

impl Rule {
    fn value<H: Headers>(&self, view: &View<H>) -> Option<HeaderValue> {
        let template = match &self.value {
            Value::Fixed(value) => return value.clone(),
            Value::Template(template) => template,
        };
        let (mut text, mut part_value) = (Vec::new(), Vec::new());
        for part in template.parts() {
            match part {
                Part::Text(part) => text.extend_from_slice(part.as_bytes()),
                Part::Variable(variable) if is_decoded(variable) => {
                    part_value.clear();
                    view.append(variable, &mut part_value);
                    for piece in percent_encode(&part_value, ESCAPED) {
                        text.extend_from_slice(piece.as_bytes());
                    }
                }
                Part::Variable(variable) => view.append(variable, &mut text),
            }
        }
        value(text)
    }
}

/// Returns the value of a header; `None` if it is empty or contains bytes that are not allowed.
fn value(text: Vec<u8>) -> Option<HeaderValue> {
    let value = (!text.is_empty()).then_some(text)?;
    HeaderValue::from_maybe_shared(Bytes::from(value)).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::super::variables::tests::{database, headers};
    use super::super::variables::{Captured, RoutedTarget};
    use super::*;
    use crate::config::model::Captures;
    use crate::proto::scheme::Scheme;
    use pingora::http::ResponseHeader;

    type Lines<'l> = [(&'l str, &'l str)];

    fn changes(remove: &[&str], set: &Lines, add: &Lines) -> HeaderChanges {
        let captures = Captures::new([None, None]);
        let lines = |lines: &Lines| {
            let line = |(name, text): &(&str, &str)| {
                (
                    (*name).to_owned(),
                    Template::parse(text, &captures).unwrap(),
                )
            };
            lines.iter().map(line).collect()
        };
        HeaderChanges {
            remove: remove.iter().map(|name| (*name).to_owned()).collect(),
            set: lines(set),
            add: lines(add),
        }
    }

    fn rules(remove: &[&str], set: &Lines) -> ResponseRules {
        ResponseRules::new(&ResponseChanges {
            always: changes(remove, set, &[]),
            ..ResponseChanges::default()
        })
    }

    /// Checks all lines of a changed response; the upstream's has `x-old: 1` and `x-other: 2`.
    #[track_caller]
    fn check(rules: &ResponseRules, expected: &Lines) {
        check_status(200, rules, expected);
    }

    #[track_caller]
    fn check_status(status: u16, rules: &ResponseRules, expected: &Lines) {
        let database = database();
        let headers: HeaderMap = headers(&[("host", "h"), ("x-sent", "caf\u{e9} %41")]);
        let view = View {
            origin: None,
            place: database.lookup([1, 0, 0, 7].into()),
            scheme: Scheme::Http,
            method: "GET",
            target: RoutedTarget::sent(b"/a%0d%0aX:%20b?c=%0d"),
            protocol: "HTTP/1.1",
            authority: None,
            headers: &headers,
            request_id: "",
            route: "",
            captures: Captured {
                text: b"a\r\nb",
                groups: &[None, Some(0..4)],
                hosts: &[],
            },
            tls: None,
        };
        let mut response = ResponseHeader::build(status, None).unwrap();
        response.insert_header("X-Old", "1").unwrap();
        response.insert_header("X-Other", "2").unwrap();
        rules.change(&mut response, &view);
        let lines = response.headers.iter();
        let mut lines: Vec<_> = lines
            .map(|(name, value)| {
                (
                    name.as_str(),
                    std::str::from_utf8(value.as_bytes()).unwrap(),
                )
            })
            .collect();
        lines.sort_unstable();
        assert_eq!(lines, expected);
    }

    const OTHER: (&str, &str) = ("x-other", "2");

    #[test]
    fn headers_are_removed_and_set() {
        check(&rules(&["x-old"], &[]), &[OTHER]);
        check(&rules(&[], &[("X-Old", "new")]), &[("x-old", "new"), OTHER]);
        check(
            &rules(&["x-old"], &[("X-Old", "new")]),
            &[("x-old", "new"), OTHER],
        );
        check(&rules(&[], &[("x-old", "")]), &[OTHER]);
        check(&rules(&[], &[("x-old", "$arg_none")]), &[OTHER]);
    }

    #[test]
    fn lines_are_added_behind_others() {
        let rules = ResponseRules::new(&ResponseChanges {
            always: changes(
                &[],
                &[("X-New", "a")],
                &[("X-Old", "b"), ("X-New", "c"), ("X-No", "")],
            ),
            ..ResponseChanges::default()
        });
        let expected = [
            ("x-new", "a"),
            ("x-new", "c"),
            ("x-old", "1"),
            ("x-old", "b"),
            OTHER,
        ];
        check(&rules, &expected);
    }

    #[test]
    fn some_changes_are_for_successes() {
        let rules = ResponseRules::new(&ResponseChanges {
            always: changes(&[], &[], &[("X-A", "always")]),
            expires: Some(Expires::Epoch),
            on_success: changes(
                &["x-old"],
                &[],
                &[("X-A", "success"), ("Cache-Control", "private")],
            ),
        });
        let always = [("x-a", "always"), ("x-old", "1"), OTHER];
        let success = [
            ("cache-control", "no-cache"),
            ("cache-control", "private"),
            ("expires", "Thu, 01 Jan 1970 00:00:01 GMT"),
            ("x-a", "always"),
            ("x-a", "success"),
            OTHER,
        ];
        for status in [200, 206, 301, 304, 308] {
            check_status(status, &rules, &success);
        }
        for status in [202, 300, 400, 404, 502] {
            check_status(status, &rules, &always);
        }
    }

    #[test]
    fn what_was_decoded_cannot_end_a_line() {
        check(
            &rules(
                &["x-old"],
                &[("X-A", "$uri"), ("X-B", "[$1]"), ("X-C", "$arg_c")],
            ),
            &[
                ("x-a", "/a%0D%0AX: b"),
                ("x-b", "[a%0D%0Ab]"),
                ("x-c", "%0d"),
                OTHER,
            ],
        );
    }

    #[test]
    fn places_are_encoded_and_what_was_sent_is_not() {
        check(
            &rules(
                &["x-old"],
                &[("X-A", "$country $region"), ("X-B", "$http_x_sent")],
            ),
            &[
                ("x-a", "CN %E7%A6%8F%E5%BB%BA"),
                ("x-b", "caf\u{e9} %41"),
                OTHER,
            ],
        );
    }
}
