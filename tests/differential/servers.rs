//! The two servers: Debian's nginx, and geogate with its own translation of the same file.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::stage::Stage;

/// A running server, which ends with this value.
pub struct Server(Child);

/// Translation of a file.
pub struct Translation {
    /// Exit status of `geogate check --nginx FILE`.
    pub status: i32,
    pub toml: String,
    /// Directives of the report, with the line and the outcome of each.
    pub report: Vec<Reported>,
}

/// Line of the translation's report.
#[derive(Debug)]
pub struct Reported {
    pub line: usize,
    pub outcome: String,
    pub text: String,
}

impl Translation {
    /// Lines of the report about directives that do not do here what they do in nginx.
    pub fn findings(&self) -> impl Iterator<Item = &Reported> {
        self.report.iter().filter(|line| line.is_finding())
    }

    /// Lines of the file with such directives.
    pub fn finding_lines(&self) -> BTreeSet<usize> {
        self.findings().map(|line| line.line).collect()
    }
}

impl Reported {
    fn is_finding(&self) -> bool {
        !matches!(self.outcome.as_str(), "carried over" | "needs nothing")
    }
}

/// Starts Debian's nginx; an error is its last message.
pub fn nginx(stage: &Stage) -> Result<Server, String> {
    let folder = stage.folder.path().display();
    let globals =
        format!("daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr notice;");
    // Debian's is in a folder that a user's PATH may lack.
    let known = ["/usr/sbin/nginx", "/usr/bin/nginx"]
        .iter()
        .find(|path| Path::new(path).exists());
    let mut command = Command::new(known.unwrap_or(&"nginx"));
    command.args([
        "-e",
        "stderr",
        "-g",
        &globals,
        "-p",
        &folder.to_string(),
        "-c",
    ]);
    command.arg(&stage.file);
    // It opens its listeners before its event loop.
    Server::start(&mut command, "event method")
}

/// Translates the stage's file with geogate.
pub fn translate(stage: &Stage) -> Result<Translation, String> {
    let check = |more: &[&str]| {
        let mut command = geogate();
        command
            .args(["check", "--nginx"])
            .args(more)
            .arg(&stage.file);
        command.output().unwrap()
    };
    let status = check(&[]).status.code().unwrap();
    let output = check(&["--allow-lossy"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return Err(said);
    }
    let file = format!("{}:", stage.file.display());
    let report = said.lines().filter_map(|line| {
        let (line, rest) = line.strip_prefix(&file)?.split_once(": ")?;
        let (outcome, text) = rest.split_once(": ")?;
        Some(Reported {
            line: line.parse().ok()?,
            outcome: outcome.to_owned(),
            text: text.to_owned(),
        })
    });
    Ok(Translation {
        status,
        toml: String::from_utf8(output.stdout).unwrap(),
        report: report.collect(),
    })
}

/// Starts geogate with a translation, and with a small database instead of the embedded one.
pub fn start_geogate(stage: &Stage, translation: &Translation) -> Result<Server, String> {
    let folder = stage.folder.path().display();
    let own = format!("[server]\nupgrade_socket = '{folder}/upgrade.sock'\n");
    let toml = translation.toml.replacen("[server]\n", &own, 1);
    let csv = stage.folder.path().join("small.csv");
    std::fs::write(&csv, "cidr,country\n1.0.0.0/8,中国\n").unwrap();
    let toml = format!("{toml}\n[[database]]\nfile = '{}'\n", csv.display());
    let config = stage.folder.path().join("geogate.toml");
    std::fs::write(&config, toml).unwrap();
    let mut command = geogate();
    command
        .args(["run", "-c"])
        .arg(&config)
        .current_dir(stage.folder.path());
    Server::start(&mut command, "listening on")
}

fn geogate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_geogate"));
    command.env_remove("RUST_LOG");
    command
}

impl Server {
    /// Starts a server, and waits for the line of its log which says that it listens.
    fn start(command: &mut Command, listens: &str) -> Result<Server, String> {
        let spawned = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.map_err(|error| {
            format!(
                "{}: {error}; Debian's nginx is needed: apt-get install nginx",
                command.get_program().display()
            )
        })?;
        let mut messages = BufReader::new(child.stderr.take().unwrap());
        let mut text = String::new();
        while !text
            .lines()
            .last()
            .is_some_and(|line| line.contains(listens))
        {
            if messages.read_line(&mut text).unwrap() == 0 {
                let _ = child.wait();
                return Err(text);
            }
        }
        // A full pipe would stop the server.
        std::thread::spawn(move || std::io::copy(&mut messages, &mut std::io::sink()));
        Ok(Server(child))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
