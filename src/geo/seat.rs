//! Where a place is, in numbers that compare across sources.
//!
//! One source writes 美国, another `United States`, a third nothing but `US`. Two places are compared by
//! code where both have one and by name where not, millions of times when databases are laid over
//! each other, so codes and names become numbers first.

use super::intern::TextPool;
use super::record::Field;

/// What sources put where the country stands for networks that are none of the internet's. One word or
/// the other, it is not a change.
const UNROUTED: [&str; 6] = [
    "保留地址",
    "局域网",
    "共享地址",
    "本地链路",
    "本机地址",
    "内网IP",
];

/// How closely something says where an address is, from coarse to fine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Country.
    Country,
    /// Province, state, region.
    Province,
    /// City.
    City,
    /// Coordinates and what else holds for a spot only.
    Point,
}

impl Level {
    /// The levels that have names, from coarse to fine.
    pub const NAMED: [Level; 3] = [Level::Country, Level::Province, Level::City];

    /// In a word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Level::Country => "country",
            Level::Province => "province",
            Level::City => "city",
            Level::Point => "point",
        }
    }
}

/// What a place says at one level; 0 is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Step {
    /// Codes of up to two kinds.
    codes: [u32; 2],
    name: u32,
}

impl Step {
    fn speaks(self) -> bool {
        self != Step::default()
    }

    /// Whether both say the same; each must say something.
    fn is(self, other: Step) -> bool {
        for (code, other) in self.codes.into_iter().zip(other.codes) {
            if code != 0 && other != 0 {
                return code == other;
            }
        }
        self.name == other.name && self.name != 0
    }
}

/// Country, province and city of a place, as numbers that a [`Seats`] gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Seat {
    steps: [Step; 3],
}

impl Seat {
    /// Whether the place says anything at a level. None has a point here.
    #[must_use]
    pub fn says(&self, level: Level) -> bool {
        let step = self.steps.get(level as usize);
        step.is_some_and(|step| step.speaks())
    }

    /// The coarsest level at which both say something and not the same.
    #[must_use]
    pub fn conflict(&self, other: &Seat) -> Option<Level> {
        Level::NAMED.into_iter().find(|&level| {
            let (own, other) = (self.steps[level as usize], other.steps[level as usize]);
            own.speaks() && other.speaks() && !own.is(other)
        })
    }
}

/// Numbers for codes and names. Only seats of one `Seats` compare.
#[derive(Debug)]
pub struct Seats {
    texts: TextPool,
}

impl Default for Seats {
    fn default() -> Self {
        let mut texts = TextPool::default();
        texts.intern("");
        Seats { texts }
    }
}

impl Seats {
    /// The seat of a place whose fields `text` gives: with codes looked up and names made uniform, or
    /// different spellings are different places.
    ///
    /// Some sources repeat the country where they know no province. That says nothing.
    pub fn seat<'t>(&mut self, text: impl Fn(Field) -> &'t str) -> Seat {
        let country = text(Field::Country);
        let repeated = !country.is_empty() && text(Field::Province) == country;
        let text = |field| match field {
            Field::Country if UNROUTED.contains(&country) => UNROUTED[0],
            Field::Province | Field::ProvinceCode | Field::SubdivisionCode if repeated => "",
            _ => text(field),
        };
        let mut step = |codes: [Option<Field>; 2], name: Field| Step {
            codes: codes.map(|code| code.map_or(0, |code| self.texts.intern(text(code)))),
            name: self.name(text(name)),
        };
        let province = [Field::ProvinceCode, Field::SubdivisionCode];
        Seat {
            steps: [
                step([Some(Field::CountryCode), None], Field::Country),
                step(province.map(Some), Field::Province),
                step([Some(Field::CityCode), None], Field::City),
            ],
        }
    }

    fn name(&mut self, name: &str) -> u32 {
        if name.is_ascii() && name.bytes().any(|byte| byte.is_ascii_uppercase()) || !name.is_ascii()
        {
            self.texts.intern(&name.to_lowercase())
        } else {
            self.texts.intern(name)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Country, country code, province, province code, city.
    fn seat(seats: &mut Seats, texts: [&'static str; 5]) -> Seat {
        let fields = [
            Field::Country,
            Field::CountryCode,
            Field::Province,
            Field::ProvinceCode,
            Field::City,
        ];
        seats.seat(|field| {
            let index = fields.iter().position(|&known| known == field);
            index.map_or("", |index| texts[index])
        })
    }

    #[track_caller]
    fn check(a: [&'static str; 5], b: [&'static str; 5], expected: Option<Level>) {
        let mut seats = Seats::default();
        let (a, b) = (seat(&mut seats, a), seat(&mut seats, b));
        assert_eq!(a.conflict(&b), expected);
        assert_eq!(b.conflict(&a), expected);
    }

    #[test]
    fn codes_decide_where_both_are_known() {
        check(
            ["美国", "US", "", "", ""],
            ["United States", "US", "", "", ""],
            None,
        );
        check(
            ["x", "US", "", "", ""],
            ["x", "JP", "", "", ""],
            Some(Level::Country),
        );
    }

    #[test]
    fn names_decide_where_a_code_is_missing() {
        check(
            ["Kosovo", "", "", "", ""],
            ["kosovo", "XK", "", "", ""],
            None,
        );
        check(
            ["Kosovo", "", "", "", ""],
            ["Serbia", "RS", "", "", ""],
            Some(Level::Country),
        );
    }

    #[test]
    fn who_says_nothing_contradicts_nobody() {
        check(
            ["中国", "CN", "", "", "福州"],
            ["中国", "CN", "福建", "350000", "福州"],
            None,
        );
        check(["", "", "", "", ""], ["中国", "CN", "福建", "", ""], None);
    }

    #[test]
    fn a_province_that_repeats_the_country_says_nothing() {
        let mut seats = Seats::default();
        let seat = seat(&mut seats, ["中国", "CN", "中国", "100000", ""]);
        assert!(seat.says(Level::Country) && !seat.says(Level::Province));
        check(
            ["美国", "US", "美国", "", ""],
            ["美国", "US", "Ohio", "", ""],
            None,
        );
    }

    #[test]
    fn networks_that_are_not_routed_have_many_names() {
        check(
            ["保留地址", "", "保留地址", "", ""],
            ["内网IP", "", "", "", ""],
            None,
        );
        check(
            ["内网IP", "", "", "", ""],
            ["日本", "JP", "", "", ""],
            Some(Level::Country),
        );
    }

    #[test]
    fn the_coarsest_conflict_is_told() {
        let fuzhou = ["中国", "CN", "福建", "350000", "福州"];
        check(
            fuzhou,
            ["中国", "CN", "广东", "440000", "广州"],
            Some(Level::Province),
        );
        check(
            fuzhou,
            ["中国", "CN", "福建", "350000", "厦门"],
            Some(Level::City),
        );
    }
}
