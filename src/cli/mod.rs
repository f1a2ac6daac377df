//! The command line: one file a subcommand.

mod check;
mod completions;
mod db;
mod lookup;
mod run;

use std::path::PathBuf;
use std::process::ExitCode;

use structopt::StructOpt;
use structopt::clap::AppSettings;

/// An edge gateway that knows where its clients are: reverse proxy, load balancer and IP location
/// service in one binary. Without a command it runs.
#[derive(StructOpt, Debug)]
#[structopt(
    name = "geogate",
    global_settings = &[AppSettings::VersionlessSubcommands, AppSettings::UnifiedHelpMessage]
)]
struct Arguments {
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
    /// Print a completion script for a shell
    Completions(completions::Completions),
}

/// Which database a command works on.
#[derive(StructOpt, Debug)]
struct DatabaseFlags {
    /// Database file of any known format [default: the embedded database]
    #[structopt(long = "db", value_name = "FILE", parse(from_os_str))]
    file: Option<PathBuf>,
    /// Folder with your own `country_list.txt`, `china_province_code.txt`, `china_city_code.txt`
    #[structopt(long, value_name = "DIR", parse(from_os_str))]
    codes: Option<PathBuf>,
    /// Show names as the database writes them
    #[structopt(long)]
    raw_names: bool,
}

impl DatabaseFlags {
    fn config(&self) -> crate::config::model::Database {
        crate::config::model::Database {
            file: self.file.clone(),
            codes: self.codes.clone(),
            names: if self.raw_names {
                crate::geo::Names::Raw
            } else {
                crate::geo::Names::Canonical
            },
        }
    }
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let result = match arguments.command.unwrap_or_else(run::by_default) {
        Command::Run(command) => command.execute(),
        Command::Check(command) => Ok(command.execute()),
        Command::Lookup(command) => command.execute(),
        Command::Db(command) => command.execute(),
        Command::Completions(command) => {
            command.execute();
            Ok(ExitCode::SUCCESS)
        }
    };
    result.unwrap_or_else(|error| {
        if is_closed_pipe(&error) {
            // `geogate lookup | head` is no error.
            return ExitCode::SUCCESS;
        }
        eprintln!("geogate: {}", message(&error));
        ExitCode::FAILURE
    })
}

/// An error with its causes, except those that it has told itself.
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
