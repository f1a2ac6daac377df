//! gzip, brotli and zstd: `[compression]`.

use super::one_for_all;
use crate::nginx::Output;
use crate::nginx::document::Item;
use crate::nginx::notes::Fate;
use crate::nginx::scope::Scope;
use crate::nginx::tree::Directive;
use crate::nginx::units;

/// Switches of nginx and its modules, the best algorithm first. geogate's names are the same.
const ALGORITHMS: [&str; 3] = ["zstd", "brotli", "gzip"];

/// Settings that nginx has for each algorithm, with geogate's keys for all algorithms.
const FOR_ONE: [(&str, &str); 4] = [
    ("brotli_comp_level", "level"),
    ("zstd_comp_level", "level"),
    ("brotli_types", "types"),
    ("zstd_types", "types"),
];

pub(super) fn translate(http: &Scope, output: &mut Output) {
    enabled(http, output);
    algorithms(http, output);
    unsaid(http, output);
    level(http, output);
    min_size(http, output);
    types(http, output);
    for (name, key) in FOR_ONE {
        for directive in http.everywhere(name) {
            let why = format!("There is one `compression.{key}` for all algorithms.");
            output.notes.lost(directive, why);
        }
    }
}

fn is_on(directive: &Directive) -> bool {
    directive.arg(0) == "on"
}

/// Sets the default for routes that have no setting of their own. Blocks within `http` set it for
/// their routes.
fn enabled(http: &Scope, output: &mut Output) {
    let mut any = false;
    for name in ALGORITHMS {
        any |= http.here(name).last().is_some_and(is_on);
        for directive in http.here(name) {
            output.notes.carried(directive);
        }
    }
    if any {
        let from = http.here("gzip").last();
        let table = output.document.table("compression");
        table.set("enabled", true, from);
    }
}

/// Lists the algorithms that are on, because geogate's default has more than nginx's.
fn algorithms(http: &Scope, output: &mut Output) {
    for name in ALGORITHMS {
        let all = http.everywhere(name);
        if let Some(first) = all.iter().find(|one| is_on(one)) {
            let item = Item::new(name, Some(first));
            let table = output.document.table("compression");
            table.push("algorithms", item);
        }
    }
}

/// Sets nginx's defaults, if gzip is on and the file does not set other values.
fn unsaid(http: &Scope, output: &mut Output) {
    let all = http.everywhere("gzip");
    let Some(on) = all.iter().find(|one| is_on(one)) else {
        return;
    };
    let table = output.document.table("compression");
    if http.everywhere("gzip_types").is_empty() {
        table.push("types", Item::new("text/html", Some(on)));
    }
    if http.everywhere("gzip_min_length").is_empty() {
        table.set("min_size", "20", Some(on));
    }
}

fn level(http: &Scope, output: &mut Output) {
    let (name, key) = ("gzip_comp_level", "compression.level");
    let Some(level) = one_for_all(http, name, key, Fate::Lost, output) else {
        return;
    };
    match level.arg(0).parse::<u64>() {
        Ok(value) => {
            let table = output.document.table("compression");
            table.set("level", value, Some(level));
        }
        Err(_) => output.notes.lost(level, "This is no number."),
    }
}

fn min_size(http: &Scope, output: &mut Output) {
    let (name, key) = ("gzip_min_length", "compression.min_size");
    let Some(least) = one_for_all(http, name, key, Fate::Lost, output) else {
        return;
    };
    match units::bytes(least.arg(0)) {
        Some(size) => {
            let table = output.document.table("compression");
            table.set("min_size", units::size(size), Some(least));
        }
        None => output.notes.lost(least, "This is no size."),
    }
}

fn types(http: &Scope, output: &mut Output) {
    let (name, key) = ("gzip_types", "compression.types");
    let Some(types) = one_for_all(http, name, key, Fate::Lost, output) else {
        return;
    };
    let named = types.args.iter().map(String::as_str);
    // nginx always compresses this type.
    for name in std::iter::once("text/html").chain(named) {
        let table = output.document.table("compression");
        table.push("types", Item::new(name, Some(types)));
    }
}
