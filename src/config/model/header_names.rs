//! Sets of header names that ignore case and separators.
//!
//! CGI and WSGI servers do not distinguish `-` and `_`, and some ignore every character that is not
//! a letter or digit. A comparison of the exact name would let a client bypass it with another
//! spelling, so names are compared by their letters and digits alone, in any case.

use std::collections::BTreeSet;

/// Maximum number of letters and digits in a name of a set.
const MOST_LETTERS: usize = 63;

/// Set of header names and of name prefixes.
///
/// Most names of a request are not in the set. Comparing the first letter and the number of letters
/// excludes these without an allocation.
#[derive(Debug, Clone)]
pub struct HeaderNameSet {
    /// Letters of whole names.
    names: BTreeSet<Box<[u8]>>,
    prefixes: Vec<Prefix>,
    /// Bit mask for each first letter: bit N is set if the set has a name of N letters, bit 0 if it
    /// has a prefix with this first letter.
    lengths: [u64; 36],
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Prefix {
    letters: Box<[u8]>,
    /// True if the prefix ends with a separator; a matching name has a separator there, too.
    ends_word: bool,
}

impl HeaderNameSet {
    /// Returns a set of these names; a name that ends in `*` is a prefix.
    ///
    /// # Errors
    /// With the first pattern that is neither a name nor a prefix.
    pub fn new<'n>(patterns: impl IntoIterator<Item = &'n str>) -> Result<Self, String> {
        let mut set = HeaderNameSet {
            names: BTreeSet::new(),
            prefixes: Vec::new(),
            lengths: [0; 36],
        };
        for pattern in patterns {
            set.insert(pattern)?;
        }
        Ok(set)
    }

    fn insert(&mut self, pattern: &str) -> Result<(), String> {
        let name = pattern.strip_suffix('*').unwrap_or(pattern);
        let letters: Box<[u8]> = letters(name).collect();
        let is_name = http::HeaderName::from_bytes(name.as_bytes()).is_ok() && !name.contains('*');
        let slot = letters.first().copied().and_then(slot);
        let Some(slot) = slot.filter(|_| is_name && letters.len() <= MOST_LETTERS) else {
            return Err(format!(
                "{pattern:?} is neither a header name nor a prefix of one followed by \"*\""
            ));
        };
        if name.len() == pattern.len() {
            self.lengths[slot] |= 1 << letters.len();
            self.names.insert(letters);
        } else {
            self.lengths[slot] |= 1;
            self.prefixes.push(Prefix {
                letters,
                ends_word: !name.ends_with(|c: char| c.is_ascii_alphanumeric()),
            });
        }
        Ok(())
    }

    /// Returns `true` if the set has the name. Case and separators are ignored.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        let first = letters(name).next().and_then(slot);
        let lengths = first.map_or(0, |slot| self.lengths[slot]);
        lengths != 0
            && (lengths & 1 == 1 && self.prefixes.iter().any(|prefix| prefix.begins(name))
                || self.has_name(name, lengths))
    }

    fn has_name(&self, name: &str, lengths: u64) -> bool {
        let (mut folded, mut length) = ([0; MOST_LETTERS], 0);
        for letter in letters(name) {
            let Some(place) = folded.get_mut(length) else {
                return false;
            };
            *place = letter;
            length += 1;
        }
        lengths >> length & 1 == 1 && self.names.contains(&folded[..length])
    }
}

impl Prefix {
    fn begins(&self, name: &str) -> bool {
        let mut rest = name.bytes();
        let mut letters_of_name = rest.by_ref().filter(u8::is_ascii_alphanumeric);
        for letter in &self.letters {
            let same = letters_of_name
                .next()
                .map(|other| other.to_ascii_lowercase());
            if same != Some(*letter) {
                return false;
            }
        }
        let next = rest.next();
        next.is_some_and(|next| !self.ends_word || !next.is_ascii_alphanumeric())
    }
}

fn letters(name: &str) -> impl Iterator<Item = u8> {
    let letters = name.bytes().filter(u8::is_ascii_alphanumeric);
    letters.map(|letter| letter.to_ascii_lowercase())
}

/// Returns the index of a letter (0 to 25) or digit (26 to 35).
fn slot(letter: u8) -> Option<usize> {
    match letter {
        b'a'..=b'z' => Some(usize::from(letter - b'a')),
        b'0'..=b'9' => Some(usize::from(letter - b'0') + 26),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(patterns: &[&str], name: &str, expected: bool) {
        let set = HeaderNameSet::new(patterns.iter().copied()).unwrap();
        assert_eq!(set.contains(name), expected, "{name} in {patterns:?}");
    }

    #[test]
    fn a_name_is_found_in_every_spelling() {
        let set = ["X-Client-Cert", "proxy", "2-B"];
        for name in [
            "x-client-cert",
            "X_CLIENT_CERT",
            "x.client--cert",
            "-xclientcert_",
            "Proxy",
            "pro-xy",
            "2b",
        ] {
            check(&set, name, true);
        }
        for name in [
            "x-client-cert-chain",
            "x-client-cer",
            "proxies",
            "proxy-authorization",
            "2",
            "b-2",
            "",
            "-",
            "_._",
        ] {
            check(&set, name, false);
        }
        check(&set, &"x".repeat(1000), false);
        check(&[], "a", false);
    }

    #[test]
    fn a_prefix_ends_where_its_word_does() {
        let set = ["X-Geo-*", "X-Client*"];
        for name in [
            "x-geo-country",
            "X_Geo_City",
            "x.geo.a",
            "x-geo-",
            "xgeo-a",
            "x-client-ip",
            "x-clients",
        ] {
            check(&set, name, true);
        }
        for name in [
            "x-geo",
            "x-geography",
            "x-geocountry",
            "x-client",
            "y-x-geo-a",
        ] {
            check(&set, name, false);
        }
        check(&["X-Geo-*"], &format!("x-geo-{}", "a".repeat(1000)), true);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = "a".repeat(64);
        for pattern in [
            "", "*", "-*", "a*b", "a**", "a b", "a:", "\u{e9}", "__", &long,
        ] {
            assert!(HeaderNameSet::new([pattern]).is_err(), "{pattern}");
        }
    }

    proptest::proptest! {
        #[test]
        fn names_are_found_as_by_comparing_them_one_by_one(
            patterns in proptest::collection::vec("[ab1][ab1_-]{0,3}[*]?", 0..5),
            name in "[ab1._-]{0,5}",
        ) {
            let fold = |text: &str| text.replace(['.', '_', '-'], "");
            let naive = patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
                None => fold(pattern) == fold(&name),
                // Every position at which the name could be split.
                Some(prefix) => (0..name.len()).any(|at| {
                    let (start, rest) = name.split_at(at);
                    let is_whole = start.ends_with(|c: char| c.is_ascii_alphanumeric());
                    let ends_word = prefix.ends_with(['_', '-']);
                    is_whole && fold(start) == fold(prefix)
                        && (!ends_word || rest.starts_with(['.', '_', '-']))
                }),
            });
            let set = HeaderNameSet::new(patterns.iter().map(String::as_str)).unwrap();
            proptest::prop_assert_eq!(set.contains(&name), naive);
        }
    }
}
