//! Comparison of the two answers to a request, field by field.

use std::collections::{BTreeMap, BTreeSet};

use crate::client::{Answer, Request};
use crate::intended;
use crate::origin::Received;

/// Answers to one request, and what the origin received for each.
#[derive(Debug, Clone)]
pub struct Exchange {
    pub request: Request,
    pub nginx: Side,
    pub geogate: Side,
}

#[derive(Debug, Clone, Default)]
pub struct Side {
    pub answer: Answer,
    pub received: Vec<Received>,
}

/// A field in which both sides differ: `status`, `body`, `header NAME`, `origin ...`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub field: String,
    pub nginx: String,
    pub geogate: String,
}

/// Returns the fields that differ, without the differences that are intended.
pub fn differences(exchange: &Exchange) -> Vec<Difference> {
    let mut exchange = exchange.clone();
    for intended in intended::INTENDED {
        (intended.apply)(&mut exchange);
    }
    let Exchange { nginx, geogate, .. } = &exchange;
    let mut found = Vec::new();
    let mut differ = |field: String, nginx: String, geogate: String| {
        if nginx != geogate {
            found.push(Difference {
                field,
                nginx,
                geogate,
            });
        }
    };
    let status = |side: &Side| side.answer.status.to_string();
    differ("status".to_owned(), status(nginx), status(geogate));
    let (theirs, ours) = (lines(&nginx.answer.headers), lines(&geogate.answer.headers));
    for name in theirs.keys().chain(ours.keys()).collect::<BTreeSet<_>>() {
        differ(
            format!("header {name}"),
            value(&theirs, name),
            value(&ours, name),
        );
    }
    differ(
        "body".to_owned(),
        nginx.answer.text(),
        geogate.answer.text(),
    );
    let targets = |side: &Side| {
        let lines = side
            .received
            .iter()
            .map(|one| format!("{}: {}", one.upstream, one.line));
        lines.collect::<Vec<_>>().join(", ")
    };
    differ("origin".to_owned(), targets(nginx), targets(geogate));
    for (theirs, ours) in nginx.received.iter().zip(&geogate.received) {
        let body = |one: &Received| String::from_utf8_lossy(&one.body).into_owned();
        differ("origin body".to_owned(), body(theirs), body(ours));
        let (theirs, ours) = (lines(&theirs.headers), lines(&ours.headers));
        for name in theirs.keys().chain(ours.keys()).collect::<BTreeSet<_>>() {
            differ(
                format!("origin header {name}"),
                value(&theirs, name),
                value(&ours, name),
            );
        }
    }
    found
}

type Lines = BTreeMap<String, Vec<String>>;

fn lines(headers: &[(String, String)]) -> Lines {
    let mut lines = Lines::new();
    for (name, value) in headers {
        lines.entry(name.clone()).or_default().push(value.clone());
    }
    // Only of this list nobody can tell the order.
    if let Some(vary) = lines.get_mut("vary") {
        vary.sort();
    }
    lines
}

fn value(lines: &Lines, name: &str) -> String {
    lines
        .get(name)
        .map_or("-".to_owned(), |values| values.join(" | "))
}
