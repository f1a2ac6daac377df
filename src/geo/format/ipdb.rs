//! `.ipdb`, IPIP's current format: both families, several languages, named fields.
//!
//! Layout: u32 BE length, then JSON of that length; then the body: `node_count` nodes of two u32
//! BE, for a next bit of 0 and of 1, followed by the texts: u16 BE length and tab-separated UTF-8.
//! Half of a node is another node's number, or `node_count` for no data, or a larger number for a
//! text at `node_count * 8 + half - node_count` of the body. IPv6 starts at node 0 with an
//! address's highest bit; IPv4 starts after 80 bits of 0 and 16 of 1.
//!
//! A text has the fields once for each language, one language after another.

mod meta;
mod trie;
mod writer;

use meta::Meta;
use trie::Trie;
#[doc(hidden)]
pub use writer::{Block, Content, write};

use super::reader::Reader;
use super::texts::Texts;
use super::{FormatError, Languages};
use crate::geo::record::{Field, Records};
use crate::geo::table::{Provenance, Table};
use crate::tree::RangeList;

/// Returns `true` if the file starts with JSON that has this format's keys.
pub(super) fn looks_like(bytes: &[u8]) -> bool {
    meta::json(&Reader::new("ipdb", bytes)).is_ok_and(|json| json.get("node_count").is_some())
}

/// Reads a whole file, with the names in the best of `languages` that it has. If it has none of
/// them, the language whose fields come first is used.
///
/// # Errors
/// If the JSON lacks a key or disagrees with the file's size, if the trie loops, shares nodes or
/// points outside the file, or if a text is not UTF-8 or has too few fields.
pub fn read(bytes: &[u8], languages: &Languages) -> Result<Table, FormatError> {
    let file = Reader::new("ipdb", bytes);
    let meta = Meta::read(&file)?;
    let language = meta.language(languages);
    let trie = Trie::new(file, meta.body, meta.node_count);
    let mut records = Records::default();
    let mut texts = Texts::new(file);
    let mut record = |at: usize| {
        let length = usize::from(file.u16_be(at)?);
        texts.record(at + 2, length, |text| {
            let text = std::str::from_utf8(text)
                .map_err(|error| file.corrupt(at + 2 + error.valid_up_to(), "text is not UTF-8"))?;
            record(text, language, &meta.fields, &mut records)
                .map_err(|reason| file.corrupt(at, reason))
        })
    };
    let v4 = if meta.has_v4 {
        trie.v4_ranges(&mut record)?
    } else {
        RangeList::default()
    };
    let v6 = if meta.has_v6 {
        trie.v6_ranges(&mut record)?
    } else {
        RangeList::default()
    };
    Ok(Table {
        provenance: Provenance {
            format: "ipdb",
            source: String::new(),
            date: meta.date(),
        },
        records,
        v4,
        v6,
    })
}

/// Returns the record of a text, whose fields of the wanted language start at number `language`.
fn record(
    text: &str,
    language: usize,
    fields: &[Option<Field>],
    records: &mut Records,
) -> Result<u32, String> {
    let count = text.split('\t').count();
    let end = language + fields.len();
    if count < end {
        return Err(format!("{count} fields, the language's end at {end}"));
    }
    let texts = text.split('\t').skip(language);
    let known = fields.iter().zip(texts);
    Ok(records.intern(known.filter_map(|(field, text)| Some(((*field)?, text)))))
}

#[cfg(test)]
mod tests;
