//! Actions of a route.

use std::sync::Arc;

use super::rewrites::rewrites;
use super::{Reader, fastcgi, template};
use crate::config::document::{Item, Section};
use crate::config::model::{
    Action, Captures, FastCgi, OwnVariable, Protocol, RequestVariable, Template, UpstreamChoice,
    Variable,
};
use crate::config::sections::files;

impl Reader<'_> {
    /// Reads `upstream`, `files`, `redirect`, `respond` or `reroute`.
    pub(super) fn action(&mut self, section: &Section, captures: &Captures) -> Action {
        let found = [
            section.item("upstream").is_some(),
            section.item("files").is_some(),
            section.item("redirect").is_some(),
            section.item("respond").is_some(),
            section.item("reroute").is_some(),
        ];
        match found.iter().filter(|found| **found).count() {
            0 => section.note(
                "",
                "has neither upstream nor files nor redirect nor respond nor reroute",
            ),
            1 => {}
            _ => section.note(
                "",
                "has several of upstream, files, redirect, respond and reroute",
            ),
        }
        let rewrite = section.value("rewrite", None, |item| path(item, captures).map(Some));
        if rewrite.is_some() && !found[0] && !found[1] {
            section.note("rewrite", "is for requests to an upstream and for files");
        }
        let rewrite_location = rewrites(section, "rewrite_location", captures);
        for key in ["rewrite_location", "rewrite_cookies"] {
            if section.item(key).is_some() && !found[0] {
                section.note(key, "is for responses of an upstream");
            }
        }
        if section.item("fastcgi").is_some() && !found[0] {
            section.note("fastcgi", "is for requests to an upstream");
        }
        if found[1] {
            let files = files::files(&section.section("files"), &|item| template(item, captures));
            let files = Arc::new(files);
            Action::Files { files, rewrite }
        } else if found[2] {
            redirect(&section.section("redirect"), captures)
        } else if found[3] {
            respond(&section.section("respond"), captures)
        } else if found[4] {
            let to = section.value("reroute", Template::default(), |item| path(item, captures));
            Action::Reroute { to }
        } else {
            let choice = self.choice(section, captures);
            let fastcgi = match choice {
                UpstreamChoice::One(number) => self.fastcgi(section, number, captures),
                UpstreamChoice::By { .. } => None,
            };
            Action::Upstream {
                choice,
                rewrite,
                rewrite_location,
                fastcgi,
            }
        }
    }

    /// Reads `fastcgi`, which a route to a FastCGI upstream has, and no other.
    fn fastcgi(
        &self,
        section: &Section,
        number: usize,
        captures: &Captures,
    ) -> Option<Arc<FastCgi>> {
        let upstream = self.known.upstreams.get(number);
        let is_meant = upstream.is_some_and(|known| known.protocol == Protocol::FastCgi);
        let is_there = section.item("fastcgi").is_some();
        if is_there && !is_meant {
            section.note(
                "fastcgi",
                "means nothing without protocol = \"fastcgi\" of the upstream",
            );
        }
        if is_meant && !is_there {
            section.note(
                "upstream",
                "speaks FastCGI, which needs fastcgi = { root = ... } here",
            );
        }
        let read = || fastcgi::fastcgi(&section.section("fastcgi"), captures);
        (is_there && is_meant).then(|| Arc::new(read()))
    }

    /// Reads `upstream`.
    fn choice(&mut self, section: &Section, captures: &Captures) -> UpstreamChoice {
        section.value("upstream", UpstreamChoice::One(0), |item| {
            let name = item.string()?;
            match name.strip_prefix('$') {
                Some(variable) => self.upstream_by(variable, captures),
                None => self.upstream(name).map(UpstreamChoice::One),
            }
        })
    }

    /// Reads the variable that names the upstream. Every value that it can have must be a name.
    fn upstream_by(&mut self, name: &str, captures: &Captures) -> Result<UpstreamChoice, String> {
        let name = name
            .strip_prefix('{')
            .map_or(Some(name), |name| name.strip_suffix('}'));
        let variable = name.and_then(|name| captures.own_of_request(name));
        let Some(variable) = variable else {
            return Err(
                "the name of an upstream, or one variable of [[variable]] that does not depend on the \
                 response"
                    .to_owned(),
            );
        };
        let variable: Arc<OwnVariable<Variable>> = Arc::clone(variable);
        let Some(mut names) = variable.constants() else {
            let reason =
                "some of its values contain variables; each must be the name of an upstream";
            return Err(format!("${}: {reason}", variable.name));
        };
        names.sort_unstable();
        names.dedup();
        let mut values = Vec::new();
        for name in names {
            let number = self.upstream(&name).map_err(|error| match &name[..] {
                "" => format!(
                    "${} can be empty, and then it names no upstream; give it a default",
                    variable.name
                ),
                _ => format!("${} can be {name:?}, and {error}", variable.name),
            })?;
            let upstream = self.known.upstreams.get(number);
            if upstream.is_some_and(|known| known.protocol == Protocol::FastCgi) {
                return Err(format!(
                    "${} can be {name:?}, which speaks FastCGI; write a route for it",
                    variable.name
                ));
            }
            values.push((name, number));
        }
        Ok(UpstreamChoice::By { variable, values })
    }

    fn upstream(&mut self, name: &str) -> Result<usize, String> {
        if self.overridden {
            return Ok(0);
        }
        let number = self.numbers.get(name).copied().ok_or_else(|| {
            let names = self
                .known
                .upstreams
                .iter()
                .map(|known| format!("{:?}", known.name));
            match &names.collect::<Vec<_>>()[..] {
                [] => format!("there is no upstream {name:?}; there is none at all"),
                names => format!(
                    "there is no upstream {name:?}; there is {}",
                    names.join(", ")
                ),
            }
        })?;
        self.named[number] = true;
        Ok(number)
    }
}

/// Reads a template of a path.
pub(super) fn path(item: &Item, captures: &Captures) -> Result<Template<RequestVariable>, String> {
    let template = template(item, captures)?;
    if !item.string()?.starts_with(['/', '$']) {
        return Err("a path is expected, which begins with \"/\"".to_owned());
    }
    Ok(template)
}

/// Reads the `status` of a redirect.
pub(super) fn redirect_status(section: &Section) -> u16 {
    let statuses = [301, 302, 303, 307, 308];
    // Browsers do not cache 302 by default, so a mistake in the configuration can be corrected.
    section.value("status", 302, |item| {
        let status = item.integer(0, 999)? as u16;
        let known = statuses.contains(&status);
        known
            .then_some(status)
            .ok_or_else(|| format!("{status} is not one of {statuses:?}"))
    })
}

fn redirect(section: &Section, captures: &Captures) -> Action {
    let to = section.required("to", |item| match item.string()? {
        "" => Err("a URL or a path is expected".to_owned()),
        _ => template(item, captures),
    });
    let action = Action::Redirect {
        status: redirect_status(section),
        to: to.unwrap_or_default(),
    };
    section.refuse_unknown();
    action
}

fn respond(section: &Section, captures: &Captures) -> Action {
    let status = section.value("status", 200, |item| Ok(item.integer(200, 599)? as u16));
    let body = section.value("body", Template::default(), |item| template(item, captures));
    let media_type = "text/plain; charset=utf-8".to_owned();
    let action = Action::Respond {
        status,
        media_type: section.value("type", media_type, |item| {
            let text = item.string()?;
            let is_type =
                text.contains('/') && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
            let named = is_type.then(|| text.to_owned());
            named.ok_or_else(|| format!("{text:?} is not a media type such as \"text/html\""))
        }),
        body,
    };
    if matches!(status, 204 | 205 | 304) && section.item("body").is_some() {
        section.note("body", format!("a response with status {status} has none"));
    }
    section.refuse_unknown();
    action
}
