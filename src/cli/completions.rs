//! `geogate completions`: what a shell needs to complete the command line.

use structopt::StructOpt;
use structopt::clap::Shell;

#[derive(StructOpt, Debug)]
pub(super) struct Completions {
    /// The shell
    #[structopt(possible_values = &Shell::variants(), case_insensitive = true)]
    shell: Shell,
}

impl Completions {
    pub(super) fn execute(self) {
        let mut app = super::Arguments::clap();
        app.gen_completions_to("geogate", self.shell, &mut std::io::stdout());
    }
}
