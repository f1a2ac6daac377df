//! Listing of a folder, as HTML or JSON in the form that nginx made common.
//!
//! Only what a client could request is listed: no name that begins with a dot, nothing but files and
//! folders, and no link that leads out of the root, unless links may.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use crate::config::model::{Files, Listing};

/// Maximum number of entries. Sorting them takes memory, so a folder with more is not listed.
const MAX_ENTRIES: usize = 10_000;

/// Width of names in HTML, in characters; longer ones are cut off.
const WIDTH: usize = 50;

/// Characters to escape in a name that is a whole segment of a path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    name: Vec<u8>,
    is_folder: bool,
    length: u64,
    modified: SystemTime,
}

/// Reads the entries of a folder below the root, folders first, each group by name. This may block.
///
/// # Errors
/// If the folder cannot be read, or has more than 10,000 entries.
pub fn read(files: &Files, inner: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = if files.follow_links {
        let folder = files.root.join(inner);
        let names = std::fs::read_dir(&folder)?.map(|entry| Ok(entry?.file_name()));
        collect(names, |name| {
            let found = std::fs::metadata(folder.join(name))?;
            let modified = found.modified().unwrap_or(UNIX_EPOCH);
            Ok((found.is_dir(), found.is_file(), found.len(), modified))
        })?
    } else {
        let root = Dir::open_ambient_dir(&files.root, ambient_authority())?;
        let folder = if inner.as_os_str().is_empty() {
            root.try_clone()?
        } else {
            root.open_dir(inner)?
        };
        let names = folder.entries()?.map(|entry| Ok(entry?.file_name()));
        // From the root on: a link may lead to another folder within it.
        collect(names, |name| {
            let found = root.metadata(inner.join(name))?;
            let modified = found
                .modified()
                .map_or(UNIX_EPOCH, cap_std::time::SystemTime::into_std);
            Ok((found.is_dir(), found.is_file(), found.len(), modified))
        })?
    };
    entries.sort_by(|a, b| (!a.is_folder, &a.name).cmp(&(!b.is_folder, &b.name)));
    Ok(entries)
}

/// Collects the entries of these names. `look` returns whether a name is that of a folder or of a file,
/// its length and the time of its last modification.
fn collect(
    names: impl Iterator<Item = io::Result<OsString>>,
    look: impl Fn(&OsStr) -> io::Result<(bool, bool, u64, SystemTime)>,
) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for (count, name) in names.enumerate() {
        let name = name?;
        if count == MAX_ENTRIES {
            let reason = format!("more than {MAX_ENTRIES} entries in a folder are not listed");
            return Err(io::Error::other(reason));
        }
        if name.as_bytes().starts_with(b".") {
            continue;
        }
        // A link that leads nowhere or outside of the root, or an entry that is gone by now.
        let Ok((is_folder, is_file, length, modified)) = look(&name) else {
            continue;
        };
        if is_folder || is_file {
            entries.push(Entry {
                name: name.as_bytes().to_vec(),
                is_folder,
                length,
                modified,
            });
        }
    }
    Ok(entries)
}

/// Returns the media type of a listing.
pub fn media_type(listing: Listing) -> &'static str {
    match listing {
        Listing::Html => "text/html; charset=utf-8",
        Listing::Json => "application/json",
    }
}

/// Writes a listing. `path` is that of the request, decoded.
pub fn write(listing: Listing, path: &[u8], entries: &[Entry]) -> String {
    match listing {
        Listing::Html => html(path, entries),
        Listing::Json => json(entries),
    }
}

fn html(path: &[u8], entries: &[Entry]) -> String {
    let title = escaped(&String::from_utf8_lossy(path)).into_owned();
    let mut text = format!(
        "<html>\r\n<head><title>Index of {title}</title></head>\r\n<body>\r\n\
         <h1>Index of {title}</h1><hr><pre><a href=\"../\">../</a>\r\n"
    );
    for entry in entries {
        let slash = if entry.is_folder { "/" } else { "" };
        let link = percent_encode(&entry.name, SEGMENT);
        let name = format!("{}{slash}", String::from_utf8_lossy(&entry.name));
        let (shown, width) = match name.chars().count() {
            width if width <= WIDTH => (escaped(&name).into_owned(), width),
            _ => {
                let start: String = name.chars().take(WIDTH - 3).collect();
                (format!("{}..&gt;", escaped(&start)), WIDTH)
            }
        };
        let space = " ".repeat(WIDTH - width);
        let length = if entry.is_folder {
            "-".to_owned()
        } else {
            entry.length.to_string()
        };
        let date = date(entry.modified);
        let _ = write!(
            text,
            "<a href=\"{link}{slash}\">{shown}</a>{space} {date} {length:>19}\r\n"
        );
    }
    text.push_str("</pre><hr></body>\r\n</html>\r\n");
    text
}

fn json(entries: &[Entry]) -> String {
    let mut text = "[".to_owned();
    for (index, entry) in entries.iter().enumerate() {
        let separator = if index == 0 { "\r\n" } else { ",\r\n" };
        let name = serde_json::Value::from(String::from_utf8_lossy(&entry.name));
        let date = httpdate::fmt_http_date(entry.modified.max(UNIX_EPOCH));
        let _ = if entry.is_folder {
            write!(
                text,
                "{separator}{{ \"name\":{name}, \"type\":\"directory\", \"mtime\":\"{date}\" }}"
            )
        } else {
            let length = entry.length;
            write!(
                text,
                "{separator}{{ \"name\":{name}, \"type\":\"file\", \"mtime\":\"{date}\", \"size\":{length} }}"
            )
        };
    }
    text.push_str("\r\n]");
    text
}

/// Returns a time in UTC as `28-Nov-2026 02:02`.
fn date(time: SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).unwrap_or_default();
    time.strftime("%d-%b-%Y %H:%M").to_string()
}

/// Escapes text for HTML.
fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"']) {
        return Cow::Borrowed(text);
    }
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    Cow::Owned(text.replace('>', "&gt;").replace('"', "&quot;"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use super::super::tests::files;
    use super::*;

    fn entry(name: &str, is_folder: bool, length: u64) -> Entry {
        Entry {
            name: name.as_bytes().to_vec(),
            is_folder,
            length,
            modified: UNIX_EPOCH + Duration::from_secs(1_795_831_329),
        }
    }

    fn names(files: &Files, inner: &str) -> Vec<String> {
        let entries = read(files, Path::new(inner)).unwrap();
        let names = entries.iter().map(|entry| {
            let slash = if entry.is_folder { "/" } else { "" };
            format!("{}{slash}", String::from_utf8_lossy(&entry.name))
        });
        names.collect()
    }

    #[test]
    fn what_can_be_requested_is_listed_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("z")).unwrap();
        std::fs::create_dir_all(root.join("b")).unwrap();
        for file in ["a", "c", ".hidden", "z/inner", "../outside"] {
            std::fs::write(root.join(file), "x").unwrap();
        }
        for (to, at) in [
            ("a", "in"),
            ("z", "folder"),
            ("../a", "z/up"),
            ("../outside", "out"),
            ("/etc", "etc"),
            ("nowhere", "broken"),
        ] {
            symlink(to, root.join(at)).unwrap();
        }
        let mut files = files(&root);
        assert_eq!(names(&files, ""), ["b/", "folder/", "z/", "a", "c", "in"]);
        assert_eq!(names(&files, "z"), ["inner", "up"]);
        files.follow_links = true;
        let expected = ["b/", "etc/", "folder/", "z/", "a", "c", "in", "out"];
        assert_eq!(names(&files, ""), expected);
    }

    #[test]
    fn too_many_entries_are_an_error() {
        let names = |count: usize| (0..count).map(|n| Ok(n.to_string().into()));
        let look = |_: &OsStr| Ok((false, true, 1, UNIX_EPOCH));
        assert_eq!(collect(names(10_000), look).unwrap().len(), 10_000);
        let error = collect(names(10_001), look).unwrap_err();
        assert!(error.to_string().contains("more than 10000"), "{error}");
    }

    #[test]
    fn html_has_a_line_for_each_entry() {
        let long = "l".repeat(60);
        let entries = [
            entry("a b&<x>", true, 4096),
            entry("q?#%.html", false, 2),
            entry(&long, false, 1),
        ];
        let lines = [
            "<h1>Index of /d/&lt;&quot;&gt;/</h1><hr><pre><a href=\"../\">../</a>".to_owned(),
            format!(
                "<a href=\"a%20b%26%3Cx%3E/\">a b&amp;&lt;x&gt;/</a>{} 28-Nov-2026 02:02{}-",
                " ".repeat(42),
                " ".repeat(19),
            ),
            format!(
                "<a href=\"q%3F%23%25.html\">q?#%.html</a>{} 28-Nov-2026 02:02{}2",
                " ".repeat(41),
                " ".repeat(19),
            ),
            format!(
                "<a href=\"{long}\">{}..&gt;</a> 28-Nov-2026 02:02{}1",
                "l".repeat(47),
                " ".repeat(19),
            ),
        ];
        let text = html(b"/d/<\">/", &entries);
        for line in lines {
            assert!(text.contains(&format!("{line}\r\n")), "{line} in {text}");
        }
        assert!(
            text.starts_with("<html>\r\n") && text.ends_with("</pre><hr></body>\r\n</html>\r\n")
        );
    }

    #[test]
    fn json_is_a_list() {
        let entries = [entry("sub", true, 4096), entry("a \"b\"", false, 6)];
        let text = json(&entries);
        let found: serde_json::Value = serde_json::from_str(&text).unwrap();
        let date = "Sat, 28 Nov 2026 02:02:09 GMT";
        let expected = serde_json::json!([
            { "name": "sub", "type": "directory", "mtime": date },
            { "name": "a \"b\"", "type": "file", "mtime": date, "size": 6 },
        ]);
        assert_eq!(found, expected);
        let empty: serde_json::Value = serde_json::from_str(&json(&[])).unwrap();
        assert_eq!(empty, serde_json::json!([]));
    }
}
