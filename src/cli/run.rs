//! `geogate run`: the gateway itself.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use structopt::StructOpt;

use super::Command;
use crate::config::model::{Database, LogTarget};
use crate::config::{self, Config, Overrides};
use crate::server::{self, LoadConfig, NewProcess, Server, Stop};

#[derive(StructOpt, Debug, Default)]
pub(super) struct Run {
    /// Configuration file [default: the built-in configuration]
    #[structopt(short, long, value_name = "FILE", parse(from_os_str))]
    config: Option<PathBuf>,
    /// Listen here instead, e.g. 127.0.0.1:9000; may be repeated
    #[structopt(long, value_name = "ADDR", number_of_values = 1)]
    listen: Vec<SocketAddr>,
    /// Balance over these peers instead, e.g. 127.0.0.1:8080; may be repeated
    #[structopt(long, value_name = "ADDR", number_of_values = 1)]
    upstream: Vec<String>,
    /// Use this database instead, or "embedded"; may be repeated, highest layer first
    #[structopt(long, value_name = "FILE", number_of_values = 1, parse(from_os_str = super::database))]
    db: Vec<Database>,
    /// Take over the listeners of the process that runs now, which leaves on SIGQUIT
    #[structopt(long)]
    upgrade: bool,
    /// Run in the background
    #[structopt(long)]
    daemon: bool,
}

/// `geogate` alone is `geogate run`.
pub(super) fn by_default() -> Command {
    Command::Run(Run::default())
}

impl Run {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        let start = Instant::now();
        let stop = Stop::signals().context("signals")?;
        // Later it may be another file that has the name, and the system would call this one deleted.
        let program = std::env::current_exe().context("the program's own file")?;
        let config = self.loader()()?;
        if self.daemon {
            self.check_before_leaving(&config)?;
            leave_the_terminal(&config)?;
        }
        let _last_messages = server::start_error_log(&config.error_log).context("error log")?;
        log::info!("starting geogate {}", env!("CARGO_PKG_VERSION"));
        let (listen, upstreams) = (config.server.listen.clone(), config.upstreams.clone());
        let (workers, pid_file) = (config.server.workers, config.server.pid_file.clone());
        let server = match Server::prepare(config, self.upgrade) {
            Ok(server) => server
                .reloading(self.loader())
                .upgrading(new_process(program)),
            Err(error) => {
                // In the background the log is the only place where anyone could read it.
                if self.daemon {
                    log::error!("{error}");
                }
                return Err(error.into());
            }
        };
        let pid_file = self.daemon.then_some(pid_file);
        server.run(stop, || {
            if let Some(Err(error)) = pid_file.as_deref().map(write_pid) {
                log::error!("pid file: {error}");
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
        })?;
        log::info!("stopped");
        Ok(ExitCode::SUCCESS)
    }

    /// Reads the file, now and at every reload, with the command line above it.
    fn loader(&self) -> LoadConfig {
        let overrides = Overrides {
            listen: self.listen.clone(),
            upstream: self.upstream.clone(),
            databases: self.db.clone(),
        };
        let file = self.config.clone();
        Box::new(move || config::load(file.as_deref(), &overrides))
    }

    /// Everything that can be wrong is said while the terminal is still there.
    fn check_before_leaving(&self, config: &Config) -> anyhow::Result<()> {
        Server::prepare(config.clone(), self.upgrade)?;
        Ok(())
    }
}

/// The command of this process, with `--upgrade`: whatever has the program's name by then.
fn new_process(program: PathBuf) -> NewProcess {
    Box::new(move || {
        let mut arguments: Vec<_> = std::env::args_os().skip(1).collect();
        if arguments.is_empty() {
            arguments.push("run".into());
        }
        if !arguments.iter().any(|argument| argument == "--upgrade") {
            arguments.push("--upgrade".into());
        }
        let mut command = std::process::Command::new(&program);
        command.args(arguments);
        command
    })
}

/// Goes into the background. It comes before any thread is started: a fork takes only one along.
fn leave_the_terminal(config: &Config) -> anyhow::Result<()> {
    let pid_file = &config.server.pid_file;
    if let Some(folder) = pid_file.parent() {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    for (log, target) in [
        ("access_log", &config.access_log.target),
        ("error_log", &config.error_log.target),
    ] {
        if *target == LogTarget::Standard {
            eprintln!("geogate: {log}.target is \"standard\": in the background nobody sees it");
        }
    }
    let daemon = daemonize::Daemonize::new().working_directory(std::env::current_dir()?);
    daemon.start().context("cannot go into the background")
}

/// Replaces the pid file: in an upgrade there is the one of the process before.
fn write_pid(file: &Path) -> std::io::Result<()> {
    let new = file.with_extension("new");
    std::fs::write(&new, format!("{}\n", std::process::id()))?;
    std::fs::rename(&new, file)
}
