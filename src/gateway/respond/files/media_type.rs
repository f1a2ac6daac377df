//! Media type of a file, by its name.

use std::path::Path;

use crate::config::model::Files;

/// Returns the media type of a file. Text has no charset unless the user configures one: a wrong
/// charset in the header would override the declaration in the page.
pub fn of<'f>(files: &'f Files, name: &Path) -> &'f str {
    let extension = name.extension().and_then(|extension| extension.to_str());
    let Some(extension) = extension else {
        return &files.default_type;
    };
    let own = files.types.iter();
    let mut own = own.filter(|(known, _)| known.eq_ignore_ascii_case(extension));
    if let Some((_, media_type)) = own.next() {
        return media_type;
    }
    let known = mime_guess::from_ext(extension).first_raw();
    let known = known.filter(|_| files.known_types);
    known.unwrap_or(&files.default_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_types_go_before_the_known_ones() {
        let mut files = Files {
            types: vec![("txt".to_owned(), "text/plain; charset=gbk".to_owned())],
            default_type: "application/x-any".to_owned(),
            ..super::super::tests::files(Path::new("/"))
        };
        for (name, expected) in [
            ("a.html", "text/html"),
            ("a.JS", "text/javascript"),
            ("a.svg", "image/svg+xml"),
            ("a.wasm", "application/wasm"),
            ("a.Txt", "text/plain; charset=gbk"),
            ("a.nothing-known", "application/x-any"),
            ("a.d/b", "application/x-any"),
        ] {
            assert_eq!(of(&files, Path::new(name)), expected, "{name}");
        }
        files.known_types = false;
        assert_eq!(of(&files, Path::new("a.html")), "application/x-any");
        assert_eq!(of(&files, Path::new("a.txt")), "text/plain; charset=gbk");
    }
}
