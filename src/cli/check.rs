//! `geogate check`: checks a configuration for everything that `run` would reject, without running
//! it; and translates an nginx.conf into a geogate.toml.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use structopt::StructOpt;

use crate::config::{self, Overrides};
use crate::nginx;
use crate::server;

#[derive(StructOpt, Debug, Default)]
pub(super) struct Check {
    /// Configuration file, or "-" for standard input [default: the built-in configuration]
    #[structopt(value_name = "FILE", parse(from_os_str), conflicts_with = "config")]
    file: Option<PathBuf>,
    /// Same as FILE
    #[structopt(short, long, value_name = "FILE", parse(from_os_str))]
    config: Option<PathBuf>,
    /// Print the configuration in force, if it has no problem: with defaults and included files, in
    /// the order of the built-in configuration, without secrets
    #[structopt(long)]
    dump: bool,
    /// FILE is an nginx.conf: print the geogate.toml that is equivalent to it. Standard error has a line for
    /// each directive: closed, not limited, not carried over, differs, needs nothing, carried over.
    /// Exit status: 0, 1 if the file cannot be read, 3 if something that protects or routes is not
    /// carried over; then no configuration is printed
    #[structopt(long, requires = "file", conflicts_with_all = &["config", "dump"])]
    nginx: bool,
    /// With --nginx: print the configuration in any case, with exit status 0. Protections that cannot
    /// be translated answer 403 in it; comments list all differences
    #[structopt(long, requires = "nginx")]
    allow_lossy: bool,
}

/// Exit status of a translation that lacks something that protects or routes.
const LOSSY: u8 = 3;

impl Check {
    /// Returns the check of a configuration file, or of the built-in configuration.
    pub(super) fn of(config: Option<PathBuf>, dump: bool) -> Self {
        Check {
            config,
            dump,
            ..Check::default()
        }
    }

    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        match &self.file {
            Some(file) if self.nginx => translate(file, self.allow_lossy),
            _ => self.check(),
        }
    }

    fn check(&self) -> anyhow::Result<ExitCode> {
        let file = self.file.as_deref().or(self.config.as_deref());
        let source = if file == Some(Path::new("-")) {
            let text = std::io::read_to_string(std::io::stdin()).context("standard input")?;
            config::Source::of_text(&text, "standard input")
        } else {
            config::Source::read(file)?
        };
        let reading = source.parse(&Overrides::default());
        let mut problems = reading.problems.clone();
        if let (Some(config), Some(document)) = (&reading.config, &reading.document) {
            let checked = server::check(config);
            for note in checked.notes {
                eprintln!("geogate: {note}");
            }
            // An invalid section may have lost entries, and then the indexes in its keys would be
            // wrong.
            let wrong: Vec<_> = problems
                .iter()
                .map(|p| section(&p.key).to_owned())
                .collect();
            let found = checked.problems.into_iter();
            let found = found.filter(|(key, _)| !wrong.iter().any(|wrong| wrong == section(key)));
            problems.extend(found.map(|(key, reason)| document.problem(&key, &reason)));
            problems.sort();
        }
        for problem in &problems {
            eprintln!("{problem}");
        }
        if !problems.is_empty() {
            return Ok(ExitCode::FAILURE);
        }
        if self.dump {
            let dump = reading.dump().unwrap_or_default();
            std::io::stdout().write_all(dump.as_bytes())?;
        } else {
            println!("{}: ok", source.name());
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Returns the first part of a key.
fn section(key: &str) -> &str {
    &key[..key.find(['.', '[']).unwrap_or(key.len())]
}

fn translate(file: &Path, allow_lossy: bool) -> anyhow::Result<ExitCode> {
    let translation = nginx::translate(file)?;
    for line in &translation.report {
        eprintln!("{line}");
    }
    let (file, missing) = (file.display(), translation.lost + translation.absent);
    let summary = format!(
        "{} closed with 403, {} not limited, {missing} not carried over, {} different",
        translation.closed, translation.unlimited, translation.differing
    );
    if !translation.is_complete() && !allow_lossy {
        eprintln!(
            "geogate: {file}: {summary}. Nothing is printed, because something that protects or \
             routes is missing; --allow-lossy prints the configuration all the same"
        );
        return Ok(ExitCode::from(LOSSY));
    }
    eprintln!("geogate: {file}: {summary}");
    std::io::stdout().write_all(translation.toml.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
