//! `rewrite_location` and `rewrite_cookies` of a route.

use super::matching::pattern;
use super::template;
use crate::config::document::{Item, Section};
use crate::config::model::{
    Captures, CookieFlags, CookieName, CookieRewrites, RequestVariable, Template, ValuePattern,
    ValueRewrite,
};
use crate::config::sections::one_of;

/// Reads `[{ from = "http://api:8080/", to = "/" }, { from = "~^http://[^/]+(/.*)$", to = "$1" }]`.
pub(super) fn rewrites(
    section: &Section,
    key: &'static str,
    captures: &Captures,
) -> Vec<ValueRewrite> {
    let rules = section.sections(key);
    let rules = rules.iter().filter_map(|rule| {
        let from = rule.required("from", |item| match item.string()? {
            "" => Err("a beginning is expected, or a regex after \"~\"".to_owned()),
            text => match text.strip_prefix('~') {
                Some(regex) => pattern(regex).map(ValuePattern::Regex),
                None => line(item, captures).map(ValuePattern::Text),
            },
        });
        let own = match &from {
            Some(ValuePattern::Regex(regex)) => {
                let names = regex.capture_names();
                Some(Captures::new(names.map(|name| name.map(str::to_owned))))
            }
            _ => None,
        };
        let to = rule.required("to", |item| line(item, own.as_ref().unwrap_or(captures)));
        rule.refuse_unknown();
        Some(ValueRewrite {
            from: from?,
            to: to?,
        })
    });
    rules.collect()
}

fn line(item: &Item, captures: &Captures) -> Result<Template<RequestVariable>, String> {
    let text = template(item, captures)?;
    if item.string()?.contains(['\n', '\t']) {
        return Err("has a control character".to_owned());
    }
    Ok(text)
}

/// Reads `{ path = [...], domain = [...], flags = [{ name = "session", secure = true }] }`.
pub(super) fn cookies(section: &Section, captures: &Captures) -> CookieRewrites {
    let table = section.section("rewrite_cookies");
    let cookies = CookieRewrites {
        path: rewrites(&table, "path", captures),
        domain: rewrites(&table, "domain", captures),
        flags: table.sections("flags").iter().map(flags).collect(),
    };
    table.refuse_unknown();
    cookies
}

fn flags(section: &Section) -> CookieFlags {
    let known = [
        ("strict", Some("Strict")),
        ("lax", Some("Lax")),
        ("none", Some("None")),
        ("off", None),
    ];
    let flag = |key| section.value(key, None, |item: &Item| item.boolean().map(Some));
    let flags = CookieFlags {
        name: section.value("name", CookieName::Any, |item| match item.string()? {
            "" => Err("the name of a cookie is expected".to_owned()),
            text => match text.strip_prefix('~') {
                Some(regex) => pattern(regex).map(CookieName::Regex),
                None => Ok(CookieName::Exact(text.to_owned())),
            },
        }),
        secure: flag("secure"),
        http_only: flag("http_only"),
        same_site: section.value("same_site", None, |item| one_of(item, &known).map(Some)),
    };
    section.refuse_unknown();
    flags
}
