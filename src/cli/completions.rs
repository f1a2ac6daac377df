//! `geogate completions`: completion scripts for shells.

use structopt::StructOpt;
use structopt::clap::Shell;

#[derive(StructOpt, Debug)]
pub(super) struct Completions {
    /// Shell to complete for
    #[structopt(possible_values = &Shell::variants(), case_insensitive = true)]
    shell: Shell,
}

impl Completions {
    pub(super) fn execute(self) {
        let mut app = super::Arguments::clap();
        app.gen_completions_to("geogate", self.shell, &mut std::io::stdout());
    }
}
