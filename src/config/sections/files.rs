//! `files = { root = "...", ... }` of a route.

use std::path::Path;

use super::path;
use crate::config::document::{Item, Section};
use crate::config::model::Files;

pub(super) fn files(section: &Section) -> Files {
    let root = section.required("root", |item| {
        let root = path(item)?;
        std::path::absolute(&root).map_err(|error| format!("{}: {error}", root.display()))
    });
    let index = match section.item("index").map(|item| item.items()) {
        Some(items) => items.iter().filter_map(|item| item.read(name)).collect(),
        None => vec!["index.html".to_owned()],
    };
    let octets = "application/octet-stream".to_owned();
    let files = Files {
        root: root.unwrap_or_default(),
        index,
        fallback: section.value("fallback", None, |item| inner_path(item).map(Some)),
        types: types(section),
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

fn name(item: &Item) -> Result<String, String> {
    let text = item.string()?;
    if text.is_empty() || text == "." || text == ".." || text.contains(['/', '\0']) {
        return Err(format!("{text:?} is not the name of a file"));
    }
    Ok(text.to_owned())
}

fn inner_path(item: &Item) -> Result<String, String> {
    let text = item.string()?;
    let inner = text.trim_start_matches('/');
    let mut parts = Path::new(inner).components();
    let is_inner = parts.all(|part| matches!(part, std::path::Component::Normal(_)));
    if inner.is_empty() || inner.ends_with('/') || inner.contains('\0') || !is_inner {
        return Err(format!(
            "{text:?} is not the path of a file within the root"
        ));
    }
    Ok(inner.to_owned())
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
    use crate::config::model::{Action, Files};
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
        assert!(!files.follow_links && !files.hidden && files.fallback.is_none());
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
        for fallback in ["", "/", "../a", "a/../../b", "a/"] {
            let files = format!("root = '/x', fallback = '{fallback}'");
            check_problem(&files, "is not the path of a file within the root");
        }
        let files = read("root = '/x', fallback = '/app/index.html'").unwrap();
        assert_eq!(files.fallback.as_deref(), Some("app/index.html"));
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
