//! CSV with a header row: `start,end,...` or `cidr,...`, then columns named as [`Field::name`] is.
//!
//! `start` and `end` are both inclusive and of one family. A column with another name is refused,
//! because a misspelt one would silently lose its data.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::FormatError;
use crate::geo::record::Field;
use crate::geo::table::{Provenance, Table};
use crate::tree::Range;

/// Whether the first line names a range's columns.
pub(super) fn looks_like(bytes: &[u8]) -> bool {
    let line = bytes
        .split(|&byte| byte == b'\n')
        .next()
        .unwrap_or_default();
    let Ok(line) = std::str::from_utf8(line) else {
        return false;
    };
    let mut names = line
        .trim_start_matches('\u{feff}')
        .split(',')
        .map(str::trim);
    matches!(names.next(), Some("start" | "cidr"))
}

/// Reads a whole file.
///
/// # Errors
/// If the header has a column that is not known, or a line has another number of columns, an
/// address that is none, or a range that ends before it starts.
pub fn read(bytes: &[u8]) -> Result<Table, FormatError> {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let mut rows = csv::ReaderBuilder::new()
        .trim(csv::Trim::Headers)
        .from_reader(bytes);
    let columns = rows
        .headers()
        .map_err(|error| bad_line(&error))?
        .iter()
        .map(column)
        .collect::<Result<Vec<_>, _>>()?;
    let mut table = Table {
        provenance: Provenance {
            format: "csv",
            ..Provenance::default()
        },
        ..Table::default()
    };
    let mut row = csv::StringRecord::new();
    while rows
        .read_record(&mut row)
        .map_err(|error| bad_line(&error))?
    {
        let line = row.position().map_or(0, csv::Position::line);
        add(&columns, &row, &mut table).map_err(|reason| FormatError::Line {
            format: "csv",
            line,
            reason,
        })?;
    }
    Ok(table)
}

#[derive(Clone, Copy, PartialEq)]
enum Column {
    Start,
    End,
    Cidr,
    Data(Field),
}

fn column(name: &str) -> Result<Column, FormatError> {
    match name {
        "start" => Ok(Column::Start),
        "end" => Ok(Column::End),
        "cidr" => Ok(Column::Cidr),
        _ => Field::from_name(name)
            .map(Column::Data)
            .ok_or_else(|| FormatError::Line {
                format: "csv",
                line: 1,
                reason: format!("no column is called {name:?}"),
            }),
    }
}

fn bad_line(error: &csv::Error) -> FormatError {
    FormatError::Line {
        format: "csv",
        line: error.position().map_or(0, csv::Position::line),
        reason: error.to_string(),
    }
}

fn add(columns: &[Column], row: &csv::StringRecord, table: &mut Table) -> Result<(), String> {
    let (mut start, mut end) = (None, None);
    for (&column, text) in columns.iter().zip(row) {
        match column {
            Column::Start => start = Some(address(text)?),
            Column::End => end = Some(address(text)?),
            Column::Cidr => {
                let network: ipnet::IpNet = text
                    .parse()
                    .map_err(|_| format!("{text:?} is not a network in CIDR form"))?;
                start = Some(network.network());
                end = Some(network.broadcast());
            }
            Column::Data(_) => {}
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
    let value =
        table.records.intern(
            columns
                .iter()
                .zip(row)
                .filter_map(|(column, text)| match column {
                    Column::Data(field) => Some((*field, text)),
                    _ => None,
                }),
        );
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

fn address(text: &str) -> Result<IpAddr, String> {
    text.trim()
        .parse()
        .map_err(|_| format!("{text:?} is not an address"))
}

/// Writes `table` as CSV, one line a range, with the columns that have any data.
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
            (ranges.v4[0].first, ranges.v4[0].last),
            (0x0100_0000, 0x0100_00ff)
        );
        assert_eq!(ranges.v6[0].last, 0x2001 << 112 | 0xff);
        assert_eq!(ranges.records.text(1, Field::CountryCode), "US");

        let networks = read("\u{feff}cidr,country\r\n10.1.0.0/16,\"x, y\"\r\n".as_bytes()).unwrap();
        assert_eq!(networks.v4[0].last, 0x0a01_ffff);
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
            "csv: line 1: no column is called \"land\"",
        );
        check_error(
            "start,end\n1.1.1.1,x\n",
            "csv: line 2: \"x\" is not an address",
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
            "csv: line 2: \"1.1.1.0/33\" is not a network in CIDR form",
        );
        check_error(
            "start\n1.1.1.1\n",
            "csv: line 2: neither cidr nor both of start and end",
        );
    }
}
