//! Access rules: ordered rules, compiled so that their number does not affect the cost of a lookup.
//!
//! Rules are evaluated as nginx's `allow` and `deny`: the first rule that matches the client
//! decides, and if none matches, the default does. A rule names a client by its network or its
//! place. So a set of rules becomes one index for each kind of attribute, from the attribute to the
//! first rule that names it; the smallest result is the first rule overall. Networks are stored in
//! the same trie that locates addresses: a list of many thousands is one lookup.

use std::net::IpAddr;

use hashbrown::HashMap;
use ipnet::IpNet;

use super::rejection_counter::RejectionCounter;
use crate::config::model::{Access, Clients, Region, Verdict};
use crate::geo::{Field, Place};
use crate::tree::{Address, Range, RangeTree};

/// Number that stands for no rule: later than any rule.
const NONE: u32 = u32::MAX;

/// Compiled set of rules.
pub struct AccessSet {
    config: Access,
    verdicts: Box<[Verdict]>,
    v4: Option<RangeTree<u32>>,
    v6: Option<RangeTree<u128>>,
    unknown_country: u32,
    /// For each field of a place that rules name, the first rule of each of its values.
    facts: Vec<(Field, HashMap<String, u32>)>,
    /// Territories that depend on several fields, in the order of their rules.
    territories: Vec<(Region, u32)>,
    /// Requests that were denied, or only logged in a dry run.
    pub denied: RejectionCounter,
}

impl AccessSet {
    /// Compiles a set of rules.
    #[must_use]
    pub fn new(config: &Access) -> Self {
        let mut set = AccessSet {
            config: config.clone(),
            verdicts: config.rules.iter().map(|rule| rule.verdict).collect(),
            v4: None,
            v6: None,
            unknown_country: NONE,
            facts: Vec::new(),
            territories: Vec::new(),
            denied: RejectionCounter::default(),
        };
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (number, rule) in (0..NONE).zip(&config.rules) {
            for clients in &rule.clients {
                match clients {
                    Clients::Network(IpNet::V4(net)) => v4.push(Range {
                        first: u32::from(net.network()),
                        last: u32::from(net.broadcast()),
                        value: number,
                    }),
                    Clients::Network(IpNet::V6(net)) => v6.push(Range {
                        first: u128::from(net.network()),
                        last: u128::from(net.broadcast()),
                        value: number,
                    }),
                    Clients::Region(region) => set.name_territory(region, number),
                    Clients::Asn(asn) => set.name_fact(Field::Asn, asn.to_string(), number),
                    Clients::UnknownCountry => {
                        set.unknown_country = set.unknown_country.min(number);
                    }
                }
            }
        }
        (set.v4, set.v6) = (tree(v4), tree(v6));
        set
    }

    fn name_territory(&mut self, region: &Region, number: u32) {
        for facts in region.ways() {
            match &facts[..] {
                [(field, text)] => self.name_fact(*field, text.clone(), number),
                _ => self.territories.push((region.clone(), number)),
            }
        }
    }

    fn name_fact(&mut self, field: Field, text: String, number: u32) {
        let known = self.facts.iter().position(|(known, _)| *known == field);
        let at = known.unwrap_or_else(|| {
            self.facts.push((field, HashMap::new()));
            self.facts.len() - 1
        });
        self.facts[at].1.entry(text).or_insert(number);
    }

    /// Returns `true` if it was made from the same configuration.
    #[must_use]
    pub fn is_for(&self, config: &Access) -> bool {
        self.config == *config
    }

    /// Name of the set.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Returns `true` if denials are only counted and logged.
    #[must_use]
    pub fn is_dry_run(&self) -> bool {
        self.config.dry_run
    }

    /// Decides on a client. Its address must be canonical (not IPv4-mapped).
    #[must_use]
    pub fn decide(&self, client: IpAddr, place: Option<&Place>) -> Verdict {
        let rule = self.rule_of_network(client).min(self.rule_of_place(place));
        let verdict = self.verdicts.get(rule as usize);
        verdict.copied().unwrap_or(self.config.default)
    }

    fn rule_of_network(&self, client: IpAddr) -> u32 {
        let rule = match client {
            IpAddr::V4(ip) => self.v4.as_ref().and_then(|tree| tree.lookup(ip.into())),
            IpAddr::V6(ip) => self.v6.as_ref().and_then(|tree| tree.lookup(ip.into())),
        };
        rule.unwrap_or(NONE)
    }

    fn rule_of_place(&self, place: Option<&Place>) -> u32 {
        let is_known = place.is_some_and(|place| !place.text(Field::CountryCode).is_empty());
        let unknown = if is_known { NONE } else { self.unknown_country };
        let Some(place) = place else {
            return unknown;
        };
        let facts = self
            .facts
            .iter()
            .filter_map(|(field, rules)| rules.get(place.text(*field)));
        let mut territories = self.territories.iter();
        let region = territories.find(|(region, _)| region.contains(place));
        let region = region.map_or(NONE, |(_, number)| *number);
        facts.fold(unknown.min(region), |first, rule| first.min(*rule))
    }
}

fn tree<A: Address>(networks: Vec<Range<A>>) -> Option<RangeTree<A>> {
    if networks.is_empty() {
        return None;
    }
    let tree = RangeTree::from_ranges(first_wins(networks).iter().copied());
    Some(tree.expect("the networks of a file make a tree of less than 4 GiB"))
}

/// Lowers the rule of each network to the first rule of all networks that contain it. Two networks
/// are either nested or disjoint, so the trie's "most specific wins" then equals "first wins".
fn first_wins<A: Address>(mut networks: Vec<Range<A>>) -> Vec<Range<A>> {
    networks.sort_unstable_by(|a, b| a.first.cmp(&b.first).then(b.last.cmp(&a.last)));
    let mut around: Vec<Range<A>> = Vec::new();
    for network in &mut networks {
        while around.pop_if(|outer| outer.last < network.first).is_some() {}
        if let Some(outer) = around.last() {
            network.value = network.value.min(outer.value);
        }
        around.push(*network);
    }
    networks
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use proptest::prelude::*;

    use super::*;
    use crate::config::{Overrides, parse};
    use crate::geo::{Codes, Database, Names, Table};

    /// Database: 1.0.0.0/24 is Fujian, 1.0.1.0/24 California, 1.0.2.0/24 a place without a country,
    /// 1.0.3.0/24 Taiwan by its code, 1.0.4.0/24 Taiwan in the form of a source without codes.
    fn database() -> Database {
        let mut table = Table::default();
        let places = [
            vec![
                (Field::Country, "中国"),
                (Field::Province, "福建"),
                (Field::Asn, "4134"),
            ],
            vec![
                (Field::CountryCode, "US"),
                (Field::Province, "California"),
                (Field::SubdivisionCode, "CA"),
            ],
            vec![(Field::Organization, "Nowhere")],
            vec![(Field::CountryCode, "TW"), (Field::City, "Taipei")],
            vec![(Field::Country, "中国"), (Field::Province, "台湾")],
        ];
        for (index, fields) in (0..).zip(places) {
            let first = 0x0100_0000 + (index << 8);
            table.v4.push(Range {
                first,
                last: first + 0xff,
                value: table.records.intern(fields),
            });
        }
        Database::build(table, &Codes::built_in(), Names::Canonical).unwrap()
    }

    fn set(rules: &str, default: &str) -> AccessSet {
        let text = format!("[[access]]\nname = 'a'\ndefault = '{default}'\nrules = [{rules}]\n");
        let config = parse(&text, "test", &Overrides::default()).unwrap();
        AccessSet::new(&config.access[0])
    }

    fn allows(set: &AccessSet, database: &Database, ip: &str) -> bool {
        let ip = ip.parse().unwrap();
        set.decide(ip, database.lookup(ip).as_ref()) == Verdict::Allow
    }

    #[track_caller]
    fn check(rules: &str, default: &str, allowed: &[&str], denied: &[&str]) {
        let (set, database) = (set(rules, default), database());
        for ip in allowed {
            assert!(allows(&set, &database, ip), "{ip} is denied");
        }
        for ip in denied {
            assert!(!allows(&set, &database, ip), "{ip} is allowed");
        }
    }

    #[test]
    fn the_first_rule_that_has_the_client_decides() {
        check(
            "{ deny = '10.1.1.1' }, { allow = '10.1.0.0/16' }, { deny = '10.0.0.0/8' }",
            "allow",
            &["10.1.1.2", "11.0.0.1"],
            &["10.1.1.1", "10.2.0.1"],
        );
        // The wider network comes first, so the narrower one never decides.
        check(
            "{ deny = '10.0.0.0/8' }, { allow = '10.1.0.0/16' }",
            "allow",
            &[],
            &["10.1.1.1"],
        );
        check(
            "{ allow = '10.1.0.0/16' }, { deny = '10.1.0.0/16' }",
            "deny",
            &["10.1.1.1"],
            &[],
        );
    }

    #[test]
    fn the_default_is_for_who_has_no_rule() {
        check("", "allow", &["1.0.0.1", "::1"], &[]);
        check("", "deny", &[], &["1.0.0.1", "::1"]);
        check(
            "{ allow = '2001:db8::/32' }",
            "deny",
            &["2001:db8::1"],
            &["1.0.0.1", "::1"],
        );
        check(
            "{ deny = '0.0.0.0/0' }",
            "allow",
            &["::1"],
            &["1.0.0.1", "255.255.255.255"],
        );
    }

    #[test]
    fn places_are_countries_regions_and_networks_of_operators() {
        check(
            "{ allow = 'country:cn' }",
            "deny",
            &["1.0.0.1"],
            &["1.0.1.1", "9.9.9.9"],
        );
        check(
            "{ deny = 'region:福建' }",
            "allow",
            &["1.0.1.1"],
            &["1.0.0.1"],
        );
        check(
            "{ deny = 'region:350000' }",
            "allow",
            &["1.0.1.1"],
            &["1.0.0.1"],
        );
        check(
            "{ deny = 'region:US-CA' }",
            "allow",
            &["1.0.0.1"],
            &["1.0.1.1"],
        );
        check(
            "{ deny = 'region:California' }",
            "allow",
            &["1.0.0.1"],
            &["1.0.1.1"],
        );
        check(
            "{ deny = 'asn:4134' }",
            "allow",
            &["1.0.1.1", "9.9.9.9"],
            &["1.0.0.1"],
        );
    }

    #[test]
    fn china_is_who_has_its_code_and_taiwan_is_found_either_way() {
        check(
            "{ deny = 'country:CN' }",
            "allow",
            &["1.0.3.1"],
            &["1.0.0.1", "1.0.4.1"],
        );
        check(
            "{ deny = 'country:TW' }",
            "allow",
            &["1.0.0.1"],
            &["1.0.3.1", "1.0.4.1"],
        );
        check(
            "{ allow = 'country:台湾' }, { deny = 'country:CN' }",
            "deny",
            &["1.0.3.1", "1.0.4.1"],
            &["1.0.0.1"],
        );
        check(
            "{ deny = 'region:710000' }",
            "allow",
            &["1.0.0.1"],
            &["1.0.3.1", "1.0.4.1"],
        );
    }

    #[test]
    fn unknown_is_who_has_no_country() {
        let both = ["1.0.2.1", "9.9.9.9"];
        check(
            "{ deny = 'country:unknown' }",
            "allow",
            &["1.0.0.1", "1.0.1.1"],
            &both,
        );
        check("{ allow = 'country:unknown' }", "deny", &both, &["1.0.0.1"]);
    }

    #[test]
    fn kinds_of_rules_keep_their_order() {
        check(
            "{ allow = ['1.0.0.7', 'asn:1'] }, { deny = ['country:CN', 'country:US'] }",
            "allow",
            &["1.0.0.7", "9.9.9.9"],
            &["1.0.0.8", "1.0.1.7"],
        );
        check(
            "{ deny = 'region:福建' }, { allow = ['country:CN', '1.0.0.0/8'] }",
            "deny",
            &["1.0.1.1"],
            &["1.0.0.7"],
        );
    }

    /// Client of a rule in two forms: for the configuration and for the oracle.
    #[derive(Debug, Clone)]
    enum Named {
        Net(u32, u32),
        Country(&'static str),
    }

    impl Named {
        fn text(&self) -> String {
            match self {
                Named::Net(bits, length) => {
                    format!("{}/{length}", std::net::Ipv4Addr::from(*bits))
                }
                Named::Country(code) => format!("country:{code}"),
            }
        }

        fn has(&self, ip: u32, country: &str) -> bool {
            match self {
                Named::Net(bits, length) => (ip ^ bits).checked_shr(32 - length).unwrap_or(0) == 0,
                Named::Country("unknown") => country.is_empty(),
                Named::Country(code) => *code == country,
            }
        }
    }

    /// Networks that are often nested: in 1.0.0.0/14, of any length.
    fn named() -> impl Strategy<Value = Named> {
        prop_oneof![
            4 => (0x0100_0000..0x0103_ffff_u32, 8..=32_u32).prop_map(|(ip, length)| Named::Net(ip, length)),
            1 => prop_oneof![Just("CN"), Just("US"), Just("unknown")].prop_map(Named::Country),
        ]
    }

    proptest! {
        /// For all rules, a linear scan in their order has the same result.
        #[test]
        fn a_scan_of_the_rules_finds_the_same(
            rules in prop::collection::vec((any::<bool>(), prop::collection::vec(named(), 0..4)), 0..12),
            default in any::<bool>(),
            clients in prop::collection::vec(0x0100_0000..0x0103_ffff_u32, 1..40),
        ) {
            let word = |allow| if allow { "allow" } else { "deny" };
            let mut text = String::new();
            for (allow, named) in &rules {
                let list: Vec<_> = named.iter().map(|n| format!("{:?}", n.text())).collect();
                write!(text, "{{ {} = [{}] }},", word(*allow), list.join(",")).unwrap();
            }
            let (set, database) = (set(&text, word(default)), database());
            for client in clients {
                let ip = IpAddr::V4(client.into());
                let place = database.lookup(ip);
                let country = place.map_or("", |place| place.text(Field::CountryCode));
                let rule = rules.iter().find(|(_, named)| named.iter().any(|n| n.has(client, country)));
                let expected = rule.map_or(default, |(allow, _)| *allow);
                let found = set.decide(ip, place.as_ref()) == Verdict::Allow;
                prop_assert_eq!(found, expected, "{} of {}", ip, text);
            }
        }
    }
}
