//! `[[auth]]`.

use std::io::ErrorKind;
use std::path::Display;

use super::{name, path};
use crate::config::document::{Item, Section};
use crate::config::model::{Auth, PasswordHash};

/// Reads the users of one `[[auth]]`.
pub(super) fn auth(section: &Section) -> Auth {
    let mut users: Vec<(String, PasswordHash)> = Vec::new();
    let table = section.section("users");
    for (user, item) in table.entries() {
        let hash = item.read(|item| {
            check_name(user)?;
            match item.string()?.parse() {
                Ok(PasswordHash::Plain(_)) => {
                    Err("is a password; only hashes may stand here".to_owned())
                }
                read => read,
            }
        });
        users.extend(hash.map(|hash| (user.to_owned(), hash)));
    }
    let has_file = section.item("users_file").is_some();
    let mut missing = None;
    let of_file = section.value("users_file", Vec::new(), |item| {
        let file = path(item)?;
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                missing = Some(file);
                return Ok(Vec::new());
            }
            Err(error) => return Err(format!("{}: {error}", file.display())),
        };
        users_of_file(&text, &file.display())
    });
    if section.item("users").is_none() && !has_file {
        section.note("", "has neither users nor users_file");
    }
    for (user, hash) in of_file {
        // As in a file, the first line of a name counts.
        if !users.iter().any(|(known, _)| *known == user) {
            users.push((user, hash));
        }
    }
    let auth = Auth {
        name: section.required("name", name).unwrap_or_default(),
        realm: section.value("realm", "Restricted".to_owned(), realm),
        users,
        missing,
    };
    section.refuse_unknown();
    auth
}

fn check_name(user: &str) -> Result<(), String> {
    if user.is_empty() || user.contains(':') || user.chars().any(char::is_control) {
        return Err("is no name of a user, which has no colon and no control character".to_owned());
    }
    Ok(())
}

fn realm(item: &Item) -> Result<String, String> {
    let text = item.string()?;
    let is_text = |c: char| c.is_ascii_graphic() || c == ' ';
    if text.is_empty() || !text.chars().all(is_text) {
        return Err(format!("{text:?} is no text of printable ASCII characters"));
    }
    Ok(text.to_owned())
}

/// Reads the text of a file of `htpasswd`: one `user:hash` in each line. Text behind another colon is a comment,
/// and so is a line that begins with `#`.
fn users_of_file(text: &str, file: &Display) -> Result<Vec<(String, PasswordHash)>, String> {
    let mut users: Vec<(String, PasswordHash)> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let place = |reason| format!("{file}: line {number}: {reason}");
        let (user, rest) = line
            .split_once(':')
            .ok_or_else(|| place("has no colon behind the name of a user".to_owned()))?;
        check_name(user).map_err(place)?;
        let hash = rest.split(':').next().unwrap_or_default();
        let hash = hash.parse();
        let hash =
            hash.map_err(|reason: String| place(format!("the password of {user:?} {reason}")))?;
        if !users.iter().any(|(known, _)| known == user) {
            users.push((user.to_owned(), hash));
        }
    }
    if users.is_empty() {
        return Err(format!("{file}: has no user"));
    }
    Ok(users)
}

#[cfg(test)]
mod tests {
    use crate::config::{Overrides, parse};

    /// Returns the users of a password file, or the first error.
    fn users(content: &str) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("users");
        std::fs::write(&file, content).unwrap();
        let text = format!("[[auth]]\nname = 'a'\nusers_file = '{}'\n", file.display());
        let config = parse(&text, "test", &Overrides::default());
        let config = config.map_err(|error| {
            let error = error.to_string();
            error.replace(&file.display().to_string(), "FILE")
        })?;
        let users = config.auth[0].users.iter();
        let users = users.map(|(user, hash)| format!("{user} {}", hash.form()));
        Ok(users.collect())
    }

    #[test]
    fn a_file_has_a_user_in_each_line() {
        let text = "# staff\n\
                    joe:$apr1$salt$Xxd1irWT9ycqoYxGFn4cb.\n\n\
                    ann:{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=:a comment\n\
                    bob:{PLAIN}secret:and a comment\r\n\
                    joe:{PLAIN}second\n";
        let expected = ["joe MD5-crypt", "ann SHA-1", "bob plain"];
        assert_eq!(users(text).unwrap(), expected);
    }

    #[track_caller]
    fn check(content: &str, expected: &str) {
        let error = users(content).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn a_bad_line_is_named_and_its_hash_is_not_shown() {
        check(
            "joe:{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=\nann:rl.3StKT.4T8M\n",
            "auth[0].users_file: FILE: line 2: the password of \"ann\" is a hash of the old crypt",
        );
        let error = users("ann:rl.3StKT.4T8M\n").unwrap_err();
        assert!(!error.contains("StKT"), "{error}");
        check("joe\n", "FILE: line 1: has no colon");
        check(":{PLAIN}x\n", "FILE: line 1: is no name of a user");
        check("# none\n", "FILE: has no user");
    }

    #[test]
    fn a_missing_file_has_no_users_and_another_error_is_one() {
        let text = "[[auth]]\nname = 'a'\nusers_file = '/nonexistent/users'\n";
        let auth = parse(text, "test", &Overrides::default()).unwrap().auth;
        assert!(auth[0].users.is_empty());
        assert_eq!(
            auth[0].missing.as_deref(),
            Some("/nonexistent/users".as_ref())
        );
        let text = text.replace("/nonexistent/users", "/");
        let error = parse(&text, "test", &Overrides::default()).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("auth[0].users_file: /: Is a directory"),
            "{error}"
        );
    }

    #[test]
    fn the_configuration_has_hashes_alone() {
        let text = "[[auth]]\nname = 'a'\nusers = { joe = '{PLAIN}x', 'a:b' = '{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=' }\n\
                    [[auth]]\nname = 'b'\nrealm = \"a\\nb\"\n";
        let error = parse(text, "test", &Overrides::default()).unwrap_err();
        let error = error.to_string();
        for expected in [
            "auth[0].users.joe: is a password",
            "auth[0].users.a:b: is no name of a user",
            "auth[1]: has neither users nor users_file",
            "auth[1].realm: \"a\\nb\" is no text",
        ] {
            assert!(error.contains(expected), "{error}");
        }
    }
}
