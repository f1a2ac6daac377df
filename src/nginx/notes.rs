//! Notes on the outcome of each directive. No directive is dropped silently: one that no part of
//! the translation has handled is reported, too.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::document::Origin;
use super::place::Place;
use super::tree::Directive;

/// Text of a directive, and the positions where it occurs.
type Said<'n> = (&'n str, Vec<&'n Place>);

/// Outcome of a directive that is not simply carried over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fate {
    /// The directive protects something and is not in the result. What it protects answers 403.
    Closed,
    /// The directive limits requests and is not in the result. What it limits has no such limit.
    Unlimited,
    /// The directive routes requests or changes responses, and is not in the result.
    Lost,
    /// The directive is not in the result, and neither protects nor routes: a cache, a trailer.
    Absent,
    /// The directive is in the result, with a slightly different meaning.
    Differs,
    /// The directive is missing or differs, but responses stay the same: logs, timing, TLS.
    Minor,
    /// geogate does this in any case, or does not need it.
    Needless,
}

/// Outcomes that make the result a different service from the one that the file describes.
const FINDINGS: [Fate; 5] = [
    Fate::Closed,
    Fate::Unlimited,
    Fate::Lost,
    Fate::Absent,
    Fate::Differs,
];

/// Directives that neither protect nor route; a name that ends with `*` is a prefix. Without them
/// responses are slower or look different, but they are those of the same place.
const SECONDARY: [&str; 24] = [
    "add_trailer",
    "charset*",
    "fastcgi_cache*",
    "gzip_static",
    "brotli_static",
    "zstd_static",
    "health_check",
    "http3*",
    "limit_rate*",
    "log_format",
    "mirror*",
    "open_log_file_cache",
    "opentelemetry*",
    "opentracing*",
    "otel_*",
    "pagespeed*",
    "proxy_bind",
    "proxy_cache*",
    "proxy_store*",
    "slice",
    "ssi*",
    "status_zone",
    "sub_filter*",
    "vhost_traffic_status*",
];

fn is_secondary(name: &str) -> bool {
    SECONDARY.iter().any(|known| match known.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == *known,
    })
}

/// Progress of the translation with a directive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// No part of the translation has handled it.
    Unhandled,
    /// It was handled as a part of the block around it.
    Covered,
    /// It was handled by itself.
    Handled,
}

#[derive(Debug)]
struct Note {
    fate: Fate,
    place: Place,
    text: String,
    why: String,
}

/// All notes on a configuration.
#[derive(Debug, Default)]
pub(super) struct Notes {
    states: Vec<State>,
    notes: Vec<Note>,
}

impl Notes {
    /// Creates the notes of a configuration with this many directives.
    pub(super) fn new(count: usize) -> Self {
        Notes {
            states: vec![State::Unhandled; count],
            notes: Vec::new(),
        }
    }

    /// Records that the directive is in the result with the same meaning.
    pub(super) fn carried(&mut self, directive: &Directive) {
        if let Some(state) = self.states.get_mut(directive.id) {
            *state = State::Handled;
        }
    }

    /// Records that the directive needs no note of its own, because the block around it has one or is
    /// carried over as a whole.
    pub(super) fn covered(&mut self, directive: &Directive) {
        if let Some(state) = self.states.get_mut(directive.id)
            && *state == State::Unhandled
        {
            *state = State::Covered;
        }
    }

    /// Records that the directive is not in the result, and why.
    pub(super) fn lost(&mut self, directive: &Directive, why: impl Into<String>) {
        self.note(Fate::Lost, directive, why.into());
    }

    /// Records that the directive is in the result with a difference, and which.
    pub(super) fn differs(&mut self, directive: &Directive, why: impl Into<String>) {
        self.note(Fate::Differs, directive, why.into());
    }

    /// Records that the directive protects and cannot be carried over, so what it protects answers
    /// 403.
    pub(super) fn closed(&mut self, directive: &Directive, why: impl Into<String>) {
        self.note(Fate::Closed, directive, why.into());
    }

    /// Records that the directive limits requests and is not in the result.
    pub(super) fn unlimited(&mut self, directive: &Directive, why: impl Into<String>) {
        self.note(Fate::Unlimited, directive, why.into());
    }

    /// Records that the directive is missing or differs, without effect on responses.
    pub(super) fn minor(&mut self, directive: &Directive, why: impl Into<String>) {
        self.note(Fate::Minor, directive, why.into());
    }

    /// Records that the directive does not need to be in the result.
    pub(super) fn needless(&mut self, directive: &Directive, why: impl Into<String>) {
        self.note(Fate::Needless, directive, why.into());
    }

    pub(super) fn note(&mut self, fate: Fate, directive: &Directive, why: String) {
        self.carried(directive);
        let fate = match fate {
            Fate::Lost if is_secondary(&directive.name) => Fate::Absent,
            fate => fate,
        };
        self.note_origin(fate, Origin::from(directive), why);
    }

    /// Adds a note on a setting that is no directive of the tree.
    pub(super) fn note_origin(&mut self, fate: Fate, origin: Origin, why: String) {
        let Origin { place, text } = origin;
        let known = self
            .notes
            .iter()
            .rev()
            .take(64)
            .any(|note| note.fate == fate && note.place == place && note.why == why);
        if !known {
            self.notes.push(Note {
                fate,
                place,
                text,
                why,
            });
        }
    }

    /// Returns `true` if the outcome of the directive is recorded.
    pub(super) fn is_spoken_for(&self, directive: &Directive) -> bool {
        self.state(directive) != State::Unhandled
    }

    /// Returns how far a directive is handled.
    pub(super) fn state(&self, directive: &Directive) -> State {
        let state = self.states.get(directive.id);
        state.copied().unwrap_or(State::Unhandled)
    }

    /// Returns the outcome, place, text and reason of each note.
    pub(super) fn all(&self) -> impl Iterator<Item = (Fate, &Place, &str, &str)> {
        let notes = self.notes.iter();
        notes.map(|note| (note.fate, &note.place, &*note.text, &*note.why))
    }

    /// Returns the number of notes with this outcome.
    pub(super) fn count(&self, fate: Fate) -> usize {
        self.notes.iter().filter(|note| note.fate == fate).count()
    }

    /// Returns one line for each finding that makes the result a different service, protection
    /// first: `nginx.conf:7: closed: deny all: why`.
    pub(super) fn findings(&self) -> Vec<String> {
        let mut notes: Vec<&Note> = self
            .notes
            .iter()
            .filter(|note| FINDINGS.contains(&note.fate))
            .collect();
        notes.sort_by(|a, b| (a.fate, &a.place).cmp(&(b.fate, &b.place)));
        let line = |note: &&Note| {
            let grade = match note.fate {
                Fate::Closed => "closed",
                Fate::Unlimited => "not limited",
                Fate::Lost | Fate::Absent => "not carried over",
                _ => "differs",
            };
            let (place, text) = (&note.place, one_line(&note.text));
            let file = one_line(&place.file);
            format!(
                "{file}:{}: {grade}: {text}: {}",
                place.line,
                one_line(&note.why)
            )
        };
        notes.iter().map(line).collect()
    }

    /// Returns the notes on protection and limits that are not carried over, as comments for the
    /// head of the file.
    pub(super) fn write_protection(&self) -> String {
        self.written(&[
            (
                Fate::Closed,
                "Closed. This protects and cannot be carried over exactly, so what it protects answers \
                 403 until you decide:",
            ),
            (
                Fate::Unlimited,
                "Not limited. This limits requests and cannot be carried over, so what it limits has no \
                 such limit:",
            ),
        ])
    }

    /// Returns all other notes as comments; empty if there are none.
    pub(super) fn write(&self) -> String {
        self.written(&[
            (Fate::Lost, "Not carried over:"),
            (Fate::Differs, "Carried over, but not quite the same:"),
            (
                Fate::Minor,
                "Not carried over or different, without effect on responses:",
            ),
            (Fate::Needless, "Nothing to set:"),
        ])
    }

    fn written(&self, kinds: &[(Fate, &str)]) -> String {
        let mut text = String::new();
        for (fate, title) in kinds {
            if self.listed_as(*fate).next().is_some() {
                text.push('\n');
                for line in wrapped(title) {
                    let _ = writeln!(text, "# {line}");
                }
                self.write_fate(*fate, &mut text);
            }
        }
        text
    }

    /// Notes in the list of an outcome. What is absent has no list of its own.
    fn listed_as(&self, fate: Fate) -> impl Iterator<Item = &Note> {
        let list = |note: &&Note| match note.fate {
            Fate::Absent => Fate::Lost,
            fate => fate,
        };
        self.notes.iter().filter(move |note| list(note) == fate)
    }

    /// Writes the notes of one outcome. A reason that several directives share is written once,
    /// below them.
    fn write_fate(&self, fate: Fate, text: &mut String) {
        let mut notes: Vec<&Note> = self.listed_as(fate).collect();
        notes.sort_by(|a, b| a.place.cmp(&b.place));
        let mut whys: Vec<(&str, Vec<Said>)> = Vec::new();
        // Index of each reason in `whys`, and of each directive among those of its reason.
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut among: HashMap<(usize, &str), usize> = HashMap::new();
        for note in notes {
            let at = *places.entry(&note.why).or_insert_with(|| {
                whys.push((&note.why, Vec::new()));
                whys.len() - 1
            });
            let directives = &mut whys[at].1;
            let own = *among.entry((at, note.text.as_str())).or_insert_with(|| {
                directives.push((&note.text, Vec::new()));
                directives.len() - 1
            });
            directives[own].1.push(&note.place);
        }
        for (why, directives) in whys {
            for (directive, places) in directives {
                let _ = writeln!(text, "#   {}: {}", listed(&places), one_line(directive));
            }
            for line in wrapped(&one_line(why)) {
                let _ = writeln!(text, "#       {line}");
            }
        }
    }
}

/// Lists positions as `nginx.conf:3, 7, 12`. A file is named again only where it changes.
fn listed(places: &[&Place]) -> String {
    const SHOWN: usize = 8;
    let mut text = String::new();
    let mut file = "";
    for place in places.iter().take(SHOWN) {
        let separator = if text.is_empty() { "" } else { ", " };
        if *place.file == *file {
            let _ = write!(text, "{separator}{}", place.line);
        } else {
            file = &place.file;
            let _ = write!(text, "{separator}{}:{}", one_line(file), place.line);
        }
    }
    if places.len() > SHOWN {
        let _ = write!(text, " and {} more", places.len() - SHOWN);
    }
    text
}

/// Replaces line breaks and other control characters, which a comment must not contain.
pub(super) fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn wrapped(text: &str) -> Vec<String> {
    const LENGTH: usize = 90;
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < LENGTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
