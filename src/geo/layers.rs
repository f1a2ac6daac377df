//! Merge of several databases in layers: an operator's own corrections go above a purchased
//! database.
//!
//! The highest layer comes first, and each field of an address is from the first layer that has it.
//! The layers are merged when they are loaded, so an address is still looked up once, in one tree.
//!
//! # Conflicts
//!
//! Fields of several layers could combine into a place that does not exist: the country of a
//! correction, with the city and coordinates of the wrong country that it corrects. So a lower
//! layer's location fields are used only as far as they do not contradict the layers above. The
//! fields form groups, from coarse to fine:
//!
//! | group | fields |
//! |---|---|
//! | country | country and its code; continent; calling code |
//! | province | province and its codes |
//! | city | city and its codes |
//! | point | coordinates and their accuracy; postal code; time zone; UTC offset |
//!
//! If the two layers have different countries, none of these groups is taken from the lower layer.
//! If they have different provinces, only the country group is taken; if they have different
//! cities, the country and province groups. So a correction of a city alone keeps the country and
//! the province of the lower layer. The exception is a city that the tables list in another
//! province of China: it brings its own province.
//!
//! Places are compared by code if both have one in the tables, and by name otherwise, after names
//! were made uniform: 美国, `United States` and `US` are one country, 新泽西 and `New Jersey` one
//! subdivision. The country code that is compared is the one in answers. Names in different scripts
//! contradict each other only if both have codes and the codes differ. A province that repeats the
//! country's name counts as missing, and a lower layer's province replaces it. A name and its code
//! are from one layer, as are the two coordinates.
//!
//! A field that is [`BLANK`] stays empty. A blank country, province or city also hides all finer
//! groups of the layers below.
//!
//! Fields of the network (organization, provider, autonomous system) never conflict with a place
//! and are taken one by one.

use hashbrown::HashMap;

use super::table::{Provenance, Table};
use crate::geo::admin_area::{AdminArea, AdminAreas, Level};
use crate::geo::codes::Codes;
use crate::geo::place::{Naming, naming, settle};
use crate::geo::record::{BLANK, Field, Records, Row};
use crate::tree::{Address, BuildError, Range, RangeList, overlay};

/// Fields that are taken together, from one layer, with their administrative level.
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
    /// Index of the layer, from 0.
    pub layer: usize,
    /// Error of the layer.
    #[source]
    pub error: BuildError,
}

/// Merges layers, highest first, into one table: in order, without overlaps.
///
/// A single layer is only arranged. Without layers, the result is empty.
///
/// # Errors
/// The first layer in which a range ends before it starts.
///
/// # Panics
/// If the layers have 2^32 different records.
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

/// Merges one layer over another; both are arranged.
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
    /// Ids of the layer's texts in the merge.
    ids: Vec<u32>,
    areas: Vec<AdminArea>,
    /// Corrected texts of the records whose columns have another meaning than usual.
    moved: HashMap<u32, [&'t str; Field::COUNT]>,
    /// Records with a city and without a province, as they are in the province of the city.
    elsewhere: HashMap<u32, ([&'t str; Field::COUNT], AdminArea)>,
    /// Id of [`BLANK`] in the merge; 0 if the layer does not contain it.
    blank: u32,
}

impl Side<'_> {
    /// Returns a record unchanged, with text ids of the merge.
    fn row(&self, record: u32) -> Row {
        self.records.rows()[record as usize].map(|id| self.ids[id as usize])
    }

    /// Returns a record in the form in which it is merged with one of the other layer.
    fn placed(&self, record: u32, merged: &mut Records) -> (Row, AdminArea) {
        let row = match self.moved.get(&record) {
            Some(texts) => texts.map(|text| merged.intern_text(text)),
            None => self.row(record),
        };
        (row, self.areas[record as usize])
    }
}

/// Merge of two layers. Each pair of records is merged once, whatever the number of ranges that
/// share it.
struct Merge<'t> {
    upper: Side<'t>,
    lower: Side<'t>,
    records: Records,
    codes: &'t Codes,
    /// Administrative areas of the pairs that those of the two sides cannot distinguish.
    areas: Option<AdminAreas>,
    /// Merged record of each pair so far; see [`pair`].
    known: HashMap<u64, u32>,
}

/// Returns a pair of records as one number.
fn pair(upper: Option<u32>, lower: Option<u32>) -> u64 {
    let half = |record: Option<u32>| record.map_or(0, |record| u64::from(record) + 1);
    half(upper) << 32 | half(lower)
}

impl<'t> Merge<'t> {
    fn new(upper: &'t Records, lower: &'t Records, codes: &'t Codes) -> Self {
        let (mut records, mut areas) = (Records::default(), AdminAreas::default());
        Merge {
            upper: side(upper, codes, &mut records, &mut areas),
            lower: side(lower, codes, &mut records, &mut areas),
            records,
            codes,
            areas: None,
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
            // Where only one layer has data, its texts stay unchanged.
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
        let mut above = self.upper.placed(upper, &mut self.records);
        let below = self.lower.placed(lower, &mut self.records);
        let mut conflict = above.1.conflict_of_places(&below.1);
        if let Some((texts, area)) = self.upper.elsewhere.get(&upper)
            && area.conflict_of_places(&below.1) == Some(Level::Province)
        {
            above = (texts.map(|text| self.records.intern_text(text)), *area);
            conflict = Some(Level::Province);
        } else if above.1.says(Level::City)
            && !above.1.says(Level::Province)
            && below.1.says(Level::Province)
            && conflict.is_none_or(|conflict| conflict >= Level::City)
        {
            conflict = self.conflict_of_cities(&above.0, &below.0);
        }
        let conflict = [conflict, blanked(&above.0, self.upper.blank)];
        let row = merged_row(above, below, conflict.into_iter().flatten().min());
        if row == self.upper.row(upper) {
            // Often the lower layer adds no data, and then the record exists already.
            return self.record(Some(upper), None);
        }
        self.records.intern_row(&row)
    }

    /// Returns the conflict of a city without a province. The city is placed in the lower layer's
    /// province: this is its likely province, in which its name has a code.
    fn conflict_of_cities(&mut self, upper: &Row, lower: &Row) -> Option<Level> {
        let mut placed = *upper;
        for (level, fields) in UNITS {
            let is_empty = fields.iter().all(|&field| placed[field as usize] == 0);
            if is_empty && level.is_some_and(|level| level < Level::City) {
                for &field in fields {
                    placed[field as usize] = lower[field as usize];
                }
            }
        }
        let areas = self.areas.get_or_insert_default();
        let [upper, lower] = [&placed, lower].map(|row| {
            let settled = settle(&self.records, row, self.codes);
            areas.area(|field| settled.place[field as usize])
        });
        upper.conflict_of_places(&lower)
    }
}

fn side<'t>(
    records: &'t Records,
    codes: &'t Codes,
    merged: &mut Records,
    areas: &mut AdminAreas,
) -> Side<'t> {
    let texts = records.texts().iter();
    let mut side = Side {
        records,
        ids: texts.map(|text| merged.intern_text(text)).collect(),
        areas: Vec::with_capacity(records.len()),
        moved: HashMap::new(),
        elsewhere: HashMap::new(),
        blank: 0,
    };
    if records.texts().iter().any(|text| text == BLANK) {
        side.blank = merged.intern_text(BLANK);
    }
    let mut known: HashMap<Naming, (AdminArea, bool, Option<AdminArea>)> = HashMap::new();
    for (record, row) in (0..).zip(records.rows()) {
        let (area, moved, elsewhere) = *known.entry(naming(row)).or_insert_with(|| {
            let settled = settle(records, row, codes);
            let area = areas.area(|field| settled.place[field as usize]);
            let elsewhere = settled.elsewhere;
            let elsewhere = elsewhere.map(|place| areas.area(|field| place[field as usize]));
            (area, settled.moved, elsewhere)
        });
        side.areas.push(area);
        if moved {
            side.moved.insert(record, settle(records, row, codes).place);
        }
        if let Some(area) = elsewhere
            && let Some(place) = settle(records, row, codes).elsewhere
        {
            side.elsewhere.insert(record, (place, area));
        }
    }
    side
}

fn merged_row(
    (upper, above): (Row, AdminArea),
    (lower, below): (Row, AdminArea),
    conflict: Option<Level>,
) -> Row {
    let mut row = upper;
    for (level, fields) in UNITS {
        let counts = match (level, conflict) {
            (None, _) | (_, None) => true,
            (Some(level), Some(conflict)) => level < conflict,
        };
        let empty = fields.iter().all(|&field| row[field as usize] == 0);
        // A province that repeats the country is replaced by the lower layer's.
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

/// Returns the coarsest level at which a record is blank on purpose.
fn blanked(row: &Row, blank: u32) -> Option<Level> {
    if blank == 0 {
        return None;
    }
    let is_blanked = |fields: &[Field]| {
        let mut ids = fields.iter().map(|&field| row[field as usize]);
        ids.clone().any(|id| id == blank) && ids.all(|id| id == blank || id == 0)
    };
    // The first unit of a level has its names.
    Level::NAMED.into_iter().find(|&level| {
        let names = UNITS.into_iter().find(|(of, _)| *of == Some(level));
        names.is_some_and(|(_, fields)| is_blanked(fields))
    })
}

#[cfg(test)]
mod tests;
