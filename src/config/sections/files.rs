//! `files = { root = "...", ... }` of a route.

use std::path::PathBuf;

use super::compression::codings;
use super::{one_of, path};
use crate::config::document::{Item, Section};
use crate::config::model::{Fallback, Files, Listing, RequestVariable, Template};

/// Reads `files`. `template` reads a text with the variables of the route.
pub(super) fn files(
    section: &Section,
    template: &dyn Fn(&Item) -> Result<Template<RequestVariable>, String>,
) -> Files {
    let path_template = |item: &Item| {
        let is_path = item.string()?.starts_with(['/', '$']);
        if !is_path {
            return Err("a path is expected, which begins with \"/\"".to_owned());
        }
        template(item)
    };
    let index = match section.item("index").map(|item| item.items()) {
        Some(items) => items.iter().filter_map(|item| item.read(name)).collect(),
        None => vec!["index.html".to_owned()],
    };
    let octets = "application/octet-stream".to_owned();
    let files = Files {
        root: root(section),
        index,
        tried: section.item("try").map(|item| {
            let items = item.items();
            items
                .iter()
                .filter_map(|item| item.read(path_template))
                .collect()
        }),
        fallback: fallback(section, &path_template),
        precompressed: codings(section, "precompressed"),
        listing: section.value("listing", None, |item| {
            let known = [
                ("off", None),
                ("html", Some(Listing::Html)),
                ("json", Some(Listing::Json)),
            ];
            one_of(item, &known)
        }),
        max_ranges: section.value(
            "max_ranges",
            100,
            |item| Ok(item.integer(0, 1000)? as usize),
        ),
        types: types(section),
        known_types: section.value("known_types", true, Item::boolean),
        default_type: section.value("default_type", octets, content_type),
        follow_links: section.value("follow_links", false, Item::boolean),
        hidden: section.value("hidden", false, Item::boolean),
    };
    section.refuse_unknown();
    files
}

fn types(section: &Section) -> Vec<(String, String)> {
    let table = section.section("types");
    let read = |(extension, item): (&str, Item)| {
        let extension = extension.trim_start_matches('.').to_ascii_lowercase();
        Some((extension, item.read(content_type)?))
    };
    table.entries().into_iter().filter_map(read).collect()
}

/// Reads the required `root` as an absolute path.
pub(super) fn root(section: &Section) -> PathBuf {
    let root = section.required("root", |item| {
        let root = path(item)?;
        std::path::absolute(&root).map_err(|error| format!("{}: {error}", root.display()))
    });
    root.unwrap_or_default()
}

/// Reads the name of a file in a folder.
pub(super) fn name(item: &Item) -> Result<String, String> {
    let text = item.string()?;
    if text.is_empty() || text == "." || text == ".." || text.contains(['/', '\0']) {
        return Err(format!("{text:?} is not the name of a file"));
    }
    Ok(text.to_owned())
}

/// Reads `fallback`: a path, a status, or `{ route = "name" }`.
fn fallback(
    section: &Section,
    path: &dyn Fn(&Item) -> Result<Template<RequestVariable>, String>,
) -> Fallback {
    let is_table = section.item("fallback").is_some_and(|item| item.is_table());
    if is_table {
        let table = section.section("fallback");
        let route = table.required("route", |item| item.string().map(str::to_owned));
        table.refuse_unknown();
        return Fallback::Route(route.unwrap_or_default());
    }
    section.value("fallback", Fallback::Status(404), |item| {
        let status = item.integer(200, 599);
        if status.is_err() && item.string().is_ok() {
            return path(item).map(Fallback::Path);
        }
        let status = status
            .map_err(|_| "a path, a status or { route = \"name\" } is expected".to_owned())?;
        Ok(Fallback::Status(status as u16))
    })
}

fn content_type(item: &Item) -> Result<String, String> {
    let text = item.string()?;
    if !text.contains('/') || http::HeaderValue::from_str(text).is_err() {
        return Err(format!("{text:?} is not a media type such as \"text/css\""));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use crate::config::model::{Action, Fallback, Files};
    use crate::config::{Overrides, parse};

    fn read(files: &str) -> Result<Files, String> {
        let text = format!("[[route]]\nfiles = {{ {files} }}\n");
        let config = parse(&text, "file", &Overrides::default());
        let config = config.map_err(|error| error.to_string())?;
        match &config.routes[0].action {
            Action::Files { files, .. } => Ok(files.as_ref().clone()),
            action => panic!("{action:?}"),
        }
    }

    #[test]
    fn a_root_is_all_that_is_needed() {
        let files = read("root = '/var/www'").unwrap();
        assert_eq!(files.root.to_str(), Some("/var/www"));
        assert_eq!(files.index, ["index.html"]);
        assert!(!files.follow_links && !files.hidden);
        assert_eq!((files.tried, files.fallback), (None, Fallback::Status(404)));
        assert!(read("root = 'www'").unwrap().root.is_absolute());
    }

    #[track_caller]
    fn check_problem(files: &str, expected: &str) {
        let problem = read(files).unwrap_err();
        assert!(problem.contains(expected), "{problem}");
    }

    #[test]
    fn what_leads_out_of_the_root_is_refused() {
        check_problem("index = []", "files.root: is missing");
        check_problem("root = '/x', index = ['../a']", "is not the name of a file");
    }

    #[test]
    fn a_fallback_is_a_path_a_status_or_a_route() {
        let read = |fallback: &str| read(&format!("root = '/x', fallback = {fallback}"));
        assert!(matches!(
            read("'/index.php?q=$uri'").unwrap().fallback,
            Fallback::Path(_)
        ));
        assert_eq!(read("403").unwrap().fallback, Fallback::Status(403));
        for (fallback, expected) in [
            (
                "'index.html'",
                "files.fallback: a path is expected, which begins with",
            ),
            ("''", "files.fallback: a path is expected"),
            ("'/$none'", "files.fallback: there is no $none here"),
            ("99", "files.fallback: a path, a status or { route"),
            ("true", "files.fallback: a path, a status or { route"),
            (
                "{ route = 'none' }",
                "files.fallback.route: there is no route \"none\"",
            ),
            ("{ path = '/' }", "files.fallback.route: is missing"),
        ] {
            let problem = read(fallback).unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        }
        let tried = super::tests::read("root = '/x', try = ['$uri', '$uri.html', '/a/']").unwrap();
        assert_eq!(tried.tried.unwrap().len(), 3);
        check_problem(
            "root = '/x', try = ['a']",
            "files.try[0]: a path is expected",
        );
    }

    #[test]
    fn types_are_by_extension() {
        let files = read("root = '/x', types = { '.MD' = 'text/markdown', b = 'x/b' }").unwrap();
        let expected = [("b", "x/b"), ("md", "text/markdown")];
        let mut types = files.types.clone();
        types.sort();
        let expected = expected.map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(types, expected);
        check_problem("root = '/x', types = { a = 'text' }", "is not a media type");
    }
}
