//! Acceptance checks of a database before it is served.
//!
//! A reader accepts every well-formed file, even one that is half as long as it should be or has
//! wrong content. The operator states by probes what it must contain; besides, it must not be much
//! smaller than the database in use.

use std::net::IpAddr;

use crate::config::model::Probe;
use crate::geo::Database;
use crate::geo::report::{Coverage, coverage};

/// Reason for which a database is rejected.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum Refusal {
    /// The place of a probe's address differs from the expected one.
    #[error("probe {ip}: {field} is {found:?}, not {expected:?}")]
    Probe {
        /// Address of the probe.
        ip: IpAddr,
        /// Name of the field.
        field: &'static str,
        /// Value in the database; empty if there is none.
        found: String,
        /// Value that the operator expects.
        expected: String,
    },
    /// The database has much less content than the one in use.
    #[error(
        "{family} {what} went from {before} to {after}, a loss of {lost:.1} %, and {limit:.1} % is allowed"
    )]
    Shrunk {
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// `ranges` or `addresses`.
        what: &'static str,
        /// Count in the database in use.
        before: u128,
        /// Count in the new database.
        after: u128,
        /// Loss in percent.
        lost: f64,
        /// Allowed loss in percent.
        limit: f64,
    },
}

/// Looks up the probes; fails on the first one whose place differs.
pub fn probe(database: &Database, probes: &[Probe]) -> Result<(), Refusal> {
    for Probe { ip, expected } in probes {
        let place = database.lookup(*ip);
        for (field, expected) in expected {
            let found = place.as_ref().map_or("", |place| place.text(*field));
            if found != expected {
                return Err(Refusal::Probe {
                    ip: *ip,
                    field: field.name(),
                    found: found.to_owned(),
                    expected: expected.clone(),
                });
            }
        }
    }
    Ok(())
}

/// Checks that neither family loses more than `max_shrinkage` of its ranges or addresses, as a
/// fraction.
pub fn compare(before: &Database, after: &Database, max_shrinkage: f64) -> Result<(), Refusal> {
    let families = coverage(before).into_iter().zip(coverage(after));
    for (family, (before, after)) in ["IPv4", "IPv6"].into_iter().zip(families) {
        let counts = |coverage: &Coverage| [u128::from(coverage.ranges), coverage.addresses];
        let counts = counts(&before).into_iter().zip(counts(&after));
        for (what, (before, after)) in ["ranges", "addresses"].into_iter().zip(counts) {
            let lost = 1.0 - after as f64 / before.max(1) as f64;
            if after < before && lost > max_shrinkage {
                return Err(Refusal::Shrunk {
                    family,
                    what,
                    before,
                    after,
                    lost: 100.0 * lost,
                    limit: 100.0 * max_shrinkage,
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geo::format::csv;
    use crate::geo::{Codes, Field, Names};

    fn database(lines: &str) -> Database {
        let text = format!("start,end,country\n{lines}");
        let table = csv::read(text.as_bytes()).unwrap();
        Database::build(table, &Codes::built_in(), Names::Canonical).unwrap()
    }

    #[test]
    fn a_probe_that_finds_something_else_is_a_refusal() {
        let database = database("1.0.0.0,1.0.0.255,中国\n");
        let expect = |ip: &str, text: &str| Probe {
            ip: ip.parse().unwrap(),
            expected: vec![(Field::CountryCode, text.to_owned())],
        };
        assert_eq!(probe(&database, &[expect("1.0.0.1", "CN")]), Ok(()));
        for (ip, said) in [
            (
                "1.0.0.1",
                "probe 1.0.0.1: country_code is \"CN\", not \"KR\"",
            ),
            ("2.0.0.1", "probe 2.0.0.1: country_code is \"\", not \"KR\""),
        ] {
            let refusal = probe(&database, &[expect("1.0.0.1", "CN"), expect(ip, "KR")]);
            assert_eq!(refusal.unwrap_err().to_string(), said);
        }
    }

    #[test]
    fn a_loss_beyond_the_limit_is_a_refusal() {
        let whole = database("1.0.0.0,1.0.0.9,中国\n1.0.0.20,1.0.0.29,韩国\n::1,::4,日本\n");
        let fewer_addresses =
            database("1.0.0.0,1.0.0.9,中国\n1.0.0.20,1.0.0.20,韩国\n::1,::4,日本\n");
        let no_v6 = database("1.0.0.0,1.0.0.9,中国\n1.0.0.20,1.0.0.29,韩国\n");
        assert_eq!(compare(&whole, &whole, 0.0), Ok(()));
        assert_eq!(compare(&fewer_addresses, &whole, 0.0), Ok(()));
        assert_eq!(compare(&whole, &fewer_addresses, 0.45), Ok(()));
        let refusal = |after, limit| compare(&whole, after, limit).unwrap_err().to_string();
        assert_eq!(
            refusal(&fewer_addresses, 0.44),
            "IPv4 addresses went from 20 to 11, a loss of 45.0 %, and 44.0 % is allowed"
        );
        assert_eq!(
            refusal(&no_v6, 0.9),
            "IPv6 ranges went from 1 to 0, a loss of 100.0 %, and 90.0 % is allowed"
        );
        assert_eq!(compare(&whole, &no_v6, 1.0), Ok(()));
    }
}
