//! Administrative areas of places, as numbers that compare across sources.
//!
//! One source writes 美国, another `United States`, a third only `US`. Two places are compared by
//! code where both have one and by name otherwise. An overlay of databases does this millions of
//! times, so codes and names are converted to numbers first. Names in different scripts do not
//! contradict each other: 洛杉矶 is not another city than `Los Angeles`.

use hashbrown::HashMap;

use crate::geo::intern::TextPool;
use crate::geo::record::{BLANK, Field};
use crate::geo::subdivisions::Subdivisions;

/// Labels that sources write for the country of a non-public network. All of them are treated as
/// the same label, so that a difference between them is no change.
const UNROUTED: [&str; 6] = [
    "保留地址",
    "局域网",
    "共享地址",
    "本地链路",
    "本机地址",
    "内网IP",
];

/// Administrative level, from coarse to fine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Country.
    Country,
    /// Province, state, region.
    Province,
    /// City.
    City,
    /// Coordinates and other fields that hold for one spot only.
    Point,
}

impl Level {
    /// The levels that have names, from coarse to fine.
    pub const NAMED: [Level; 3] = [Level::Country, Level::Province, Level::City];

    /// Returns the name of the level.
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

/// Data of a place at one level; 0 means no data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Step {
    /// Codes of up to two kinds.
    codes: [u32; 2],
    name: Name,
}

/// A name's number and its script, in 32 bits, because a large database has a million places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Name(u32);

/// Bits of a [`Name`] for the number of the text; the bits above are its script.
const NAME_BITS: u32 = 28;

impl Name {
    fn new(number: u32, script: Script) -> Self {
        assert!(number < 1 << NAME_BITS, "fewer than 2^28 names");
        Name((script as u32) << NAME_BITS | number)
    }

    fn is_empty(self) -> bool {
        self == Name::default()
    }

    fn script(self) -> u32 {
        self.0 >> NAME_BITS
    }

    /// Returns `true` if the code tables contain country names in this name's script.
    fn is_in_tables(self) -> bool {
        [Script::Latin as u32, Script::Han as u32].contains(&self.script())
    }
}

/// Writing system of a name. Names in different scripts are not compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Script {
    /// Digits and symbols only.
    None,
    Latin,
    Han,
    /// Japanese with kana, with or without kanji.
    Kana,
    Hangul,
    Cyrillic,
    Greek,
    Arabic,
    Hebrew,
    Thai,
    Other,
}

impl Script {
    fn of(name: &str) -> Script {
        let scripts = name.chars().map(Script::of_letter);
        // `LEVEL3骨干网` is Chinese; a mix of kanji and kana is Japanese.
        let rank = |script: &Script| match script {
            Script::None => 0,
            Script::Latin => 1,
            Script::Han => 2,
            _ => 3,
        };
        scripts.max_by_key(rank).unwrap_or(Script::None)
    }

    fn of_letter(letter: char) -> Script {
        match letter {
            '\u{3040}'..='\u{30ff}' => Script::Kana,
            '\u{2e80}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}' => {
                Script::Han
            }
            '\u{1100}'..='\u{11ff}' | '\u{ac00}'..='\u{d7ff}' => Script::Hangul,
            '\u{370}'..='\u{3ff}' => Script::Greek,
            '\u{400}'..='\u{52f}' => Script::Cyrillic,
            '\u{590}'..='\u{5ff}' => Script::Hebrew,
            '\u{600}'..='\u{77f}' | '\u{fb50}'..='\u{fdff}' => Script::Arabic,
            '\u{e00}'..='\u{e7f}' => Script::Thai,
            'A'..='Z' | 'a'..='z' | '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' => Script::Latin,
            _ if letter.is_alphabetic() && letter > '\u{24f}' => Script::Other,
            _ => Script::None,
        }
    }
}

impl Step {
    fn speaks(self) -> bool {
        self != Step::default()
    }

    fn has_code(self) -> bool {
        self.codes != [0; 2]
    }

    /// Returns `true` if both are the same. `None` if one has no data, or if they cannot be
    /// compared: 新泽西 and `NJ`.
    fn is(self, other: Step, level: Level) -> Option<bool> {
        if !self.speaks() || !other.speaks() {
            return None;
        }
        for (code, other) in self.codes.into_iter().zip(other.codes) {
            if code != 0 && other != 0 {
                return Some(code == other);
            }
        }
        let (name, other_name) = (self.name, other.name);
        if !name.is_empty() && name == other_name {
            return Some(true);
        }
        // The tables have a code for each country, in two languages. So a name in these languages
        // without a code, such as 局域网, is not a country, and in particular not the other one.
        if level == Level::Country && self.has_code() != other.has_code() {
            let nameless = if self.has_code() { other_name } else { name };
            return nameless.is_in_tables().then_some(false);
        }
        let are_comparable = !name.is_empty() && name.script() == other_name.script();
        are_comparable.then_some(false)
    }
}

/// Country, province and city of a place, as numbers from an [`AdminAreas`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AdminArea {
    steps: [Step; 3],
}

impl AdminArea {
    /// Returns `true` if the place has data at a level; never for [`Level::Point`].
    #[must_use]
    pub fn says(&self, level: Level) -> bool {
        let step = self.steps.get(level as usize);
        step.is_some_and(|step| step.speaks())
    }

    /// Returns the coarsest level at which the two are known to be different places.
    ///
    /// Names in different scripts are different only if their codes are.
    #[must_use]
    pub fn conflict(&self, other: &AdminArea) -> Option<Level> {
        let different = |level: &Level| self.step_is(other, *level) == Some(false);
        Level::NAMED.into_iter().find(different)
    }

    /// Same as [`AdminArea::conflict`], but the country is ignored for two places in the same province
    /// of China: for Hong Kong, Macau and Taiwan, some sources have `CN` and others their own
    /// codes.
    #[must_use]
    pub fn conflict_of_places(&self, other: &AdminArea) -> Option<Level> {
        let [_, province, _] = self.steps;
        let code = province.codes[0];
        let in_one = code != 0 && code == other.steps[1].codes[0];
        match self.conflict(other) {
            Some(Level::Country) if in_one => {
                let is_other_city = self.step_is(other, Level::City) == Some(false);
                is_other_city.then_some(Level::City)
            }
            conflict => conflict,
        }
    }

    /// Returns `true` if the two are the same place down to a level; `None` if one has no data at
    /// it, or if they cannot be compared.
    #[must_use]
    pub fn agrees(&self, other: &AdminArea, level: Level) -> Option<bool> {
        if !self.says(level) || !other.says(level) {
            return None;
        }
        match self.conflict(other) {
            Some(conflict) if conflict <= level => Some(false),
            _ => self.step_is(other, level),
        }
    }

    fn step_is(&self, other: &AdminArea, level: Level) -> Option<bool> {
        self.steps[level as usize].is(other.steps[level as usize], level)
    }
}

/// Numbers for codes and names. Only areas from the same [`AdminAreas`] can be compared.
#[derive(Debug)]
pub struct AdminAreas {
    texts: TextPool,
    subdivisions: Subdivisions,
    /// Codes of subdivisions that were looked up, by the numbers of country code and name.
    known: HashMap<[u32; 2], u32>,
}

impl Default for AdminAreas {
    fn default() -> Self {
        let mut texts = TextPool::default();
        texts.intern("");
        AdminAreas {
            texts,
            subdivisions: Subdivisions::default(),
            known: HashMap::new(),
        }
    }
}

impl AdminAreas {
    /// Returns the areas of a place whose fields `text` returns. The codes must be looked up and
    /// the names made uniform; otherwise different forms of a name are different places.
    ///
    /// Some sources repeat the country where they have no province. Such a province is ignored.
    pub fn area<'t>(&mut self, text: impl Fn(Field) -> &'t str) -> AdminArea {
        let country = text(Field::Country);
        let repeated = !country.is_empty() && text(Field::Province) == country;
        let text = |field| match field {
            Field::Country if UNROUTED.contains(&country) => UNROUTED[0],
            Field::Province | Field::ProvinceCode | Field::SubdivisionCode if repeated => "",
            _ => match text(field) {
                BLANK => "",
                text => text,
            },
        };
        let country_code = text(Field::CountryCode);
        let subdivision = match text(Field::SubdivisionCode) {
            "" => self.subdivision(country_code, text(Field::Province)),
            code => self.texts.intern(code),
        };
        let mut code = |field| self.texts.intern(text(field));
        let codes = [
            [code(Field::CountryCode), 0],
            [code(Field::ProvinceCode), subdivision],
            [code(Field::CityCode), 0],
        ];
        let names = [Field::Country, Field::Province, Field::City];
        let names = names.map(|field| self.name(text(field)));
        let [country, province, city] = codes;
        let [country_name, province_name, city_name] = names;
        let step = |codes, name| Step { codes, name };
        AdminArea {
            steps: [
                step(country, country_name),
                step(province, province_name),
                step(city, city_name),
            ],
        }
    }

    /// Returns the number of a subdivision's code, by its name. The codes are cached, because a
    /// million places share a few thousand names.
    fn subdivision(&mut self, country_code: &str, province: &str) -> u32 {
        if province.is_empty() {
            return 0;
        }
        let key = [country_code, province].map(|text| self.texts.intern(text));
        *self.known.entry(key).or_insert_with(|| {
            let code = self.subdivisions.code(country_code, province);
            code.map_or(0, |code| self.texts.intern(code))
        })
    }

    fn name(&mut self, name: &str) -> Name {
        if name.is_empty() {
            return Name::default();
        }
        let number = if name.is_ascii() && !name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            self.texts.intern(name)
        } else {
            self.texts.intern(&name.to_lowercase())
        };
        Name::new(number, Script::of(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Country, country code, province, province code, city.
    fn area(areas: &mut AdminAreas, texts: [&'static str; 5]) -> AdminArea {
        let fields = [
            Field::Country,
            Field::CountryCode,
            Field::Province,
            Field::ProvinceCode,
            Field::City,
        ];
        areas.area(|field| {
            let index = fields.iter().position(|&known| known == field);
            index.map_or("", |index| texts[index])
        })
    }

    #[track_caller]
    fn check(a: [&'static str; 5], b: [&'static str; 5], expected: Option<Level>) {
        let mut areas = AdminAreas::default();
        let (a, b) = (area(&mut areas, a), area(&mut areas, b));
        assert_eq!(a.conflict(&b), expected);
        assert_eq!(b.conflict(&a), expected);
    }

    #[track_caller]
    fn check_agrees(a: [&'static str; 5], b: [&'static str; 5], expected: [Option<bool>; 3]) {
        let mut areas = AdminAreas::default();
        let (a, b) = (area(&mut areas, a), area(&mut areas, b));
        assert_eq!(Level::NAMED.map(|level| a.agrees(&b, level)), expected);
        assert_eq!(Level::NAMED.map(|level| b.agrees(&a, level)), expected);
    }

    #[test]
    fn subdivisions_are_one_in_every_language() {
        let new_jersey = ["美国", "US", "新泽西", "", ""];
        for name in ["New Jersey", "NEW JERSEY", "新泽西州"] {
            let other = ["United States", "US", name, "", ""];
            check_agrees(new_jersey, other, [Some(true), Some(true), None]);
        }
        let texas = ["United States", "US", "Texas", "", ""];
        check(new_jersey, texas, Some(Level::Province));
    }

    #[test]
    fn names_in_two_scripts_are_different_only_by_their_codes() {
        check_agrees(
            ["美国", "US", "x", "", "洛杉矶"],
            ["美国", "US", "某州", "", "Los Angeles"],
            [Some(true), None, None],
        );
        check_agrees(
            ["日本", "JP", "", "", "さいたま市"],
            ["日本", "JP", "", "", "埼玉"],
            [Some(true), None, None],
        );
        check(
            ["美国", "US", "", "", "Boston"],
            ["美国", "US", "", "", "Los Angeles"],
            Some(Level::City),
        );
        check(
            ["中国", "CN", "福建", "350000", ""],
            ["China", "CN", "Guangdong", "440000", ""],
            Some(Level::Province),
        );
    }

    #[test]
    fn a_word_that_is_no_country_is_not_the_other_country() {
        check(
            ["局域网", "", "", "", ""],
            ["United States", "US", "", "", ""],
            Some(Level::Country),
        );
        check(
            ["Private network", "", "", "", ""],
            ["美国", "US", "", "", ""],
            Some(Level::Country),
        );
        // The tables have no Russian names, so this may be any country.
        check(
            ["Россия", "", "", "", ""],
            ["俄罗斯", "RU", "", "", ""],
            None,
        );
        check(
            ["局域网", "", "", "", ""],
            ["Private network", "", "", "", ""],
            None,
        );
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
        let mut areas = AdminAreas::default();
        let area = area(&mut areas, ["中国", "CN", "中国", "100000", ""]);
        assert!(area.says(Level::Country) && !area.says(Level::Province));
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
