//! Header changes of a route, in requests and responses.
//!
//! Names are checked when the configuration is read. Decoded values and values from a database are
//! percent-encoded where they are not plain text, so that they cannot end a header line. As in
//! nginx, an empty value means that the header is absent.

use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

use super::escaping::is_decoded;
use super::expires;
use super::geo_headers::remove_other_spellings;
use super::head_lines::append_list;
use super::own_value::{Leaf, Values, each_leaf_of};
use crate::config::model::{
    Expires, HeaderChanges, Part, RequestVariable, ResponseChanges, ResponseVariable, Template,
    Variable,
};
use crate::proto::headers::{EditHeaders, EditResponse, Name};
use crate::proto::text::write_number;

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

    /// Changes a response that is sent now. `values` are those of the request and of the upstream.
    pub fn change(&self, response: &mut impl EditResponse, values: &dyn Values) {
        let is_success = SUCCESS.contains(&response.status().as_u16());
        self.always.delete(response);
        if let Some(expires) = self.expires.filter(|_| is_success) {
            expires::set(expires, response, SystemTime::now());
        }
        self.always.write_response(response, values);
        if is_success {
            self.on_success.delete(response);
            self.on_success.write_response(response, values);
        }
    }

    /// Returns the variables of all values.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        let rules = [&self.always, &self.on_success].into_iter();
        let rules = rules.flat_map(|rules| rules.set.iter().chain(&rules.add));
        rules
            .flat_map(|rule| match &rule.value {
                Value::Template(template) => template.parts(),
                Value::Fixed(_) => &[],
            })
            .filter_map(Part::variable)
    }
}

/// Values for the head of a response, as far as it is changed.
struct AtHead<'r, R> {
    response: &'r R,
    values: &'r dyn Values,
}

impl<R: EditResponse> Values for AtHead<'_, R> {
    fn append_of_request(&self, variable: &RequestVariable, out: &mut Vec<u8>) {
        self.values.append_of_request(variable, out);
    }

    fn append_of_response(&self, variable: &ResponseVariable, out: &mut Vec<u8>) {
        match variable {
            ResponseVariable::Status => {
                write_number(u64::from(self.response.status().as_u16()), out);
            }
            ResponseVariable::SentHttp(name) => append_list(self.response, name, out),
            _ => self.values.append_of_response(variable, out),
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
    Template(Template<Variable>),
}

impl HeaderRules {
    /// Compiles the rules of a configuration.
    pub fn new<V: Clone + Into<Variable>>(changes: &HeaderChanges<V>) -> Self {
        let name = |name: &String| HeaderName::from_bytes(name.as_bytes()).ok();
        let rule = |(spelling, template): &(String, Template<V>)| {
            let value = match template.variables().next() {
                None => Value::Fixed(value(template.texts().collect::<String>().into_bytes())),
                Some(_) => Value::Template(template.clone().map(Into::into)),
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
    pub fn change_request(&self, request: &mut impl EditHeaders, values: &dyn Values) {
        for name in &self.remove {
            remove_other_spellings(request, name);
            request.remove(name.as_str());
        }
        for rule in &self.set {
            remove_other_spellings(request, &rule.name);
        }
        self.write(request, |rule, _| rule.value(values));
    }

    fn write_response<R: EditResponse>(&self, response: &mut R, values: &dyn Values) {
        self.write(response, |rule, response: &R| {
            rule.value(&AtHead { response, values })
        });
    }

    fn delete(&self, message: &mut impl EditHeaders) {
        for name in &self.remove {
            message.remove(name.as_str());
        }
    }

    fn write<M: EditHeaders>(
        &self,
        message: &mut M,
        value: impl Fn(&Rule, &M) -> Option<HeaderValue>,
    ) {
        for rule in &self.set {
            match value(rule, message) {
                Some(value) => message.set(Name::Spelled(&rule.spelling), value.as_bytes()),
                None => message.remove(rule.name.as_str()),
            }
        }
        for rule in &self.add {
            if let Some(value) = value(rule, message) {
                message.append(Name::Spelled(&rule.spelling), value.as_bytes());
            }
        }
    }
}

impl Rule {
    fn value(&self, values: &dyn Values) -> Option<HeaderValue> {
        let template = match &self.value {
            Value::Fixed(value) => return value.clone(),
            Value::Template(template) => template,
        };
        let mut text = Vec::new();
        for part in template.parts() {
            match part {
                Part::Text(part) => text.extend_from_slice(part.as_bytes()),
                Part::Variable(variable) => each_leaf_of(variable, values, &mut |leaf| {
                    append_leaf(leaf, values, &mut text);
                }),
            }
        }
        value(text)
    }
}

/// Appends a piece of a value, escaped if it may contain any byte.
fn append_leaf(leaf: &Leaf, values: &dyn Values, text: &mut Vec<u8>) {
    match leaf {
        Leaf::Text(part) => text.extend_from_slice(part.as_bytes()),
        Leaf::Request(variable) if is_decoded(variable) => {
            let mut value = Vec::new();
            values.append_of_request(variable, &mut value);
            escape(&value, text);
        }
        Leaf::Request(variable) => values.append_of_request(variable, text),
        Leaf::Response(variable) => values.append_of_response(variable, text),
        Leaf::Group {
            text: value,
            is_decoded: true,
        } => escape(value, text),
        Leaf::Group { text: value, .. } => text.extend_from_slice(value),
    }
}

fn escape(value: &[u8], text: &mut Vec<u8>) {
    for piece in percent_encode(value, ESCAPED) {
        text.extend_from_slice(piece.as_bytes());
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
    use super::super::variables::{Captured, ConnectionView, RoutedTarget, View};
    use super::*;
    use crate::config::model::Captures;
    use crate::proto::scheme::Scheme;
    use pingora::http::ResponseHeader;

    type Lines<'l> = [(&'l str, &'l str)];

    fn changes(remove: &[&str], set: &Lines, add: &Lines) -> HeaderChanges<Variable> {
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
            connection: ConnectionView::default(),
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
