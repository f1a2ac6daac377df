//! Rewriting of the cookies that an upstream sets, whose path and domain may be its own.

use super::rewrite_location::matched;
use crate::config::model::{CookieFlags, CookieName, CookieRewrites, ValuePattern, ValueRewrite};
use crate::gateway::context::Context;
use crate::gateway::request::request_view::RequestView;
use crate::gateway::request::variables::View;
use crate::proto::headers::{EditResponse, Headers, Name, is_value};
use crate::proto::set_cookie::SetCookie;

/// Rewrites the cookies of an upstream's response by the rules of the request's route.
pub fn rewrite_cookies<H: Headers>(
    response: &mut impl EditResponse,
    request: &RequestView<H>,
    ctx: &Context,
) {
    let Some(rules) = ctx.route().and_then(|route| route.cookies.as_deref()) else {
        return;
    };
    if !response.has("set-cookie") {
        return;
    }
    let view = View::of(request, ctx);
    let lines = response.lines("set-cookie");
    let lines: Vec<_> = lines.map(|line| rewritten(line, rules, &view)).collect();
    response.remove("set-cookie");
    for line in lines {
        response.append(Name::Static("Set-Cookie"), &line);
    }
}

/// Returns a line with its cookie rewritten. A line that no rule is for stays as it is.
fn rewritten<H: Headers>(line: &[u8], rules: &CookieRewrites, view: &View<H>) -> Vec<u8> {
    let before = SetCookie::parse(line);
    let Some(name) = before.name() else {
        return line.to_vec();
    };
    let mut cookie = before.clone();
    cookie.change("path", |value| {
        let rules = rules.path.iter();
        rules.into_iter().find_map(|rule| path(value, rule, view))
    });
    cookie.change("domain", |value| {
        let rules = rules.domain.iter();
        rules.into_iter().find_map(|rule| domain(value, rule, view))
    });
    let flags = rules.flags.iter();
    if let Some(flags) = flags.into_iter().find(|flags| is_for(flags, name)) {
        set_flags(&mut cookie, flags);
    }
    if cookie == before {
        return line.to_vec();
    }
    cookie.write()
}

/// Returns a path whose beginning is replaced, or all of it if it matches a regex.
fn path<H: Headers>(value: &[u8], rule: &ValueRewrite, view: &View<H>) -> Option<Vec<u8>> {
    match &rule.from {
        ValuePattern::Text(from) => {
            let from = view.expand(from);
            let rest = value.strip_prefix(&from[..]).filter(|_| !from.is_empty())?;
            attribute([&view.expand(&rule.to), rest].concat())
        }
        ValuePattern::Regex(regex) => attribute(matched(value, regex, &rule.to, view)?),
    }
}

/// Returns the replacement of a domain. A leading dot stays.
fn domain<H: Headers>(value: &[u8], rule: &ValueRewrite, view: &View<H>) -> Option<Vec<u8>> {
    fn without_dot(name: &[u8]) -> &[u8] {
        name.strip_prefix(b".").unwrap_or(name)
    }
    match &rule.from {
        ValuePattern::Text(from) => {
            let from = view.expand(from);
            let (from, own) = (without_dot(&from), without_dot(value));
            if from.is_empty() || !from.eq_ignore_ascii_case(own) {
                return None;
            }
            let dot = &value[..value.len() - own.len()];
            attribute([dot, without_dot(&view.expand(&rule.to))].concat())
        }
        ValuePattern::Regex(regex) => attribute(matched(value, regex, &rule.to, view)?),
    }
}

/// Returns the value of an attribute; `None` if it would end there.
fn attribute(value: Vec<u8>) -> Option<Vec<u8>> {
    (is_value(&value) && !value.contains(&b';')).then_some(value)
}

fn is_for(flags: &CookieFlags, name: &[u8]) -> bool {
    match &flags.name {
        CookieName::Any => true,
        CookieName::Exact(known) => name.eq_ignore_ascii_case(known.as_bytes()),
        CookieName::Regex(regex) => regex.is_match(name),
    }
}

fn set_flags(cookie: &mut SetCookie, flags: &CookieFlags) {
    for (flag, name) in [(flags.secure, "Secure"), (flags.http_only, "HttpOnly")] {
        match flag {
            Some(true) if !cookie.has(name) => cookie.set(name, None),
            Some(false) => cookie.remove(name),
            _ => {}
        }
    }
    match flags.same_site {
        Some(Some(value)) => cookie.set("SameSite", Some(value)),
        Some(None) => cookie.remove("SameSite"),
        None => {}
    }
}
