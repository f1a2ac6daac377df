//! Column names of CSV files.
//!
//! Publishers use slightly different names, so the common ones are accepted as aliases of ours. An
//! unknown name is rejected, because its data would be dropped silently. Two columns with the same
//! meaning are rejected, because it is unclear which one is right.

use csv::StringRecord;

use crate::geo::record::Field;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Column {
    Start,
    End,
    Cidr,
    Data(Field),
    /// Notes of the file's author, which are ignored.
    Note,
}

/// Names of columns of notes, after [`normal`]. A column without a name or with a leading `#` has
/// notes, too.
const NOTES: [&str; 9] = [
    "note",
    "notes",
    "comment",
    "comments",
    "remark",
    "remarks",
    "description",
    "备注",
    "说明",
];

/// Aliases of columns, after [`normal`].
const ALIASES: &[(&str, Column)] = &[
    ("网段", Column::Cidr),
    ("起始ip", Column::Start),
    ("开始ip", Column::Start),
    ("结束ip", Column::End),
    ("国家", Column::Data(Field::Country)),
    ("国家代码", Column::Data(Field::CountryCode)),
    ("省份", Column::Data(Field::Province)),
    ("城市", Column::Data(Field::City)),
    ("运营商", Column::Data(Field::Isp)),
    ("start_ip", Column::Start),
    ("ip_start", Column::Start),
    ("ip_from", Column::Start),
    ("range_start", Column::Start),
    ("ip_range_start", Column::Start),
    ("end_ip", Column::End),
    ("ip_end", Column::End),
    ("ip_to", Column::End),
    ("range_end", Column::End),
    ("ip_range_end", Column::End),
    ("network", Column::Cidr),
    ("prefix", Column::Cidr),
    ("country_name", Column::Data(Field::Country)),
    ("country_iso_code", Column::Data(Field::CountryCode)),
    ("cc", Column::Data(Field::CountryCode)),
    ("province_name", Column::Data(Field::Province)),
    ("region", Column::Data(Field::Province)),
    ("region_name", Column::Data(Field::Province)),
    ("state", Column::Data(Field::Province)),
    ("state_name", Column::Data(Field::Province)),
    ("subdivision", Column::Data(Field::Province)),
    ("city_name", Column::Data(Field::City)),
    ("org", Column::Data(Field::Organization)),
    ("organisation", Column::Data(Field::Organization)),
    ("organization_name", Column::Data(Field::Organization)),
    ("owner", Column::Data(Field::Organization)),
    ("owner_domain", Column::Data(Field::Organization)),
    ("isp_name", Column::Data(Field::Isp)),
    ("isp_domain", Column::Data(Field::Isp)),
    ("carrier", Column::Data(Field::Isp)),
    ("continent_code", Column::Data(Field::Continent)),
    ("lat", Column::Data(Field::Latitude)),
    ("lon", Column::Data(Field::Longitude)),
    ("lng", Column::Data(Field::Longitude)),
    ("long", Column::Data(Field::Longitude)),
    ("timezone", Column::Data(Field::TimeZone)),
    ("tz", Column::Data(Field::TimeZone)),
    ("china_admin_code", Column::Data(Field::AdminCode)),
    ("idd_code", Column::Data(Field::DialCode)),
    ("calling_code", Column::Data(Field::DialCode)),
    ("postal", Column::Data(Field::PostalCode)),
    ("postcode", Column::Data(Field::PostalCode)),
    ("zip", Column::Data(Field::PostalCode)),
    ("zip_code", Column::Data(Field::PostalCode)),
    ("zipcode", Column::Data(Field::PostalCode)),
    ("as_number", Column::Data(Field::Asn)),
    ("autonomous_system_number", Column::Data(Field::Asn)),
    ("as_name", Column::Data(Field::AsOrganization)),
    ("as_org", Column::Data(Field::AsOrganization)),
    ("asn_name", Column::Data(Field::AsOrganization)),
    (
        "autonomous_system_organization",
        Column::Data(Field::AsOrganization),
    ),
];

impl Column {
    fn from_name(name: &str) -> Option<Column> {
        let name = normal(name);
        match name.as_str() {
            "start" => Some(Column::Start),
            "end" => Some(Column::End),
            "cidr" => Some(Column::Cidr),
            "" => Some(Column::Note),
            note if note.starts_with('#') || NOTES.contains(&note) => Some(Column::Note),
            _ => {
                let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
                let alias = alias.map(|(_, column)| *column);
                alias.or_else(|| Field::from_name(&name).map(Column::Data))
            }
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Column::Start => "start",
            Column::End => "end",
            Column::Cidr => "cidr",
            Column::Data(field) => field.name(),
            Column::Note => "note",
        }
    }
}

/// Returns a name in lower case, and with `_` for a space or a hyphen.
fn normal(name: &str) -> String {
    name.trim().to_lowercase().replace([' ', '-'], "_")
}

/// Returns `true` if one of these names is that of a range's column.
pub(super) fn name_a_range<'n>(mut names: impl Iterator<Item = &'n str>) -> bool {
    names.any(|name| {
        matches!(
            Column::from_name(name),
            Some(Column::Start | Column::End | Column::Cidr)
        )
    })
}

/// Returns the columns of a header.
///
/// # Errors
/// If a name is unknown, if two names have the same meaning, or if the columns of the range are
/// missing or contradict each other.
pub(super) fn of_header(header: &StringRecord) -> Result<Vec<Column>, String> {
    let mut columns = Vec::new();
    for name in header {
        let column = Column::from_name(name).ok_or_else(|| {
            let note = format!("#{}", name.trim());
            let known = known_names();
            format!(
                "no column is called {name:?}; one of notes is called note, or {note:?}; there are {known}"
            )
        })?;
        if column == Column::Note {
            columns.push(column);
            continue;
        }
        if let Some(other) = columns.iter().position(|&other| other == column) {
            let (other, meaning) = (&header[other], column.name());
            return Err(format!("columns {other:?} and {name:?} both are {meaning}"));
        }
        columns.push(column);
    }
    let has = |column| columns.contains(&column);
    match (has(Column::Cidr), has(Column::Start), has(Column::End)) {
        (true, false, false) | (false, true, true) => Ok(columns),
        (true, ..) => Err("both cidr and start or end".to_owned()),
        _ => Err("neither cidr nor both of start and end".to_owned()),
    }
}

/// Returns the columns of a file without a header, as ip-location-db's are.
///
/// # Errors
/// If the first line has an unknown form.
pub(super) fn of_first_line(line: &StringRecord) -> Result<Vec<Column>, String> {
    let start = [Column::Start, Column::End];
    let rest: &[Field] = match line.len() {
        3 if is_country_code(&line[2]) => &[Field::CountryCode],
        4 if is_number(&line[2]) => &[Field::Asn, Field::AsOrganization],
        _ => {
            return Err(
                "there is no header, and the line is neither start,end,country_code \
                 nor start,end,asn,as_organization"
                    .to_owned(),
            );
        }
    };
    let rest = rest.iter().map(|&field| Column::Data(field));
    Ok(start.into_iter().chain(rest).collect())
}

fn is_country_code(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

fn is_number(text: &str) -> bool {
    text.parse::<u32>().is_ok() && !text.starts_with('+')
}

fn known_names() -> String {
    let range = ["cidr", "start", "end"];
    let fields = Field::ALL.into_iter().map(Field::name);
    range
        .into_iter()
        .chain(fields)
        .collect::<Vec<_>>()
        .join(", ")
}
