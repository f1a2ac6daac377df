//! Suggestions for misspelled names: "did you mean".

/// Minimum length of a name that resembles others.
const SHORTEST: usize = 4;

/// Returns the known name that is most similar to a misspelled one, if one is similar enough to be
/// meant: at most a third of its letters are wrong, missing, added or swapped, or one of the names
/// contains the other. Case and the choice of `-` or `_` do not count.
pub(super) fn similar<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    let name = plain(name);
    let distances = known.into_iter().filter_map(|known| {
        let plain = plain(known);
        let distance = strsim::osa_distance(&name, &plain);
        let (shorter, longer) = (name.len().min(plain.len()), name.len().max(plain.len()));
        let is_similar = distance <= longer / 3 || name.contains(&plain) || plain.contains(&name);
        (is_similar && shorter >= SHORTEST).then_some((distance, known))
    });
    let best = distances.min_by_key(|(distance, _)| *distance);
    best.map(|(_, known)| known)
}

/// Returns `; did you mean "NAME"?` for a similar known name, or nothing.
pub(super) fn did_you_mean<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    let similar = similar(name, known);
    similar.map_or_else(String::new, |known| format!("; did you mean {known:?}?"))
}

/// Returns the end of a message about an unknown name: a suggestion, if one name is similar, and all
/// known names, as introduced by `known here`.
pub(super) fn known_names<'k>(
    name: &str,
    introduction: &str,
    known: impl Iterator<Item = &'k str> + Clone,
) -> String {
    let all: Vec<_> = known.clone().collect();
    let all = all.join(", ");
    match similar(name, known) {
        Some(similar) => {
            let (first, rest) = introduction.split_at(1);
            let first = first.to_uppercase();
            format!("; did you mean {similar:?}? {first}{rest}: {all}")
        }
        None => format!("; {introduction}: {all}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: Option<&str>) {
        let known = ["listen", "workers", "work_stealing", "max_open_files", "on"];
        assert_eq!(similar(name, known), expected, "{name}");
    }

    #[test]
    fn a_misspelled_name_is_recognised() {
        check("worker", Some("workers"));
        check("Workers", Some("workers"));
        check("lsiten", Some("listen"));
        check("listne", Some("listen"));
        check("max-open-files", Some("max_open_files"));
        check("work_steal", Some("work_stealing"));
        check("open_files", Some("max_open_files"));
        check("maxopenfiles", Some("max_open_files"));
    }

    #[test]
    fn another_name_is_not_guessed() {
        check("timeout", None);
        check("ab", None);
        check("", None);
        check("x", None);
        check("o", None);
        check("onn", None);
    }
}
