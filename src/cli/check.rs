//! `geogate check`: everything that `run` would refuse, without running; and what an nginx.conf is in
//! geogate's words.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use structopt::StructOpt;

use crate::config::model::LogTarget;
use crate::config::{self, Overrides};
use crate::gateway::Settings;
use crate::nginx;
use crate::server;

#[derive(StructOpt, Debug)]
pub(super) struct Check {
    /// Configuration file [default: the built-in configuration]
    #[structopt(short, long, value_name = "FILE", parse(from_os_str))]
    config: Option<PathBuf>,
    /// Print the geogate.toml that does what this nginx.conf does. Exit status: 0 if it does, 1 if the
    /// file cannot be read, 3 if something cannot be carried over exactly; then the findings are
    /// listed with their lines and nothing is printed
    #[structopt(
        long,
        value_name = "FILE",
        parse(from_os_str),
        conflicts_with = "config"
    )]
    nginx: Option<PathBuf>,
    /// With --nginx: print the configuration even if it is not exact, with exit status 0. What
    /// protects and cannot be carried over answers 403 in it; comments list all differences
    #[structopt(long, requires = "nginx")]
    allow_lossy: bool,
}

/// Exit status of a translation that is not exact.
const LOSSY: u8 = 3;

impl Check {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        match &self.nginx {
            Some(file) => translate(file, self.allow_lossy),
            None => Ok(self.check()),
        }
    }

    fn check(self) -> ExitCode {
        let config = match config::load(self.config.as_deref(), &Overrides::default()) {
            Ok(config) => config,
            Err(error) => {
                // Every problem stands on a line of its own, which begins with the file.
                eprintln!("{error}");
                return ExitCode::FAILURE;
            }
        };
        let mut problems = Vec::new();
        match server::check_databases(&config.databases, &config.geo) {
            Ok(left_out) => {
                for url in left_out {
                    eprintln!("geogate: {url} is not here yet; `geogate run` fetches it");
                }
            }
            Err(error) => problems.push(error.to_string()),
        }
        // As `nginx -t`, it makes log files that are not there.
        match Settings::new(&config, None) {
            Ok(settings) => {
                for name in settings.pools().iter().flat_map(|pool| pool.unresolved()) {
                    eprintln!("geogate: {name} cannot be resolved; `geogate run` asks again");
                }
                let warnings = settings.tls().map(|tls| tls.warnings());
                for warning in warnings.unwrap_or_default() {
                    eprintln!("geogate: {warning}");
                }
            }
            Err(error) => problems.push(error.to_string()),
        }
        if let LogTarget::File(file) = &config.error_log.target
            && let Err(error) = server::open_error_log(file)
        {
            problems.push(format!("error log {}: {error}", file.display()));
        }
        for problem in &problems {
            eprintln!("geogate: {problem}");
        }
        if !problems.is_empty() {
            return ExitCode::FAILURE;
        }
        let name = self.config.map(|file| file.display().to_string());
        println!(
            "{}: ok",
            name.as_deref().unwrap_or("built-in configuration")
        );
        ExitCode::SUCCESS
    }
}

fn translate(file: &Path, allow_lossy: bool) -> anyhow::Result<ExitCode> {
    let translation = nginx::translate(file)?;
    let (closed, lost, differing) = (
        translation.closed,
        translation.lost,
        translation.differing,
    );
    if !translation.is_exact() && !allow_lossy {
        for finding in &translation.findings {
            eprintln!("{finding}");
        }
        eprintln!(
            "geogate: {}: not exact: {closed} closed with 403, {lost} not carried over, {differing} \
             different. Nothing is printed; --allow-lossy prints the configuration all the same",
            file.display()
        );
        return Ok(ExitCode::from(LOSSY));
    }
    std::io::stdout().write_all(translation.toml.as_bytes())?;
    if !translation.is_exact() {
        eprintln!(
            "geogate: {}: {closed} closed with 403 (see the comments at the head), {lost} not carried \
             over, {differing} different (see the comments at the end)",
            file.display()
        );
    }
    Ok(ExitCode::SUCCESS)
}
