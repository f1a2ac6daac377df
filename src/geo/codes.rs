//! Codes of places: ISO 3166-1 for countries, GB/T 2260 for China's provinces and cities.
//!
//! Sources write one place in many forms (`广西`, `广西壮族自治区`), so every known form leads to one entry,
//! which holds the name in our answers. A city is looked up under its province: `朝阳` alone is a
//! district, a city and a county.

use std::collections::HashMap;
use std::path::Path;

const COUNTRIES: &str = include_str!("../../data/codes/countries.tsv");
const PROVINCES: &str = include_str!("../../data/codes/provinces.tsv");
const CITIES: &str = include_str!("../../data/codes/cities.tsv");
const ALIASES: &str = include_str!("../../data/codes/aliases.tsv");

/// File names of the operator's own tables, which are stable.
pub const FILES: [&str; 3] = [COUNTRY_FILE, PROVINCE_FILE, CITY_FILE];
const COUNTRY_FILE: &str = "country_list.txt";
const PROVINCE_FILE: &str = "china_province_code.txt";
const CITY_FILE: &str = "china_city_code.txt";

/// The only country whose provinces and cities have codes here.
pub(super) const CHINA: &str = "CN";

/// Country code of Hong Kong, Macau and Taiwan, which the tables list as provinces of China.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Regions {
    /// Their own ISO 3166-1 codes: `HK`, `MO`, `TW`.
    #[default]
    Iso,
    /// `CN`, whatever the source has.
    China,
}

/// Name of a place in our answers, and its code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Name as in the code table.
    pub name: String,
    /// ISO 3166-1 alpha-2, or six digits of GB/T 2260.
    pub code: String,
}

/// The country, province and city tables, with every known form of each name.
#[derive(Debug, Clone, Default)]
pub struct Codes {
    countries: HashMap<String, Entry>,
    country_names: HashMap<String, String>,
    provinces: HashMap<String, Entry>,
    /// Keyed by the province's code and the city's name in any form.
    cities: HashMap<(String, String), Entry>,
    /// Forms of the name of a country that the tables list as a province of China. The entry has
    /// the province's name and the country's own ISO 3166-1 code.
    regions: HashMap<String, Entry>,
    /// Provinces and cities by their codes.
    divisions: HashMap<String, Division>,
    answered: Regions,
}

/// A province or a city of China, by its code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Division {
    /// Name as in the code table.
    pub name: String,
    /// Code of the province of a city; `None` for a province.
    pub province: Option<String>,
}

/// Error of a code table.
#[derive(Debug, thiserror::Error)]
pub enum CodesError {
    /// The file cannot be read.
    #[error("{file}: {error}")]
    Io {
        /// Path of the file.
        file: String,
        /// Error of the operating system.
        #[source]
        error: std::io::Error,
    },
    /// A line is not in the documented layout.
    #[error("{file}: line {line}: {reason}")]
    Line {
        /// Path of the file.
        file: String,
        /// Line number, counted from 1.
        line: usize,
        /// Description of the error.
        reason: String,
    },
    /// The folder holds none of the three tables.
    #[error(
        "{folder}: none of {COUNTRY_FILE}, {PROVINCE_FILE} and {CITY_FILE} is here, \
         so there is nothing to read"
    )]
    NoTable {
        /// Path of the folder.
        folder: String,
    },
}

impl Codes {
    /// Returns the built-in tables.
    ///
    /// # Panics
    /// Never: a test reads the same tables.
    #[must_use]
    pub fn built_in() -> Codes {
        Codes::from_tables(&Tables::default()).expect("the built-in tables are well formed")
    }

    /// Reads the operator's own tables from `folder`; missing files are replaced by the built-in
    /// tables.
    ///
    /// # Errors
    /// If `folder` has none of the three files, or one cannot be read or has a bad line.
    pub fn from_folder(folder: &Path) -> Result<Codes, CodesError> {
        let mut tables = Tables::default();
        let own = [
            (COUNTRY_FILE, &mut tables.countries),
            (PROVINCE_FILE, &mut tables.provinces),
            (CITY_FILE, &mut tables.cities),
        ];
        let mut found = false;
        for (name, table) in own {
            let path = folder.join(name);
            match std::fs::read(&path) {
                Ok(bytes) => {
                    *table = NamedTable::own(path.display().to_string(), bytes)?;
                    found = true;
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    let file = path.display().to_string();
                    return Err(CodesError::Io { file, error });
                }
            }
        }
        if !found {
            let folder = folder.display().to_string();
            return Err(CodesError::NoTable { folder });
        }
        Codes::from_tables(&tables)
    }

    fn from_tables(tables: &Tables) -> Result<Codes, CodesError> {
        let mut codes = Codes::default();
        for (line, row) in tables.countries.rows() {
            let [name, code, ..] = row[..] else {
                return Err(tables.countries.error(line, "a name and a code are needed"));
            };
            if code.len() != 2 || !code.bytes().all(|byte| byte.is_ascii_uppercase()) {
                let reason = format!("{code:?} is not two capital letters");
                return Err(tables.countries.error(line, reason));
            }
            codes.countries.insert(key(name), entry(name, code));
            let names = &mut codes.country_names;
            names
                .entry(code.to_owned())
                .or_insert_with(|| name.to_owned());
        }
        for (line, row) in tables.provinces.rows() {
            let [code, _country, name] = row[..] else {
                return Err(tables
                    .provinces
                    .error(line, "code, country and province are needed"));
            };
            let code = tables.provinces.division(line, code)?;
            codes.provinces.insert(key(name), entry(name, code));
            let (name, province) = (name.to_owned(), None);
            let division = codes.divisions.entry(code.to_owned());
            division.or_insert(Division { name, province });
        }
        let aliases = Aliases::built_in();
        aliases.spell(&mut codes.countries, "country");
        aliases.spell(&mut codes.provinces, "province");
        for (line, row) in tables.cities.rows() {
            let [code, _country, province, name] = row[..] else {
                let reason = "code, country, province and city are needed";
                return Err(tables.cities.error(line, reason));
            };
            let code = tables.cities.division(line, code)?;
            let Some(province) = codes.provinces.get(&key(province)) else {
                if tables.cities.built_in {
                    // The operator's province table lacks some of the built-in provinces.
                    continue;
                }
                let reason = format!("no province is called {province:?}");
                return Err(tables.cities.error(line, reason));
            };
            codes
                .cities
                .insert((province.code.clone(), key(name)), entry(name, code));
            let (name, province) = (name.to_owned(), Some(province.code.clone()));
            // The code of a municipality is also the code of its province, and then the province's
            // entry stays.
            let division = codes.divisions.entry(code.to_owned());
            division.or_insert(Division { name, province });
        }
        aliases.spell_cities(&mut codes);
        codes.regions = aliases.regions();
        Ok(codes)
    }

    /// Returns these tables with another setting for the country codes of Hong Kong, Macau and
    /// Taiwan.
    #[must_use]
    pub fn answering(self, regions: Regions) -> Codes {
        Codes {
            answered: regions,
            ..self
        }
    }

    /// Finds a country by any form of its name.
    #[must_use]
    pub fn country(&self, name: &str) -> Option<&Entry> {
        self.countries.get(&key(name))
    }

    /// Returns a country's name by its ISO 3166-1 alpha-2 code.
    #[must_use]
    pub fn country_name(&self, code: &str) -> Option<&str> {
        self.country_names.get(code).map(String::as_str)
    }

    /// Returns a country's ISO 3166-1 code as a source writes it, in capitals if the tables have
    /// the code. `None` if it is not two letters: some sources write `-` or `*` for no country.
    #[must_use]
    pub fn country_code<'c>(&'c self, text: &'c str) -> Option<&'c str> {
        if text.len() != 2 || !text.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return None;
        }
        if text.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Some(text);
        }
        let capitals = text.to_ascii_uppercase();
        let known = self.country_names.get_key_value(&capitals);
        let region = || self.region(text).map(|region| region.code.as_str());
        known
            .map(|(code, _)| code.as_str())
            .or_else(region)
            .or(Some(text))
    }

    /// Finds the province of China that a source names as a country, by a name or its code: Hong
    /// Kong, Macau, Taiwan. The entry's code is the ISO 3166-1 code.
    #[must_use]
    pub fn region(&self, country: &str) -> Option<&Entry> {
        self.regions.get(&key(country))
    }

    /// Returns the country code in answers for Hong Kong, Macau or Taiwan, whose own code is
    /// `code`.
    #[must_use]
    pub fn region_code<'c>(&self, code: &'c str) -> &'c str {
        match self.answered {
            Regions::Iso => code,
            Regions::China => CHINA,
        }
    }

    /// Finds a province or city of China by its code.
    #[must_use]
    pub fn division(&self, code: &str) -> Option<&Division> {
        self.divisions.get(code)
    }

    /// Returns the code of the only province of China with a city of this name; `None` if several
    /// have one.
    #[must_use]
    pub fn province_of_city(&self, city: &str) -> Option<&str> {
        let city = key(city);
        let provinces = self.divisions.iter();
        let mut having = provinces.filter_map(|(code, division)| {
            let is_city = || self.cities.contains_key(&(code.clone(), city.clone()));
            (division.province.is_none() && is_city()).then_some(code.as_str())
        });
        having.next().filter(|_| having.next().is_none())
    }

    /// Finds a province of China by any form of its name; `None` for any other country.
    #[must_use]
    pub fn province(&self, country_code: &str, name: &str) -> Option<&Entry> {
        self.provinces
            .get(&key(name))
            .filter(|_| country_code == CHINA)
    }

    /// Finds a city by any form of its name, under the province with this code.
    #[must_use]
    pub fn city(&self, province_code: &str, name: &str) -> Option<&Entry> {
        self.cities.get(&(province_code.to_owned(), key(name)))
    }

    /// Returns the code and the name of the country to which Hong Kong, Macau and Taiwan belong in
    /// the tables.
    #[must_use]
    pub fn china(&self) -> Option<(&str, &str)> {
        self.country_name(CHINA).map(|name| (CHINA, name))
    }
}

/// Returns the key of a name. Differences in case and in surrounding white space have no meaning.
fn key(name: &str) -> String {
    name.trim().to_lowercase()
}

fn entry(name: &str, code: &str) -> Entry {
    Entry {
        name: name.to_owned(),
        code: code.to_owned(),
    }
}

struct Tables {
    countries: NamedTable,
    provinces: NamedTable,
    cities: NamedTable,
}

impl Default for Tables {
    fn default() -> Self {
        let table = |file: &str, text: &str| NamedTable {
            file: file.to_owned(),
            text: text.to_owned(),
            built_in: true,
        };
        Tables {
            countries: table("countries.tsv", COUNTRIES),
            provinces: table("provinces.tsv", PROVINCES),
            cities: table("cities.tsv", CITIES),
        }
    }
}

/// Tab-separated text, with the name of its file for error messages.
struct NamedTable {
    file: String,
    text: String,
    built_in: bool,
}

impl NamedTable {
    fn own(file: String, bytes: Vec<u8>) -> Result<Self, CodesError> {
        match String::from_utf8(bytes) {
            Ok(text) => Ok(NamedTable {
                file,
                text,
                built_in: false,
            }),
            Err(error) => {
                let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let line = 1 + memchr::memchr_iter(b'\n', valid).count();
                let reason = "not UTF-8".to_owned();
                Err(CodesError::Line { file, line, reason })
            }
        }
    }

    /// Returns line numbers from 1 with their fields; a BOM, CR and empty lines are skipped.
    fn rows(&self) -> impl Iterator<Item = (usize, Vec<&str>)> {
        let text = self.text.strip_prefix('\u{feff}').unwrap_or(&self.text);
        let lines = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty());
        lines.map(|(index, line)| (index + 1, line.split('\t').map(str::trim).collect()))
    }

    fn division<'c>(&self, line: usize, code: &'c str) -> Result<&'c str, CodesError> {
        if code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(code);
        }
        Err(self.error(line, format!("{code:?} is not a code of six digits")))
    }

    fn error(&self, line: usize, reason: impl Into<String>) -> CodesError {
        CodesError::Line {
            file: self.file.clone(),
            line,
            reason: reason.into(),
        }
    }
}

/// Rows of kind, scope, alias and name. They join forms of a name rather than define names, because
/// the operator's own table may contain either form.
struct Aliases {
    rows: Vec<[&'static str; 4]>,
}

impl Aliases {
    fn built_in() -> Self {
        let row = |line: &'static str| {
            let mut fields = line.split('\t');
            std::array::from_fn(|_| fields.next().unwrap_or_default())
        };
        Aliases {
            rows: ALIASES.lines().map(row).collect(),
        }
    }

    /// Returns scope, alias and name of each row of one kind.
    fn of_kind(
        &self,
        kind: &str,
    ) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
        let rows = self.rows.iter().filter(move |row| row[0] == kind);
        rows.map(|&[_, scope, spelling, name]| (scope, spelling, name))
    }

    /// Returns the names of Hong Kong, Macau and Taiwan as countries. Their own codes are among the
    /// names.
    fn regions(&self) -> HashMap<String, Entry> {
        let is_code = |text: &str| text.len() == 2 && text.bytes().all(|b| b.is_ascii_uppercase());
        let codes: HashMap<_, _> = self
            .of_kind("region")
            .filter(|(_, spelling, _)| is_code(spelling))
            .map(|(_, code, name)| (name, code))
            .collect();
        let regions = self.of_kind("region");
        regions
            .map(|(_, spelling, name)| (key(spelling), entry(name, codes[name])))
            .collect()
    }

    fn spell(&self, table: &mut HashMap<String, Entry>, kind: &str) {
        let rows = self
            .of_kind(kind)
            .map(|(_, spelling, name)| (key(spelling), key(name)));
        join(table, rows.collect());
    }

    fn spell_cities(&self, codes: &mut Codes) {
        let rows = self.of_kind("city").filter_map(|(scope, spelling, name)| {
            let province = &codes.provinces.get(&key(scope))?.code;
            Some((
                (province.clone(), key(spelling)),
                (province.clone(), key(name)),
            ))
        });
        let rows = rows.collect();
        join(&mut codes.cities, rows);
    }
}

/// Gives all forms of a name the same entry, if the table contains any of them.
fn join<K: Clone + Eq + std::hash::Hash>(table: &mut HashMap<K, Entry>, rows: Vec<(K, K)>) {
    // The operator's table may contain the alias and not our name for it. The first pass adds our
    // name, and the second pass then reaches its other aliases.
    for (spelling, name) in &rows {
        if let (Some(entry), None) = (table.get(spelling).cloned(), table.get(name)) {
            table.insert(name.clone(), entry);
        }
    }
    for (spelling, name) in rows {
        if let (None, Some(entry)) = (table.get(&spelling), table.get(&name).cloned()) {
            table.insert(spelling, entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn countries_are_known_by_every_spelling() {
        let codes = Codes::built_in();
        for (name, code) in [
            ("中国", "CN"),
            ("美国", "US"),
            ("韩国", "KR"),
            ("俄罗斯", "RU"),
            ("俄罗斯联邦", "RU"),
            ("United States", "US"),
        ] {
            assert_eq!(codes.country(name).unwrap().code, code, "{name}");
        }
        assert_eq!(codes.country("保留地址"), None);
        assert_eq!(codes.country("APNIC"), None);
        assert_eq!(codes.country_name("JP"), Some("日本"));
        for spelling in ["香港", "Hong Kong", "hk"] {
            assert_eq!(codes.region(spelling), Some(&entry("香港", "HK")));
        }
        assert_eq!(codes.region("台湾"), Some(&entry("台湾", "TW")));
        assert_eq!(codes.region("Macau"), Some(&entry("澳门", "MO")));
        assert_eq!(codes.region("日本"), None);
    }

    #[test]
    fn country_codes_are_two_letters_and_known_ones_capitals() {
        let codes = Codes::built_in();
        for (text, code) in [
            ("JP", "JP"),
            ("jp", "JP"),
            ("tw", "TW"),
            ("EU", "EU"),
            ("zz", "zz"),
        ] {
            assert_eq!(codes.country_code(text), Some(code));
        }
        for text in ["", "-", "*", "0", "JPN", "中"] {
            assert_eq!(codes.country_code(text), None, "{text}");
        }
    }

    #[test]
    fn a_code_leads_to_its_place() {
        let codes = Codes::built_in();
        let city = codes.division("320500").unwrap();
        assert_eq!(
            (city.name.as_str(), city.province.as_deref()),
            ("苏州", Some("320000"))
        );
        let province = codes.division("320000").unwrap();
        assert_eq!(
            (province.name.as_str(), &province.province),
            ("江苏", &None)
        );
        assert_eq!(codes.division("110000").unwrap().province, None);
        assert_eq!(codes.division("999999"), None);
    }

    #[test]
    fn a_city_of_one_province_alone_tells_it() {
        let codes = Codes::built_in();
        assert_eq!(codes.province_of_city("福州市"), Some("350000"));
        // Taizhou is 泰州 of Jiangsu and 台州 of Zhejiang.
        assert_eq!(codes.province_of_city("Taizhou"), None);
        assert_eq!(codes.province_of_city("Paris"), None);
    }

    #[test]
    fn cities_are_known_by_their_names_in_latin_letters() {
        let codes = Codes::built_in();
        for (province, name, code) in [
            ("Jiangsu", "Suzhou", "320500"),
            ("Anhui", "Suzhou", "341300"),
            ("Shaanxi", "Xi'an", "610100"),
            ("Shaanxi", "Xian", "610100"),
            ("Shanxi", "Lüliang", "141100"),
            ("Anhui", "Lu’an", "341500"),
            ("Heilongjiang", "Harbin", "230100"),
            ("Inner Mongolia", "Hohhot", "150100"),
            ("Xinjiang", "Ürümqi", "650100"),
            ("Jilin", "Jilin", "220200"),
            ("Beijing", "Beijing", "110000"),
        ] {
            let province = &codes.province("CN", province).unwrap().code;
            let city = codes.city(province, name).map(|city| city.code.as_str());
            assert_eq!(city, Some(code), "{name}");
        }
    }

    #[test]
    fn provinces_and_cities_are_known_by_short_and_full_names() {
        let codes = Codes::built_in();
        for (province, code) in [
            ("北京", "110000"),
            ("北京市", "110000"),
            ("内蒙古", "150000"),
            ("内蒙古自治区", "150000"),
            ("香港", "810000"),
        ] {
            assert_eq!(
                codes.province("CN", province).unwrap().code,
                code,
                "{province}"
            );
        }
        assert_eq!(codes.city("350000", "福州").unwrap().code, "350100");
        assert_eq!(codes.city("350000", "福州市").unwrap().name, "福州");
        assert_eq!(
            codes.city("220000", "延边朝鲜族自治州").unwrap().code,
            "222400"
        );
        assert_eq!(codes.city("110000", "北京").unwrap().code, "110000");
        assert_eq!(codes.city("420000", "仙桃").unwrap().code, "429004");
    }

    #[test]
    fn a_city_belongs_to_its_province_and_both_to_china() {
        let codes = Codes::built_in();
        assert_eq!(codes.city("440000", "福州"), None);
        assert_eq!(codes.province("US", "北京"), None);
    }

    fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        folder
    }

    #[test]
    fn own_tables_replace_the_built_in_ones_one_by_one() {
        let provinces = "\u{feff}100000\t中国\t中国\r\n350000\t中国\t福建省\r\n";
        let folder = folder(&[
            (COUNTRY_FILE, "中华\tCN\tAP\t86\n".as_bytes()),
            (PROVINCE_FILE, provinces.as_bytes()),
            (CITY_FILE, "359999\t中国\t福建\t福州\n".as_bytes()),
        ]);
        let codes = Codes::from_folder(folder.path()).unwrap();
        assert_eq!(codes.country_name("CN"), Some("中华"));
        assert_eq!(codes.country("日本"), None);
        assert_eq!(codes.province("CN", "中国").unwrap().code, "100000");
        let fujian = codes.province("CN", "福建").unwrap();
        assert_eq!(
            (fujian.name.as_str(), fujian.code.as_str()),
            ("福建省", "350000")
        );
        assert_eq!(codes.city("350000", "福州市").unwrap().code, "359999");
    }

    #[test]
    fn one_own_table_leaves_the_others_built_in() {
        let folder = folder(&[(COUNTRY_FILE, "日本\tJP\n".as_bytes())]);
        let codes = Codes::from_folder(folder.path()).unwrap();
        assert_eq!(codes.city("350000", "福州").unwrap().code, "350100");
    }

    #[track_caller]
    fn check_error(files: &[(&str, &[u8])], expected: &str) {
        let error = Codes::from_folder(folder(files).path())
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn bad_tables_are_named_with_their_line() {
        check_error(&[], "nothing to read");
        check_error(
            &[(COUNTRY_FILE, b"a\tXX\nb\txx\n")],
            "country_list.txt: line 2: \"xx\"",
        );
        check_error(&[(COUNTRY_FILE, b"a\tXX\n\xff\tYY\n")], "line 2: not UTF-8");
        check_error(
            &[(PROVINCE_FILE, b"1\tx\ty\n")],
            "china_province_code.txt: line 1: \"1\"",
        );
        check_error(
            &[(CITY_FILE, "350100\t中国\t福健\t福州\n".as_bytes())],
            "china_city_code.txt: line 1: no province is called \"福健\"",
        );
    }
}
