//! Variables in texts: from nginx's names to geogate's.
//!
//! Most names are the same in both. A variable of `set` is replaced by its text if that is
//! constant, and a variable of geoip2 by geogate's variable for the client's geographic location.

use std::collections::{BTreeMap, BTreeSet};

use super::own::{self, Own};
use super::pattern::{Pattern, compiled, pattern, translated};
use crate::nginx::document::{Entry, Origin, Table};
use crate::nginx::scope::Scope;
use crate::nginx::tree::Directive;

/// Names that mean the same in both.
const SAME: [&str; 40] = [
    "remote_addr",
    "remote_port",
    "remote_user",
    "scheme",
    "https",
    "host",
    "http2",
    "server_addr",
    "server_port",
    "request_method",
    "request_uri",
    "uri",
    "args",
    "is_args",
    "request",
    "server_protocol",
    "request_id",
    "request_length",
    "request_time",
    "status",
    "bytes_sent",
    "body_bytes_sent",
    "connection",
    "connection_requests",
    "hostname",
    "pid",
    "ssl_protocol",
    "ssl_cipher",
    "ssl_client_verify",
    "ssl_client_s_dn",
    "ssl_client_i_dn",
    "ssl_client_serial",
    "upstream_addr",
    "upstream_status",
    "upstream_connect_time",
    "upstream_header_time",
    "upstream_response_time",
    "time_local",
    "time_iso8601",
    "msec",
];

/// Names that differ and mean the same: nginx's, then geogate's.
const OTHER: [(&str, &str); 15] = [
    ("binary_remote_addr", "remote_addr"),
    ("realip_remote_addr", "peer_addr"),
    ("realip_remote_port", "peer_port"),
    ("proxy_add_x_forwarded_for", "forwarded_for"),
    ("query_string", "args"),
    ("document_uri", "uri"),
    ("content_type", "http_content_type"),
    ("content_length", "http_content_length"),
    ("geoip_country_code", "country"),
    ("geoip_country_name", "country_name"),
    ("geoip_city_country_code", "country"),
    ("geoip_city_country_name", "country_name"),
    ("geoip_region_name", "region"),
    ("geoip_city", "city"),
    ("geoip_org", "org"),
];

/// Prefixes of variables that continue with a name.
const WITH_NAMES: [&str; 6] = [
    "arg_",
    "cookie_",
    "http_",
    "sent_http_",
    "upstream_http_",
    "upstream_cookie_",
];

/// Limit on constants that contain other constants.
const LEVELS: usize = 8;

/// Variables that a configuration defines by geoip2.
#[derive(Debug, Default)]
pub(super) struct Variables {
    /// geogate's names for these variables, by their names in the file.
    pub(super) of_place: BTreeMap<String, &'static str>,
    /// Variables whose value may differ in nginx, so that no rule may depend on them.
    pub(super) approximate: BTreeSet<String>,
    /// Values that nginx has for these variables if the database has none.
    pub(super) defaults: BTreeMap<String, String>,
    /// Variables of `map`, `geo` and `split_clients`.
    pub(super) own: Own,
    /// True if the addresses of clients may differ from nginx's.
    pub(super) clients_are_unknown: bool,
}

/// Place in the file where a variable is used.
#[derive(Clone, Copy)]
pub(super) struct At<'a, 's> {
    pub(super) scope: &'a Scope<'s>,
    /// Number of the directive that uses it; what is set behind that directive is not known yet.
    before: usize,
    /// Names of the groups of the regular expression that the text belongs to.
    groups: &'a [String],
    /// Groups of a condition's expression, with the variables that have them.
    aliases: &'a [(String, String)],
    /// True if the groups of the location's and the server's expressions are known.
    has_route: bool,
    levels: usize,
}

/// Groups of a condition's expression, with the variables that have them.
pub(super) type Aliases = Vec<(String, String)>;

impl<'a, 's> At<'a, 's> {
    /// Use of a variable after all directives of the rewrite module.
    pub(super) fn end(scope: &'a Scope<'s>) -> Self {
        At {
            scope,
            before: usize::MAX,
            groups: &[],
            aliases: &[],
            has_route: true,
            levels: LEVELS,
        }
    }

    /// Use of a variable by a directive of the rewrite module.
    pub(super) fn by(scope: &'a Scope<'s>, directive: &Directive) -> Self {
        At {
            before: directive.id,
            ..At::end(scope)
        }
    }

    /// Use in a value that may have the groups of a regular expression.
    pub(super) fn with_groups(self, groups: &'a [String]) -> Self {
        At { groups, ..self }
    }

    /// Use in a variable of geogate, which does not depend on the route.
    pub(super) fn of_own(self) -> Self {
        At {
            has_route: false,
            ..self
        }
    }

    /// Use in the answer of a condition.
    pub(super) fn with_aliases(self, aliases: &'a [(String, String)]) -> Self {
        At { aliases, ..self }
    }

    /// The same place with as many levels left as another one has.
    pub(super) fn shallow(self, other: At) -> Self {
        At {
            levels: other.levels,
            before: other.before,
            ..self
        }
    }

    fn before(self, directive: &Directive) -> Self {
        At {
            before: directive.id,
            ..self
        }
    }

    fn deeper(self, name: &str) -> Result<Self, String> {
        match self.levels {
            0 => Err(format!("${name}")),
            levels => Ok(At {
                levels: levels - 1,
                ..self
            }),
        }
    }
}

/// Returns what is said of a variable that geogate does not have.
pub(super) fn no_variable(missing: &str) -> String {
    format!("There is no {missing} in geogate.")
}

impl Variables {
    /// Returns `true` if a variable is the country of the client, with the same value as in nginx.
    pub(super) fn is_country(&self, name: &str) -> bool {
        self.of_place.get(name) == Some(&"country") && !self.approximate.contains(name)
    }

    /// Returns nginx's value of a variable for clients of unknown location.
    pub(super) fn unknown(&self, name: &str) -> &str {
        self.defaults.get(name).map_or("", String::as_str)
    }
}

impl Variables {
    /// Returns a text as a template of geogate. `Err` has the first variable that geogate does not
    /// have.
    pub(super) fn template(&self, text: &str, scope: &Scope) -> Result<String, String> {
        self.resolve(text, At::end(scope))
    }

    /// Same as [`Variables::template`], for a text of one place.
    pub(super) fn resolve(&self, text: &str, at: At) -> Result<String, String> {
        let mut result = String::new();
        for part in parts(text) {
            match part {
                Part::Text(text) => result.push_str(&text.replace('$', "$$")),
                Part::Variable { name, next_is_name } => {
                    result.push_str(&self.variable(name, next_is_name, at)?);
                }
            }
        }
        Ok(result)
    }

    fn variable(&self, name: &str, next_is_name: bool, at: At) -> Result<String, String> {
        if at.groups.iter().any(|group| group == name) {
            return Ok(reference(name, next_is_name));
        }
        if is_capture(name) && !at.has_route {
            return Err(format!("${name}"));
        }
        if let Some((_, alias)) = at.aliases.iter().find(|(group, _)| group == name) {
            return Ok(reference(alias, next_is_name));
        }
        if self.own.definition(name).is_some() {
            let made = self.define(name, at.deeper(name)?);
            self.own
                .note(name, made.as_ref().map(|_| ()).map_err(String::as_str));
            return made
                .map(|made| reference(&made, next_is_name))
                .map_err(|_| format!("${name}"));
        }
        let known = if SAME.contains(&name) || is_capture(name) || has_name(name) {
            Some(name)
        } else {
            let other = OTHER.iter().find(|(nginx, _)| *nginx == name);
            other.map(|(_, geogate)| *geogate)
        };
        let known = known.or_else(|| self.of_place.get(name).copied());
        if let Some(known) = known {
            return Ok(reference(known, next_is_name));
        }
        if is_group_of_route(name, at.scope) {
            let known = at.has_route.then(|| reference(name, next_is_name));
            return known.ok_or_else(|| format!("${name}"));
        }
        if let Some(table) = group_of_host(name, at.scope) {
            return Ok(reference(&self.own.register(name, table), next_is_name));
        }
        if let Some(text) = of_block(name, at.scope) {
            return self.resolve(&text, at.deeper(name)?);
        }
        match constant(name, at) {
            Some(value) => self.resolve(value, at.deeper(name)?),
            None => self.computed(name, next_is_name, at.deeper(name)?),
        }
    }

    /// Returns the value that the `set` directives before a place have given a variable, those in
    /// conditions among them.
    fn computed(&self, name: &str, next_is_name: bool, at: At) -> Result<String, String> {
        let missing = || format!("${name}");
        let mut value: Option<String> = None;
        for level in levels(at.scope).into_iter().rev() {
            for step in level.directives().iter() {
                if step.id >= at.before {
                    break;
                }
                match step.name.as_str() {
                    "set" if is_set_of(step, name) => {
                        let at = At {
                            scope: &level,
                            ..at
                        };
                        value = Some(self.resolve(step.arg(1), at.before(step))?);
                    }
                    "if" if step.inside().iter().any(|inner| is_set_of(inner, name)) => {
                        let at = At {
                            scope: &level,
                            ..at
                        };
                        let before = value.take().unwrap_or_default();
                        value = Some(self.set_in(step, name, &before, at.before(step))?);
                    }
                    // What comes behind it may not be executed.
                    "break" => return Err(missing()),
                    "rewrite" if matches!(step.arg(2), "last" | "break") => return Err(missing()),
                    _ => {}
                }
            }
        }
        let value = value.ok_or_else(missing)?;
        let is_open = value.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        match value.strip_prefix('$') {
            Some(known) if next_is_name && is_open && !value.contains('{') && is_name(known) => {
                Ok(format!("${{{known}}}"))
            }
            _ => Ok(value),
        }
    }

    /// Returns the value of a variable behind a condition that may set it. It is `before` otherwise.
    fn set_in(
        &self,
        condition: &Directive,
        name: &str,
        before: &str,
        at: At,
    ) -> Result<String, String> {
        let missing = || format!("${name}");
        if condition.inside().iter().any(|inner| inner.name != "set") {
            return Err(missing());
        }
        let at = at.of_own();
        let test = self.test(condition, at).map_err(|_| missing())?;
        let groups = test.groups();
        let mut value = before.to_owned();
        for set in condition.inside().iter().filter(|set| is_set_of(set, name)) {
            let own = parts(set.arg(1));
            let is_own =
                |part: &Part| matches!(part, Part::Variable { name: own, .. } if *own == name);
            value = if own.iter().any(is_own) {
                let mut text = String::new();
                for part in own {
                    match part {
                        Part::Text(part) => text.push_str(&part.replace('$', "$$")),
                        Part::Variable { name: own, .. } if own == name => text.push_str(&value),
                        Part::Variable { name, next_is_name } => {
                            let at = at.with_groups(&groups);
                            text.push_str(&self.variable(name, next_is_name, at)?);
                        }
                    }
                }
                text
            } else {
                self.resolve(set.arg(1), at.with_groups(&groups))?
            };
        }
        if has_captures(before) || has_captures(&value) && groups.is_empty() {
            return Err(missing());
        }
        let made = self.own.register(name, test.table(&value, before));
        Ok(format!("${{{made}}}"))
    }

    /// Returns the value of a text that has only constants; `None` if it depends on the request.
    pub(super) fn constant(text: &str, scope: &Scope) -> Option<String> {
        let mut result = text.to_owned();
        for _ in 0..LEVELS {
            let mut replaced = String::new();
            for part in parts(&result) {
                match part {
                    Part::Text(text) => replaced.push_str(text),
                    Part::Variable { name, .. } => {
                        replaced.push_str(constant(name, At::end(scope))?);
                    }
                }
            }
            if replaced.len() > 4096 || !replaced.contains('$') {
                return Some(replaced).filter(|text| !text.contains('$'));
            }
            result = replaced;
        }
        None
    }
}

/// Returns `true` if a text has variables.
pub(super) fn has_variables(text: &str) -> bool {
    parts(text)
        .iter()
        .any(|part| matches!(part, Part::Variable { .. }))
}

/// Returns the value that `set` gives a variable in this block or, if it has none, in the server
/// around it. `None` if there are several values, if a condition may change it, or if it is set behind
/// the place where it is used.
fn constant<'s>(name: &str, at: At<'_, 's>) -> Option<&'s str> {
    let is_changed = levels(at.scope)
        .iter()
        .flat_map(|level| level.here("if").collect::<Vec<_>>())
        .any(|condition| {
            condition
                .inside()
                .iter()
                .any(|inner| inner.arg(0).strip_prefix('$') == Some(name))
        });
    if is_changed {
        return None;
    }
    let values = levels(at.scope).into_iter().find_map(|level| {
        let values: Vec<&Directive> = level
            .here("set")
            .filter(|set| is_set_of(set, name))
            .collect();
        (!values.is_empty()).then_some(values)
    });
    match values?[..] {
        [set] if set.id < at.before => Some(set.args.get(1).map_or("", String::as_str)),
        _ => None,
    }
}

/// Returns the blocks whose rewrite directives are executed for a request of this block: its own, and
/// those of the server.
fn levels<'s>(scope: &Scope<'s>) -> Vec<Scope<'s>> {
    let mut around = scope.chain().filter(|level| !level.is("if"));
    let inner = around.next();
    let outer = around.filter(|level| !level.is("location"));
    inner.into_iter().chain(outer).collect()
}

/// Returns the texts that `set` gives a variable for requests of a block, and the conditions that decide
/// on them.
pub(super) fn texts_of_sets<'s>(name: &str, scope: &Scope<'s>) -> Vec<&'s str> {
    let mut texts = Vec::new();
    for level in levels(scope) {
        for step in level.directives().iter() {
            if is_set_of(step, name) {
                texts.push(step.arg(1));
            }
            let mut inner = step.inside().iter().filter(|inner| is_set_of(inner, name));
            if step.name == "if"
                && let Some(set) = inner.next()
            {
                texts.push(set.arg(1));
                texts.extend(inner.map(|set| set.arg(1)));
                texts.extend(step.args.iter().map(String::as_str));
            }
        }
    }
    texts
}

fn is_set_of(directive: &Directive, name: &str) -> bool {
    directive.name == "set" && directive.arg(0).strip_prefix('$') == Some(name)
}

/// Returns `true` if a template has groups of the location's regular expression.
pub(super) fn has_captures(template: &str) -> bool {
    let variables = parts(template);
    let is_group = |part: &Part| matches!(part, Part::Variable { name, .. } if is_capture(name));
    variables.iter().any(is_group)
}

/// Returns `true` for a named group of the location's expression.
fn is_group_of_route(name: &str, scope: &Scope) -> bool {
    let location = scope.chain().find(|level| level.is("location"));
    let Some(Pattern::Regex(regex)) = location.and_then(|level| pattern(level.block()?)) else {
        return false;
    };
    let found = translated(&regex);
    let names = compiled(&found.regex).filter(|_| found.is_exact);
    names.is_some_and(|regex| regex.capture_names().any(|group| group == Some(name)))
}

/// Returns the table of a named group of a server's names; `None` if there is no such group.
fn group_of_host(name: &str, scope: &Scope) -> Option<Table> {
    let server = scope.chain().find(|level| level.is("server"))?;
    let mut entries = Vec::new();
    let (mut regexes, mut is_found) = (Vec::new(), false);
    for names in server.here("server_name") {
        for host in &names.args {
            let Some(regex) = host.strip_prefix('~') else {
                if host.contains('*') || host.starts_with('.') {
                    return None;
                }
                entries.push(Entry::new(host, "", None));
                continue;
            };
            let found = translated(&format!("(?i){regex}"));
            let groups = compiled(&found.regex).filter(|_| found.is_exact)?;
            let has_group = groups.capture_names().any(|group| group == Some(name));
            is_found |= has_group;
            let value = if has_group {
                reference(name, false)
            } else {
                String::new()
            };
            regexes.push(Entry::new(&format!("~{}", found.regex), value, None));
        }
    }
    entries.extend(regexes);
    let origin = Origin::from(server.block()?);
    is_found.then(|| own::table("$host", "values", entries, "", origin))
}

/// Returns a variable of a server or location that is the same for all its requests, as text of nginx.
fn of_block(name: &str, scope: &Scope) -> Option<String> {
    let is_plain = |text: &str| !text.contains('$');
    match name {
        "server_name" => {
            let server = scope.chain().find(|level| level.is("server"))?;
            let name = server.here("server_name").next();
            let name = name.map_or("", |name| name.arg(0));
            (!name.contains(['*', '~']) && !name.starts_with('.')).then(|| name.to_owned())
        }
        "proxy_host" | "proxy_port" => {
            let url = scope.one("proxy_pass")?.arg(0);
            let (scheme, rest) = url.split_once("://").filter(|_| is_plain(url))?;
            let host = rest.split('/').next().unwrap_or_default();
            let usual = if scheme == "https" { "443" } else { "80" };
            let (_, port) = host.rsplit_once(':').unwrap_or((host, usual));
            let is_usual = port == usual;
            Some(match name {
                "proxy_port" => port.to_owned(),
                _ if is_usual => host.trim_end_matches(&format!(":{usual}")).to_owned(),
                _ => host.to_owned(),
            })
        }
        "document_root" | "request_filename" => {
            let root = scope.one("root").filter(|root| is_plain(root.arg(0)))?;
            let has_alias = scope.here("alias").next().is_some();
            let end = if name == "document_root" { "" } else { "$uri" };
            let is_absolute = root.arg(0).starts_with('/');
            let root = root.arg(0).trim_end_matches('/');
            (!has_alias && is_absolute).then(|| format!("{root}{end}"))
        }
        // There is no cache.
        "upstream_cache_status" => Some(String::new()),
        _ => None,
    }
}

/// Returns a variable of geogate as it stands in a template.
pub(super) fn reference(name: &str, next_is_name: bool) -> String {
    if next_is_name && !is_capture(name) {
        format!("${{{name}}}")
    } else {
        format!("${name}")
    }
}

/// Returns the name of the variable that a template consists of.
pub(super) fn only_variable(template: &str) -> Option<&str> {
    let name = template.strip_prefix('$')?;
    let name = match name.strip_prefix('{') {
        Some(inner) => inner.strip_suffix('}')?,
        None => name,
    };
    is_name(name).then_some(name)
}

fn is_name(text: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !text.is_empty() && text.bytes().all(is_of_name)
}

pub(super) fn is_capture(name: &str) -> bool {
    matches!(name.as_bytes(), [b'1'..=b'9'])
}

fn has_name(name: &str) -> bool {
    WITH_NAMES
        .iter()
        .any(|beginning| name.len() > beginning.len() && name.starts_with(beginning))
}

pub(super) enum Part<'t> {
    Text(&'t str),
    Variable { name: &'t str, next_is_name: bool },
}

pub(super) fn parts(text: &str) -> Vec<Part<'_>> {
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        let after = &rest[dollar + 1..];
        let in_braces = after
            .strip_prefix('{')
            .and_then(|after| after.split_once('}'));
        let (name, next) = in_braces.unwrap_or_else(|| {
            let length = match after.bytes().next() {
                Some(b'0'..=b'9') => 1,
                _ => after.bytes().take_while(is_of_name).count(),
            };
            after.split_at(length)
        });
        if name.is_empty() {
            // This dollar begins no name, as at the end of an expression.
            parts.push(Part::Text(&rest[..=dollar]));
            rest = after;
            continue;
        }
        parts.push(Part::Text(&rest[..dollar]));
        let next_is_name = next.bytes().next().is_some_and(|byte| is_of_name(&byte));
        parts.push(Part::Variable { name, next_is_name });
        rest = next;
    }
    parts.push(Part::Text(rest));
    parts
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::nginx::include::Files;
    use crate::nginx::parser;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, &str>) {
        let sets = b"set $a 1; set $b x$a; set $c 1; set $c 2; set $d $d; set $e $host;";
        let files = Files::of(Path::new("f"));
        let tree = parser::parse(sets, "f", files).unwrap();
        let scope = Scope::outermost(&tree.directives);
        let of_place = BTreeMap::from([("geoip2_cc".to_owned(), "country")]);
        let result = Variables {
            of_place,
            ..Variables::default()
        }
        .template(text, &scope);
        assert_eq!(result.as_deref().map_err(String::as_str), expected);
    }

    #[test]
    fn names_become_those_of_geogate() {
        check("https://$host$request_uri", Ok("https://$host$request_uri"));
        check("$binary_remote_addr-${args}x", Ok("$remote_addr-${args}x"));
        check("$query_string|${host}_", Ok("$args|${host}_"));
        check("/$1$2/$10", Ok("/$1$2/$10"));
        check(
            "$geoip2_cc $http_x_a $cookie_b",
            Ok("$country $http_x_a $cookie_b"),
        );
        check("a$", Ok("a$$"));
    }

    #[test]
    fn constants_become_their_text() {
        check("$a/$b/$e", Ok("1/x1/$host"));
        // The last one counts.
        check("$c", Ok("2"));
        check("$d", Err("$d"));
    }

    #[test]
    fn what_geogate_does_not_have_is_named() {
        check("$host $ssl_server_name", Err("$ssl_server_name"));
        check("$arg_", Err("$arg_"));
    }
}
