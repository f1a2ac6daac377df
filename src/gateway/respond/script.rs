//! Script that a FastCGI server runs for a request.
//!
//! The server runs whatever file it is named. So a path leads to a script only by its extension, at the
//! end of a segment, and only if there is a file of that name below the root: `/upload/x.jpg/y.php` names
//! none, and PHP, which would look for a script further left (`cgi.fix_pathinfo`), never hears of it.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use pingora::{Error, ErrorType, Result};

use crate::config::model::FastCgi;

/// Script of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Path below the root, with a leading slash.
    pub name: Vec<u8>,
    /// Rest of the request's path behind the name.
    pub path_info: Vec<u8>,
}

/// Finds the script of a path, which is decoded and normalised. `None` if there is none.
///
/// # Errors
/// If work on a thread for files fails.
pub async fn find(settings: &Arc<FastCgi>, path: &[u8]) -> Result<Option<Script>> {
    let scripts = candidates(settings, path);
    if scripts.is_empty() || !settings.check_file {
        return Ok(scripts.into_iter().next());
    }
    let of_thread = Arc::clone(settings);
    // Looking at a file may block.
    let found = tokio::task::spawn_blocking(move || {
        let mut scripts = scripts.into_iter();
        scripts.find(|script| is_file(&of_thread, &script.name))
    });
    let failed = |error| Error::because(ErrorType::InternalError, "looking for a script", error);
    found.await.map_err(failed)
}

/// Scripts that a path may mean, the shortest name first.
fn candidates(settings: &FastCgi, path: &[u8]) -> Vec<Script> {
    if let Some(script) = &settings.script {
        return vec![Script {
            name: script.clone().into_bytes(),
            path_info: Vec::new(),
        }];
    }
    let is_end = |at: usize| at == path.len() || settings.path_info && path[at] == b'/';
    let ends = (1..=path.len()).filter(|at| is_end(*at) && has_extension(settings, &path[..*at]));
    let scripts = ends.map(|at| Script {
        name: path[..at].to_vec(),
        path_info: path[at..].to_vec(),
    });
    let index = path.ends_with(b"/").then(|| Script {
        name: [path, settings.index.as_bytes()].concat(),
        path_info: Vec::new(),
    });
    let index = index.filter(|index| has_extension(settings, &index.name));
    scripts
        .chain(index)
        .filter(|script| inner_path(&script.name).is_some())
        .collect()
}

fn has_extension(settings: &FastCgi, name: &[u8]) -> bool {
    let mut known = settings.extensions.iter();
    known.any(|extension| {
        let rest = name.strip_suffix(extension.as_bytes());
        // `/.php` has no name before its extension.
        rest.is_some_and(|rest| !rest.ends_with(b"/"))
    })
}

/// Path within the root; `None` for one that clients must not name: with hidden files, NUL or dots.
fn inner_path(name: &[u8]) -> Option<PathBuf> {
    let mut inner = PathBuf::new();
    for segment in name.strip_prefix(b"/")?.split(|&byte| byte == b'/') {
        if segment.is_empty() || segment.starts_with(b".") || segment.contains(&0) {
            return None;
        }
        inner.push(OsStr::from_bytes(segment));
    }
    Some(inner)
}

/// Returns `true` if a script is a file. It need not be readable: the server reads it.
fn is_file(settings: &FastCgi, name: &[u8]) -> bool {
    let look = || -> io::Result<bool> {
        let Some(inner) = inner_path(name) else {
            return Ok(false);
        };
        if settings.follow_links {
            return Ok(std::fs::metadata(settings.root.join(inner))?.is_file());
        }
        let root = Dir::open_ambient_dir(&settings.root, ambient_authority())?;
        Ok(root.metadata(inner)?.is_file())
    };
    look().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(path_info: bool) -> FastCgi {
        FastCgi {
            root: "/nonexistent".into(),
            index: "index.php".to_owned(),
            script: None,
            extensions: vec![".php".to_owned(), ".php5".to_owned()],
            path_info,
            check_file: true,
            follow_links: false,
            body_buffer: 0,
            params: Vec::new(),
        }
    }

    #[track_caller]
    fn check(path_info: bool, path: &str, expected: &[(&str, &str)]) {
        let found = candidates(&settings(path_info), path.as_bytes());
        let found: Vec<_> = found
            .iter()
            .map(|script| {
                [&script.name, &script.path_info].map(|text| String::from_utf8_lossy(text))
            })
            .collect();
        let expected: Vec<_> = expected.iter().map(|(name, info)| [*name, *info]).collect();
        assert_eq!(found, expected, "{path}");
    }

    #[test]
    fn an_extension_makes_a_script() {
        check(false, "/a.php", &[("/a.php", "")]);
        check(false, "/a/b.php5", &[("/a/b.php5", "")]);
        check(false, "/", &[("/index.php", "")]);
        check(false, "/a/", &[("/a/index.php", "")]);
        for none in [
            "/a",
            "/a.html",
            "/a.PHP",
            "/a.phpx",
            "/.php",
            "/a.php/b",
            "/a.php.txt",
        ] {
            check(false, none, &[]);
        }
    }

    #[test]
    fn the_rest_behind_a_script_is_for_it() {
        check(true, "/a.php/b/c", &[("/a.php", "/b/c")]);
        check(true, "/a.php", &[("/a.php", "")]);
        check(
            true,
            "/a.php/b.php/c",
            &[("/a.php", "/b.php/c"), ("/a.php/b.php", "/c")],
        );
        check(
            true,
            "/a.php/",
            &[("/a.php", "/"), ("/a.php/index.php", "")],
        );
        check(true, "/a.phpx/b", &[]);
    }

    #[test]
    fn hidden_files_are_no_scripts() {
        for hidden in [
            "/.git/a.php",
            "/a/.b.php",
            "/../a.php",
            "//a.php",
            "/a\0.php",
        ] {
            check(true, hidden, &[]);
        }
    }

    #[test]
    fn a_script_is_a_file_below_the_root() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("folder.php")).unwrap();
        for file in ["a.php", "image.jpg"] {
            std::fs::write(root.join(file), "").unwrap();
        }
        std::fs::write(folder.path().join("outside.php"), "").unwrap();
        let link = |to: &str, at: &str| std::os::unix::fs::symlink(to, root.join(at)).unwrap();
        link("../outside.php", "out.php");
        link("a.php", "in.php");
        let mut settings = FastCgi {
            root: root.clone(),
            ..settings(true)
        };
        for (name, expected) in [
            ("/a.php", true),
            ("/in.php", true),
            ("/out.php", false),
            ("/folder.php", false),
            ("/none.php", false),
            ("/image.jpg/none.php", false),
            ("/../outside.php", false),
        ] {
            assert_eq!(is_file(&settings, name.as_bytes()), expected, "{name}");
        }
        settings.follow_links = true;
        assert!(is_file(&settings, b"/out.php"));
    }
}
