//! `[[access]]`.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use super::{name, one_of};
use crate::config::document::{Item, Section};
use crate::config::model::{Access, AccessRule, Clients, Region, Verdict};
use crate::geo::Codes;

pub(super) fn access_set(section: &Section, codes: &Codes) -> Access {
    let rules = section.required("rules", |item| Ok(item.items()));
    let rules = rules.unwrap_or_default();
    let verdict = |item: &Item| one_of(item, &[("allow", Verdict::Allow), ("deny", Verdict::Deny)]);
    let access = Access {
        name: section.required("name", name).unwrap_or_default(),
        rules: rules
            .iter()
            .filter_map(|rule| access_rule(rule, codes))
            .collect(),
        default: section
            .required("default", verdict)
            .unwrap_or(Verdict::Deny),
        dry_run: section.value("dry_run", false, Item::boolean),
    };
    section.refuse_unknown();
    access
}

fn access_rule(item: &Item, codes: &Codes) -> Option<AccessRule> {
    let section = item.section();
    let (allow, deny) = (section.item("allow"), section.item("deny"));
    let rule = match (allow, deny) {
        (Some(list), None) => Some((Verdict::Allow, list)),
        (None, Some(list)) => Some((Verdict::Deny, list)),
        _ => {
            section.note(
                "",
                "either { allow = [...] } or { deny = [...] } is expected",
            );
            None
        }
    };
    section.refuse_unknown();
    let (verdict, list) = rule?;
    let items = list.one_or_more();
    let clients = items
        .iter()
        .filter_map(|item| item.read(|item| clients(item.string()?, codes)));
    Some(AccessRule {
        verdict,
        clients: clients.flatten().collect(),
    })
}

fn clients(text: &str, codes: &Codes) -> Result<Vec<Clients>, String> {
    match text.strip_prefix("file:") {
        Some(file) => clients_of_file(file, codes),
        None => Ok(vec![clients_of(text, codes)?]),
    }
}

/// Reads a file with one client pattern per line. Text after `#` or `;` is a comment, as in
/// published lists of networks.
fn clients_of_file(file: &str, codes: &Codes) -> Result<Vec<Clients>, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    let mut clients = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split(['#', ';']).next().unwrap_or_default().trim();
        if !line.is_empty() {
            let read = clients_of(line, codes);
            clients.push(read.map_err(|reason| format!("{file}: line {number}: {reason}"))?);
        }
    }
    Ok(clients)
}

fn clients_of(text: &str, codes: &Codes) -> Result<Clients, String> {
    let unknown = || {
        format!(
            "{text:?} is neither a network such as \"192.0.2.0/24\" nor \"country:CN\", \
             \"country:unknown\", \"region:NAME\", \"asn:64496\" or \"file:PATH\""
        )
    };
    let (kind, name) = text.split_once(':').unwrap_or_default();
    let clients = match (kind, name) {
        ("country" | "region", "") => None,
        ("country", "unknown") => Some(Clients::UnknownCountry),
        ("country", name) => Region::country(name, codes).map(Clients::Region),
        ("region", name) => Some(Clients::Region(Region::subdivision(name, codes))),
        ("asn", name) => asn(name).map(Clients::Asn),
        _ => network(text).map(Clients::Network),
    };
    clients.ok_or_else(unknown)
}

fn asn(text: &str) -> Option<u32> {
    let number = text.strip_prefix("AS").unwrap_or(text);
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse().ok().filter(|_| digits)
}

fn network(text: &str) -> Option<IpNet> {
    let address = || text.parse().ok().map(|ip: IpAddr| IpNet::from(ip));
    let network = text.parse().ok().or_else(address);
    network.map(canonical)
}

/// Converts a network of IPv4-mapped addresses to IPv4 and clears host bits.
fn canonical(network: IpNet) -> IpNet {
    if let IpNet::V6(v6) = network
        && let (Some(address), Some(length)) = (
            v6.network().to_ipv4_mapped(),
            v6.prefix_len().checked_sub(96),
        )
        && let Ok(v4) = Ipv4Net::new(address, length)
    {
        return IpNet::V4(v4);
    }
    network.trunc()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Overrides, parse};

    fn read(text: &str) -> Result<Config, String> {
        let config = parse(text, "file", &Overrides::default());
        config.map_err(|error| error.to_string())
    }

    #[track_caller]
    fn check_wrong(text: &str, expected: &str) {
        let error = read(text).expect_err("a wrong configuration");
        assert!(error.contains(expected), "{error}");
    }

    /// Returns a set with one rule that denies a TOML value.
    fn denying(value: &str) -> String {
        format!("[[access]]\nname = 'a'\ndefault = 'allow'\nrules = [{{ deny = {value} }}]\n")
    }

    #[track_caller]
    fn check_clients(text: &str, expected: Clients) {
        let text =
            format!("[[access]]\nname = 'a'\ndefault = 'allow'\nrules = [{{ deny = {text:?} }}]\n");
        let config = read(&text).unwrap();
        assert_eq!(config.access[0].rules[0].clients, [expected]);
    }

    #[test]
    fn clients_are_networks_or_places() {
        let network = |text: &str| Clients::Network(text.parse().unwrap());
        check_clients("192.0.2.0/24", network("192.0.2.0/24"));
        check_clients("192.0.2.7/24", network("192.0.2.0/24"));
        check_clients("192.0.2.7", network("192.0.2.7/32"));
        check_clients("2001:db8::/32", network("2001:db8::/32"));
        check_clients("::ffff:192.0.2.0/120", network("192.0.2.0/24"));
        check_clients("::ffff:192.0.2.7", network("192.0.2.7/32"));
        check_clients("::/0", network("::/0"));
        let codes = Codes::built_in();
        let country = Region::country("CN", &codes).unwrap();
        check_clients("country:cn", Clients::Region(country));
        check_clients("country:unknown", Clients::UnknownCountry);
        let region = Region::subdivision("福建", &codes);
        check_clients("region:CN-FJ", Clients::Region(region));
        check_clients("asn:AS64496", Clients::Asn(64496));
        check_clients("asn:64496", Clients::Asn(64496));
    }

    #[test]
    fn what_is_no_client_is_said_with_its_line() {
        for text in [
            "",
            "192.0.2.0/33",
            "192.0.2",
            "country:",
            "country:XX",
            "region:",
            "asn:",
            "asn:+1",
            "asn:4294967296",
            "CN",
        ] {
            let rules = format!("rules = [\n{{ allow = [{text:?}] }} ]\n");
            let set = format!("[[access]]\nname = 'a'\ndefault = 'allow'\n{rules}");
            check_wrong(&set, "access[0].rules[0].allow[0]: ");
            check_wrong(&set, "(line 5)");
        }
    }

    #[test]
    fn a_file_has_clients_by_the_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().display().to_string();
        let text = "# Some\n192.0.2.0/24 ; SBL1\n\n2001:db8::/32\r\nasn:64496 # theirs\n";
        std::fs::write(file.path(), text).unwrap();
        let config = read(&denying(&format!("['10.0.0.1', 'file:{path}']"))).unwrap();
        let expected = ["10.0.0.1/32", "192.0.2.0/24", "2001:db8::/32"];
        let mut expected: Vec<_> = expected
            .map(|text| Clients::Network(text.parse().unwrap()))
            .into();
        expected.push(Clients::Asn(64496));
        assert_eq!(config.access[0].rules[0].clients, expected);
        std::fs::write(file.path(), "192.0.2.0/24\n192.0.2\n").unwrap();
        check_wrong(
            &denying(&format!("'file:{path}'")),
            &format!("{path}: line 2: \"192.0.2\""),
        );
        check_wrong(
            &denying("'file:/nonexistent'"),
            "access[0].rules[0].deny: /nonexistent: ",
        );
    }

    #[test]
    fn a_set_of_rules_says_all_that_it_has_to() {
        let set = "[[access]]\nname = 'a'\ndefault = 'deny'\nrules = []\n";
        check_wrong(
            &set.replace("default = 'deny'\n", ""),
            "access[0].default: is missing",
        );
        check_wrong(
            &set.replace("rules = []", ""),
            "access[0].rules: is missing",
        );
        check_wrong(
            &set.replace("'a'", "'a b'"),
            "access[0].name: \"a b\" is no name",
        );
        check_wrong(
            &set.replace("'deny'", "'refuse'"),
            "is not \"allow\" or \"deny\"",
        );
        check_wrong(
            &format!("{set}{set}"),
            "access[1].name: there is another \"a\"",
        );
        let both = "rules = [{ allow = '::/0', deny = '::/0' }]";
        check_wrong(
            &set.replace("rules = []", both),
            "access[0].rules[0]: either",
        );
    }
}
