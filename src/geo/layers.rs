//! Databases stacked: what an operator knows better goes above what he bought.
//!
//! Highest first, and for every address each field is from the first layer that has it. The layers
//! are merged when they are loaded, so an address is still looked up once, in one tree.
//!
//! # The guard
//!
//! Fields of several layers could make a place that is nowhere: the country of a correction, and the
//! city and coordinates of the wrong country that it corrects. So a lower layer's facts about where
//! an address is count as far as they do not contradict the layers above. The facts stand in groups,
//! from coarse to fine:
//!
//! | group | fields |
//! |---|---|
//! | country | country and its code; continent; calling code |
//! | province | province and its codes |
//! | city | city and its codes |
//! | point | coordinates and their accuracy; postal code; time zone; UTC offset |
//!
//! If the two say another country, nothing of these is taken from the lower layer; if another province,
//! the group of the country is; if another city, the groups of country and province are. And of the
//! groups before a contradiction only those that both speak of: if the upper layer says `福州` and
//! nothing coarser, a lower one's `广东, 广州` does not make it a city of Guangdong.
//!
//! Places are compared by code where both have one in the tables and by name where not, after names
//! were made uniform: 美国, `United States` and `US` are one country, and Hong Kong, Macau and Taiwan
//! stand under China. A country's name in place of the province is no province: a lower layer's goes in
//! its place. A name and its code are from one layer, as are the two coordinates.
//! Who uses and who announces the addresses (organization, provider, autonomous system) contradicts
//! no place; those fields are taken one by one.

use hashbrown::HashMap;

use super::codes::Codes;
use super::place::{Naming, naming, settle};
use super::record::{Field, Records, Row};
use super::seat::{Level, Seat, Seats};
use super::table::{Provenance, Table};
use crate::tree::{Address, BuildError, Range, RangeList, overlay};

/// Fields that are taken together, from one layer, with how closely they say where an address is.
const UNITS: [(Option<Level>, &[Field]); 13] = [
    (Some(Level::Country), &[Field::Country, Field::CountryCode]),
    (Some(Level::Country), &[Field::Continent]),
    (Some(Level::Country), &[Field::DialCode]),
    (
        Some(Level::Province),
        &[Field::Province, Field::ProvinceCode, Field::SubdivisionCode],
    ),
    (
        Some(Level::City),
        &[Field::City, Field::CityCode, Field::AdminCode],
    ),
    (
        Some(Level::Point),
        &[Field::Latitude, Field::Longitude, Field::AccuracyRadius],
    ),
    (Some(Level::Point), &[Field::PostalCode]),
    (Some(Level::Point), &[Field::TimeZone]),
    (Some(Level::Point), &[Field::UtcOffset]),
    (None, &[Field::Organization]),
    (None, &[Field::Isp]),
    (None, &[Field::Asn]),
    (None, &[Field::AsOrganization]),
];

/// A layer whose ranges cannot be arranged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("layer {layer}: {error}")]
pub struct LayerError {
    /// Its place in the list, from 0.
    pub layer: usize,
    /// What is wrong with it.
    #[source]
    pub error: BuildError,
}

/// Merges layers, highest first, into one table: in order, without overlaps.
///
/// The table of one layer is that layer, arranged. That of none is empty.
///
/// # Errors
/// The first layer in which a range ends before it starts.
///
/// # Panics
/// If the layers make 2^32 different records.
pub fn merge(layers: Vec<Table>, codes: &Codes) -> Result<Table, LayerError> {
    let provenance = joined(&layers);
    let mut merged: Option<Table> = None;
    for (layer, mut table) in layers.into_iter().enumerate() {
        let arranged = table.flatten();
        arranged.map_err(|error| LayerError { layer, error })?;
        merged = Some(match merged {
            None => table,
            Some(upper) => stack(&upper, &table, codes),
        });
    }
    let merged = merged.unwrap_or_default();
    Ok(Table {
        provenance,
        ..merged
    })
}

fn joined(layers: &[Table]) -> Provenance {
    if let [one] = layers {
        return one.provenance.clone();
    }
    let mut sources: Vec<&str> = Vec::new();
    for layer in layers {
        let source = layer.provenance.source.as_str();
        if !source.is_empty() && !sources.contains(&source) {
            sources.push(source);
        }
    }
    let dates = layers.iter().map(|layer| layer.provenance.date.as_str());
    Provenance {
        format: "layers",
        source: sources.join(", "),
        date: dates.max().unwrap_or_default().to_owned(),
    }
}

/// One layer over another; both arranged.
fn stack(upper: &Table, lower: &Table, codes: &Codes) -> Table {
    let mut merge = Merge::new(&upper.records, &lower.records, codes);
    let (v4, v6) = (
        merge.ranges(&upper.v4, &lower.v4),
        merge.ranges(&upper.v6, &lower.v6),
    );
    Table {
        provenance: Provenance::default(),
        records: merge.records,
        v4,
        v6,
    }
}

/// The records of one layer.
struct Side<'t> {
    records: &'t Records,
    /// The ids of its texts in the merge.
    ids: Vec<u32>,
    seats: Vec<Seat>,
    /// Texts of the records whose columns do not mean what they mean elsewhere, put right.
    moved: HashMap<u32, [&'t str; Field::COUNT]>,
}

impl Side<'_> {
    /// A record as it is, with text ids of the merge.
    fn row(&self, record: u32) -> Row {
        self.records.rows()[record as usize].map(|id| self.ids[id as usize])
    }

    /// A record as it merges with one of the other layer.
    fn placed(&self, record: u32, merged: &mut Records) -> (Row, Seat) {
        let row = match self.moved.get(&record) {
            Some(texts) => texts.map(|text| merged.intern_text(text)),
            None => self.row(record),
        };
        (row, self.seats[record as usize])
    }
}

/// Two layers becoming one. A pair of records is merged once, whatever the number of ranges that share it.
struct Merge<'t> {
    upper: Side<'t>,
    lower: Side<'t>,
    records: Records,
    /// The record of each pair that has come up; see [`pair`].
    known: HashMap<u64, u32>,
}

/// A pair of records as one number.
fn pair(upper: Option<u32>, lower: Option<u32>) -> u64 {
    let half = |record: Option<u32>| record.map_or(0, |record| u64::from(record) + 1);
    half(upper) << 32 | half(lower)
}

impl<'t> Merge<'t> {
    fn new(upper: &'t Records, lower: &'t Records, codes: &'t Codes) -> Self {
        let (mut records, mut seats) = (Records::default(), Seats::default());
        Merge {
            upper: side(upper, codes, &mut records, &mut seats),
            lower: side(lower, codes, &mut records, &mut seats),
            records,
            known: HashMap::default(),
        }
    }

    fn ranges<A: Address>(&mut self, upper: &RangeList<A>, lower: &RangeList<A>) -> RangeList<A> {
        let mut ranges = RangeList::default();
        for piece in overlay(upper, lower) {
            let value = self.record(piece.upper, piece.lower);
            ranges.push_joined(Range {
                first: piece.first,
                last: piece.last,
                value,
            });
        }
        ranges
    }

    fn record(&mut self, upper: Option<u32>, lower: Option<u32>) -> u32 {
        let pair = pair(upper, lower);
        if let Some(&record) = self.known.get(&pair) {
            return record;
        }
        let record = match (upper, lower) {
            (Some(upper), Some(lower)) => self.both(upper, lower),
            // Where there is nothing to merge, a layer keeps its texts as they are.
            (Some(alone), None) => self.records.intern_row(&self.upper.row(alone)),
            (_, alone) => {
                let row = alone.map_or_else(Row::default, |alone| self.lower.row(alone));
                self.records.intern_row(&row)
            }
        };
        self.known.insert(pair, record);
        record
    }

    fn both(&mut self, upper: u32, lower: u32) -> u32 {
        let above = self.upper.placed(upper, &mut self.records);
        let below = self.lower.placed(lower, &mut self.records);
        let row = merged_row(above, below);
        if row == above.0 {
            // Often the lower layer adds nothing, and then there is a record already.
            return self.record(Some(upper), None);
        }
        self.records.intern_row(&row)
    }
}

fn side<'t>(
    records: &'t Records,
    codes: &'t Codes,
    merged: &mut Records,
    seats: &mut Seats,
) -> Side<'t> {
    let texts = records.texts().iter();
    let mut side = Side {
        records,
        ids: texts.map(|text| merged.intern_text(text)).collect(),
        seats: Vec::with_capacity(records.len()),
        moved: HashMap::new(),
    };
    let mut known: HashMap<Naming, (Seat, bool)> = HashMap::new();
    for (record, row) in (0..).zip(records.rows()) {
        let (seat, moved) = *known.entry(naming(row)).or_insert_with(|| {
            let settled = settle(records, row, codes);
            let seat = seats.seat(|field| settled.place[field as usize]);
            (seat, settled.moved)
        });
        side.seats.push(seat);
        if moved {
            side.moved.insert(record, settle(records, row, codes).place);
        }
    }
    side
}

fn merged_row((upper, above): (Row, Seat), (lower, below): (Row, Seat)) -> Row {
    let conflict = above.conflict(&below);
    let mut row = upper;
    for (level, fields) in UNITS {
        let counts = match (level, conflict) {
            (None, _) | (_, None) => true,
            (Some(level), Some(conflict)) => level < conflict && above.says(level),
        };
        let empty = fields.iter().all(|&field| row[field as usize] == 0);
        // What repeats the country is no province, and makes way for one.
        let repeated = level == Some(Level::Province)
            && !above.says(Level::Province)
            && below.says(Level::Province);
        if counts && (empty || repeated) {
            for &field in fields {
                row[field as usize] = lower[field as usize];
            }
        }
    }
    row
}

#[cfg(test)]
mod tests;
