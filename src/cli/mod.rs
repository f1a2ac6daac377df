//! The command line: one file a subcommand.

mod background;
mod check;
mod columns;
mod completions;
mod db;
mod lookup;
mod pid_file;
mod run;
mod schema;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use structopt::StructOpt;
use structopt::clap::AppSettings;

use crate::config::model::{Database, Geo};
use crate::geo::format::Languages;
use crate::geo::{Names, Regions};

/// Exit status of an invalid command line, as in shells and most programs.
const USAGE: u8 = 2;

/// Reverse proxy, load balancer and IP location service in one binary, which knows where each
/// client is. Without a command it runs the gateway, with the options of `run`.
#[derive(StructOpt, Debug)]
#[structopt(
    name = "geogate",
    global_settings = &[AppSettings::VersionlessSubcommands, AppSettings::UnifiedHelpMessage],
    setting = AppSettings::ArgsNegateSubcommands
)]
struct Arguments {
    /// Check the configuration and everything that it names, as `check` does
    #[structopt(short = "t")]
    test: bool,
    /// Check the configuration and print what is in force, as `check --dump` does
    #[structopt(short = "T")]
    test_and_dump: bool,
    #[structopt(flatten)]
    run: run::Run,
    #[structopt(subcommand)]
    command: Option<Command>,
}

#[derive(StructOpt, Debug)]
enum Command {
    /// Run the gateway
    Run(run::Run),
    /// Check a configuration and everything that it names
    Check(check::Check),
    /// Look up addresses
    Lookup(lookup::Lookup),
    /// Work with databases
    Db(db::Db),
    /// Print the JSON Schema of the configuration, for editors
    Schema(schema::Schema),
    /// Print a completion script for a shell
    Completions(completions::Completions),
}

/// Flags that select the databases of a command, which are merged into one.
#[derive(StructOpt, Debug)]
struct DatabaseFlags {
    /// Database file of any supported format, or "embedded"; may be repeated, highest priority
    /// first [default: embedded]
    #[structopt(long = "db", value_name = "FILE", number_of_values = 1, parse(from_os_str = database))]
    databases: Vec<Database>,
    #[structopt(flatten)]
    reading: ReadingFlags,
    /// Show names as the database writes them
    #[structopt(long)]
    raw_names: bool,
}

/// Flags for reading databases.
#[derive(StructOpt, Debug)]
struct ReadingFlags {
    /// Folder with custom `country_list.txt`, `china_province_code.txt`, `china_city_code.txt`
    #[structopt(long, value_name = "DIR", parse(from_os_str))]
    codes: Option<PathBuf>,
    /// Languages of names in databases that have several, best first [default: zh-CN,en]
    #[structopt(long, value_name = "LIST", use_delimiter = true, number_of_values = 1)]
    languages: Vec<String>,
    /// Country code of Hong Kong, Macau and Taiwan: iso (HK, MO, TW) or china (CN)
    #[structopt(long, value_name = "CODES", default_value = "iso", possible_values = &["iso", "china"])]
    regions: String,
}

impl DatabaseFlags {
    /// Returns the databases of `--db`, or the embedded one.
    fn databases(&self) -> Vec<Database> {
        self.databases_or(&[])
    }

    /// Returns the databases that a command names without a flag, or those of `--db`, or the
    /// embedded one.
    fn databases_or(&self, named: &[Database]) -> Vec<Database> {
        match (named, &self.databases[..]) {
            ([], []) => vec![Database::Embedded],
            ([], flags) => flags.to_vec(),
            (named, _) => named.to_vec(),
        }
    }

    fn geo(&self) -> Geo {
        self.reading.geo(if self.raw_names {
            Names::Raw
        } else {
            Names::Canonical
        })
    }
}

impl ReadingFlags {
    fn geo(&self, names: Names) -> Geo {
        Geo {
            codes: self.codes.clone(),
            names,
            regions: match self.regions.as_str() {
                "china" => Regions::China,
                _ => Regions::Iso,
            },
            languages: if self.languages.is_empty() {
                Languages::default()
            } else {
                Languages::new(self.languages.clone())
            },
            watch: false,
            max_shrinkage: 1.0,
            probes: Vec::new(),
        }
    }
}

/// Parses the name of a database on the command line. A file called "embedded" is written
/// `./embedded`.
fn database(name: &std::ffi::OsStr) -> Database {
    if name == "embedded" {
        Database::Embedded
    } else {
        Database::File(name.into())
    }
}

/// Parses a count on the command line.
fn count(text: &str) -> Result<usize, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not a count, such as 10"))
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::from_iter_safe(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() => {
            // The reader may have closed the pipe.
            let _ = writeln!(std::io::stderr(), "{}", error.message);
            return ExitCode::from(USAGE);
        }
        // The error is a request for the help or the version.
        Err(error) => {
            let _ = writeln!(std::io::stdout(), "{}", error.message);
            return ExitCode::SUCCESS;
        }
    };
    let command = match arguments.command {
        Some(command) => command,
        None if arguments.test || arguments.test_and_dump => {
            let config = arguments.run.into_config();
            Command::Check(check::Check::of(config, arguments.test_and_dump))
        }
        None => Command::Run(arguments.run),
    };
    let result = match command {
        Command::Run(command) => command.execute(),
        Command::Check(command) => command.execute(),
        Command::Lookup(command) => command.execute(),
        Command::Db(command) => command.execute(),
        Command::Schema(command) => command.execute(),
        Command::Completions(command) => {
            command.execute();
            Ok(ExitCode::SUCCESS)
        }
    };
    result.unwrap_or_else(|error| {
        if is_closed_pipe(&error) {
            // A closed pipe, as in `geogate lookup | head`, is no error.
            return ExitCode::SUCCESS;
        }
        eprintln!("geogate: {}", message(&error));
        ExitCode::FAILURE
    })
}

/// Formats an error with its causes, except causes that its text already includes.
fn message(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |message, cause| {
        let cause = cause.to_string();
        match message.as_str() {
            "" => cause,
            told if told.contains(&cause) => message,
            _ => format!("{message}: {cause}"),
        }
    })
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
