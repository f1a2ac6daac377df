//! Acceptance of the result by geogate's own configuration reader. A setting that the reader
//! refuses is removed again and becomes a note: a regular expression of another dialect, a name
//! that does not resolve, a number outside of its range.

use crate::config::{self, ConfigError, Overrides};

use super::document::{Document, Origin};
use super::error::NginxError;
use super::notes::{Fate, Notes};
use super::place::Place;

/// Keys of settings that guard all routes.
const GUARDS_OF_ALL: [&str; 3] = ["limits.access", "tls.client_auth", "tls.client_ca"];

/// Parts of keys that limit the requests or connections of clients.
const LIMITS: [&str; 3] = ["rate_limit", "max_requests", "max_connections"];

/// Returns `true` for a setting without which routes answer 403.
fn is_guard(key: &str) -> bool {
    let mut parts = key.split(['.', '[']);
    parts.any(|part| matches!(part, "access" | "auth" | "variables"))
}

/// Removes settings that geogate refuses until it refuses none. Returns the text of the
/// configuration.
///
/// # Errors
/// If a refused setting cannot be found in the document.
pub(super) fn accept(
    document: &mut Document,
    notes: &mut Notes,
    file: &str,
) -> Result<String, NginxError> {
    loop {
        let text = document.write();
        let problems = match config::parse(&text, file, &Overrides::default()) {
            Ok(_) => return Ok(text),
            Err(ConfigError::Wrong { problems, .. }) => problems,
            Err(error) => return Err(NginxError::Refused(error.to_string())),
        };
        let mut refused = 0;
        for problem in &problems {
            let Some(refusal) = document.refuse(&problem.key) else {
                continue;
            };
            refused += 1;
            let origin = refusal.origin.unwrap_or_else(|| Origin {
                place: Place::whole(file),
                text: refusal.written.clone(),
            });
            let why = format!(
                "geogate does not take {}: {}",
                refusal.written, problem.reason
            );
            if GUARDS_OF_ALL.iter().any(|key| problem.key.starts_with(key)) {
                document.close();
                let why = format!("{why}. Every route answers 403.");
                notes.note_origin(Fate::Closed, origin, why);
            } else if problem.reason.starts_with("no [[auth]]") {
                // The table that is missing now has a note already.
            } else if is_guard(&problem.key) {
                notes.note_origin(
                    Fate::Closed,
                    origin,
                    format!("{why}. The routes answer 403."),
                );
            } else if LIMITS.iter().any(|key| problem.key.contains(key)) {
                notes.note_origin(Fate::Unlimited, origin, why);
            } else {
                notes.note_origin(Fate::Lost, origin, why);
            }
        }
        if refused == 0 {
            let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
            return Err(NginxError::Refused(problems.join("; ")));
        }
        document.settle();
    }
}
