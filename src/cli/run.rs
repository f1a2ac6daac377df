//! `geogate run`: runs the gateway.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use structopt::StructOpt;

use super::background::{self, Background};
use super::pid_file::PidFile;
use crate::config::model::{Database, LogTarget};
use crate::config::{self, Config, Overrides};
use crate::server::{self, LoadConfig, NewProcess, Server, Stop};

#[derive(StructOpt, Debug, Default)]
pub(super) struct Run {
    /// Configuration file [default: the built-in configuration]
    #[structopt(short, long, value_name = "FILE", parse(from_os_str))]
    config: Option<PathBuf>,
    /// Address to listen on, instead of the configured ones, e.g. 127.0.0.1:9000; may be repeated
    #[structopt(long, value_name = "ADDR", number_of_values = 1, parse(try_from_str = listen_address))]
    listen: Vec<SocketAddr>,
    /// Peer to balance over, instead of the configured ones, e.g. 127.0.0.1:8080; may be repeated
    #[structopt(long, value_name = "ADDR", number_of_values = 1)]
    upstream: Vec<String>,
    /// Database to use, instead of the configured ones, or "embedded"; may be repeated, highest
    /// priority first
    #[structopt(long, value_name = "FILE", number_of_values = 1, parse(from_os_str = super::database))]
    db: Vec<Database>,
    /// Take over the listeners of the running process, which stops on SIGQUIT
    #[structopt(long)]
    upgrade: bool,
    /// Run in the background; returns when the gateway listens, or, with --upgrade, when it waits
    /// for the listeners
    #[structopt(long)]
    daemon: bool,
    #[structopt(long = "in-background", hidden = true)]
    in_background: bool,
}

fn listen_address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not an IP address with a port, such as 127.0.0.1:9000"))
}

impl Run {
    /// Returns the configuration file of `-c`.
    pub(super) fn into_config(self) -> Option<PathBuf> {
        self.config
    }

    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        if self.daemon && !self.in_background {
            return background::start().context("cannot go into the background");
        }
        let start = Instant::now();
        let background = self.in_background.then(Background::enter).transpose()?;
        let stop = Stop::signals().context("signals")?;
        // Another file may have the name later, and the system would then report this one as
        // deleted.
        let program = std::env::current_exe().context("the program's own file")?;
        let config = self.loader()()?;
        if background.is_some() {
            warn_of_lost_logs(&config);
        }
        let _last_messages = server::start_error_log(&config.error_log).context("error log")?;
        log::info!("starting geogate {}", env!("CARGO_PKG_VERSION"));
        let (listen, upstreams) = (config.server.listen.clone(), config.upstreams.clone());
        let pid_path = background.is_some().then(|| config.server.pid_file.clone());
        let server = match Server::prepare(config, self.upgrade) {
            Ok(server) => server
                .reloading(self.loader())
                .upgrading(new_process(program)),
            Err(error) => {
                // Also in the log, because the terminal may be unattended.
                if background.is_some() {
                    log::error!("{error}");
                }
                return Err(error.into());
            }
        };
        if self.upgrade {
            background.iter().for_each(Background::ready);
        }
        let workers = server.workers();
        let mut pid_file = None;
        server.run(stop, || {
            if let Some(path) = &pid_path {
                pid_file = PidFile::write(path)
                    .inspect_err(|error| log::error!("pid file {}: {error}", path.display()))
                    .ok();
            }
            let addresses: Vec<_> = listen.iter().map(|l| l.address.to_string()).collect();
            log::info!(
                "listening on {} with {workers} workers after {} ms",
                addresses.join(", "),
                start.elapsed().as_millis()
            );
            if upstreams.is_empty() {
                log::info!("no upstream: everything but IP queries is answered with 404");
            }
            for upstream in upstreams {
                let peers = upstream.peers.iter().map(|peer| peer.address.to_string());
                let peers = peers.collect::<Vec<_>>().join(", ");
                log::info!("upstream {:?}: {peers}", upstream.name);
            }
            if !self.upgrade {
                background.iter().for_each(Background::ready);
            }
        })?;
        drop(pid_file);
        log::info!("stopped");
        Ok(ExitCode::SUCCESS)
    }

    /// Returns the function that reads the configuration, now and at every reload; the command line
    /// overrides the file.
    fn loader(&self) -> LoadConfig {
        let overrides = Overrides {
            listen: self.listen.clone(),
            upstream: self.upstream.clone(),
            databases: self.db.clone(),
        };
        let file = self.config.clone();
        Box::new(move || config::load(file.as_deref(), &overrides))
    }
}

/// Returns the command of this process, with `--upgrade`. It runs the file that has the program's
/// name at that time.
fn new_process(program: PathBuf) -> NewProcess {
    Box::new(move || {
        let mut command = std::process::Command::new(&program);
        command.args(successor_arguments(std::env::args_os().skip(1)));
        command
    })
}

/// Returns the arguments of the process that takes over, from those of this process. A background
/// process starts another one in the background by `--daemon`, so [`background::FLAG`] is removed.
fn successor_arguments(own: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<_> = own
        .filter(|argument| argument != background::FLAG)
        .collect();
    if arguments.is_empty() {
        arguments.push("run".into());
    }
    if !arguments.iter().any(|argument| argument == "--upgrade") {
        arguments.push("--upgrade".into());
    }
    arguments
}

fn warn_of_lost_logs(config: &Config) {
    for (log, target) in [
        ("access_log", &config.access_log.target),
        ("error_log", &config.error_log.target),
    ] {
        if *target == LogTarget::Standard {
            eprintln!("geogate: {log}.target is \"standard\": in the background nobody sees it");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(own: &[&str], expected: &[&str]) {
        assert_eq!(
            successor_arguments(own.iter().map(OsString::from)),
            expected
        );
    }

    #[test]
    fn the_process_that_takes_over_has_the_arguments_of_this_one() {
        check(&[], &["run", "--upgrade"]);
        check(&["-c", "a.toml"], &["-c", "a.toml", "--upgrade"]);
        check(&["run", "--upgrade"], &["run", "--upgrade"]);
        check(
            &["run", "--daemon", background::FLAG],
            &["run", "--daemon", "--upgrade"],
        );
    }
}
