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
    #[structopt(value_name = "FILE", parse(from_os_str), conflicts_with_all = &["config", "nginx"])]
    file: Option<PathBuf>,
    /// Same as FILE
    #[structopt(short, long, value_name = "FILE", parse(from_os_str))]
    config: Option<PathBuf>,
    /// Print the configuration in force, if it has no problem: with defaults and included files, in
    /// the order of the built-in configuration, without secrets
    #[structopt(long)]
    dump: bool,
    /// Print the geogate.toml that is equivalent to this nginx.conf. Exit status: 0 if it is
    /// equivalent, 1 if the file cannot be read, 3 if something cannot be translated exactly; then
    /// the findings are listed with their lines and no configuration is printed
    #[structopt(
        long,
        value_name = "FILE",
        parse(from_os_str),
        conflicts_with_all = &["config", "dump"]
    )]
    nginx: Option<PathBuf>,
    /// With --nginx: print the configuration even if it is not exact, with exit status 0.
    /// Protections that cannot be translated answer 403 in it; comments list all differences
    #[structopt(long, requires = "nginx")]
    allow_lossy: bool,
}

/// Exit status of a translation that is not exact.
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
        match &self.nginx {
            Some(file) => translate(file, self.allow_lossy),
            None => self.check(),
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
    let (lost, differing) = (translation.lost, translation.differing);
    let unlimited = match translation.unlimited {
        0 => String::new(),
        number => format!(", {number} not limited"),
    };
    let protection = format!("{} closed with 403{unlimited}", translation.closed);
    if !translation.is_exact() && !allow_lossy {
        for finding in &translation.findings {
            eprintln!("{finding}");
        }
        eprintln!(
            "geogate: {}: not exact: {protection}, {lost} not carried over, {differing} different. \
             Nothing is printed; --allow-lossy prints the configuration all the same",
            file.display()
        );
        return Ok(ExitCode::from(LOSSY));
    }
    std::io::stdout().write_all(translation.toml.as_bytes())?;
    if !translation.is_exact() {
        eprintln!(
            "geogate: {}: {protection} (see the comments at the head), {lost} not carried over, \
             {differing} different (see the comments at the end)",
            file.display()
        );
    }
    Ok(ExitCode::SUCCESS)
}
