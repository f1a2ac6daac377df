//! `fastcgi = { root = "...", ... }` of a route.

use super::template;
use crate::config::document::{Item, Section};
use crate::config::model::{Captures, FastCgi, RequestVariable, Template};
use crate::config::sections::files;

/// Largest `body_buffer`, in bytes.
const MAX_BUFFER: u64 = 64 << 20;

pub(super) fn fastcgi(section: &Section, captures: &Captures) -> FastCgi {
    let extensions = match section.item("extensions").map(|item| item.one_or_more()) {
        Some(items) => items
            .iter()
            .filter_map(|item| item.read(extension))
            .collect(),
        None => vec![".php".to_owned()],
    };
    if extensions.is_empty()
        && section
            .item("extensions")
            .is_some_and(|i| i.is_empty_array())
    {
        section.note("extensions", "at least one is needed");
    }
    let fastcgi = FastCgi {
        root: files::root(section),
        index: section.value("index", "index.php".to_owned(), name),
        script: section.value("script", None, |item| script(item).map(Some)),
        extensions,
        path_info: section.value("path_info", false, Item::boolean),
        check_file: section.value("check_file", true, Item::boolean),
        follow_links: section.value("follow_links", false, Item::boolean),
        body_buffer: section.value("body_buffer", 1 << 20, |item| match item.size()? {
            size @ 0..=MAX_BUFFER => Ok(size),
            size => Err(format!("{size} is more than 64m")),
        }),
        params: params(section, captures),
    };
    if fastcgi.script.is_some() {
        for key in ["index", "extensions", "path_info"] {
            if section.item(key).is_some() {
                section.note(key, "means nothing with script");
            }
        }
    }
    section.refuse_unknown();
    fastcgi
}

fn params(section: &Section, captures: &Captures) -> Vec<(String, Template<RequestVariable>)> {
    let table = section.section("params");
    let read = |(name, item): (&str, Item)| {
        let is_known = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(is_known) {
            item.note(format!("{name:?} is not the name of a parameter"));
            return None;
        }
        let value = item.read(|item| template(item, captures))?;
        Some((name.to_owned(), value))
    };
    table.entries().into_iter().filter_map(read).collect()
}

/// Reads the name of a file that is not hidden.
fn name(item: &Item) -> Result<String, String> {
    let name = files::name(item)?;
    if name.starts_with('.') {
        return Err(format!("{name:?} is not the name of a file"));
    }
    Ok(name)
}

fn extension(item: &Item) -> Result<String, String> {
    let text = item.string()?;
    let rest = text.strip_prefix('.').unwrap_or_default();
    if rest.is_empty() || rest.contains(['/', '\0']) {
        return Err(format!("{text:?} is not an extension such as \".php\""));
    }
    Ok(text.to_owned())
}

/// Reads the path of a script below the root.
fn script(item: &Item) -> Result<String, String> {
    let text = item.string()?;
    let inner = text.strip_prefix('/').unwrap_or_default();
    let is_part = |part: &str| !part.is_empty() && part != "." && part != "..";
    if !inner.split('/').all(is_part) || inner.contains('\0') {
        return Err(format!(
            "{text:?} is not the path of a script below the root, such as \"/index.php\""
        ));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use crate::config::model::{Action, FastCgi};
    use crate::config::{Overrides, parse};

    fn read(route: &str) -> Result<FastCgi, String> {
        let text = format!(
            "[[upstream]]\nname = 'php'\nprotocol = 'fastcgi'\npeers = ['unix:/run/php.sock']\n\
             [[route]]\nupstream = 'php'\n{route}\n"
        );
        let config = parse(&text, "file", &Overrides::default());
        let config = config.map_err(|error| error.to_string())?;
        match &config.routes[0].action {
            Action::Upstream { fastcgi, .. } => Ok(fastcgi.as_ref().unwrap().as_ref().clone()),
            action => panic!("{action:?}"),
        }
    }

    #[test]
    fn a_root_is_all_that_is_needed() {
        let read = read("fastcgi = { root = '/srv/app' }").unwrap();
        assert_eq!(read.root.to_str(), Some("/srv/app"));
        assert_eq!(
            (&*read.index, &read.extensions[..]),
            ("index.php", &[".php".to_owned()][..])
        );
        assert!(read.check_file && !read.path_info && !read.follow_links);
        assert!(read.script.is_none() && read.params.is_empty());
    }

    #[track_caller]
    fn check_problem(fastcgi: &str, expected: &str) {
        let problem = read(fastcgi).unwrap_err();
        assert!(problem.contains(expected), "{problem}");
    }

    #[test]
    fn what_runs_no_script_is_refused() {
        check_problem("", "needs fastcgi = { root = ... }");
        check_problem("fastcgi = { }", "fastcgi.root: is missing");
        for (setting, expected) in [
            ("script = 'index.php'", "is not the path of a script"),
            ("script = '/../index.php'", "is not the path of a script"),
            (
                "script = '/a.php', index = 'b'",
                "means nothing with script",
            ),
            ("index = 'a/b'", "is not the name of a file"),
            ("extensions = ['php']", "is not an extension"),
            ("extensions = []", "at least one is needed"),
            ("body_buffer = '1g'", "is more than 64m"),
            ("params = { 'A B' = 'c' }", "is not the name of a parameter"),
            ("params = { A = '$nothing' }", "nothing"),
            ("rot = '/'", "rot"),
        ] {
            check_problem(&format!("fastcgi = {{ root = '/x', {setting} }}"), expected);
        }
    }
}
