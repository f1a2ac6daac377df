//! Check of everything that a start would reject, without starting and without creating any file.
//!
//! A start ends at the first error. Here each item is checked by itself, so that an operator can
//! fix all errors at once.

use std::fmt;
use std::path::Path;

use rustix::fs::{Access, access};

use crate::config::Config;
use crate::config::model::{
    self, AccessLog, Action, Database, ExtraLog, LogTarget, Upstream, UpstreamTls,
};
use crate::gateway::Settings;
use crate::gateway::listener::tls::Tls;
use crate::gateway::listener::tls::TlsError;
use crate::gateway::upstream::{Transport, TransportError};
use crate::server::{database, handover, listen};

/// Results of a check.
#[derive(Default)]
pub struct Checked {
    /// Problems: the key of the faulty item, such as `tls.certificates[0].key`, and the reason.
    pub problems: Vec<(String, String)>,
    /// Notes that the operator should read, although they are no errors.
    pub notes: Vec<String>,
}

/// Checks everything that a configuration names.
#[must_use]
pub fn check(config: &Config) -> Checked {
    let mut checked = Checked::default();
    checked.listeners(config);
    if let Err(error) = handover::check_folder_of(&config.server.upgrade_socket) {
        checked.problem("server.upgrade_socket", error);
    }
    if let Some(tls) = &config.tls {
        checked.tls(tls);
    }
    for (number, upstream) in config.upstreams.iter().enumerate() {
        checked.upstream(number, upstream);
    }
    for (number, route) in config.routes.iter().enumerate() {
        if let Action::Files { files, .. } = &route.action {
            let key = format!("route[{number}].files.root");
            checked.note_wrong(&key, folder(&files.root, Access::EXEC_OK));
        }
    }
    if let Some(page) = &config.error_page {
        checked.note_wrong("error_page.file", readable(page));
    }
    checked.note_wrong("access_log.target", log(&config.access_log.target));
    for (number, extra) in config.extra_logs.iter().enumerate() {
        let key = format!("extra_log[{number}].target");
        checked.note_wrong(&key, log(&extra.log.target));
    }
    checked.note_wrong("error_log.target", log(&config.error_log.target));
    checked.databases(config);
    if checked.problems.is_empty() {
        checked.together(config);
    }
    checked
}

impl Checked {
    fn problem(&mut self, key: impl Into<String>, reason: impl fmt::Display) {
        self.problems.push((key.into(), reason.to_string()));
    }

    fn note_wrong(&mut self, key: &str, result: Result<(), String>) -> bool {
        let is_right = result.is_ok();
        if let Err(reason) = result {
            self.problem(key, reason);
        }
        is_right
    }

    fn listeners(&mut self, config: &Config) {
        let server = config.server.listen.iter().map(|listener| listener.address);
        let server = server
            .enumerate()
            .map(|(number, address)| ("server", number, address));
        let admin = config.admin.listen.iter().copied().enumerate();
        let admin = admin.map(|(number, address)| ("admin", number, address));
        for (section, number, address) in server.chain(admin) {
            if let Err(error) = listen::could_be_had(address) {
                let key = format!("{section}.listen[{number}]");
                self.problem(key, format!("cannot listen on {address}: {error}"));
            }
        }
    }

    fn tls(&mut self, tls: &model::Tls) {
        for (number, pair) in tls.certificates.iter().enumerate() {
            let key = |file: &str| format!("tls.certificates[{number}].{file}");
            let chain = self.note_wrong(&key("cert"), readable(&pair.chain));
            let secret = self.note_wrong(&key("key"), readable(&pair.key));
            if !chain || !secret {
                continue;
            }
            let alone = model::Tls {
                certificates: vec![pair.clone()],
                client_auth: None,
                ..tls.clone()
            };
            match Tls::load(&alone, None) {
                Ok(_) => {}
                Err(TlsError::Chain { file, reason, .. }) => {
                    self.problem(key("cert"), format!("{}: {reason}", file.display()));
                }
                Err(TlsError::Key { file, reason, .. }) => {
                    self.problem(key("key"), format!("{}: {reason}", file.display()));
                }
                Err(error) => self.problem("tls", error),
            }
        }
        if let Some(auth) = &tls.client_auth
            && self.note_wrong("tls.client_ca", readable(&auth.ca_file))
        {
            let alone = model::Tls {
                certificates: Vec::new(),
                ..tls.clone()
            };
            if let Err(TlsError::Authorities { file, reason }) = Tls::load(&alone, None) {
                self.problem("tls.client_ca", format!("{}: {reason}", file.display()));
            }
        }
    }

    fn upstream(&mut self, number: usize, upstream: &Upstream) {
        let Some(tls) = &upstream.tls else { return };
        let key = |name: &str| format!("upstream[{number}].{name}");
        let mut alone = Vec::new();
        if let Some(file) = &tls.ca_file
            && self.note_wrong(&key("ca_file"), readable(file))
        {
            alone.push(UpstreamTls {
                client: None,
                ..tls.clone()
            });
        }
        if let Some((cert, secret)) = &tls.client {
            let cert = self.note_wrong(&key("client_cert"), readable(cert));
            let secret = self.note_wrong(&key("client_key"), readable(secret));
            if cert && secret {
                alone.push(UpstreamTls {
                    ca_file: None,
                    ..tls.clone()
                });
            }
        }
        for tls in alone {
            let upstream = Upstream {
                tls: Some(tls),
                ..upstream.clone()
            };
            if let Err(TransportError {
                key: name,
                file,
                reason,
                ..
            }) = Transport::load(&upstream)
            {
                self.problem(key(name), format!("{}: {reason}", file.display()));
            }
        }
    }

    fn databases(&mut self, config: &Config) {
        for (number, source) in config.databases.iter().enumerate() {
            let Database::Published(published) = source else {
                continue;
            };
            if let Some(file) = &published.ca_file {
                self.note_wrong(&format!("database[{number}].ca_file"), readable(file));
            }
            if !published.file.exists() {
                let folder = folder_of(&published.file);
                let writable = self::folder(folder, Access::WRITE_OK | Access::EXEC_OK);
                self.note_wrong(&format!("database[{number}].file"), writable);
            }
        }
        let found = database::check(&config.databases, &config.geo);
        for (key, error) in found.problems {
            // A published database may have reported this file already.
            if self.problems.iter().all(|(other, _)| *other != key) {
                self.problem(key, error);
            }
        }
        for url in found.left_out {
            let note = format!("{url} is not here yet; `geogate run` fetches it");
            self.notes.push(note);
        }
    }

    /// Builds the settings as a start does, with access logging off so that no log file is written.
    fn together(&mut self, config: &Config) {
        let silent = |log: &AccessLog| AccessLog {
            target: LogTarget::Off,
            ..log.clone()
        };
        let extra = config.extra_logs.iter().map(|extra| ExtraLog {
            name: extra.name.clone(),
            log: silent(&extra.log),
        });
        let silent = Config {
            access_log: silent(&config.access_log),
            extra_logs: extra.collect(),
            ..config.clone()
        };
        match Settings::new(&silent, None) {
            Ok(settings) => {
                for name in settings.pools().iter().flat_map(|pool| pool.unresolved()) {
                    let note = format!("{name} cannot be resolved; `geogate run` asks again");
                    self.notes.push(note);
                }
                let warnings = settings.tls().map(|tls| tls.warnings());
                self.notes.extend(warnings.unwrap_or_default());
                let users = settings.rules().auth().iter();
                self.notes.extend(users.filter_map(|set| set.warning()));
            }
            Err(error) => self.problem("", error),
        }
    }
}

fn readable(file: &Path) -> Result<(), String> {
    let named = |reason: &dyn fmt::Display| format!("{}: {reason}", file.display());
    if file.is_dir() {
        return Err(named(&"is a folder"));
    }
    access(file, Access::READ_OK).map_err(|error| named(&std::io::Error::from(error)))
}

/// Checks the target of a log. A missing log file is fine if it can be created in its folder.
fn log(target: &LogTarget) -> Result<(), String> {
    let LogTarget::File(file) = target else {
        return Ok(());
    };
    if file.is_dir() {
        return Err(format!("{}: is a folder", file.display()));
    }
    // A link may lead to a file that does not exist yet.
    if file.exists() || file.is_symlink() {
        let writable = access(file, Access::WRITE_OK);
        return match writable {
            Err(rustix::io::Errno::NOENT) | Ok(()) => Ok(()),
            Err(error) => Err(format!(
                "{}: {}",
                file.display(),
                std::io::Error::from(error)
            )),
        };
    }
    folder(folder_of(file), Access::WRITE_OK | Access::EXEC_OK)
}

fn folder(folder: &Path, wanted: Access) -> Result<(), String> {
    let named = |reason: &dyn fmt::Display| format!("{}: {reason}", folder.display());
    match std::fs::metadata(folder) {
        Ok(data) if !data.is_dir() => Err(named(&"is no folder")),
        Ok(_) => access(folder, wanted).map_err(|error| named(&std::io::Error::from(error))),
        Err(error) => Err(named(&error)),
    }
}

fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
