//! Writer of this format, so that tests need no third-party data.

use std::collections::HashMap;

use serde_json::json;

/// The first `length` bits of `address`, as IPv6 (IPv4 as `::ffff:a.b.c.d`), and their row: the
/// fields of each language, one language after another. Blocks must not overlap.
#[doc(hidden)]
#[derive(Debug, Clone)]
pub struct Block {
    pub address: u128,
    pub length: u32,
    pub row: String,
}

/// Content of a file.
#[doc(hidden)]
#[derive(Debug, Clone)]
pub struct Content<'a> {
    pub fields: &'a [&'a str],
    /// Languages, in the order of the rows.
    pub languages: &'a [&'a str],
    /// Bit 0 for IPv4, bit 1 for IPv6.
    pub ip_version: u32,
    /// Build time in seconds since 1970.
    pub build: i64,
    pub blocks: &'a [Block],
}

/// Half of a node without a target.
const NOTHING: usize = usize::MAX;

/// Writes a file.
///
/// # Panics
/// If blocks overlap, or a row is longer than 65,535 bytes.
#[doc(hidden)]
#[must_use]
pub fn write(content: &Content) -> Vec<u8> {
    let mut nodes = vec![[NOTHING; 2]];
    // The halves that lead to texts: node, side, offset in the texts.
    let mut leaves = Vec::new();
    // A reader that looks for a node after the last one finds "no data" twice.
    let mut texts = vec![0; 8];
    let mut places: HashMap<&str, usize> = HashMap::new();
    for block in content.blocks {
        let place = *places.entry(&block.row).or_insert_with(|| {
            let place = texts.len();
            let length = u16::try_from(block.row.len()).expect("a short row");
            texts.extend_from_slice(&length.to_be_bytes());
            texts.extend_from_slice(block.row.as_bytes());
            place
        });
        let bit = |depth: u32| usize::from(block.address >> (127 - depth) & 1 == 1);
        let mut node = 0;
        for depth in 0..block.length - 1 {
            if nodes[node][bit(depth)] == NOTHING {
                nodes[node][bit(depth)] = nodes.len();
                nodes.push([NOTHING; 2]);
            }
            node = nodes[node][bit(depth)];
        }
        leaves.push((node, bit(block.length - 1), place));
    }
    let count = nodes.len();
    for (node, side, place) in leaves {
        assert_eq!(nodes[node][side], NOTHING, "blocks overlap");
        nodes[node][side] = count + place;
    }
    let number = |number: usize| u32::try_from(number).expect("a small file").to_be_bytes();
    texts[..4].copy_from_slice(&number(count));
    texts[4..8].copy_from_slice(&number(count));
    let fields = content.fields.len();
    let languages = content.languages.iter().enumerate();
    let meta = json!({
        "build": content.build,
        "ip_version": content.ip_version,
        "languages": languages
            .map(|(index, name)| ((*name).to_owned(), (index * fields).into()))
            .collect::<serde_json::Map<_, _>>(),
        "node_count": count,
        "total_size": count * 8 + texts.len(),
        "fields": content.fields,
    });
    let meta = meta.to_string();
    let mut file = number(meta.len()).to_vec();
    file.extend_from_slice(meta.as_bytes());
    for half in nodes.into_iter().flatten() {
        file.extend_from_slice(&number(if half == NOTHING { count } else { half }));
    }
    file.extend_from_slice(&texts);
    file
}
