//! `geogate lookup`: reads addresses and prints their places, in order, as the addresses arrive.

use std::io::{BufRead, IsTerminal, Write};
use std::net::IpAddr;
use std::process::ExitCode;

use structopt::StructOpt;
use structopt::clap::arg_enum;
use unicode_width::UnicodeWidthStr;

use super::{DatabaseFlags, columns};
use crate::geo::{Database, Place, answer};
use crate::query;
use crate::server::load_database;

arg_enum! {
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Format {
        Table,
        Json,
        Tsv,
        Csv,
    }
}

#[derive(StructOpt, Debug)]
pub(super) struct Lookup {
    #[structopt(flatten)]
    database: DatabaseFlags,
    /// Output format: table, json (an object a line), tsv or csv
    #[structopt(long, default_value = "table", possible_values = &["table", "json", "tsv", "csv"])]
    format: Format,
    /// Addresses; without any, or with -, they are read from standard input, one a line
    #[structopt(value_name = "IP")]
    addresses: Vec<String>,
}

/// Column names of every format but JSON.
const COLUMNS: [&str; 9] = [
    "ip",
    "country",
    "country_code",
    "province",
    "province_code",
    "city",
    "city_code",
    "organization",
    "isp",
];

impl Lookup {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        let flags = &self.database;
        let database = load_database(&flags.databases(), &flags.geo())?;
        let stdin = std::io::stdin();
        let out = std::io::stdout();
        // A terminal gets each answer at once; a pipe gets them in large blocks.
        let size = if out.is_terminal() { 0 } else { 1 << 16 };
        let mut printer = Printer {
            database: &database,
            out: std::io::BufWriter::with_capacity(size, out.lock()),
            rows: Rows::new(self.format),
            wrong: false,
        };
        printer.start()?;
        if self.addresses.is_empty() || self.addresses == ["-"] {
            printer.print_lines(stdin.lock())?;
        } else {
            for address in &self.addresses {
                printer.print(address, None)?;
            }
        }
        printer.finish()
    }
}

struct Printer<'d, W: Write> {
    database: &'d Database,
    out: W,
    rows: Rows,
    /// True if an input was not an address.
    wrong: bool,
}

impl<W: Write> Printer<'_, W> {
    fn start(&mut self) -> anyhow::Result<()> {
        self.rows.header(&mut self.out)
    }

    fn print_lines(&mut self, mut input: impl BufRead) -> anyhow::Result<()> {
        let mut line = Vec::new();
        for number in 1_u64.. {
            line.clear();
            if input.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            let text = String::from_utf8_lossy(&line);
            let text = text.trim();
            if !text.is_empty() {
                self.print(text, Some(number))?;
            }
        }
        Ok(())
    }

    /// Prints one line for each input, even if it is invalid, so that the output keeps the order of
    /// the input.
    fn print(&mut self, text: &str, line: Option<u64>) -> anyhow::Result<()> {
        let address: Option<IpAddr> = text.parse().ok();
        if address.is_none() {
            self.wrong = true;
            let place = line.map_or(String::new(), |line| format!("line {line}: "));
            eprintln!("geogate: {place}{text:?} is not an IP address");
        }
        let place = address.and_then(|address| self.database.lookup(address));
        self.rows
            .print(&mut self.out, text, address, place.as_ref())
    }

    fn finish(mut self) -> anyhow::Result<ExitCode> {
        self.rows.flush(&mut self.out)?;
        self.out.flush()?;
        Ok(if self.wrong {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }
}

/// Returns the nine columns of an address; all but the first are empty if there is no record.
fn fields<'t>(text: &'t str, place: Option<&Place<'t>>) -> [&'t str; 9] {
    let mut columns = [""; 9];
    columns[0] = text;
    if let Some(place) = place {
        for (column, field) in columns[1..].iter_mut().zip(answer::FIELDS) {
            *column = place.text(field);
        }
    }
    columns
}

/// Writer of one output format.
enum Rows {
    Table(TableRows),
    Json,
    Tsv,
    Csv,
}

impl Rows {
    fn new(format: Format) -> Self {
        match format {
            Format::Table => Rows::Table(TableRows::default()),
            Format::Json => Rows::Json,
            Format::Tsv => Rows::Tsv,
            Format::Csv => Rows::Csv,
        }
    }

    fn header(&mut self, out: &mut impl Write) -> anyhow::Result<()> {
        match self {
            Rows::Table(table) => table.push(COLUMNS, out)?,
            Rows::Csv => write_csv(out, COLUMNS)?,
            Rows::Json | Rows::Tsv => {}
        }
        Ok(())
    }

    fn print(
        &mut self,
        out: &mut impl Write,
        text: &str,
        address: Option<IpAddr>,
        place: Option<&Place>,
    ) -> anyhow::Result<()> {
        match self {
            Rows::Table(table) => table.push(fields(text, place), out)?,
            Rows::Tsv => write_tsv(out, fields(text, place))?,
            Rows::Csv => write_csv(out, fields(text, place))?,
            Rows::Json => {
                match address.zip(place) {
                    Some((address, place)) => out.write_all(&query::object(address, place))?,
                    None => write!(out, "{}", serde_json::json!({ "ip": text }))?,
                }
                out.write_all(b"\n")?;
            }
        }
        Ok(())
    }

    fn flush(&mut self, out: &mut impl Write) -> anyhow::Result<()> {
        if let Rows::Table(table) = self {
            table.flush(out)?;
        }
        Ok(())
    }
}

/// Writes a row. A tab or a line end within a text would end its field, so it becomes a space;
/// texts from some files contain them.
fn write_tsv(out: &mut impl Write, columns: [&str; 9]) -> std::io::Result<()> {
    for (index, column) in columns.into_iter().enumerate() {
        if index > 0 {
            out.write_all(b"\t")?;
        }
        if column.contains(['\t', '\n', '\r']) {
            out.write_all(column.replace(['\t', '\n', '\r'], " ").as_bytes())?;
        } else {
            out.write_all(column.as_bytes())?;
        }
    }
    out.write_all(b"\n")
}

fn write_csv(out: &mut impl Write, columns: [&str; 9]) -> anyhow::Result<()> {
    let mut row = csv::WriterBuilder::new()
        .buffer_capacity(512)
        .from_writer(out);
    row.write_record(columns)?;
    row.flush()?;
    Ok(())
}

/// Aligned columns. Column widths depend on the rows, so rows are buffered until a page is full;
/// later pages keep the widths of earlier ones where these are wide enough.
#[derive(Default)]
struct TableRows {
    widths: [usize; 9],
    page: Vec<[String; 9]>,
}

const PAGE: usize = 1000;

impl TableRows {
    fn push(&mut self, columns: [&str; 9], out: &mut impl Write) -> std::io::Result<()> {
        for (width, column) in self.widths.iter_mut().zip(columns) {
            *width = (*width).max(column.width());
        }
        self.page.push(columns.map(str::to_owned));
        if self.page.len() < PAGE {
            Ok(())
        } else {
            self.flush(out)
        }
    }

    fn flush(&mut self, out: &mut impl Write) -> std::io::Result<()> {
        let mut line = String::new();
        for row in self.page.drain(..) {
            line.clear();
            columns::push_row(&mut line, &row, &self.widths);
            writeln!(out, "{line}")?;
        }
        Ok(())
    }
}
