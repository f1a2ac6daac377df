//! Values of the operator's own variables.
//!
//! A value is expanded to its leaves: literal text, built-in variables and groups of a regular
//! expression. So the place that uses a template escapes each of them as if it stood in the template
//! itself. Values are computed where they are used; other requests pay nothing for them.

use super::escaping::is_decoded;
use crate::config::model::{
    Found, Mapped, OwnVariable, Part, RequestVariable, ResponseVariable, ValueTable, Variable,
};

/// Source of the values of built-in variables.
pub trait Values {
    /// Appends the value of a variable of the request.
    fn append_of_request(&self, variable: &RequestVariable, out: &mut Vec<u8>);

    /// Appends the value of a variable of the response; nothing where there is none.
    fn append_of_response(&self, variable: &ResponseVariable, out: &mut Vec<u8>);
}

/// Piece of a value, which is no variable of the operator.
pub enum Leaf<'l> {
    /// Text of the configuration.
    Text(&'l str),
    /// Variable of the request.
    Request(&'l RequestVariable),
    /// Variable of the response.
    Response(&'l ResponseVariable),
    /// Text that a regular expression found in other values.
    Group {
        /// The text.
        text: &'l [u8],
        /// `true` if it may contain any byte, as for [`is_decoded`].
        is_decoded: bool,
    },
}

/// Calls `take` with the leaves of an own variable's value, in their order.
pub fn each_leaf(own: &OwnVariable<Variable>, values: &dyn Values, take: &mut dyn FnMut(&Leaf)) {
    if matches!(own.table, ValueTable::Source) {
        for part in &own.source {
            match part {
                Part::Text(text) => take(&Leaf::Text(text)),
                Part::Variable(variable) => each_leaf_of(variable, values, take),
            }
        }
        return;
    }
    let mut source = Vec::new();
    for part in &own.source {
        match part {
            Part::Text(text) => source.extend_from_slice(text.as_bytes()),
            Part::Variable(variable) => append(variable, values, &mut source),
        }
    }
    let (parts, groups) = match own.table.find(&source) {
        Found::Value(at, groups) => (own.values.get(at), groups),
        Found::Source | Found::Default => (Some(&own.default), None),
    };
    for part in parts.into_iter().flatten() {
        match part {
            Part::Text(text) => take(&Leaf::Text(text)),
            Part::Variable(Mapped::Variable(variable)) => each_leaf_of(variable, values, take),
            Part::Variable(Mapped::Group(number)) => {
                let group = groups.as_ref().and_then(|groups| groups.get(*number));
                let mut sources = own.source.iter().filter_map(Part::variable);
                take(&Leaf::Group {
                    text: group.map(|group| group.as_bytes()).unwrap_or_default(),
                    is_decoded: sources.any(|variable| variable.any(&mut may_be_any_byte)),
                });
            }
        }
    }
}

/// Returns `true` for a variable that is decoded. What comes of a response is header lines.
fn may_be_any_byte(variable: &Variable) -> bool {
    matches!(variable, Variable::Request(variable) if is_decoded(variable))
}

/// Calls `take` with the leaves of a variable's value: of a built-in variable, with itself.
pub fn each_leaf_of(variable: &Variable, values: &dyn Values, take: &mut dyn FnMut(&Leaf)) {
    match variable {
        Variable::Request(RequestVariable::Own(own))
        | Variable::Response(ResponseVariable::Own(own)) => each_leaf(own, values, take),
        Variable::Request(variable) => take(&Leaf::Request(variable)),
        Variable::Response(variable) => take(&Leaf::Response(variable)),
    }
}

/// Appends the raw value of a variable.
pub fn append(variable: &Variable, values: &dyn Values, out: &mut Vec<u8>) {
    match variable {
        Variable::Request(RequestVariable::Own(own))
        | Variable::Response(ResponseVariable::Own(own)) => append_own(own, values, out),
        Variable::Request(variable) => values.append_of_request(variable, out),
        Variable::Response(variable) => values.append_of_response(variable, out),
    }
}

/// Appends the raw value of an own variable.
pub fn append_own(own: &OwnVariable<Variable>, values: &dyn Values, out: &mut Vec<u8>) {
    each_leaf(own, values, &mut |leaf| match leaf {
        Leaf::Text(text) => out.extend_from_slice(text.as_bytes()),
        Leaf::Request(variable) => values.append_of_request(variable, out),
        Leaf::Response(variable) => values.append_of_response(variable, out),
        Leaf::Group { text, .. } => out.extend_from_slice(text),
    });
}

#[cfg(test)]
mod tests {
    use super::super::variables::tests::expand_in;

    /// Variables of the tests.
    const VARIABLES: &str = "
[[variable]]
name = 'pool'
from = '$cookie_group'
values = { beta = 'canary', '~^v(?<number>[0-9]+)(x?)$' = 'v-$number-$1-$2', empty = '' }
default = 'stable'
[[variable]]
name = 'site'
from = '$host'
hostnames = true
values = { 'www.example.com' = 'www', '*.example.com' = 'any $pool', 'example.*' = '$pool/$uri' }
[[variable]]
name = 'zone'
networks = { '1.0.0.0/8' = 'outer', '1.0.0.0-1.0.0.9' = 'inner $country' }
default = 'none'
[[variable]]
name = 'both'
from = '$pool+$zone'
[[variable]]
name = 'rest'
from = '$uri'
values = { '~^/a/(.*)$' = '$1' }
";

    #[track_caller]
    fn check(host: &'static str, cookie: &'static str, text: &str, expected: &str) {
        let lines = [("host", host), ("cookie", cookie)];
        assert_eq!(
            expand_in(VARIABLES, "/a/b", &lines, text),
            expected,
            "{text}"
        );
    }

    #[test]
    fn values_follow_from_other_values() {
        check("a", "", "$pool", "stable");
        check("a", "group=BETA", "<$pool>", "<canary>");
        check("a", "group=v12", "$pool", "v-12-12-");
        check("a", "group=v12x", "$pool", "v-12-12-x");
        check("a", "group=empty", "<$pool>", "<>");
        check("www.example.com", "", "$site", "www");
        check("a.b.example.com", "group=beta", "$site", "any canary");
        check("example.org", "", "$site", "stable//a/b");
        check("example", "", "<$site>", "<>");
        check("a", "", "$zone", "inner CN");
        check("a", "group=beta", "$both", "canary+inner CN");
        check("a", "", "$rest", "b");
    }
}
