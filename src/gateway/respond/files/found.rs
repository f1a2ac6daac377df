//! Lookup of a file by its path, confined to one folder.
//!
//! The folder is opened first, and the path within it second, with a crate that prevents `..` and
//! symbolic links from leaving the folder, in a single system call if the kernel has one. Checking
//! first and opening afterwards would leave a moment in which a link can be created. The folder is
//! opened again for each request, so that a link to it can be switched to a new release.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use rustix::fs::OFlags;

use super::PIECE;
use super::listing::{self, Entry};
use crate::config::model::{Coding, Files};

/// Result of looking up a path.
#[derive(Debug)]
pub enum Found {
    /// An open file.
    File(Served),
    /// The index of a folder: its name, and the open file.
    Index(String, Served),
    /// A folder without an index, to be listed.
    Listing(Vec<Entry>),
    /// A folder whose path lacks the trailing slash.
    FolderWithoutSlash,
    /// Nothing that clients may see.
    Nothing,
    /// A file that may not be read, or a folder without an index.
    Refused,
    /// The lookup failed.
    Failed(io::Error),
}

/// File, with its attributes at the time of opening.
#[derive(Debug)]
pub struct Served {
    /// File that is open for reading.
    pub file: File,
    /// Length in bytes.
    pub length: u64,
    /// Time of the last modification of the content.
    pub modified: SystemTime,
    /// Path within the folder.
    pub name: PathBuf,
    /// Whole content of a small file.
    pub first: Option<Bytes>,
    /// Coding of the content, and whether the file is there in another coding as well.
    pub encoded: Encoded,
}

/// Coding of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// Coding; `None` for the plain form.
    pub coding: Option<Coding>,
    /// `true` if other clients may get another form of the file.
    pub varies: bool,
}

/// Replaces a file by the first of `preferred` codings that is beside it, as `a.css.gz` beside `a.css`.
/// A coding that is older than the file is not of its content, and is ignored. This may block.
pub fn precompressed(files: &Files, plain: Served, preferred: &[Coding]) -> Served {
    let mut wanted = preferred.iter().chain(&files.precompressed);
    let sibling = wanted.find_map(|coding| {
        let mut name = plain.name.clone().into_os_string();
        name.push(".");
        name.push(coding.extension());
        match open(files, Path::new(&name)) {
            Ok(Found::File(file)) if file.modified >= plain.modified => Some((*coding, file)),
            _ => None,
        }
    });
    match sibling {
        None => plain,
        Some((coding, file)) if preferred.contains(&coding) => Served {
            name: plain.name,
            encoded: Encoded {
                coding: Some(coding),
                varies: true,
            },
            ..file
        },
        Some(_) => Served {
            encoded: Encoded {
                coding: None,
                varies: true,
            },
            ..plain
        },
    }
}

/// Looks up a path within the folder, or the first of several that exists. This may block.
pub fn find(files: &Files, paths: &Paths) -> Found {
    let tried = match paths {
        Paths::One(path) => return look(files, path),
        Paths::First(tried) => tried,
    };
    for path in tried {
        let found = match path {
            Tried::File(path) => file_at(files, path),
            Tried::Folder(path) => match folder_at(files, path) {
                Some(()) => look(files, path),
                None => Found::Nothing,
            },
        };
        if !matches!(found, Found::Nothing) {
            return found;
        }
    }
    Found::Nothing
}

/// Paths to look up.
#[derive(Debug)]
pub enum Paths {
    /// This path, as a file or as a folder.
    One(Vec<u8>),
    /// The first of these that exists.
    First(Vec<Tried>),
}

/// Path to try.
#[derive(Debug)]
pub enum Tried {
    /// A file.
    File(Vec<u8>),
    /// A folder, whose index is found or which is redirected to.
    Folder(Vec<u8>),
}

/// Looks up a file only: a folder is nothing, and so is a file with a slash behind its name.
fn file_at(files: &Files, path: &[u8]) -> Found {
    if path.ends_with(b"/") {
        return Found::Nothing;
    }
    match look_without_index(files, path) {
        Found::FolderWithoutSlash => Found::Nothing,
        found => found,
    }
}

fn folder_at(files: &Files, path: &[u8]) -> Option<()> {
    let found = look_without_index(files, path);
    matches!(found, Found::FolderWithoutSlash).then_some(())
}

fn look_without_index(files: &Files, path: &[u8]) -> Found {
    match inner_path(path, files.hidden) {
        Some(inner) => open(files, &inner).unwrap_or_else(not_open),
        None => Found::Nothing,
    }
}

fn look(files: &Files, path: &[u8]) -> Found {
    if !path.ends_with(b"/") {
        return look_without_index(files, path);
    }
    let Some(inner) = inner_path(path, files.hidden) else {
        return Found::Nothing;
    };
    for name in &files.index {
        match open(files, &inner.join(name)) {
            Ok(Found::File(file)) => return Found::Index(name.clone(), file),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return not_open(error),
        }
    }
    match open(files, &inner) {
        Ok(Found::FolderWithoutSlash) if files.listing.is_some() => {
            listing::read(files, &inner).map_or_else(not_open, Found::Listing)
        }
        Ok(Found::FolderWithoutSlash) => Found::Refused,
        Ok(_) => Found::Nothing,
        Err(error) => not_open(error),
    }
}

/// Returns the path below the folder; `None` if clients must not see it.
fn inner_path(path: &[u8], hidden: bool) -> Option<PathBuf> {
    let mut inner = PathBuf::new();
    let segments = path.split(|&byte| byte == b'/');
    for (index, segment) in segments.filter(|segment| !segment.is_empty()).enumerate() {
        let is_dots = matches!(segment, b"." | b"..");
        let is_known = index == 0 && segment == b".well-known";
        let is_hidden = segment.starts_with(b".") && !hidden && !is_known;
        if is_dots || is_hidden || segment.contains(&0) {
            return None;
        }
        inner.push(OsStr::from_bytes(segment));
    }
    Some(inner)
}

fn open(files: &Files, inner: &Path) -> io::Result<Found> {
    // The folder itself has no name within it.
    let inner = if inner.as_os_str().is_empty() {
        Path::new(".")
    } else {
        inner
    };
    // Without this flag, opening a named pipe would wait for a writer.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = if files.follow_links {
        let mut options = File::options();
        options.read(true).custom_flags(flags);
        options.open(files.root.join(inner))?
    } else {
        let root = Dir::open_ambient_dir(&files.root, ambient_authority())?;
        let mut options = cap_std::fs::OpenOptions::new();
        options.read(true);
        cap_std::fs::OpenOptionsExt::custom_flags(&mut options, flags);
        root.open_with(inner, &options)?.into_std()
    };
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Ok(Found::FolderWithoutSlash);
    }
    if !metadata.is_file() {
        return Ok(Found::Refused);
    }
    let length = metadata.len();
    Ok(Found::File(Served {
        first: read_small(&file, length)?,
        length,
        modified: metadata.modified().unwrap_or(UNIX_EPOCH),
        name: inner.to_owned(),
        encoded: Encoded::default(),
        file,
    }))
}

/// Reads a small file at once, because the thread may block anyway.
fn read_small(file: &File, length: u64) -> io::Result<Option<Bytes>> {
    if length > PIECE {
        return Ok(None);
    }
    let mut content = vec![0; length as usize];
    match file.read_exact_at(&mut content, 0) {
        Ok(()) => Ok(Some(content.into())),
        // The file was truncated just now; reading it piece by piece reports that.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn not_open(error: io::Error) -> Found {
    match error.kind() {
        ErrorKind::NotFound
        | ErrorKind::NotADirectory
        | ErrorKind::InvalidFilename
        | ErrorKind::InvalidInput => Found::Nothing,
        // This includes a link that leads out of the folder.
        ErrorKind::PermissionDenied => Found::Refused,
        _ if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => Found::Refused,
        _ => Found::Failed(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Folder {
        _folder: tempfile::TempDir,
        files: Files,
    }

    /// Creates a root folder with a secret file beside it.
    fn folder() -> Folder {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("sub/empty")).unwrap();
        std::fs::create_dir_all(root.join(".well-known")).unwrap();
        std::fs::create_dir_all(root.join("sub/.well-known")).unwrap();
        for (name, text) in [
            ("secret", "secret"),
            ("root/index.html", "index"),
            ("root/a b.txt", "spaces"),
            ("root/.env", "hidden"),
            ("root/.well-known/x", "known"),
            ("root/sub/.well-known/x", "hidden"),
            ("root/sub/index.html", "sub index"),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        symlink("../secret", root.join("out")).unwrap();
        symlink(folder.path().join("secret"), root.join("absolute")).unwrap();
        symlink("..", root.join("up")).unwrap();
        symlink("index.html", root.join("in")).unwrap();
        symlink("round", root.join("round")).unwrap();
        let files = Files {
            index: vec!["index.htm".to_owned(), "index.html".to_owned()],
            ..super::super::tests::files(&root)
        };
        Folder {
            _folder: folder,
            files,
        }
    }

    fn word(found: Found) -> String {
        match found {
            Found::File(file) | Found::Index(_, file) => {
                String::from_utf8(file.first.unwrap().to_vec()).unwrap()
            }
            Found::Listing(entries) => format!("{} entries", entries.len()),
            Found::FolderWithoutSlash => "folder".to_owned(),
            Found::Nothing => "nothing".to_owned(),
            Found::Refused => "refused".to_owned(),
            Found::Failed(error) => error.to_string(),
        }
    }

    #[track_caller]
    fn check(files: &Files, path: &str, expected: &str) {
        let found = find(files, &Paths::One(path.as_bytes().to_vec()));
        assert_eq!(word(found), expected, "{path:?}");
    }

    #[test]
    fn files_are_found_and_folders_have_an_index() {
        let folder = folder();
        check(&folder.files, "/", "index");
        check(&folder.files, "/index.html", "index");
        check(&folder.files, "/a b.txt", "spaces");
        check(&folder.files, "/sub", "folder");
        check(&folder.files, "/sub/", "sub index");
        check(&folder.files, "/sub/empty", "folder");
        check(&folder.files, "/sub/empty/", "refused");
        check(&folder.files, "/none", "nothing");
        check(&folder.files, "/none/", "nothing");
        check(&folder.files, "/index.html/", "nothing");
        check(&folder.files, "/index.html/x", "nothing");
        check(&folder.files, &format!("/{}", "x".repeat(5000)), "nothing");
    }

    #[test]
    fn nothing_leads_out_of_the_folder() {
        let mut folder = folder();
        for path in ["/../secret", "/sub/../../secret", "/..", "/a\0b"] {
            check(&folder.files, path, "nothing");
        }
        for path in [
            "/out",
            "/absolute",
            "/up/secret",
            "/up/root/index.html",
            "/round",
        ] {
            check(&folder.files, path, "refused");
        }
        check(&folder.files, "/in", "index");
        folder.files.follow_links = true;
        check(&folder.files, "/out", "secret");
        check(&folder.files, "/../secret", "nothing");
        check(&folder.files, "/round", "refused");
    }

    #[test]
    fn hidden_files_are_nothing_unless_they_are_asked_for() {
        let mut folder = folder();
        check(&folder.files, "/.env", "nothing");
        check(&folder.files, "/sub/.well-known/x", "nothing");
        check(&folder.files, "/.well-known/x", "known");
        folder.files.hidden = true;
        check(&folder.files, "/.env", "hidden");
    }

    #[test]
    fn the_first_that_exists_is_found() {
        let folder = folder();
        let file = |path: &str| Tried::File(path.as_bytes().to_vec());
        let sub = |path: &str| Tried::Folder(path.as_bytes().to_vec());
        for (tried, expected) in [
            (vec![file("/none"), file("/in"), file("/a b.txt")], "index"),
            (vec![file("/sub"), file("/a b.txt")], "spaces"),
            (vec![file("/sub/"), file("/a b.txt")], "spaces"),
            (vec![sub("/in"), sub("/sub/")], "sub index"),
            (vec![file("/in/"), file("/a b.txt")], "spaces"),
            (vec![sub("/")], "index"),
            (vec![sub("/sub")], "folder"),
            (vec![sub("/sub/empty/"), file("/in")], "refused"),
            (vec![file("/../secret"), file("/.env")], "nothing"),
            (vec![], "nothing"),
        ] {
            assert_eq!(word(find(&folder.files, &Paths::First(tried))), expected);
        }
    }

    #[test]
    fn a_pipe_keeps_nobody_waiting() {
        let folder = folder();
        let pipe = folder.files.root.join("pipe");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        check(&folder.files, "/pipe", "refused");
    }

    #[test]
    fn a_root_that_is_not_there_has_nothing() {
        let mut folder = folder();
        folder.files.root.push("none");
        check(&folder.files, "/", "nothing");
    }

    #[test]
    fn a_folder_without_an_index_is_listed_if_it_may_be() {
        let mut folder = folder();
        assert_eq!(word(look(&folder.files, b"/sub/empty/")), "refused");
        folder.files.listing = Some(crate::config::model::Listing::Html);
        assert_eq!(word(look(&folder.files, b"/sub/empty/")), "0 entries");
        assert_eq!(word(look(&folder.files, b"/sub/")), "sub index");
        assert_eq!(word(look(&folder.files, b"/sub/empty")), "folder");
        // A link that leads out of the root.
        assert_eq!(word(look(&folder.files, b"/up/")), "refused");
    }

    #[test]
    fn a_coding_beside_a_file_is_used_if_it_is_not_older() {
        let mut folder = folder();
        let root = folder.files.root.clone();
        let write = |name: &str, seconds: u64| {
            std::fs::write(root.join(name), name).unwrap();
            let time = UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            let file = File::options().write(true).open(root.join(name)).unwrap();
            file.set_modified(time).unwrap();
        };
        for (name, seconds) in [
            ("a.css", 100),
            ("a.css.br", 99),
            ("a.css.gz", 100),
            ("a.css.zst", 101),
            ("b.css", 100),
            ("c.css.gz", 100),
        ] {
            write(name, seconds);
        }
        let coded = |files: &Files, name: &str, preferred: &[Coding]| {
            let Found::File(plain) = look(files, name.as_bytes()) else {
                panic!("{name}");
            };
            let served = precompressed(files, plain, preferred);
            let text = String::from_utf8(served.first.unwrap().to_vec()).unwrap();
            assert_eq!(served.name, Path::new(&name[1..]));
            (text, served.encoded.coding, served.encoded.varies)
        };
        let all = [Coding::Brotli, Coding::Gzip, Coding::Zstd];
        let plain = |name: &str, varies| (name.to_owned(), None, varies);
        assert_eq!(coded(&folder.files, "/a.css", &[]), plain("a.css", false));
        folder.files.precompressed = all.to_vec();
        let files = &folder.files;
        for (preferred, expected) in [
            (&all[..], ("a.css.gz".to_owned(), Some(Coding::Gzip), true)),
            (
                &all[2..],
                ("a.css.zst".to_owned(), Some(Coding::Zstd), true),
            ),
            // Older than the file.
            (&all[..1], plain("a.css", true)),
            (&[], plain("a.css", true)),
        ] {
            assert_eq!(coded(files, "/a.css", preferred), expected);
        }
        assert_eq!(coded(files, "/b.css", &all), plain("b.css", false));
        // Without the file itself there is nothing.
        assert_eq!(word(look(files, b"/c.css")), "nothing");
    }
}
