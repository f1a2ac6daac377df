//! `[[variable]]`: the operator's own variables.
//!
//! A variable may use others, in any order of the file; a circle is an error.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::route::pattern;
use crate::config::document::{Item, Section};
use crate::config::model::{
    Captures, MAX_WEIGHT, Mapped, NetworkTable, OwnVariable, OwnVariables, Part, RequestVariable,
    Template, TextTable, ValueTable, Variable, Variables,
};

/// Keys that say what the values follow from; a variable has at most one.
const TABLES: [&str; 3] = ["values", "networks", "shares"];

/// Reads all variables.
pub(super) fn variables(root: &Section) -> Arc<OwnVariables> {
    let sections = root.sections("variable");
    let mut own = Arc::new(OwnVariables::default());
    let mut left: Vec<(String, &Section, BTreeSet<String>)> = Vec::new();
    for section in &sections {
        if let Some(name) = section.required("name", name) {
            if left.iter().any(|(other, ..)| *other == name) {
                section.note("name", format!("there is another {name:?}"));
                continue;
            }
            left.push((name, section, names_in(section)));
        }
    }
    let all: BTreeSet<String> = left.iter().map(|(name, ..)| name.clone()).collect();
    let mut known = BTreeSet::new();
    loop {
        let is_ready = |used: &BTreeSet<String>, known: &BTreeSet<String>| {
            let mut used = used.iter().filter(|name| all.contains(*name));
            used.all(|name| known.contains(name))
        };
        let (ready, waiting): (Vec<_>, Vec<_>) = left
            .into_iter()
            .partition(|(_, _, used)| is_ready(used, &known));
        if ready.is_empty() {
            left = waiting;
            break;
        }
        left = waiting;
        for (name, section, _) in ready {
            let variable = variable(&name, section, &own);
            known.insert(name.clone());
            add(&mut own, name, variable);
        }
    }
    refuse_circles(&left);
    // Their users are no further errors.
    for (name, ..) in &left {
        add(&mut own, name.clone(), empty(name));
    }
    for (name, section, _) in left {
        variable(&name, section, &own);
    }
    own
}

/// Notes every variable that depends on itself, or on one that does.
fn refuse_circles(left: &[(String, &Section, BTreeSet<String>)]) {
    for (name, section, used) in left {
        let others: Vec<_> = left
            .iter()
            .filter(|(other, ..)| used.contains(other))
            .map(|(other, ..)| format!("${other}"))
            .collect();
        let reason = format!(
            "${name} depends on itself: it uses {}, whose value is not known without it",
            others.join(" and ")
        );
        section.note("", reason);
    }
}

fn empty(name: &str) -> OwnVariable<Variable> {
    OwnVariable {
        name: name.to_owned(),
        source: Vec::new(),
        table: ValueTable::Source,
        values: Vec::new(),
        default: Vec::new(),
        weight: 1,
    }
}

fn add(own: &mut Arc<OwnVariables>, name: String, variable: OwnVariable<Variable>) {
    let own = Arc::make_mut(own);
    let is_of_request = variable
        .variables()
        .all(|variable| matches!(variable, Variable::Request(_)));
    let variables = if is_of_request {
        &mut own.of_request
    } else {
        &mut own.of_response
    };
    variables.insert(name, Arc::new(variable));
}

fn name(item: &Item) -> Result<String, String> {
    let text = item.string()?;
    let is_of_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let is_name =
        text.bytes().all(is_of_name) && text.starts_with(|c: char| c.is_ascii_lowercase());
    if !is_name {
        return Err(format!(
            "{text:?} is no name of lower-case letters, digits and '_' that begins with a letter"
        ));
    }
    if Variable::from_name(text, &Captures::default()).is_some() || text.starts_with("host_") {
        return Err(format!("${text} is a variable of geogate"));
    }
    Ok(text.to_owned())
}

/// Returns the names of all variables in the texts of a variable.
fn names_in(section: &Section) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut look = |item: &Item, groups: &[String]| {
        if let Ok(template) = item.template::<AnyName>(&Captures::default()) {
            let used = template.variables().map(|name| name.0.clone());
            names.extend(used.filter(|name| !groups.contains(name)));
        }
    };
    for key in ["from", "default"] {
        if let Some(item) = section.item(key) {
            look(&item, &[]);
        }
    }
    for key in TABLES {
        let entries = section.item(key).filter(Item::is_table);
        let entries = entries.map(|item| item.section().entries());
        for (key, item) in entries.unwrap_or_default() {
            // A group may have the name of a variable.
            let regex = key.strip_prefix('~').and_then(|regex| pattern(regex).ok());
            let groups = regex.map(|regex| {
                let groups = regex.capture_names().flatten();
                groups.map(str::to_owned).collect::<Vec<_>>()
            });
            look(&item, &groups.unwrap_or_default());
        }
    }
    names
}

/// A variable of any name.
struct AnyName(String);

impl Variables for AnyName {
    fn from_name(name: &str, _: &Captures) -> Option<Self> {
        Some(AnyName(name.to_owned()))
    }

    fn known(_: &Captures) -> String {
        String::new()
    }
}

/// Values of a variable, while they are read.
struct Reader<'r> {
    own: &'r Arc<OwnVariables>,
    values: Vec<Vec<Part<Mapped<Variable>>>>,
}

/// Reads a variable whose own variables are known.
fn variable(name: &str, section: &Section, own: &Arc<OwnVariables>) -> OwnVariable<Variable> {
    let names = Captures::default().with_own(own);
    let found = TABLES.map(|key| section.item(key).is_some());
    if found.iter().filter(|found| **found).count() > 1 {
        section.note("", "has several of values, networks and shares");
    }
    let source = section.value("from", None, |item| {
        text::<Variable>(item, &names).map(Some)
    });
    let source = source.unwrap_or_else(|| {
        let is_given = section.item("from").is_some();
        let by_address = Part::Variable(Variable::Request(RequestVariable::RemoteAddr));
        if found[1] && !is_given {
            return vec![by_address];
        }
        if !is_given {
            section.note("from", "is missing");
        }
        Vec::new()
    });
    let mut reader = Reader {
        own,
        values: Vec::new(),
    };
    let is_of_hosts = section.value("hostnames", false, Item::boolean);
    if is_of_hosts && !found[0] {
        section.note("hostnames", "is for values");
    }
    let table = reader.table(section, found, is_of_hosts);
    let default = section.value("default", Vec::new(), |item| text(item, &names));
    section.refuse_unknown();
    let mut variable = OwnVariable {
        name: name.to_owned(),
        source,
        table,
        values: reader.values,
        default,
        weight: 1,
    };
    variable.weight = weight(&variable);
    if variable.weight > MAX_WEIGHT {
        let reason = format!(
            "a value is put together from {} texts and variables, with those of the variables in it; \
             {MAX_WEIGHT} are the most",
            variable.weight
        );
        section.note("", reason);
    }
    variable
}

/// Returns the upper bound of the parts of a value.
fn weight(variable: &OwnVariable<Variable>) -> u32 {
    let of_source = variable.source.iter().map(|part| match part {
        Part::Text(_) => 1,
        Part::Variable(variable) => variable.weight(),
    });
    let of_value = |parts: &Vec<Part<Mapped<Variable>>>| -> u32 {
        let parts = parts.iter().map(|part| match part {
            Part::Variable(Mapped::Variable(variable)) => variable.weight(),
            Part::Variable(Mapped::Group(_)) | Part::Text(_) => 1,
        });
        parts.fold(0, u32::saturating_add)
    };
    let values = variable.values.iter().chain([&variable.default]);
    let longest = values.map(of_value).max().unwrap_or(0);
    of_source
        .fold(1, u32::saturating_add)
        .saturating_add(longest)
}

/// Reads a text with variables.
fn text<V: Variables>(item: &Item, names: &Captures) -> Result<Vec<Part<V>>, String> {
    if item.string()?.contains(|c: char| c.is_control()) {
        return Err("has a control character".to_owned());
    }
    item.template::<V>(names).map(Template::into_parts)
}

impl Reader<'_> {
    /// Reads the first of [`TABLES`] that is found.
    fn table(&mut self, section: &Section, found: [bool; 3], is_of_hosts: bool) -> ValueTable {
        if found[0] {
            self.texts(&section.section("values"), is_of_hosts)
        } else if found[1] {
            self.networks(&section.section("networks"))
        } else if found[2] {
            self.shares(&section.section("shares"))
        } else {
            if section.item("default").is_some() {
                section.note("default", "is for values, networks and shares");
            }
            ValueTable::Source
        }
    }

    /// Adds a value. Returns its position.
    fn value(&mut self, item: &Item, names: &Captures) -> Result<usize, String> {
        self.values.push(text(item, names)?);
        Ok(self.values.len() - 1)
    }

    /// Reads `{ "text" = "value", "~regex" = "$1" }`.
    fn texts(&mut self, section: &Section, is_of_hosts: bool) -> ValueTable {
        let mut table = TextTable::new(is_of_hosts);
        for (key, item) in section.entries() {
            item.read(|item| {
                if let Some(regex) = key.strip_prefix('~') {
                    let regex = pattern(regex)?;
                    let groups = regex.capture_names().map(|name| name.map(str::to_owned));
                    let names = Captures::new(groups).with_own(self.own);
                    let at = self.value(item, &names)?;
                    table.add_regex(regex, at);
                    return Ok(());
                }
                let names = Captures::default().with_own(self.own);
                let at = self.value(item, &names)?;
                let is_new = table.add_text(key.strip_prefix('\\').unwrap_or(key), at);
                let twice =
                    || format!("{key:?} is there already; the case of letters does not count");
                is_new.then_some(()).ok_or_else(twice)
            });
        }
        ValueTable::Texts(Box::new(table))
    }

    /// Reads `{ "10.0.0.0/8" = "value", "10.0.0.1-10.0.0.9" = "value" }`.
    fn networks(&mut self, section: &Section) -> ValueTable {
        let names = Captures::default().with_own(self.own);
        let mut ranges: Vec<(IpAddr, IpAddr)> = Vec::new();
        for (key, item) in section.entries() {
            item.read(|item| {
                let range = range(key).ok_or_else(|| {
                    format!(
                        "{key:?} is neither an address nor a network nor a range such as \
                         \"10.0.0.1-10.0.0.9\""
                    )
                })?;
                if ranges.contains(&range) {
                    return Err(format!("{key:?} is there already"));
                }
                self.value(item, &names)?;
                ranges.push(range);
                Ok(())
            });
        }
        match NetworkTable::new(ranges) {
            Ok(table) => ValueTable::Networks(Box::new(table)),
            Err(error) => {
                section.note("", error.to_string());
                ValueTable::Source
            }
        }
    }

    /// Reads `{ a = "10%", b = "0.5%" }`: the share of each value.
    fn shares(&mut self, section: &Section) -> ValueTable {
        let (mut bounds, mut sum) = (Vec::new(), 0_u64);
        for (value, item) in section.entries() {
            if let Some(share) = item.read(Item::share) {
                // As in nginx: hundredths of a percent.
                sum += hundredths(share);
                let bound = sum.min(10_000) * u64::from(u32::MAX) / 10_000;
                bounds.push(u32::try_from(bound).unwrap_or(u32::MAX));
                self.values.push(match value {
                    "" => Vec::new(),
                    value => vec![Part::Text(value.to_owned())],
                });
            }
        }
        if sum > 10_000 {
            section.note("", "the shares are more than 100% together");
        }
        ValueTable::Shares(bounds)
    }
}

/// Returns a share from 0 to 1 in hundredths of a percent.
fn hundredths(share: f64) -> u64 {
    #[expect(clippy::cast_sign_loss, reason = "a share is not negative")]
    let hundredths = (share * 10_000.0).round() as u64;
    hundredths
}

/// Reads an address, a network, or a range with its ends.
fn range(text: &str) -> Option<(IpAddr, IpAddr)> {
    if let Some((first, last)) = text.split_once('-') {
        let (first, last): (IpAddr, IpAddr) =
            (first.trim().parse().ok()?, last.trim().parse().ok()?);
        let is_range = first.is_ipv4() == last.is_ipv4() && first <= last;
        return is_range.then_some((first, last));
    }
    let address = || text.parse().ok().map(|address: IpAddr| address.into());
    let network: IpNet = text.parse().ok().or_else(address)?;
    Some((network.network(), network.broadcast()))
}

#[cfg(test)]
mod tests {
    use crate::config::{Overrides, parse};

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let problems = parse(text, "file", &Overrides::default());
        let problems = problems.map_or_else(|error| error.to_string(), |_| String::new());
        assert_eq!(problems, expected, "{text}");
    }

    fn variable(name: &str, lines: &str) -> String {
        format!("[[variable]]\nname = '{name}'\n{lines}\n")
    }

    #[test]
    fn variables_use_each_other_in_any_order() {
        let text = [
            variable(
                "a",
                "from = '$b'\nvalues = { x = '$c$1', '~^(y)' = '$1$host' }\ndefault = '$c'",
            )
            .replace("$c$1", "$c"),
            variable("b", "from = '$host-$status'"),
            variable(
                "lang",
                "from = '$uri'\nvalues = { '~^/(?<lang>[a-z]+)' = '$lang' }",
            ),
            variable(
                "c",
                "networks = { '10.0.0.0/8' = 'x', '::1' = 'y', '1.2.3.4-1.2.3.9' = '$host' }",
            ),
            variable(
                "d",
                "from = '$remote_addr'\nshares = { one = '0.5%', two = '50%' }\ndefault = 'three'",
            ),
            "[access_log]\nformat = '$a $b $c $d $lang'\n".to_owned(),
        ];
        check(&text.concat(), "");
    }

    #[test]
    fn a_circle_is_named() {
        let text = variable("a", "from = '$b'") + &variable("b", "from = '$a'");
        check(
            &text,
            "file: variable[0]: $a depends on itself: it uses $b, whose value is not known without it \
             (line 1)\nfile: variable[1]: $b depends on itself: it uses $a, whose value is not known \
             without it (line 4)",
        );
        check(
            &variable("a", "from = '$host'\nvalues = { x = '$a' }"),
            "file: variable[0]: $a depends on itself: it uses $a, whose value is not known without it \
             (line 1)",
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (name, lines, expected) in [
            (
                "host",
                "from = 'x'",
                "name: $host is a variable of geogate (line 2)",
            ),
            (
                "arg_x",
                "from = 'x'",
                "name: $arg_x is a variable of geogate (line 2)",
            ),
            (
                "A",
                "from = 'x'",
                "name: \"A\" is no name of lower-case letters, digits and '_' that begins with a letter (line 2)",
            ),
            ("a", "", "from: is missing (line 1)"),
            (
                "a",
                "from = 'x'\ndefault = 'y'",
                "default: is for values, networks and shares (line 4)",
            ),
            (
                "a",
                "from = 'x'\nhostnames = true",
                "hostnames: is for values (line 4)",
            ),
            (
                "a",
                "from = '$host'\nvalues = {}\nshares = {}",
                " has several of values, networks and shares (line 1)",
            ),
            (
                "a",
                "from = '$host'\nvalues = { A = 'x', a = 'y' }",
                "values.a: \"a\" is there already; the case of letters does not count (line 4)",
            ),
            (
                "a",
                "from = '$host'\nvalues = { '~(' = 'x' }",
                "values.~(: \"(\": unclosed group (line 4)",
            ),
            (
                "a",
                "networks = { '10.0.0.0/33' = 'x' }",
                "networks.10.0.0.0/33: \"10.0.0.0/33\" is neither an address nor a network nor a range such as \"10.0.0.1-10.0.0.9\" (line 3)",
            ),
            (
                "a",
                "from = '$host'\nshares = { x = '60%', y = '50%' }",
                "shares: the shares are more than 100% together (line 4)",
            ),
        ] {
            let path = expected.strip_prefix(' ').map_or_else(
                || format!("variable[0].{expected}"),
                |rest| format!("variable[0]: {rest}"),
            );
            check(&variable(name, lines), &format!("file: {path}"));
        }
        let text = variable("a", "from = '$1'");
        let problem = parse(&text, "file", &Overrides::default())
            .unwrap_err()
            .to_string();
        assert!(
            problem.starts_with("file: variable[0].from: there is no $1 here"),
            "{problem}"
        );
    }

    #[test]
    fn values_cannot_grow_without_end() {
        let mut text = variable("v0", "from = '$host'");
        for number in 1..9 {
            let before = number - 1;
            text += &variable(
                &format!("v{number}"),
                &format!("from = '$v{before}$v{before}'"),
            );
        }
        let problem = parse(&text, "file", &Overrides::default())
            .unwrap_err()
            .to_string();
        assert!(
            problem.contains("variable[7]: a value is put together from"),
            "{problem}"
        );
    }

    #[test]
    fn a_response_is_known_after_the_request() {
        let of_response = variable(
            "late",
            "from = '$status'\nvalues = { '~^2' = '0' }\ndefault = '1'",
        );
        check(
            &format!("{of_response}[[route]]\nredirect = {{ to = '/$late' }}\n"),
            "file: route[0].redirect.to: there is no $late here: it is known with the response only \
             (line 7)",
        );
        check(
            &format!(
                "{of_response}[[route]]\nrespond = {{}}\nresponse_headers.set = {{ X-A = '$late' }}\n[access_log]\nif = '$late'\n"
            ),
            "",
        );
        check(
            "[[route]]\nrespond = {}\nresponse_headers.set = { X-A = '$bytes_sent' }\n",
            "file: route[0].response_headers.set.X-A: $bytes_sent is not known before the response was sent \
             (line 3)",
        );
    }
}
