//! `geogate schema`: the JSON Schema of the configuration.

use std::io::Write as _;
use std::process::ExitCode;

use structopt::StructOpt;

use crate::config;

#[derive(StructOpt, Debug)]
pub(super) struct Schema {}

impl Schema {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        let Schema {} = self;
        std::io::stdout().write_all(config::schema().as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}
