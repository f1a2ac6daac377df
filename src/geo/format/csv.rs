//! CSV: ranges as `start,end` or `cidr`, then the columns of the header.
//!
//! `start` and `end` are both inclusive and of one family. An address is in the usual notation, or
//! is the decimal number of an IPv4 address. `columns` has the column names, `values` the accepted
//! values, `encoding` the text encodings. Fields are separated by commas, semicolons or tabs, as in
//! the first line. Empty lines and lines that begin with `#` are skipped. A value of `-` stands for
//! an empty one that hides the lower layers ([`BLANK`](crate::geo::record::BLANK)). A file without
//! a header is accepted if its lines have the form of ip-location-db: `start,end,country_code` or
//! `start,end,asn,as_organization`.

mod columns;
mod encoding;
mod values;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use self::columns::Column;
use super::FormatError;
use crate::geo::record::Field;
use crate::geo::table::{Provenance, Table};
use crate::tree::Range;

/// Size of the part in which the first significant line is searched, in bytes.
const START_LIMIT: usize = 1 << 16;

/// Supported field separators.
const SEPARATORS: [char; 3] = [',', ';', '\t'];

/// Returns `true` if the first line names a range's columns, or has a range.
pub(super) fn looks_like(bytes: &[u8]) -> bool {
    let start = &bytes[..bytes.len().min(START_LIMIT)];
    let Some(start) = encoding::decode_start(start) else {
        return false;
    };
    let (text, separator) = without_separator_line(&start);
    let line = first_line(text);
    if line.contains(|letter: char| letter < ' ' && letter != '\t') {
        return false;
    }
    separator.is_some() || SEPARATORS.iter().any(|&separator| begins(line, separator))
}

/// Returns `true` if a line with this separator is a header or has a range.
fn begins(line: &str, separator: char) -> bool {
    let fields = || {
        let fields = line.split(separator);
        fields.map(|name| name.trim().trim_matches('"'))
    };
    columns::name_a_range(fields()) || fields().next().is_some_and(is_range_or_end)
}

/// Returns the first line that is neither empty nor a comment.
fn first_line(text: &str) -> &str {
    let mut lines = lines(text).map(str::trim_start);
    let line = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
    line.unwrap_or_default()
}

/// Returns the lines of a text, whose ends are `\n`, `\r` or both.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    // Searching for one character at a time is many times as fast as for one of two, and of a file
    // that is no text the first line may be all of it.
    text.split('\n').flat_map(|line| line.split('\r'))
}

/// Returns the text after a line such as `sep=;`, which tells Excel the separator, and that
/// separator.
fn without_separator_line(text: &str) -> (&str, Option<char>) {
    let line = lines(text).next().unwrap_or_default();
    let separator = line.strip_prefix("sep=").and_then(|rest| {
        let mut letters = rest.chars();
        letters.next().filter(|_| letters.next().is_none())
    });
    match separator {
        // The line end stays, so that line numbers remain correct.
        Some(separator) => (&text[line.len()..], Some(separator)),
        None => (text, None),
    }
}

/// Returns the separator that gives the first line the most fields, among those with which it is
/// valid.
fn separator(text: &str) -> char {
    let line = first_line(text);
    let likely = SEPARATORS.into_iter().filter(|&each| begins(line, each));
    let most = likely.max_by_key(|&each| (line.matches(each).count(), each == ','));
    most.unwrap_or(',')
}

/// Reads a whole file.
///
/// # Errors
/// With the line, and the column if one value is wrong: text in an unknown encoding; a header with
/// an unknown column; a line with another number of columns, an invalid address, a range that ends
/// before it starts, or an invalid value.
pub fn read(bytes: &[u8]) -> Result<Table, FormatError> {
    let text = encoding::decode(bytes)?;
    let (text, separator) = match without_separator_line(&text) {
        (text, Some(separator)) => (text, separator),
        (text, None) => (text, separator(text)),
    };
    let mut rows = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .comment(Some(b'#'))
        .delimiter(u8::try_from(separator).unwrap_or(b','))
        .from_reader(text.as_bytes());
    let mut table = Table {
        provenance: Provenance {
            format: "csv",
            ..Provenance::default()
        },
        ..Table::default()
    };
    let mut row = csv::StringRecord::new();
    let mut columns = Vec::new();
    while rows
        .read_record(&mut row)
        .map_err(|error| bad_line(&error))?
    {
        let at_line = |reason| FormatError::Line {
            format: "csv",
            line: row.position().map_or(0, csv::Position::line),
            reason,
        };
        if is_passed_over(&row) {
            continue;
        }
        if columns.is_empty() {
            if !row.get(0).is_some_and(is_range_or_end) {
                columns = columns::of_header(&row).map_err(at_line)?;
                continue;
            }
            columns = columns::of_first_line(&row).map_err(at_line)?;
        }
        add(&columns, &row, &mut table).map_err(at_line)?;
    }
    Ok(table)
}

/// Returns `true` for an empty line, with separators or without, and for an indented comment.
fn is_passed_over(row: &csv::StringRecord) -> bool {
    let is_comment = row
        .get(0)
        .is_some_and(|text| text.trim_start().starts_with('#'));
    is_comment || row.iter().all(|text| text.trim().is_empty())
}

fn bad_line(error: &csv::Error) -> FormatError {
    FormatError::Line {
        format: "csv",
        line: error.position().map_or(0, csv::Position::line),
        reason: error.to_string(),
    }
}

fn add(columns: &[Column], row: &csv::StringRecord, table: &mut Table) -> Result<(), String> {
    // A spreadsheet may end its lines with empty fields, and people may leave out notes at the end.
    let needed = columns.iter().rposition(|&column| column != Column::Note);
    let needed = needed.map_or(0, |last| last + 1);
    if row.len() < needed || row.iter().skip(columns.len()).any(|text| !text.is_empty()) {
        let (found, expected) = (row.len(), columns.len());
        return Err(format!(
            "{found} fields, and not {expected} as in the first line; one that is empty needs its separator"
        ));
    }
    let (mut start, mut end) = (None, None);
    let mut texts = [""; Field::COUNT];
    for (number, (&column, text)) in (1..).zip(columns.iter().zip(row)) {
        let here = |reason| format!("column {number} ({}): {reason}", column.name());
        match column {
            Column::Start => start = Some(address(text).map_err(here)?),
            Column::End => end = Some(address(text).map_err(here)?),
            Column::Cidr => (start, end) = network(text).map_err(here)?,
            Column::Data(field) => {
                texts[field as usize] = values::value(field, text).map_err(here)?;
            }
            Column::Note => {}
        }
    }
    let (Some(start), Some(end)) = (start, end) else {
        return Err("neither cidr nor both of start and end".to_owned());
    };
    if end < start {
        return Err(format!(
            "the range ends at {end}, before it starts at {start}"
        ));
    }
    let value = table.records.intern(Field::ALL.into_iter().zip(texts));
    match (start, end) {
        (IpAddr::V4(first), IpAddr::V4(last)) => table.v4.push(Range {
            first: u32::from(first),
            last: u32::from(last),
            value,
        }),
        (IpAddr::V6(first), IpAddr::V6(last)) => table.v6.push(Range {
            first: u128::from(first),
            last: u128::from(last),
            value,
        }),
        _ => return Err(format!("{start} and {end} are of two families")),
    }
    Ok(())
}

fn is_range_or_end(text: &str) -> bool {
    address(text).is_ok() || network(text).is_ok()
}

/// Parses an address, or the number of an IPv4 address. An IPv4-mapped IPv6 address becomes the
/// IPv4 address.
fn address(text: &str) -> Result<IpAddr, String> {
    let text = text.trim();
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = || {
        let number = text.parse::<u32>().ok().filter(|_| is_number);
        number.map(|number| IpAddr::V4(Ipv4Addr::from(number)))
    };
    let address = text.parse().ok().or_else(number);
    let address = address.ok_or_else(|| format!("{text:?} is not an address"))?;
    Ok(address.to_canonical())
}

/// Returns both ends of a network in CIDR form; a single address is a network of one.
fn network(text: &str) -> Result<(Option<IpAddr>, Option<IpAddr>), String> {
    let text = text.trim();
    let network: ipnet::IpNet = text
        .parse()
        .or_else(|_| text.parse::<IpAddr>().map(ipnet::IpNet::from))
        .map_err(|_| format!("{text:?} is not a network in CIDR form"))?;
    let ends = [network.network(), network.broadcast()];
    let [start, end] = ends.map(|end| Some(end.to_canonical()));
    Ok((start, end))
}

/// Writes `table` as CSV, one line a range, with the columns that contain data.
///
/// # Errors
/// If `out` cannot be written.
pub fn write(table: &Table, out: impl std::io::Write) -> Result<(), csv::Error> {
    let records = &table.records;
    let fields: Vec<Field> = Field::ALL
        .into_iter()
        .filter(|&field| records.rows().iter().any(|row| row[field as usize] != 0))
        .collect();
    let mut out = csv::Writer::from_writer(out);
    out.write_record(
        ["start", "end"]
            .into_iter()
            .chain(fields.iter().map(|f| f.name())),
    )?;
    let v4 = table.v4.iter().map(|range| {
        let ends = [Ipv4Addr::from(range.first), Ipv4Addr::from(range.last)];
        (ends.map(|end| end.to_string()), range.value)
    });
    let v6 = table.v6.iter().map(|range| {
        let ends = [Ipv6Addr::from(range.first), Ipv6Addr::from(range.last)];
        (ends.map(|end| end.to_string()), range.value)
    });
    for (ends, value) in v4.chain(v6) {
        let values = fields.iter().map(|&field| records.text(value, field));
        out.write_record(ends.iter().map(String::as_str).chain(values))?;
    }
    out.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_networks_and_both_families_are_read() {
        let ranges = read(b"start,end,country_code\n1.0.0.0,1.0.0.255,AU\n2001::,2001::ff,US\n");
        let ranges = ranges.unwrap();
        assert_eq!(
            (
                ranges.v4.iter().next().unwrap().first,
                ranges.v4.iter().next().unwrap().last
            ),
            (0x0100_0000, 0x0100_00ff)
        );
        assert_eq!(ranges.v6.iter().next().unwrap().last, 0x2001 << 112 | 0xff);
        assert_eq!(ranges.records.text(1, Field::CountryCode), "US");

        let networks = read("\u{feff}cidr,country\r\n10.1.0.0/16,\"x, y\"\r\n".as_bytes()).unwrap();
        assert_eq!(networks.v4.iter().next().unwrap().last, 0x0a01_ffff);
        assert_eq!(networks.records.text(0, Field::Country), "x, y");
    }

    #[test]
    fn what_is_written_is_read_back() {
        let text =
            "start,end,country,isp\n1.0.0.0,1.0.0.255,\"a, \"\"b\"\"\",\n::1,::2,中国,电信\n";
        let mut out = Vec::new();
        write(&read(text.as_bytes()).unwrap(), &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }

    #[track_caller]
    fn check_error(text: &str, expected: &str) {
        assert_eq!(read(text.as_bytes()).unwrap_err().to_string(), expected);
    }

    #[test]
    fn a_bad_line_is_named() {
        check_error(
            "start,end,land\n",
            "csv: line 1: no column is called \"land\"; one of notes is called note, or \"#land\"; \
             there are cidr, start, end, country, \
             province, city, organization, isp, country_code, province_code, city_code, \
             continent, latitude, longitude, time_zone, utc_offset, admin_code, dial_code, \
             subdivision_code, postal_code, accuracy_radius, asn, as_organization",
        );
        check_error(
            "start,end\n1.1.1.1,x\n",
            "csv: line 2: column 2 (end): \"x\" is not an address",
        );
        check_error(
            "start,end\n1.1.1.1,1.1.1.0\n",
            "csv: line 2: the range ends at 1.1.1.0, before it starts at 1.1.1.1",
        );
        check_error(
            "start,end\n1.1.1.1,::\n",
            "csv: line 2: 1.1.1.1 and :: are of two families",
        );
        check_error(
            "cidr\n1.1.1.0/33\n",
            "csv: line 2: column 1 (cidr): \"1.1.1.0/33\" is not a network in CIDR form",
        );
        check_error(
            "start\n1.1.1.1\n",
            "csv: line 1: neither cidr nor both of start and end",
        );
        check_error(
            "start,end,cidr\n",
            "csv: line 1: both cidr and start or end",
        );
        check_error(
            "start,end,Country,country_name\n",
            "csv: line 1: columns \"Country\" and \"country_name\" both are country",
        );
        check_error(
            "cidr,asn\n1.1.1.0/24,AS\n",
            "csv: line 2: column 2 (asn): \"AS\" is not the number of a network",
        );
        check_error(
            "start,end\n4294967295,4294967296\n",
            "csv: line 2: column 2 (end): \"4294967296\" is not an address",
        );
        check_error(
            "cidr,isp\n1.1.1.0/24\n",
            "csv: line 2: 1 fields, and not 2 as in the first line; one that is empty needs its separator",
        );
        check_error(
            "# corrections\n\ncidr,country_code,lat\n1.1.1.0/24,CN,1\n1.1.2.0/24,CHN,1\n",
            "csv: line 5: column 2 (country_code): \"CHN\" is not a code of two letters, such as CN",
        );
        check_error(
            "cidr;lat\n1.1.1.0/24;91\n",
            "csv: line 2: column 2 (latitude): 91 is not between -90 and 90",
        );
    }

    /// Checks country, city and provider of each range.
    #[track_caller]
    fn check(bytes: &[u8], expected: &[[&str; 3]]) {
        assert!(looks_like(bytes));
        let table = read(bytes).unwrap();
        let shown = table.v4.iter().map(|range| {
            [Field::Country, Field::City, Field::Isp]
                .map(|field| table.records.text(range.value, field))
        });
        assert_eq!(shown.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn separators_comments_and_notes_of_hand_written_files_are_read() {
        let expected = [["中国", "苏州", "电信"], ["中国", "-", ""]];
        for text in [
            "cidr,country,city,isp\n1.0.0.0/24,中国,苏州,电信\n2.0.0.0/24,中国,-,\n",
            "cidr;country;city;isp\n1.0.0.0/24;中国;苏州;电信\n2.0.0.0/24;中国;-;\n",
            "cidr\tcountry\tcity\tisp\n1.0.0.0/24\t中国\t苏州\t电信\n2.0.0.0/24\t中国\t-\t\n",
            "sep=;\r\ncidr;country;city;isp\r\n1.0.0.0/24;中国;苏州;电信\r\n2.0.0.0/24;中国;-;\r\n",
            "# of the office\n\n  # and, \"more\ncidr, country, city, isp\n\
             1.0.0.0/24, 中国, \"苏州\", 电信\n#3.0.0.0/24,x,y,z\n,,,\n2.0.0.0/24, 中国, -,\n\n",
            "note,cidr,country,city,isp,#by,备注,\nnew,1.0.0.0/24,中国,苏州,电信,me,x,\n\
             old,2.0.0.0/24,中国,-,,me,\"a, b\",\n",
            "网段,国家,城市,运营商\n1.0.0.0/24,中国,苏州,电信,,,\n2.0.0.0/24,中国,-,\n",
        ] {
            check(text.as_bytes(), &expected);
            let (gbk, _, _) = encoding_rs::GBK.encode(text);
            check(&gbk, &expected);
            let utf_16 = std::iter::once(0xfeff).chain(text.encode_utf16());
            let utf_16: Vec<u8> = utf_16.flat_map(u16::to_le_bytes).collect();
            check(&utf_16, &expected);
        }
    }

    #[test]
    fn common_names_of_columns_are_known() {
        for (header, field) in [
            ("start_ip,end_ip,country_name", Field::Country),
            ("IP-Start,IP-End,Region Name", Field::Province),
            ("ip_from,ip_to,org", Field::Organization),
            ("range_start,range_end,zip_code", Field::PostalCode),
            ("ip_range_start,ip_range_end,lng", Field::Longitude),
            ("\"start\",\"end\",\"as_name\"", Field::AsOrganization),
        ] {
            let text = format!("{header}\n1.0.0.0,1.0.0.255,7\n");
            assert!(looks_like(text.as_bytes()), "{header}");
            let table = read(text.as_bytes()).unwrap();
            assert_eq!(table.records.text(0, field), "7", "{header}");
        }
        for header in ["network,lat", "prefix,lat", "lat,cidr"] {
            assert!(looks_like(header.as_bytes()), "{header}");
            assert!(read(header.as_bytes()).is_ok(), "{header}");
        }
        for text in ["", "country,city\n", "hello\n", "x,1.2.3.4\n", "\0,start\n"] {
            assert!(!looks_like(text.as_bytes()), "{text:?}");
        }
    }

    #[test]
    fn numbers_of_networks_lose_their_prefix() {
        let text = "cidr,as_number\n1.1.1.0/24,AS13335\n2.2.2.2,as1\n::/8,7\n::/9,\n";
        let table = read(text.as_bytes()).unwrap();
        let numbers = (0..4).map(|record| table.records.text(record, Field::Asn));
        assert_eq!(numbers.collect::<Vec<_>>(), ["13335", "1", "7", ""]);
        assert_eq!(
            (
                table.v4.iter().nth(1).unwrap().first,
                table.v4.iter().nth(1).unwrap().last
            ),
            (0x0202_0202, 0x0202_0202)
        );
    }

    #[test]
    fn numbers_and_mapped_addresses_are_ipv4() {
        let text = "start,end\n16777216,16777471\n::ffff:1.0.1.0,::ffff:1.0.1.1\n";
        let table = read(text.as_bytes()).unwrap();
        let ranges: Vec<_> = table.v4.iter().map(|r| (r.first, r.last)).collect();
        assert_eq!(
            ranges,
            [(0x0100_0000, 0x0100_00ff), (0x0100_0100, 0x0100_0101)]
        );
        let table = read(b"cidr\n::ffff:1.0.0.0/120\n").unwrap();
        assert_eq!(
            (
                table.v4.iter().next().unwrap().first,
                table.v4.iter().next().unwrap().last
            ),
            (0x0100_0000, 0x0100_00ff)
        );
    }

    #[test]
    fn a_file_without_a_header_is_told_by_its_first_line() {
        let countries = read(b"1.0.0.0,1.0.0.255,AU\n2001::,2001::ff,\n").unwrap();
        assert_eq!(countries.records.text(0, Field::CountryCode), "AU");
        assert_eq!((countries.v4.len(), countries.v6.len()), (1, 1));
        let networks = read(b"16777216,16777471,13335,\"Cloudflare, Inc.\"\n").unwrap();
        assert_eq!(networks.records.text(0, Field::Asn), "13335");
        let name = networks.records.text(0, Field::AsOrganization);
        assert_eq!(name, "Cloudflare, Inc.");

        let neither = "csv: line 1: there is no header, and the line is neither \
                       start,end,country_code nor start,end,asn,as_organization";
        check_error("1.0.0.0,1.0.0.255,Australia\n", neither);
        check_error("1.0.0.0,1.0.0.255,AU,x\n", neither);
        check_error("1.0.0.0/24,AU\n", neither);
        check_error("1.0.0.0,1.0.0.255\n", neither);
        check_error("1.0.0.0,1.0.0.255,\n", neither);
    }
}
