//! geoip2: its databases become `[[database]]`, its variables those of the client's geographic
//! location.

use super::variables::Variables;
use crate::nginx::Output;
use crate::nginx::document::Table;
use crate::nginx::scope::Scope;
use crate::nginx::tree::Directive;

/// Paths in a database, with geogate's variables. The last part of a name's path is a language.
const PATHS: [(&str, &str); 14] = [
    ("country iso_code", "country"),
    ("country names", "country_name"),
    ("registered_country iso_code", "country"),
    ("continent code", "geo_continent"),
    ("subdivisions 0 iso_code", "geo_subdivision_code"),
    ("subdivisions 0 names", "region"),
    ("city names", "city"),
    ("postal code", "geo_postal_code"),
    ("location latitude", "geo_latitude"),
    ("location longitude", "geo_longitude"),
    ("location accuracy_radius", "geo_accuracy_radius"),
    ("location time_zone", "geo_time_zone"),
    ("autonomous_system_number", "geo_asn"),
    ("autonomous_system_organization", "geo_as_organization"),
];

/// Databases of the older geoip module, which have formats of their own.
const LEGACY: [&str; 3] = ["geoip_country", "geoip_city", "geoip_org"];

pub(super) fn translate(http: &Scope, output: &mut Output) -> Variables {
    let mut variables = Variables::default();
    for block in http.here("geoip2") {
        database(block, output);
        for line in block.inside() {
            match (line.name.strip_prefix('$'), line.name.as_str()) {
                (Some(name), _) => {
                    if let Some(known) = variable(line, output) {
                        variables.of_place.insert(name.to_owned(), known);
                        if is_approximate(line) {
                            variables.approximate.insert(name.to_owned());
                        }
                        let mut settings = line.args.iter();
                        let default = settings.find_map(|arg| arg.strip_prefix("default="));
                        if let Some(default) = default {
                            variables
                                .defaults
                                .insert(name.to_owned(), default.to_owned());
                        }
                    }
                }
                (None, "auto_reload") => {
                    output.notes.needless(
                        line,
                        "A database that changes is read again at once: `geo.watch`.",
                    );
                }
                _ => output
                    .notes
                    .lost(line, "geogate does not know what this is."),
            }
        }
    }
    for name in LEGACY {
        for directive in http.here(name) {
            let why = "GeoIP's old .dat files are not read. Name the .mmdb of the same data in a \
                       [[database]]; without one the embedded database answers. The variables are \
                       those of the client's place in any case.";
            output.notes.lost(directive, why);
        }
    }
    for directive in http.here("geoip2_proxy").chain(http.here("geoip_proxy")) {
        output.notes.lost(
            directive,
            "Networks that are believed stand in `client_ip.trusted_proxies`.",
        );
    }
    let always = http
        .here("geoip2_proxy_recursive")
        .chain(http.here("geoip_proxy_recursive"));
    for directive in always {
        output.notes.needless(directive, "Always.");
    }
    variables
}

fn database(block: &Directive, output: &mut Output) {
    output.notes.carried(block);
    let mut table = Table::new("database", Some(block));
    table.set("file", block.arg(0), Some(block));
    let known = output
        .document
        .named("database")
        .any(|other| other.says_the_same(&table));
    if !known {
        output.document.add(table);
    }
}

/// Returns `true` if nginx's value may differ from that of the client's location.
fn is_approximate(line: &Directive) -> bool {
    let is_usual = |setting: &&String| {
        setting.starts_with("default=") || setting.as_str() == "source=$remote_addr"
    };
    let mut settings = line.args.iter().filter(|arg| arg.contains('='));
    settings.any(|setting| !is_usual(&setting))
        || line.args.iter().any(|arg| arg == "registered_country")
}

/// Returns geogate's variable for a line such as `$code default=US source=$ip country iso_code`.
fn variable(line: &Directive, output: &mut Output) -> Option<&'static str> {
    let (settings, path): (Vec<&String>, Vec<&String>) =
        line.args.iter().partition(|arg| arg.contains('='));
    let path = path
        .iter()
        .map(|part| part.as_str())
        .collect::<Vec<_>>()
        .join(" ");
    let known = PATHS.iter().find(|(known, _)| {
        let rest = path.strip_prefix(known);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    });
    let Some((_, name)) = known else {
        let why = "geogate has no variable for this of a database.";
        output.notes.lost(line, why);
        return None;
    };
    let is_client = |source: &str| matches!(source, "$remote_addr" | "$realip_remote_addr");
    for setting in settings {
        match setting.split_once('=') {
            Some(("source", source)) if is_client(source) => {}
            Some(("source", _)) => {
                let why = "It is always the client's place, by [client_ip].";
                output.notes.differs(line, why);
            }
            _ => {
                let why = format!(
                    "${name} is empty where the database does not know; there is no default."
                );
                output.notes.differs(line, why);
            }
        }
    }
    output.notes.carried(line);
    Some(name)
}
