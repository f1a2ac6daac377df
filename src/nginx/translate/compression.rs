//! gzip and brotli: `[compression]`.

use super::super::Output;
use super::super::document::Item;
use super::super::notes::Fate;
use super::super::scope::Scope;
use super::super::units;
use super::one_for_all;

pub(super) fn translate(http: &Scope, output: &mut Output) {
    let is_on = |scope: &Scope, name| scope.here(name).last().is_some_and(|d| d.arg(0) == "on");
    // Blocks within say it for their routes.
    for directive in ["gzip", "brotli", "zstd"]
        .into_iter()
        .flat_map(|name| http.here(name))
    {
        output.notes.carried(directive);
    }
    let enabled = http.here("gzip").last();
    let others = ["brotli", "zstd"].into_iter().any(|name| is_on(http, name));
    if is_on(http, "gzip") || others {
        output
            .document
            .table("compression")
            .set("enabled", true, enabled);
    }
    // geogate has more algorithms and more types than nginx unless it is told.
    for (name, algorithm) in [("zstd", "zstd"), ("brotli", "brotli"), ("gzip", "gzip")] {
        let all = http.everywhere(name);
        if let Some(first) = all.iter().find(|one| one.arg(0) == "on") {
            let item = Item::new(algorithm, Some(first));
            output
                .document
                .table("compression")
                .push("algorithms", item);
        }
    }
    if let Some(on) = http
        .everywhere("gzip")
        .iter()
        .find(|one| one.arg(0) == "on")
    {
        let table = output.document.table("compression");
        if http.everywhere("gzip_types").is_empty() {
            table.push("types", Item::new("text/html", Some(on)));
        }
        if http.everywhere("gzip_min_length").is_empty() {
            table.set("min_size", "20", Some(on));
        }
    }
    let level = one_for_all(
        http,
        "gzip_comp_level",
        "compression.level",
        Fate::Lost,
        output,
    );
    if let Some(level) = level {
        match level.arg(0).parse::<u64>() {
            Ok(value) => output
                .document
                .table("compression")
                .set("level", value, Some(level)),
            Err(_) => output.notes.lost(level, "This is no number."),
        }
    }
    let least = one_for_all(
        http,
        "gzip_min_length",
        "compression.min_size",
        Fate::Lost,
        output,
    );
    if let Some(least) = least {
        match units::bytes(least.arg(0)) {
            Some(size) => {
                let table = output.document.table("compression");
                table.set("min_size", units::size(size), Some(least));
            }
            None => output.notes.lost(least, "This is no size."),
        }
    }
    if let Some(types) = one_for_all(http, "gzip_types", "compression.types", Fate::Lost, output) {
        // nginx compresses it in any case.
        for name in std::iter::once("text/html").chain(types.args.iter().map(String::as_str)) {
            let item = Item::new(name, Some(types));
            output.document.table("compression").push("types", item);
        }
    }
    for name in ["brotli_comp_level", "zstd_comp_level"] {
        for directive in http.everywhere(name) {
            output.notes.lost(
                directive,
                "There is one `compression.level` for all algorithms.",
            );
        }
    }
    for name in ["brotli_types", "zstd_types"] {
        for directive in http.everywhere(name) {
            output.notes.lost(
                directive,
                "There is one `compression.types` for all algorithms.",
            );
        }
    }
}
