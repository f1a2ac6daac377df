//! `error_pages` and `intercept_errors` of a route.

use super::action::{path, redirect_status};
use super::template;
use crate::config::document::{Item, Section};
use crate::config::model::{Captures, ErrorPage, ErrorPages, ErrorSource, ErrorStatus, Template};

/// Reads `[{ on = [404], path = "/404.html" }]`, and `intercept_errors`.
pub(super) fn error_pages(section: &Section, captures: &Captures) -> ErrorPages {
    let pages = section.sections("error_pages");
    let mut seen = Vec::new();
    let pages = ErrorPages {
        pages: pages
            .iter()
            .map(|section| {
                let page = error_page(section, captures);
                for status in &page.on {
                    if seen.contains(status) {
                        section.note("on", format!("there is another page for {status}"));
                    }
                    seen.push(*status);
                }
                page
            })
            .collect(),
        intercept: section.value("intercept_errors", false, Item::boolean),
    };
    if pages.intercept && section.item("upstream").is_none() {
        section.note("intercept_errors", "is for responses of an upstream");
    } else if pages.intercept && pages.pages.is_empty() {
        section.note("intercept_errors", "means nothing without error_pages");
    }
    pages
}

fn error_page(section: &Section, captures: &Captures) -> ErrorPage {
    let on = section.required("on", |item| {
        if item.is_empty_array() {
            return Err("at least one status is expected".to_owned());
        }
        let items = item.one_or_more();
        let status = |item: &Item| Ok(item.integer(300, 599)? as u16);
        Ok(items.iter().filter_map(|item| item.read(status)).collect())
    });
    let page = ErrorPage {
        on: on.unwrap_or_default(),
        source: source(section, captures),
    };
    section.refuse_unknown();
    page
}

/// Reads `path`, `route` or `redirect`, and `status`.
fn source(section: &Section, captures: &Captures) -> ErrorSource {
    let found = ["path", "route", "redirect"].map(|key| section.item(key).is_some());
    match found.iter().filter(|found| **found).count() {
        0 => section.note("", "has neither path nor route nor redirect"),
        1 => {}
        _ => section.note("", "has several of path, route and redirect"),
    }
    if found[2] {
        return ErrorSource::Redirect {
            to: section.value("redirect", Template::default(), |item| {
                match item.string()? {
                    "" => Err("a URL or a path is expected".to_owned()),
                    _ => template(item, captures),
                }
            }),
            status: redirect_status(section),
        };
    }
    let status = section.value("status", ErrorStatus::OfError, status);
    if found[1] {
        let name = section.value("route", String::new(), |item| {
            item.string().map(str::to_owned)
        });
        return ErrorSource::Route { name, status };
    }
    let to = section.value("path", Template::default(), |item| path(item, captures));
    ErrorSource::Path { to, status }
}

/// Reads a status, or `"answer"`.
fn status(item: &Item) -> Result<ErrorStatus, String> {
    match item.string() {
        Ok("answer") => Ok(ErrorStatus::OfAnswer),
        Ok(other) => Err(format!("{other:?} is neither a status nor \"answer\"")),
        Err(_) => Ok(ErrorStatus::Fixed(item.integer(200, 599)? as u16)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, parse};

    fn read(keys: &str) -> Result<ErrorPages, String> {
        let text = format!(
            "[[upstream]]\npeers = ['127.0.0.1:1']\n[[route]]\nname = 'a'\nupstream = 'default'\n{keys}\n"
        );
        let config = parse(&text, "file", &Overrides::default());
        let config = config.map_err(|error| error.to_string())?;
        Ok(config.routes[0].errors.clone())
    }

    #[test]
    fn an_error_has_a_page_a_route_or_a_redirect() {
        let errors = read(
            "intercept_errors = true\nerror_pages = [\n\
             { on = [500, 502], path = '/50x.html' },\n\
             { on = 404, route = 'a', status = 'answer' },\n\
             { on = 403, redirect = 'https://x.test/$host', status = 303 },\n\
             { on = 401, path = '/$uri', status = 200 },\n]",
        );
        let errors = errors.unwrap();
        assert!(errors.intercept && errors.page(501).is_none());
        let source = |status| &errors.page(status).unwrap().source;
        let status = |source: &ErrorSource| match source {
            ErrorSource::Path { status, .. } | ErrorSource::Route { status, .. } => Some(*status),
            ErrorSource::Redirect { .. } => None,
        };
        assert_eq!(status(source(502)), Some(ErrorStatus::OfError));
        assert_eq!(status(source(404)), Some(ErrorStatus::OfAnswer));
        assert_eq!(status(source(401)), Some(ErrorStatus::Fixed(200)));
        assert!(matches!(source(404), ErrorSource::Route { name, .. } if name == "a"));
        assert!(matches!(
            source(403),
            ErrorSource::Redirect { status: 303, .. }
        ));
        assert!(!read("").unwrap().intercept);
    }

    #[test]
    fn a_page_that_cannot_be_is_refused() {
        for (keys, expected) in [
            (
                "error_pages = [{ path = '/x' }]",
                "error_pages[0].on: is missing",
            ),
            (
                "error_pages = [{ on = [], path = '/x' }]",
                "at least one status",
            ),
            (
                "error_pages = [{ on = 200, path = '/x' }]",
                "error_pages[0].on",
            ),
            (
                "error_pages = [{ on = 404 }]",
                "has neither path nor route nor redirect",
            ),
            (
                "error_pages = [{ on = 404, path = '/x', route = 'a' }]",
                "has several of path, route and redirect",
            ),
            (
                "error_pages = [{ on = 404, path = 'x' }]",
                "a path is expected",
            ),
            (
                "error_pages = [{ on = 404, path = '/$none' }]",
                "there is no $none",
            ),
            (
                "error_pages = [{ on = 404, route = 'none' }]",
                "error_pages[0].route: there is no route \"none\"",
            ),
            (
                "error_pages = [{ on = 404, redirect = '/x', status = 200 }]",
                "200 is not one of",
            ),
            (
                "error_pages = [{ on = 404, path = '/x', status = 'x' }]",
                "\"x\" is neither a status nor \"answer\"",
            ),
            (
                "error_pages = [{ on = 404, path = '/x' }, { on = [403, 404], path = '/y' }]",
                "error_pages[1].on: there is another page for 404",
            ),
            (
                "intercept_errors = true",
                "means nothing without error_pages",
            ),
            ("error_pages = [{ on = 404, path = '/x', as = 1 }]", "as"),
        ] {
            let problem = read(keys).unwrap_err();
            assert!(problem.contains(expected), "{keys}: {problem}");
        }
    }
}
