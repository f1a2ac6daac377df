//! The sites, each in a test of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::client::Request;
use crate::compare::{Difference, Exchange, Side, differences};
use crate::nginx_file::{self, Directive};
use crate::servers::{self, Server, Translation};
use crate::stage::Stage;
use crate::trusting_client::trusting_client;
use crate::{locate, requests};

/// Outcome of the comparison of one file.
struct Outcome {
    stage: Stage,
    translation: Translation,
    exchanges: Vec<Exchange>,
}

/// Runs both servers with a file, one after the other on the same ports.
fn run(file: &Path) -> Result<Outcome, String> {
    let stage = Stage::of(file);
    let requests = requests::of(&stage);
    let translation = servers::translate(&stage)?;
    let nginx = servers::nginx(&stage).map_err(|log| format!("nginx: {log}"))?;
    let theirs = answers(&stage, &requests, nginx);
    let geogate = servers::start_geogate(&stage, &translation);
    let geogate = geogate.map_err(|log| format!("geogate: {log}\n{}", translation.toml))?;
    let ours = answers(&stage, &requests, geogate);
    let pairs = requests.into_iter().zip(theirs).zip(ours);
    let exchanges = pairs.map(|((request, nginx), geogate)| Exchange {
        request,
        nginx,
        geogate,
    });
    Ok(Outcome {
        exchanges: exchanges.collect(),
        stage,
        translation,
    })
}

fn answers(stage: &Stage, requests: &[Request], server: Server) -> Vec<Side> {
    let tls = trusting_client();
    let answers = requests.iter().map(|request| Side {
        answer: request.send(&stage.listeners[&request.listener], &tls),
        received: stage.origin.take(request.number),
    });
    let answers = answers.collect();
    drop(server);
    answers
}

/// Fields that a mark allows to differ.
fn allows(listed: &str, field: &str) -> bool {
    listed
        .split(", ")
        .any(|allowed| match allowed.strip_suffix('*') {
            Some(beginning) => field.starts_with(beginning),
            None => field == allowed,
        })
}

fn check(name: &str) {
    let file = folder().join(format!("{name}.conf"));
    let outcome = run(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut marks: BTreeMap<usize, (&Directive, bool)> = BTreeMap::new();
    nginx_file::walk(&outcome.stage.directives, &mut |one| {
        if one.listed.is_some() {
            marks.insert(one.lines.start, (one, false));
        }
    });
    let findings = outcome.translation.finding_lines();
    for line in marks.keys() {
        assert!(
            findings.contains(line),
            "{name}: the report has no finding in line {line}"
        );
    }
    let mut report = String::new();
    for exchange in &outcome.exchanges {
        let blocks = locate::blocks(&outcome.stage, &exchange.request);
        for difference in differences(exchange) {
            let mut allowed = false;
            for (one, used) in marks.values_mut() {
                let listed = one.listed.as_deref().unwrap_or_default();
                if allows(listed, &difference.field) && holds(&blocks, one) {
                    (*used, allowed) = (true, true);
                }
            }
            if !allowed {
                report += &shown(&exchange.request, &difference);
            }
        }
    }
    assert!(
        report.is_empty(),
        "{name}:\n{report}\n{}",
        outcome.translation.toml
    );
    // Marks with the same text are one: not each location gets a request of each kind.
    let needed: BTreeSet<_> = marks
        .values()
        .filter(|(_, used)| *used)
        .map(|(one, _)| &one.listed)
        .collect();
    for (line, (one, _)) in &marks {
        assert!(
            needed.contains(&one.listed),
            "{name}: the mark in line {line} is not needed"
        );
    }
    assert!(
        outcome.exchanges.len() > 20,
        "{} requests",
        outcome.exchanges.len()
    );
}

/// True if the innermost block around a directive is one of those of a request, or the directive is
/// itself.
fn holds(blocks: &[&Directive], mark: &Directive) -> bool {
    let contains = |block: &&Directive| {
        block.span == mark.span || block.inside.iter().any(|inner| inner.span == mark.span)
    };
    // Conditions belong to the block around them.
    let in_condition = |block: &&Directive| {
        let conditions = block
            .inside
            .iter()
            .filter(|one| matches!(one.name(), "if" | "limit_except"));
        conditions
            .flat_map(|one| &one.inside)
            .any(|inner| inner.span == mark.span)
    };
    blocks
        .iter()
        .any(|block| contains(block) || in_condition(block))
}

fn shown(request: &Request, difference: &Difference) -> String {
    let short = |text: &str| text.chars().take(160).collect::<String>();
    format!(
        "{} {} {}:{} {:?} {}: {}: nginx {:?}, geogate {:?}\n",
        request.method,
        request.target,
        request.host,
        request.listener,
        request.headers,
        request.kind,
        difference.field,
        short(&difference.nginx),
        short(&difference.geogate)
    )
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential/sites")
}

/// Compares the files of `GEOGATE_SITES` and prints how they differ.
#[test]
#[ignore = "compares files that the caller names"]
fn named_files() {
    let files = std::env::var("GEOGATE_SITES").expect("GEOGATE_SITES");
    for file in files.split_whitespace() {
        match std::panic::catch_unwind(|| run(Path::new(file))) {
            Ok(Ok(outcome)) => print(file, &outcome),
            Ok(Err(error)) => println!("== {file}: does not run: {error}"),
            Err(_) => println!("== {file}: cannot be staged"),
        }
    }
}

/// Prints the differences of a file, those that no finding of the translation is near first.
fn print(file: &str, outcome: &Outcome) {
    let findings = outcome.translation.finding_lines();
    let (mut silent, mut said) = (BTreeMap::new(), BTreeMap::new());
    for exchange in &outcome.exchanges {
        let blocks = locate::blocks(&outcome.stage, &exchange.request);
        let near = blocks.iter().any(|block| {
            let mut lines = block.inside.iter().map(|one| one.lines.start);
            findings.contains(&block.lines.start) || lines.any(|line| findings.contains(&line))
        });
        let innermost = blocks.last().map_or(0, |block| block.lines.start);
        for difference in differences(exchange) {
            let kind = if near { &mut said } else { &mut silent };
            let text = shown(&exchange.request, &difference);
            let (count, _) = kind
                .entry((innermost, difference.field))
                .or_insert((0, text));
            *count += 1;
        }
    }
    println!(
        "== {file}: {} requests, status {}, {} silent, {} said",
        outcome.exchanges.len(),
        outcome.translation.status,
        silent.len(),
        said.len()
    );
    for (title, kind) in [("SILENT", silent), ("said", said)] {
        for ((line, _), (count, text)) in kind {
            print!("{title} line {line} ({count}): {text}");
        }
    }
    for line in outcome.translation.findings() {
        println!("   {}: {}: {}", line.line, line.outcome, line.text);
    }
}

/// Tests of the files of these names.
macro_rules! sites {
    ($($name:ident)*) => {
        const NAMES: &[&str] = &[$(stringify!($name)),*];

        $(#[test]
        fn $name() {
            check(stringify!($name));
        })*
    };
}

sites! {
    blog cloud compressed dashboard erp errors forge gateway legacy media nested ports static_hosts tenants
    wiki generated hardened homelab objects projects registry social spa
}

#[test]
fn every_file_has_a_test() {
    let files = std::fs::read_dir(folder()).unwrap();
    let name = |file: std::io::Result<std::fs::DirEntry>| {
        let name = file.unwrap().file_name().into_string().unwrap();
        name.strip_suffix(".conf").unwrap().to_owned()
    };
    let files: BTreeSet<String> = files.map(name).collect();
    let names: BTreeSet<String> = NAMES.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(files, names);
}
