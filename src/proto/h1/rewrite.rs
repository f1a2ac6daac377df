//! Header lines of a head as they were read, with edits that apply when the head is written.
//!
//! A head that is passed on is written anew from its parsed lines. Lines that stay are copied from
//! the buffer that they were read into; added lines are bytes in a second buffer. There is no map,
//! and a head without edits costs no allocation.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use httparse::Header;

use crate::proto::headers::{EditHeaders, EditResponse, Headers, LineBuffer, Name};
use crate::proto::hop_by_hop::CONNECTION_SPECIFIC;

/// Maximum number of header lines of a head.
pub const MAX_LINES: usize = 256;

/// Set of lines of a head, by their number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineSet([u64; MAX_LINES / 64]);

impl LineSet {
    /// Adds a line.
    pub fn insert(&mut self, line: usize) {
        self.0[line / 64] |= 1 << (line % 64);
    }

    /// Returns `true` if a line is in the set.
    #[must_use]
    pub fn contains(&self, line: usize) -> bool {
        self.0[line / 64] & 1 << (line % 64) != 0
    }
}

/// Lines of a head with edits. `K` is `()` for a request and the status of a response.
#[derive(Debug)]
pub struct Rewrite<'h, 'b, K> {
    kind: K,
    lines: &'h [Header<'b>],
    removed: LineSet,
    added: LineBuffer,
}

impl<'h, 'b, K> Rewrite<'h, 'b, K> {
    /// The lines of a head, at most [`MAX_LINES`], without edits. `memory` is used for added lines, and
    /// what it held is dropped.
    #[must_use]
    pub fn new(kind: K, lines: &'h [Header<'b>], mut memory: LineBuffer) -> Self {
        memory.clear();
        Rewrite {
            kind,
            lines: &lines[..lines.len().min(MAX_LINES)],
            removed: LineSet::default(),
            added: memory,
        }
    }

    /// Writes all lines, each with its end, and no empty line behind them.
    pub fn write(&self, out: &mut Vec<u8>) {
        for (_, line) in self.kept() {
            write_line(out, line.name.as_bytes(), line.value);
        }
        out.extend_from_slice(self.added.as_bytes());
    }

    /// Calls `read` with the name and the value of every line.
    pub fn each(&self, mut read: impl FnMut(&str, &[u8])) {
        for (_, line) in self.kept() {
            read(line.name, line.value);
        }
        for (name, value) in self.added.iter() {
            read(name, value);
        }
    }

    /// Returns all lines as HTTP/2 has them: in lower case, and without those of a connection. A line
    /// that cannot be sent is left out.
    #[must_use]
    pub fn to_http2(&self) -> HeaderMap {
        let mut map = HeaderMap::new();
        self.each(|name, value| {
            let name = HeaderName::from_bytes(name.as_bytes());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value))
                && !CONNECTION_SPECIFIC.contains(&name.as_str())
            {
                map.append(name, value);
            }
        });
        map
    }

    /// Returns the memory, to be used again.
    #[must_use]
    pub fn into_memory(self) -> LineBuffer {
        self.added
    }

    fn remove_kept(&mut self, matches: impl Fn(&str) -> bool) {
        for (number, line) in self.lines.iter().enumerate() {
            if matches(line.name) {
                self.removed.insert(number);
            }
        }
    }

    fn kept(&self) -> impl DoubleEndedIterator<Item = (usize, &Header<'b>)> {
        let lines = self.lines.iter().enumerate();
        lines.filter(|(number, _)| !self.removed.contains(*number))
    }
}

/// Appends a header line with its end.
pub fn write_line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends the line of a length.
pub fn write_length(out: &mut Vec<u8>, length: u64) {
    let mut digits = itoa::Buffer::new();
    write_line(out, b"Content-Length", digits.format(length).as_bytes());
}

impl<K> Headers for Rewrite<'_, '_, K> {
    fn lines<'s>(&'s self, name: &'s str) -> impl DoubleEndedIterator<Item = &'s [u8]> {
        let kept = self
            .kept()
            .filter(move |(_, line)| line.name.eq_ignore_ascii_case(name));
        kept.map(|(_, line)| line.value)
            .chain(self.added.values(name))
    }

    fn first(&self, name: &str) -> Option<&[u8]> {
        let mut kept = self.kept();
        let found = kept.find(|(_, line)| line.name.eq_ignore_ascii_case(name));
        match found {
            Some((_, line)) => Some(line.value),
            None => self.added.first(name),
        }
    }
}

impl<K> EditHeaders for Rewrite<'_, '_, K> {
    fn set(&mut self, name: Name<'_>, value: &[u8]) {
        self.remove(name.as_str());
        self.append(name, value);
    }

    fn append(&mut self, name: Name<'_>, value: &[u8]) {
        self.added.push(name.as_str(), value);
    }

    fn append_with(&mut self, name: Name<'_>, write: impl FnOnce(&mut Vec<u8>)) {
        self.added.push_with(name.as_str(), write);
    }

    fn append_all(&mut self, lines: &LineBuffer) {
        self.added.extend(lines);
    }

    fn remove(&mut self, name: &str) {
        self.remove_kept(|other| other.eq_ignore_ascii_case(name));
        self.added.remove(name);
    }

    fn remove_if(&mut self, matches: impl Fn(&str) -> bool) {
        self.remove_kept(&matches);
        self.added.remove_if(matches);
    }
}

impl EditResponse for Rewrite<'_, '_, StatusCode> {
    fn status(&self) -> StatusCode {
        self.kind
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines<'t>(text: &'t [(&'t str, &'t str)]) -> Vec<Header<'t>> {
        let line = |(name, value): &(&'t str, &'t str)| Header {
            name,
            value: value.as_bytes(),
        };
        text.iter().map(line).collect()
    }

    fn written<K>(rewrite: &Rewrite<K>) -> String {
        let mut out = Vec::new();
        rewrite.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_stay_as_they_were_sent() {
        let lines = lines(&[("Host", "a"), ("x-A", "1"), ("X-a", "2")]);
        let rewrite = Rewrite::new((), &lines, LineBuffer::default());
        assert_eq!(written(&rewrite), "Host: a\r\nx-A: 1\r\nX-a: 2\r\n");
        assert_eq!(rewrite.first("x-a"), Some(&b"1"[..]));
        assert_eq!(rewrite.lines("x-a").next_back(), Some(&b"2"[..]));
    }

    #[test]
    fn set_replaces_every_line_of_a_name() {
        let lines = lines(&[("x-a", "1"), ("Host", "a"), ("X-A", "2")]);
        let mut rewrite = Rewrite::new((), &lines, LineBuffer::default());
        rewrite.set(Name::Static("X-A"), b"3");
        rewrite.set(Name::Static("x-a"), b"4");
        rewrite.append(Name::Static("X-B"), b"5");
        rewrite.remove("host");
        assert_eq!(written(&rewrite), "x-a: 4\r\nX-B: 5\r\n");
        rewrite.remove_if(|name| name.starts_with("X-"));
        assert_eq!(written(&rewrite), "x-a: 4\r\n");
    }

    #[test]
    fn http2_has_no_lines_of_a_connection() {
        let lines = lines(&[
            ("X-A", "1"),
            ("Connection", "X-A"),
            ("upgrade", "x"),
            ("x-a", "2"),
        ]);
        let mut rewrite = Rewrite::new((), &lines, LineBuffer::default());
        rewrite.append(Name::Static("Keep-Alive"), b"5");
        let map = rewrite.to_http2();
        let values = map.get_all("x-a").iter().map(HeaderValue::as_bytes);
        assert_eq!(values.collect::<Vec<_>>(), [b"1", b"2"]);
        assert_eq!(map.len(), 2);
    }

    #[test]
    fn a_value_that_would_end_its_line_is_left_out() {
        let lines = lines(&[("x-a", "1")]);
        let mut rewrite = Rewrite::new((), &lines, LineBuffer::default());
        rewrite.append(Name::Static("X-B"), b"a\r\nX-C: d");
        rewrite.set(Name::Static("X-A"), b"a\nb");
        assert_eq!(written(&rewrite), "");
    }

    /// One edit of a message.
    #[derive(Clone, Debug)]
    enum Edit {
        Set(usize, String),
        Append(usize, String),
        Remove(usize),
        RemoveIf(char),
    }

    const NAMES: [&str; 4] = ["x-a", "x-b", "y-a", "host"];

    fn edits() -> impl Strategy<Value = Edit> {
        let name = 0..NAMES.len();
        prop_oneof![
            (name.clone(), "[a-z]{0,3}").prop_map(|(name, value)| Edit::Set(name, value)),
            (name.clone(), "[a-z]{0,3}").prop_map(|(name, value)| Edit::Append(name, value)),
            name.prop_map(Edit::Remove),
            proptest::char::range('x', 'y').prop_map(Edit::RemoveIf),
        ]
    }

    /// Applies the same edit to a map: the oracle.
    fn edit_map(map: &mut HeaderMap, edit: &Edit) {
        let name = |number: &usize| HeaderName::from_static(NAMES[*number]);
        let value = |text: &String| HeaderValue::from_str(text).unwrap();
        match edit {
            Edit::Set(at, text) => drop(map.insert(name(at), value(text))),
            Edit::Append(at, text) => drop(map.append(name(at), value(text))),
            Edit::Remove(at) => drop(map.remove(name(at))),
            Edit::RemoveIf(start) => {
                for name in NAMES.iter().filter(|name| name.starts_with(*start)) {
                    map.remove(*name);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn edits_of_lines_and_of_a_map_agree(
            start in proptest::collection::vec((0..NAMES.len(), "[a-z]{0,3}"), 0..6),
            edits in proptest::collection::vec(edits(), 0..12),
        ) {
            let text: Vec<_> = start.iter().map(|(at, value)| (NAMES[*at], &**value)).collect();
            let lines = lines(&text);
            let mut rewrite = Rewrite::new((), &lines, LineBuffer::default());
            let mut map = HeaderMap::new();
            for (name, value) in &text {
                map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
            }
            for edit in &edits {
                match edit {
                    Edit::Set(at, value) => rewrite.set(Name::Static(NAMES[*at]), value.as_bytes()),
                    Edit::Append(at, value) => {
                        rewrite.append(Name::Static(NAMES[*at]), value.as_bytes());
                    }
                    Edit::Remove(at) => rewrite.remove(NAMES[*at]),
                    Edit::RemoveIf(start) => rewrite.remove_if(|name| name.starts_with(*start)),
                }
                edit_map(&mut map, edit);
            }
            for name in NAMES {
                let found: Vec<_> = Headers::lines(&rewrite, name).collect();
                let expected: Vec<_> = Headers::lines(&map, name).collect();
                prop_assert_eq!(&found, &expected);
                prop_assert_eq!(rewrite.first(name), map.first(name));
            }
            // The written lines parse to the same map.
            let mut out = Vec::new();
            rewrite.write(&mut out);
            out.extend_from_slice(b"\r\n");
            let mut slots = [httparse::EMPTY_HEADER; 32];
            let parsed = httparse::parse_headers(&out, &mut slots).unwrap();
            let httparse::Status::Complete((length, read)) = parsed else { panic!("partial") };
            prop_assert_eq!(length, out.len());
            let mut again = HeaderMap::new();
            for line in read {
                again.append(
                    HeaderName::from_bytes(line.name.as_bytes()).unwrap(),
                    HeaderValue::from_bytes(line.value).unwrap(),
                );
            }
            prop_assert_eq!(again, map);
        }
    }
}
