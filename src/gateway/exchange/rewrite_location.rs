//! Rewriting of an upstream's redirects, which may name the upstream by its internal URL.
//!
//! Every engine applies it to the response's head before the header rules, so that these see the
//! URL that clients receive. The rest of the URL, behind the replaced part, stays unchanged.

use regex::bytes::Regex;

use crate::config::model::{RequestVariable, Template, ValuePattern, ValueRewrite};
use crate::gateway::context::Context;
use crate::gateway::request::request_view::RequestView;
use crate::gateway::request::variables::{Captured, View};
use crate::gateway::route::{Action, groups, target};
use crate::proto::headers::{EditResponse, Headers, Name, is_value};

/// Headers that redirect.
const REDIRECTS: [&str; 2] = ["Location", "Refresh"];

/// Rewrites the redirect of an upstream's response by the rules of the request's route.
pub fn rewrite_location<H: Headers>(
    response: &mut impl EditResponse,
    request: &RequestView<H>,
    ctx: &Context,
) {
    let Some(Action::Upstream {
        rewrite_location, ..
    }) = ctx.route().map(|route| &route.action)
    else {
        return;
    };
    if rewrite_location.is_empty() || !(response.has("location") || response.has("refresh")) {
        return;
    }
    let view = View::of(request, ctx);
    for name in REDIRECTS {
        rewrite_lines(response, name, rewrite_location, &view);
    }
}

fn rewrite_lines<H: Headers>(
    response: &mut impl EditResponse,
    name: &'static str,
    rules: &[ValueRewrite],
    view: &View<H>,
) {
    let known = name.to_ascii_lowercase();
    let lines = response.lines(&known);
    let rewritten: Vec<(Vec<u8>, Option<Vec<u8>>)> = lines
        .map(|line| (line.to_vec(), rewritten(line, name, rules, view)))
        .collect();
    if rewritten.iter().all(|(_, line)| line.is_none()) {
        return;
    }
    response.remove(name);
    for (line, rewritten) in rewritten {
        response.append(Name::Static(name), &rewritten.unwrap_or(line));
    }
}

/// Returns the line with its URL rewritten; `None` if no rule matches or the result is invalid.
fn rewritten<H: Headers>(
    line: &[u8],
    name: &str,
    rules: &[ValueRewrite],
    view: &View<H>,
) -> Option<Vec<u8>> {
    let (before, url) = line.split_at(start_of_url(line, name)?);
    let (rule, url) = rules
        .iter()
        .find_map(|rule| Some((rule, replaced(url, rule, view)?)))?;
    let is_host_meant = rule
        .to
        .texts()
        .next()
        .is_some_and(|to| to.starts_with("//"));
    let names_host = matches!(url[..], [b'/', b'/' | b'\\', ..]) && !is_host_meant;
    // `/.//a` is the path `//a` (RFC 3986, 5.2.4); `//a` would be the host a.
    let same_host: &[u8] = if names_host { b"/." } else { b"" };
    let line = [before, same_host, &url].concat();
    if line.len() == before.len() {
        return None;
    }
    is_value(&line).then_some(line)
}

/// Returns a URL whose beginning is replaced, or all of it if it matches a regex.
fn replaced<H: Headers>(url: &[u8], rule: &ValueRewrite, view: &View<H>) -> Option<Vec<u8>> {
    match &rule.from {
        ValuePattern::Text(from) => {
            let from = view.expand(from);
            // An empty pattern, because a variable has no value, would match every URL.
            let rest = url.strip_prefix(&from[..]).filter(|_| !from.is_empty())?;
            let mut url = target::location(&rule.to, view);
            url.extend_from_slice(rest);
            Some(url)
        }
        ValuePattern::Regex(regex) => {
            // The groups are parts of a URL already, so nothing in them is escaped again.
            let url = matched(url, regex, &rule.to, view)?;
            Some(target::encoded(&url))
        }
    }
}

/// Returns the value of a template with the groups that a regex finds in a value; `None` if it does not
/// match.
pub fn matched<H: Headers>(
    value: &[u8],
    regex: &Regex,
    to: &Template<RequestVariable>,
    view: &View<H>,
) -> Option<Vec<u8>> {
    let captures = Captured {
        text: value,
        groups: &groups(regex, value)?,
        ..view.captures
    };
    Some(View { captures, ..*view }.expand(to))
}

/// Returns the position of the URL in a line. `Refresh: 5; url=/x` has it behind `url=`, in any
/// case.
fn start_of_url(line: &[u8], name: &str) -> Option<usize> {
    if name == "Location" {
        return Some(0);
    }
    let at = line
        .windows(4)
        .position(|part| part.eq_ignore_ascii_case(b"url="));
    at.map(|at| at + 4)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use pingora::http::ResponseHeader;

    use super::*;
    use crate::config::model::{Captures, Template};
    use crate::gateway::request::variables::{Captured, ConnectionView, RoutedTarget};
    use crate::proto::scheme::Scheme;

    fn rules(rules: &[(&str, &str)]) -> Vec<ValueRewrite> {
        let template = |text| Template::parse(text, &Captures::default()).unwrap();
        rules
            .iter()
            .map(|(from, to)| match from.strip_prefix('~') {
                None => ValueRewrite {
                    from: ValuePattern::Text(template(from)),
                    to: template(to),
                },
                Some(regex) => {
                    let regex = Regex::new(regex).unwrap();
                    let names = regex.capture_names();
                    let names = Captures::new(names.map(|name| name.map(str::to_owned)));
                    ValueRewrite {
                        from: ValuePattern::Regex(regex),
                        to: Template::parse(to, &names).unwrap(),
                    }
                }
            })
            .collect()
    }

    /// Checks all lines of a header after the rewriting of a response to `https://shop.test/a`.
    #[track_caller]
    fn check(name: &'static str, lines: &[&str], pairs: &[(&str, &str)], expected: &[&str]) {
        let mut headers = HeaderMap::new();
        headers.insert("x-sent", HeaderValue::from_static("//evil.test"));
        let view = View {
            origin: None,
            place: None,
            scheme: Scheme::Https,
            method: "GET",
            target: RoutedTarget::sent(b"/a"),
            protocol: "HTTP/1.1",
            authority: Some("shop.test"),
            headers: &headers,
            request_id: "",
            route: "",
            captures: Captured::default(),
            connection: ConnectionView::default(),
        };
        let mut response = ResponseHeader::build(302, None).unwrap();
        for line in lines {
            response.append_header(name, *line).unwrap();
        }
        rewrite_lines(&mut response, name, &rules(pairs), &view);
        let found = response.headers.get_all(name).iter();
        let found: Vec<_> = found.map(|line| line.to_str().unwrap()).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_first_rule_that_the_url_begins_with_replaces_that_part() {
        let pairs = [
            ("http://app:8080/v2/", "/api/"),
            ("http://app:8080/", "/"),
            ("http://", "$scheme://"),
        ];
        for (from, to) in [
            ("http://app:8080/v2/x?q#f", "/api/x?q#f"),
            ("http://app:8080/v2", "/v2"),
            ("http://app:8080/", "/"),
            ("http://other/x", "https://other/x"),
            ("http://APP:8080/v2/", "https://APP:8080/v2/"),
            ("/v2/x", "/v2/x"),
            ("https://app:8080/", "https://app:8080/"),
        ] {
            check("Location", &[from], &pairs, &[to]);
        }
    }

    #[test]
    fn every_line_is_rewritten_by_itself() {
        check(
            "Location",
            &["http://a/1", "/2", "http://a/3"],
            &[("http://a", "")],
            &["/1", "/2", "/3"],
        );
    }

    #[test]
    fn the_url_of_refresh_stands_behind_its_name() {
        let pairs = [("http://a/", "/")];
        for (line, expected) in [
            ("5; url=http://a/x", "5; url=/x"),
            ("0;URL=http://a/", "0;URL=/"),
            ("5; url=http://b/", "5; url=http://b/"),
            ("http://a/", "http://a/"),
            ("5", "5"),
        ] {
            check("Refresh", &[line], &pairs, &[expected]);
        }
    }

    #[test]
    fn a_regex_replaces_the_whole_url() {
        let pairs = [
            (r"~^http://[^/:]+:(\d+)(/.*)$", "https://out.test/p$1$2"),
            (r"~/(?<file>[^/]+)\.old$", "/new/$file?x=%20"),
        ];
        for (from, to) in [
            (
                "http://in:81/a%20b?c=%2F#d",
                "https://out.test/p81/a%20b?c=%2F#d",
            ),
            ("http://in/a", "http://in/a"),
            ("http://in/a/b.old", "/new/b?x=%20"),
        ] {
            check("Location", &[from], &pairs, &[to]);
        }
        check(
            "Refresh",
            &["5; url=http://in:81/"],
            &pairs,
            &["5; url=https://out.test/p81/"],
        );
        check(
            "Location",
            &["http://a//evil"],
            &[("~^http://a(.*)$", "$1")],
            &["/.//evil"],
        );
    }

    #[test]
    fn a_path_never_becomes_a_host() {
        let pairs = [
            ("http://a/", "/"),
            ("http://b", "//b.test"),
            ("http://c", "$http_x_sent"),
        ];
        for (from, to) in [
            ("http://a//evil.test/x", "/.//evil.test/x"),
            ("http://a/\\evil.test", "/./\\evil.test"),
            ("http://b/x", "//b.test/x"),
            ("http://c/x", "/evil.test/x"),
        ] {
            check("Location", &[from], &pairs, &[to]);
        }
    }

    #[test]
    fn what_comes_to_nothing_changes_nothing() {
        let pairs = [("$http_x_none", "/none"), ("http://a", "$http_x_none")];
        check("Location", &["http://a"], &pairs, &["http://a"]);
        check("Location", &["/x"], &pairs, &["/x"]);
    }
}
