//! Difference of two databases: the effect of replacing the first one by the second.

use std::collections::HashMap;

use super::areas;
use super::countries::country;
use super::span::{Family, Span};
use crate::geo::Database;
use crate::geo::admin_area::{AdminArea, AdminAreas, Level};
use crate::geo::intern::Interner;
use crate::geo::record::Field;
use crate::tree::{Address, Range, overlay};

/// Difference of two databases on one family.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Address family.
    pub family: Family,
    /// Addresses in both databases.
    pub both: u128,
    /// Addresses in the first database only.
    pub only_first: u128,
    /// Addresses in the second database only.
    pub only_second: u128,
    /// Changes of country, province and city.
    pub levels: [LevelChange; 3],
    /// Number of spans of addresses that moved to another country, province or city.
    pub changes: usize,
    /// Largest of these changes, the largest first.
    pub largest: Vec<Change>,
    /// Moves between countries, the largest first.
    pub moves: Vec<Move>,
}

/// Changes of one level, in addresses that both databases have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LevelChange {
    /// Country, province or city.
    pub level: Level,
    /// Both databases have the same.
    pub same: u128,
    /// Both databases have data, and differ at this level or at a coarser one.
    pub changed: u128,
    /// Only the second database has data.
    pub gained: u128,
    /// Only the first database has data.
    pub lost: u128,
    /// Both have data that cannot be compared: names in different scripts, of which one has no
    /// code.
    pub unclear: u128,
}

/// A span of addresses that moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The addresses.
    pub span: Span,
    /// The coarsest level that changed.
    pub level: Level,
    /// Country, province and city in the first database.
    pub from: [String; 3],
    /// Country, province and city in the second database.
    pub to: [String; 3],
}

/// Addresses that moved from one country to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The country's name in the first database.
    pub from: String,
    /// The country's name in the second database.
    pub to: String,
    /// Number of addresses.
    pub addresses: u128,
}

/// Returns the differences of `second` from `first`, on IPv4 and on IPv6, each with at most `most`
/// of the largest changes and moves. Names must have been made uniform in both; otherwise different
/// forms of a name count as changes.
#[must_use]
pub fn difference(first: &Database, second: &Database, most: usize) -> [Difference; 2] {
    let mut numbers = AdminAreas::default();
    let mut labels = Interner::default();
    let sides = [first, second].map(|database| Side {
        database,
        areas: areas(database, &mut numbers),
        labels: labels_of(database, &mut labels),
    });
    [
        compare(
            Family::V4,
            &sides,
            most,
            first.v4_ranges(),
            second.v4_ranges(),
        ),
        compare(
            Family::V6,
            &sides,
            most,
            first.v6_ranges(),
            second.v6_ranges(),
        ),
    ]
}

struct Side<'d> {
    database: &'d Database,
    areas: Vec<AdminArea>,
    /// Numbers of the displayed country, province and city of each place.
    labels: Vec<u32>,
}

const LABEL: [Field; 3] = [Field::Country, Field::Province, Field::City];

/// Fields that distinguish labels. The code is one of them, because one name may have two codes.
const KEY: [Field; 4] = [
    Field::Country,
    Field::Province,
    Field::City,
    Field::CountryCode,
];

fn labels_of(database: &Database, labels: &mut Interner<[String; 4]>) -> Vec<u32> {
    let places = database.places();
    let numbers = 0..places.len() as u32;
    let label = |place| KEY.map(|field| places.text(place, field).to_owned());
    numbers.map(|place| labels.intern(&label(place))).collect()
}

impl Difference {
    /// Returns `true` if neither database has an address of the family.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        [self.both, self.only_first, self.only_second] == [0; 3]
    }
}

impl Side<'_> {
    fn label(&self, place: u32) -> [String; 3] {
        LABEL.map(|field| self.database.places().text(place, field).to_owned())
    }

    fn name_and_code(&self, place: u32) -> String {
        let places = self.database.places();
        let name = places.text(place, Field::Country);
        match places.text(place, Field::CountryCode) {
            "" => name.to_owned(),
            code => format!("{name} ({code})"),
        }
    }

    fn country(&self, place: u32) -> String {
        let (code, name) = country(self.database.places(), place);
        if name.is_empty() {
            code.to_owned()
        } else {
            name.into_owned()
        }
    }
}

/// A change that may still be extended. The places stand for their labels.
struct Moved {
    span: Span,
    level: Level,
    places: [u32; 2],
}

fn compare<A: Address + Into<u128>>(
    family: Family,
    sides: &[Side; 2],
    most: usize,
    first: impl Iterator<Item = Range<A>>,
    second: impl Iterator<Item = Range<A>>,
) -> Difference {
    let mut difference = none(family);
    let mut moved: Vec<Moved> = Vec::new();
    let mut between: HashMap<[u32; 2], (u128, [u32; 2])> = HashMap::new();
    for piece in overlay(first, second) {
        let span = Span {
            family,
            first: piece.first.into(),
            last: piece.last.into(),
        };
        let size = span.addresses();
        let (one, other) = match (piece.upper, piece.lower) {
            (Some(one), Some(other)) => (one, other),
            (Some(_), None) => {
                add(&mut difference.only_first, size);
                continue;
            }
            _ => {
                add(&mut difference.only_second, size);
                continue;
            }
        };
        add(&mut difference.both, size);
        let areas = [
            &sides[0].areas[one as usize],
            &sides[1].areas[other as usize],
        ];
        let conflict = areas[0].conflict(areas[1]);
        for change in &mut difference.levels {
            change.add(areas, size);
        }
        let Some(level) = conflict else { continue };
        let labels = [
            sides[0].labels[one as usize],
            sides[1].labels[other as usize],
        ];
        if level == Level::Country {
            let entry = between.entry(labels).or_insert((0, [one, other]));
            add(&mut entry.0, size);
        }
        push(
            &mut moved,
            sides,
            labels,
            Moved {
                span,
                level,
                places: [one, other],
            },
        );
    }
    difference.changes = moved.len();
    difference.largest = largest(moved, sides, most);
    difference.moves = by_country(between.into_values(), sides, most);
    difference
}

fn none(family: Family) -> Difference {
    Difference {
        family,
        both: 0,
        only_first: 0,
        only_second: 0,
        levels: Level::NAMED.map(LevelChange::none),
        changes: 0,
        largest: Vec::new(),
        moves: Vec::new(),
    }
}

/// The changes of the most addresses, with their places in words.
fn largest(mut moved: Vec<Moved>, sides: &[Side; 2], most: usize) -> Vec<Change> {
    moved.sort_by_key(|moved| std::cmp::Reverse(moved.span.addresses()));
    moved.truncate(most);
    let change = |moved: Moved| {
        let [from, to] = moved.places;
        let mut change = Change {
            span: moved.span,
            level: moved.level,
            from: sides[0].label(from),
            to: sides[1].label(to),
        };
        if change.from[0] == change.to[0] && change.level == Level::Country {
            // One name with two codes: 中国 may be CN in one database and TW in the other.
            change.from[0] = sides[0].name_and_code(from);
            change.to[0] = sides[1].name_and_code(to);
        }
        change
    };
    moved.into_iter().map(change).collect()
}

fn push(moved: &mut Vec<Moved>, sides: &[Side; 2], labels: [u32; 2], next: Moved) {
    if let Some(last) = moved.last_mut() {
        let labels_of_last = [0, 1].map(|side| sides[side].labels[last.places[side] as usize]);
        if labels_of_last == labels && last.span.last.checked_add(1) == Some(next.span.first) {
            last.span.last = next.span.last;
            return;
        }
    }
    moved.push(next);
}

fn by_country(
    moves: impl Iterator<Item = (u128, [u32; 2])>,
    sides: &[Side; 2],
    most: usize,
) -> Vec<Move> {
    let mut sums: HashMap<[String; 2], u128> = HashMap::new();
    for (addresses, [one, other]) in moves {
        let names = [sides[0].country(one), sides[1].country(other)];
        add(sums.entry(names).or_default(), addresses);
    }
    let moves = sums.into_iter().map(|([from, to], addresses)| Move {
        from,
        to,
        addresses,
    });
    let mut moves: Vec<_> = moves.collect();
    moves.sort_by(|a, b| {
        let by_name = || (&a.from, &a.to).cmp(&(&b.from, &b.to));
        b.addresses.cmp(&a.addresses).then_with(by_name)
    });
    moves.truncate(most);
    moves
}

impl LevelChange {
    fn none(level: Level) -> Self {
        LevelChange {
            level,
            same: 0,
            changed: 0,
            gained: 0,
            lost: 0,
            unclear: 0,
        }
    }

    fn add(&mut self, [one, other]: [&AdminArea; 2], size: u128) {
        let sum = match (one.says(self.level), other.says(self.level)) {
            (true, true) => match one.agrees(other, self.level) {
                Some(true) => &mut self.same,
                Some(false) => &mut self.changed,
                None => &mut self.unclear,
            },
            (false, true) => &mut self.gained,
            (true, false) => &mut self.lost,
            (false, false) => return,
        };
        add(sum, size);
    }
}

fn add(sum: &mut u128, size: u128) {
    *sum = sum.saturating_add(size);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geo::format::csv;
    use crate::geo::{Codes, Names};

    fn database(rows: &str) -> Database {
        let text = format!("start,end,country,province,city,isp\n{rows}");
        let table = csv::read(text.as_bytes()).unwrap();
        Database::build(table, &Codes::built_in(), Names::Canonical).unwrap()
    }

    #[track_caller]
    fn check_levels(first: &str, second: &str, expected: [[u128; 4]; 3]) {
        let [v4, _] = difference(&database(first), &database(second), 9);
        let levels = v4.levels.map(|l| [l.same, l.changed, l.gained, l.lost]);
        assert_eq!(levels, expected);
    }

    #[test]
    fn spellings_are_no_change() {
        check_levels(
            "1.0.0.0,1.0.0.9,美国,,,a\n1.0.1.0,1.0.1.9,中国,福建,福州,\n",
            "1.0.0.0,1.0.0.9,United States,,,b\n1.0.1.0,1.0.1.9,中国,福建省,福州市,\n",
            [[20, 0, 0, 0], [10, 0, 0, 0], [10, 0, 0, 0]],
        );
    }

    #[test]
    fn each_level_is_counted_by_itself() {
        check_levels(
            "1.0.0.0,1.0.0.99,中国,福建,福州,\n",
            "1.0.0.0,1.0.0.9,日本,东京,,\n1.0.0.10,1.0.0.29,中国,广东,广州,\n\
             1.0.0.30,1.0.0.39,中国,福建,厦门,\n1.0.0.40,1.0.0.99,中国,,,\n",
            [[90, 10, 0, 0], [10, 30, 0, 60], [0, 30, 0, 70]],
        );
        check_levels(
            "1.0.0.0,1.0.0.9,中国,,,\n",
            "1.0.0.0,1.0.0.9,中国,福建,,\n",
            [[10, 0, 0, 0], [0, 0, 10, 0], [0, 0, 0, 0]],
        );
    }

    #[test]
    fn another_country_code_is_a_change_whatever_the_name() {
        let first = database("1.0.0.0,1.0.0.255,中国,台湾,台北,\n");
        let second = database("1.0.0.0,1.0.0.255,台湾,台北,,\n");
        let [v4, _] = difference(&first, &second, 9);
        assert_eq!(v4.levels[0].changed, 256);
        let change = &v4.largest[0];
        assert_eq!(
            (change.from.join("/"), change.to.join("/")),
            (
                "中国 (CN)/台湾/台北".to_owned(),
                "中国 (TW)/台湾/台北".to_owned(),
            )
        );
        let of = &v4.moves[0];
        assert_eq!((of.from.as_str(), of.to.as_str()), ("中国", "中国 台湾"));
    }

    #[test]
    fn names_in_two_scripts_without_codes_are_not_counted_as_changes() {
        let first = database("1.0.0.0,1.0.0.9,美国,加利福尼亚,洛杉矶,\n");
        let second = database("1.0.0.0,1.0.0.9,United States,California,Los Angeles,\n");
        let [v4, _] = difference(&first, &second, 9);
        let counts = v4.levels.map(|l| [l.same, l.changed, l.unclear]);
        assert_eq!(counts, [[10, 0, 0], [10, 0, 0], [0, 0, 10]]);
    }

    #[test]
    fn addresses_of_one_alone_are_no_change_of_place() {
        let first = database("1.0.0.0,1.0.0.9,中国,,,\n::,::9,中国,,,\n");
        let second = database("1.0.0.5,1.0.0.19,中国,,,\n");
        let [v4, v6] = difference(&first, &second, 9);
        assert_eq!((v4.both, v4.only_first, v4.only_second), (5, 5, 10));
        assert_eq!((v6.both, v6.only_first, v6.only_second), (0, 10, 0));
        assert_eq!((v4.changes, v4.moves.len()), (0, 0));
    }

    #[test]
    fn the_largest_changes_are_whole_stretches() {
        let first = database("1.0.0.0,1.0.0.255,中国,福建,,a\n1.0.1.0,1.0.1.9,中国,福建,,\n");
        // The provider changes in the middle, the place does not.
        let second = database(
            "1.0.0.0,1.0.0.127,日本,,,a\n1.0.0.128,1.0.0.255,日本,,,b\n1.0.1.0,1.0.1.9,中国,广东,,\n",
        );
        let [v4, _] = difference(&first, &second, 9);
        let shown: Vec<_> = v4
            .largest
            .iter()
            .map(|c| {
                (
                    c.span.to_string(),
                    c.level,
                    c.from.join("/"),
                    c.to.join("/"),
                )
            })
            .collect();
        let text = str::to_owned;
        assert_eq!(
            shown,
            [
                (
                    text("1.0.0.0/24"),
                    Level::Country,
                    text("中国/福建/"),
                    text("日本//")
                ),
                (
                    text("1.0.1.0-1.0.1.9"),
                    Level::Province,
                    text("中国/福建/"),
                    text("中国/广东/")
                ),
            ]
        );
        assert_eq!(
            v4.moves,
            [Move {
                from: text("中国"),
                to: text("日本"),
                addresses: 256
            }]
        );
        let [v4, _] = difference(&first, &second, 1);
        assert_eq!((v4.changes, v4.largest.len()), (2, 1));
    }
}
