//! Writer of this format, so that tests need no third-party data.

use std::collections::HashMap;
use std::net::IpAddr;

use super::{Family, HEADER, VECTOR_INDEX};

/// Returns a file of `version` 2 or 3, built at `seconds` after 1970.
///
/// `segments` are first address, inclusive last address and text, in order and of one family, which
/// is IPv6 only in version 3. A segment that spans several values of the two leading bytes is cut
/// between them, because readers search only the segments that the vector index names.
#[doc(hidden)]
#[must_use]
pub fn write(version: u16, seconds: u32, segments: &[(IpAddr, IpAddr, &str)]) -> Vec<u8> {
    let family = match segments.first() {
        Some((IpAddr::V6(_), ..)) => Family::V6,
        _ => Family::V4,
    };
    let mut file = vec![0; HEADER + VECTOR_INDEX];
    let mut places: HashMap<&str, usize> = HashMap::new();
    for &(.., text) in segments {
        places.entry(text).or_insert_with(|| {
            file.extend_from_slice(text.as_bytes());
            file.len() - text.len()
        });
    }
    let start = file.len();
    for &(first, last, text) in segments {
        for (first, last) in pieces(bits(first), bits(last), family) {
            let (at, end) = (file.len(), file.len() + family.segment());
            push_address(&mut file, first, family);
            push_address(&mut file, last, family);
            file.extend_from_slice(&(text.len() as u16).to_le_bytes());
            file.extend_from_slice(&(places[text] as u32).to_le_bytes());
            let entry = HEADER + (first >> border(family)) as usize * 8;
            if file[entry..entry + 4] == [0; 4] {
                put_u32(&mut file, entry, at);
            }
            put_u32(&mut file, entry + 4, end);
        }
    }
    let last = file.len() - family.segment();
    file[..2].copy_from_slice(&version.to_le_bytes());
    // The only defined policy: a vector index.
    file[2..4].copy_from_slice(&1_u16.to_le_bytes());
    file[4..8].copy_from_slice(&seconds.to_le_bytes());
    put_u32(&mut file, 8, start);
    put_u32(&mut file, 12, last);
    if version == 3 {
        let number: u16 = match family {
            Family::V4 => 4,
            Family::V6 => 6,
        };
        file[16..18].copy_from_slice(&number.to_le_bytes());
        file[18..20].copy_from_slice(&4_u16.to_le_bytes());
    }
    file
}

/// Returns the number of an address's bits after the two leading bytes.
const fn border(family: Family) -> u32 {
    family.width() as u32 * 8 - 16
}

/// Cuts a range where the two leading bytes change.
fn pieces(first: u128, last: u128, family: Family) -> impl Iterator<Item = (u128, u128)> {
    let rest = (1_u128 << border(family)) - 1;
    let mut next = Some(first);
    std::iter::from_fn(move || {
        let first = next.filter(|&first| first <= last)?;
        let last = last.min(first | rest);
        next = last.checked_add(1);
        Some((first, last))
    })
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

fn push_address(file: &mut Vec<u8>, address: u128, family: Family) {
    match family {
        Family::V4 => file.extend_from_slice(&(address as u32).to_le_bytes()),
        Family::V6 => file.extend_from_slice(&address.to_be_bytes()),
    }
}

fn put_u32(file: &mut [u8], at: usize, value: usize) {
    file[at..at + 4].copy_from_slice(&(value as u32).to_le_bytes());
}
