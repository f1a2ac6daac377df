//! Tables of own variables: the position of a value for a text, an address or a share of texts.
//!
//! The order is that of nginx's `map`: an exact text, the longest `*.name`, the longest `name.*`, then
//! regular expressions in the order of the configuration. Texts ignore the case of ASCII letters.

use std::collections::HashMap;
use std::net::IpAddr;

use regex::bytes::{Captures, Regex};

use crate::tree::{BuildError, Range, RangeTree};

/// Table from the source of a variable to the position of its value.
#[derive(Debug, PartialEq)]
pub enum ValueTable {
    /// The source is the value.
    Source,
    /// Texts and regular expressions.
    Texts(Box<TextTable>),
    /// Addresses.
    Networks(Box<NetworkTable>),
    /// Shares of all sources: the upper bounds of their hashes, ascending.
    Shares(Vec<u32>),
}

/// Result of a look-up.
pub enum Found<'s> {
    /// The source is the value.
    Source,
    /// The value at this position, with the groups of the regular expression that matched.
    Value(usize, Option<Captures<'s>>),
    /// The default.
    Default,
}

impl ValueTable {
    /// Looks a source up.
    #[must_use]
    pub fn find<'s>(&self, source: &'s [u8]) -> Found<'s> {
        let at = match self {
            ValueTable::Source => return Found::Source,
            ValueTable::Texts(table) => match table.find(source) {
                Some((at, groups)) => return Found::Value(at, groups),
                None => None,
            },
            ValueTable::Networks(table) => table.find(source),
            ValueTable::Shares(bounds) => {
                let hash = murmur2(source);
                bounds.iter().position(|bound| hash < *bound)
            }
        };
        at.map_or(Found::Default, |at| Found::Value(at, None))
    }
}

/// Texts and regular expressions.
#[derive(Debug, Default)]
pub struct TextTable {
    /// Exact texts in lower case.
    exact: HashMap<Vec<u8>, usize>,
    /// Suffixes of hosts, which begin with a dot.
    suffixes: HashMap<Vec<u8>, usize>,
    /// Prefixes of hosts, which end with a dot.
    prefixes: HashMap<Vec<u8>, usize>,
    regexes: Vec<(Regex, usize)>,
    /// True if a dot at the end of the source does not count.
    is_of_hosts: bool,
}

impl PartialEq for TextTable {
    fn eq(&self, other: &Self) -> bool {
        let regexes = |table: &TextTable| -> Vec<_> {
            let texts = table.regexes.iter();
            texts
                .map(|(regex, at)| (regex.as_str().to_owned(), *at))
                .collect()
        };
        self.exact == other.exact
            && self.suffixes == other.suffixes
            && self.prefixes == other.prefixes
            && self.is_of_hosts == other.is_of_hosts
            && regexes(self) == regexes(other)
    }
}

impl TextTable {
    /// Creates an empty table. With `is_of_hosts`, texts such as `*.example.com` are patterns.
    #[must_use]
    pub fn new(is_of_hosts: bool) -> Self {
        TextTable {
            is_of_hosts,
            ..TextTable::default()
        }
    }

    /// Adds a regular expression behind the others.
    pub fn add_regex(&mut self, regex: Regex, value: usize) {
        self.regexes.push((regex, value));
    }

    /// Adds a text. Returns `false` if the table has it.
    pub fn add_text(&mut self, text: &str, value: usize) -> bool {
        let lower = text.to_ascii_lowercase();
        if !self.is_of_hosts {
            return insert(&mut self.exact, lower, value);
        }
        if let Some(rest) = lower.strip_prefix('*').filter(|rest| rest.starts_with('.')) {
            return insert(&mut self.suffixes, rest.to_owned(), value);
        }
        if let Some(name) = lower.strip_prefix('.') {
            let name = name.to_owned();
            let is_new = insert(&mut self.suffixes, lower, value);
            return insert(&mut self.exact, name, value) && is_new;
        }
        if let Some(rest) = lower.strip_suffix('*').filter(|rest| rest.ends_with('.')) {
            return insert(&mut self.prefixes, rest.to_owned(), value);
        }
        let name = lower.strip_suffix('.').unwrap_or(&lower);
        insert(&mut self.exact, name.to_owned(), value)
    }

    fn find<'s>(&self, source: &'s [u8]) -> Option<(usize, Option<Captures<'s>>)> {
        let mut lower = source.to_ascii_lowercase();
        if self.is_of_hosts && lower.last() == Some(&b'.') {
            lower.pop();
        }
        if let Some(at) = self.exact.get(&lower) {
            return Some((*at, None));
        }
        let last = lower.len().saturating_sub(1);
        let dots = || memchr::memchr_iter(b'.', &lower).filter(|at| *at > 0 && *at < last);
        if !self.suffixes.is_empty()
            && let Some(at) = dots().find_map(|dot| self.suffixes.get(&lower[dot..]))
        {
            return Some((*at, None));
        }
        if !self.prefixes.is_empty()
            && let Some(at) = dots()
                .rev()
                .find_map(|dot| self.prefixes.get(&lower[..=dot]))
        {
            return Some((*at, None));
        }
        let mut regexes = self.regexes.iter();
        regexes.find_map(|(regex, at)| {
            if regex.captures_len() > 1 {
                return Some((*at, Some(regex.captures(source)?)));
            }
            regex.is_match(source).then_some((*at, None))
        })
    }
}

fn insert(table: &mut HashMap<Vec<u8>, usize>, text: String, value: usize) -> bool {
    table.insert(text.into_bytes(), value).is_none()
}

/// Addresses; of several networks that contain an address, the smallest counts.
#[derive(Debug)]
pub struct NetworkTable {
    v4: RangeTree<u32>,
    v6: RangeTree<u128>,
    /// Ranges that the trees were built from.
    ranges: Vec<(IpAddr, IpAddr)>,
}

impl PartialEq for NetworkTable {
    fn eq(&self, other: &Self) -> bool {
        self.ranges == other.ranges
    }
}

impl NetworkTable {
    /// Creates the table of ranges from the first to the last address, which are of one family. The
    /// value of a range is its position.
    ///
    /// # Errors
    /// If a range ends before it begins.
    pub fn new(ranges: Vec<(IpAddr, IpAddr)>) -> Result<Self, BuildError> {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (value, range) in (0..).zip(&ranges) {
            match *range {
                (IpAddr::V4(first), IpAddr::V4(last)) => v4.push(Range {
                    first: first.into(),
                    last: last.into(),
                    value,
                }),
                (IpAddr::V6(first), IpAddr::V6(last)) => v6.push(Range {
                    first: first.into(),
                    last: last.into(),
                    value,
                }),
                _ => {}
            }
        }
        Ok(NetworkTable {
            v4: RangeTree::from_ranges(v4.iter().copied())?,
            v6: RangeTree::from_ranges(v6.iter().copied())?,
            ranges,
        })
    }

    fn find(&self, source: &[u8]) -> Option<usize> {
        let address: IpAddr = std::str::from_utf8(source).ok()?.parse().ok()?;
        let value = match address.to_canonical() {
            IpAddr::V4(address) => self.v4.lookup(address.into()),
            IpAddr::V6(address) => self.v6.lookup(address.into()),
        };
        value.map(|value| value as usize)
    }
}

/// `MurmurHash2` with the seed 0, so that shares of the same sources are those of nginx's
/// `split_clients`.
fn murmur2(text: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = text.len() as u32;
    let mut words = text.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    for (index, byte) in rest.iter().enumerate().rev() {
        hash ^= u32::from(*byte) << (8 * index);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(table: &ValueTable, source: &str, expected: Option<usize>) {
        let found = match table.find(source.as_bytes()) {
            Found::Value(at, _) => Some(at),
            Found::Source | Found::Default => None,
        };
        assert_eq!(found, expected, "{source}");
    }

    #[test]
    fn texts_precede_patterns_of_hosts_and_these_regular_expressions() {
        let mut table = TextTable::new(true);
        for (value, text) in (0..).zip([
            "example.com",
            "*.example.com",
            "*.www.example.com",
            ".dot.test",
            "mail.*",
            "a.b.*",
        ]) {
            assert!(table.add_text(text, value));
        }
        table.add_regex(Regex::new("^(?<name>x+)[.]").unwrap(), 6);
        table.add_regex(Regex::new("^x").unwrap(), 7);
        assert!(!table.add_text("EXAMPLE.com", 8));
        let table = ValueTable::Texts(Box::new(table));
        for (source, expected) in [
            ("Example.COM", Some(8)),
            ("example.com.", Some(8)),
            ("a.example.com", Some(1)),
            ("a.b.example.com", Some(1)),
            ("a.www.example.com", Some(2)),
            ("dot.test", Some(3)),
            ("a.dot.test", Some(3)),
            ("mail.x", Some(4)),
            ("a.b.c", Some(5)),
            ("mail.example.com", Some(1)),
            ("xx.y", Some(6)),
            ("xy", Some(7)),
            (".example.com", None),
            ("mail.", None),
            ("", None),
        ] {
            check(&table, source, expected);
        }
    }

    #[test]
    fn without_hosts_stars_are_texts() {
        let mut table = TextTable::new(false);
        table.add_text("*.a", 0);
        table.add_text("", 1);
        let table = ValueTable::Texts(Box::new(table));
        check(&table, "x.a", None);
        check(&table, "*.A", Some(0));
        check(&table, "", Some(1));
    }

    #[test]
    fn the_smallest_network_counts() {
        let range = |first: &str, last: &str| (first.parse().unwrap(), last.parse().unwrap());
        let table = NetworkTable::new(vec![
            range("10.0.0.0", "10.255.255.255"),
            range("10.1.0.0", "10.1.255.255"),
            range("2001:db8::", "2001:db8::ffff"),
        ]);
        let table = ValueTable::Networks(Box::new(table.unwrap()));
        check(&table, "10.2.3.4", Some(0));
        check(&table, "10.1.3.4", Some(1));
        check(&table, "::ffff:10.1.3.4", Some(1));
        check(&table, "2001:db8::7", Some(2));
        check(&table, "11.0.0.1", None);
        check(&table, "host", None);
    }

    /// Values of Austin Appleby's function, as nginx 1.22 uses it.
    #[test]
    fn hashes_are_those_of_nginx() {
        for (text, hash) in [
            ("", 0x0000_0000_u32),
            ("a", 0x9268_5f5e_u32),
            ("ab", 0x1aa1_4063_u32),
            ("abc", 0x1357_7c9b_u32),
            ("abcd", 0x2687_3021_u32),
            ("192.0.2.1", 0xc8da_48f3_u32),
        ] {
            assert_eq!(murmur2(text.as_bytes()), hash, "{text}");
        }
    }

    #[test]
    fn shares_are_parts_of_all_hashes() {
        let table = ValueTable::Shares(vec![u32::MAX / 10, u32::MAX / 2]);
        let found: Vec<_> = (0..10_000)
            .map(|number| match table.find(number.to_string().as_bytes()) {
                Found::Value(at, _) => at,
                Found::Source | Found::Default => 2,
            })
            .collect();
        let count = |value| found.iter().filter(|found| **found == value).count();
        for (value, expected) in [(0, 1000), (1, 4000), (2, 5000)] {
            assert!(count(value).abs_diff(expected) < 200, "{}", count(value));
        }
    }
}
