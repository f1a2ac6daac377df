//! The next certificates, while the current ones serve.
//!
//! Whoever renews a certificate replaces two files, one after the other. Between the two they do
//! not go together; then, as with anything else that is wrong, the ones before serve on, and the
//! log says so.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use notify::RecommendedWatcher;

use super::watch::{Files, Fingerprint};
use crate::gateway::{Gateway, Tls};

/// What the thread hears.
enum Event {
    /// Something happened where the files are.
    Changed,
    /// Somebody wants it.
    Asked,
}

/// Asks for the certificates to be read again.
#[derive(Clone)]
pub struct CertificateReload(Sender<Event>);

impl CertificateReload {
    /// Reads the files that the settings of now name, and watches them from here on. What comes of
    /// it is in the log.
    pub fn reload(&self) {
        // A thread that has ended needs no telling.
        let _ = self.0.send(Event::Asked);
    }
}

/// Keeps the certificates of `gateway` up to date.
pub fn start(gateway: Arc<Gateway>) -> std::io::Result<CertificateReload> {
    let (events, heard) = channel();
    let thread = std::thread::Builder::new().name("certificates".to_owned());
    let changes = events.clone();
    let watched = Watched::of(&gateway, &changes);
    thread.spawn(move || keep_up(&gateway, watched, &changes, &heard))?;
    Ok(CertificateReload(events))
}

/// The files that are watched, and what they were when they were read last.
struct Watched {
    files: Files,
    known: Vec<Fingerprint>,
    _watcher: Option<RecommendedWatcher>,
}

impl Watched {
    fn of(gateway: &Gateway, events: &Sender<Event>) -> Self {
        let settings = gateway.settings();
        let tls = settings.tls();
        let files = Files::new(tls.map(|tls| tls.files()).unwrap_or_default());
        let watch = tls.is_some_and(|tls| tls.is_watched());
        Watched {
            _watcher: watch.then(|| watcher(&files, events.clone())).flatten(),
            known: files.fingerprints(),
            files,
        }
    }
}

fn watcher(files: &Files, events: Sender<Event>) -> Option<RecommendedWatcher> {
    let watcher = files.watch(move || {
        // Nobody listens any more when the server is on its way out.
        let _ = events.send(Event::Changed);
    });
    watcher
        .inspect_err(|error| log::warn!("certificates are not watched: {error}; HUP reads them"))
        .ok()
}

fn keep_up(
    gateway: &Gateway,
    mut watched: Watched,
    changes: &Sender<Event>,
    events: &Receiver<Event>,
) {
    let mut next = None;
    while let Some(event) = next.take().or_else(|| events.recv().ok()) {
        match event {
            Event::Changed => {
                if watched.files.fingerprints() == watched.known {
                    continue;
                }
                let is_change = |event: &Event| matches!(event, Event::Changed);
                next = watched.files.wait_for_quiet(events, is_change);
                watched.known = watched.files.fingerprints();
            }
            Event::Asked => watched = Watched::of(gateway, changes),
        }
        let tls = gateway.settings().tls().cloned();
        if let Some(tls) = tls {
            reload(&tls);
        }
    }
}

fn reload(tls: &Tls) {
    match tls.reload() {
        Ok(()) => {
            log::info!("certificates were read again");
            tls.warn();
        }
        Err(error) => log::error!("the certificates before serve on: {error}"),
    }
}
