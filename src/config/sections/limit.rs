//! `[[rate_limit]]`, `[limits]`, `[query]`, and the limits of a route.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::num::NonZeroU32;
use std::time::Duration;

use super::access::access_set;
use super::auth::auth;
use super::{name, one_of};
use crate::config::document::{Item, Section};
use crate::config::model::{
    Access, Auth, Limit, LimitRefs, Limits, RateKey, RateLimit, RouteLimits, Satisfy,
    is_managed_name,
};
use crate::geo::Codes;

/// Maximum time in which a burst refills: longer than any useful limit, and short enough for
/// arithmetic in nanoseconds.
const LONGEST_BURST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Access rules, rate limits and users of the file, which other sections refer to by name.
pub(super) struct Named {
    pub access: Vec<Access>,
    pub rate_limits: Vec<RateLimit>,
    pub auth: Vec<Auth>,
    /// Their places, by name.
    numbers: [HashMap<String, usize>; 3],
}

impl Named {
    /// Reads `[[access]]`, `[[rate_limit]]` and `[[auth]]`.
    pub(super) fn read(root: &Section) -> Self {
        let access = root.sections("access");
        let rate_limits = root.sections("rate_limit");
        // Parsing the code tables costs time, and only access rules need them.
        let codes = if access.is_empty() {
            Codes::default()
        } else {
            Codes::built_in()
        };
        let sets: Vec<Access> = access.iter().map(|set| access_set(set, &codes)).collect();
        let rates: Vec<RateLimit> = rate_limits.iter().map(rate_limit).collect();
        let auths = root.sections("auth");
        let auth: Vec<Auth> = auths.iter().map(auth).collect();
        let numbers = [
            numbered(&access, sets.iter().map(|set| &set.name)),
            numbered(&rate_limits, rates.iter().map(|rate| &rate.name)),
            numbered(&auths, auth.iter().map(|auth| &auth.name)),
        ];
        Named {
            access: sets,
            rate_limits: rates,
            auth,
            numbers,
        }
    }

    /// Reads the keys `access` and `rate_limit` of a section: one name, or a list of names.
    pub(super) fn refs(&self, section: &Section) -> LimitRefs {
        let [access, rates, _] = &self.numbers;
        LimitRefs {
            access: places(section, "access", "[[access]]", access),
            rate_limits: places(section, "rate_limit", "[[rate_limit]]", rates),
        }
    }
}

/// Returns the index of each named section. A repeated name is an error, except an empty one.
fn numbered<'n>(
    sections: &[Section],
    names: impl Iterator<Item = &'n String>,
) -> HashMap<String, usize> {
    let mut numbers = HashMap::new();
    for (number, (section, name)) in sections.iter().zip(names).enumerate() {
        match numbers.entry(name.clone()) {
            Entry::Vacant(vacant) => {
                vacant.insert(number);
            }
            Entry::Occupied(_) if name.is_empty() => {}
            Entry::Occupied(_) => section.note("name", format!("there is another {name:?}")),
        }
    }
    numbers
}

fn places(
    section: &Section,
    key: &'static str,
    kind: &str,
    numbers: &HashMap<String, usize>,
) -> Vec<usize> {
    let find = |item: &Item| {
        let name = item.string()?;
        let number = numbers.get(name).copied();
        number.ok_or_else(|| format!("no {kind} is named {name:?}"))
    };
    let Some(item) = section.item(key) else {
        return Vec::new();
    };
    let items = item.one_or_more();
    items.iter().filter_map(|item| item.read(find)).collect()
}

fn rate_limit(section: &Section) -> RateLimit {
    let rate = section.required("rate", rate);
    let (requests, period) = rate.unwrap_or((NonZeroU32::MIN, Duration::from_secs(1)));
    let key = section.value("key", RateKey::ClientIp, rate_key);
    let burst = section.value("burst", requests, |item| {
        let burst = item.integer(1, u64::from(u32::MAX))? as u32;
        let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
        // Refilling the whole burst from empty takes `burst` times the interval of one request.
        if period.as_secs_f64() / f64::from(requests.get()) * f64::from(burst.get())
            > LONGEST_BURST.as_secs_f64()
        {
            return Err("at this rate the burst takes more than a year to refill".to_owned());
        }
        Ok(burst)
    });
    let limit = RateLimit {
        name: section.required("name", name).unwrap_or_default(),
        key,
        requests,
        period,
        burst,
        ipv6_prefix: section.value("ipv6_prefix", 64, prefix),
        max_keys: section.value("max_keys", 65_536, |item| {
            Ok(item.integer(64, 1 << 24)? as usize)
        }),
        dry_run: section.value("dry_run", false, Item::boolean),
    };
    section.refuse_unknown();
    limit
}

/// Reads a rate: `"100/s"`, `"10/m"`, `"1000/h"`, `"5/d"`.
fn rate(item: &Item) -> Result<(NonZeroU32, Duration), String> {
    let text = item.string()?;
    let seconds = |unit| match unit {
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(60 * 60),
        "d" => Some(24 * 60 * 60),
        _ => None,
    };
    let rate = text.split_once('/').and_then(|(requests, unit)| {
        let requests: NonZeroU32 = requests.parse().ok()?;
        Some((requests, Duration::from_secs(seconds(unit)?)))
    });
    let rate = rate.filter(|(requests, _)| requests.get() <= 1_000_000_000);
    rate.ok_or_else(|| format!("{text:?} is not a rate such as \"100/s\", \"10/m\" or \"1000/h\""))
}

fn rate_key(item: &Item) -> Result<RateKey, String> {
    let text = item.string()?;
    match text {
        "client_ip" => return Ok(RateKey::ClientIp),
        "country" => return Ok(RateKey::Country),
        "route" => return Ok(RateKey::Route),
        _ => {}
    }
    let header = text.strip_prefix("header:");
    let header = header.and_then(|name| name.parse::<http::HeaderName>().ok());
    if header
        .as_ref()
        .is_some_and(|name| is_managed_name(name.as_str()))
    {
        return Err(format!(
            "{text:?} is what clients say of themselves; use \"client_ip\""
        ));
    }
    header
        .map(|name| RateKey::Header(name.as_str().to_owned()))
        .ok_or_else(|| {
            format!("{text:?} is not \"client_ip\", \"country\", \"route\" or \"header:NAME\"")
        })
}

fn prefix(item: &Item) -> Result<u8, String> {
    Ok(item.integer(1, 128)? as u8)
}

pub(super) fn limits(section: &Section, named: &Named) -> Limits {
    let per_client = |item: &Item| Ok(Some(item.integer(1, 1 << 30)? as u32));
    let limits = Limits {
        refs: named.refs(section),
        max_connections: section.value("max_connections", Limit::Auto, |item| {
            most(item, |item| item.integer(1, 1 << 30))
        }),
        max_connections_per_client: section.value("max_connections_per_client", None, per_client),
        max_requests: section.value("max_requests", Limit::Auto, |item| {
            most(item, |item| item.integer(1, 1 << 30))
        }),
        max_requests_per_client: section.value("max_requests_per_client", Limit::Auto, |item| {
            most(item, |item| item.integer(1, 1 << 30))
        }),
        max_memory: section.value("max_memory", Limit::Auto, |item| {
            most(item, |item| match item.size()? {
                0 => Err("at least a byte is expected".to_owned()),
                size => Ok(size),
            })
        }),
        ipv6_prefix: section.value("ipv6_prefix", 64, prefix),
    };
    section.refuse_unknown();
    limits
}

fn most(item: &Item, number: impl FnOnce(&Item) -> Result<u64, String>) -> Result<Limit, String> {
    if item.is("auto") {
        return Ok(Limit::Auto);
    }
    let number = number(item).map(Limit::Fixed);
    number.map_err(|reason| format!("{reason}; or \"auto\""))
}

/// Reads the limits of a route.
pub(super) fn route_limits(section: &Section, named: &Named) -> RouteLimits {
    let refs = named.refs(section);
    let auth = places(section, "auth", "[[auth]]", &named.numbers[2]);
    let known = [("all", Satisfy::All), ("any", Satisfy::Any)];
    let satisfy = section.value("satisfy", Satisfy::All, |item| {
        match one_of(item, &known)? {
            Satisfy::Any if section.item("auth").is_none() => {
                Err("\"any\" is for routes with auth".to_owned())
            }
            satisfy => Ok(satisfy),
        }
    });
    RouteLimits {
        refs,
        auth,
        satisfy,
        max_requests: section.value("max_requests", None, |item| {
            Ok(Some(item.integer(1, 1 << 30)? as u32))
        }),
        max_body_size: section.value("max_body_size", None, |item| item.size().map(Some)),
        timeout: section.value("timeout", None, |item| item.duration().map(Some)),
    }
}

/// Reads the limits of IP queries, which apply in addition to the global ones.
pub(super) fn query(section: &Section, named: &Named) -> LimitRefs {
    let refs = named.refs(section);
    section.refuse_unknown();
    refs
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

    #[test]
    fn names_lead_to_what_they_name() {
        let config = read(
            "[limits]\naccess = ['b', 'a']\nrate_limit = 'r'\n[query]\naccess = 'a'\n\
             [[access]]\nname = 'a'\ndefault = 'deny'\nrules = []\n\
             [[access]]\nname = 'b'\ndefault = 'deny'\nrules = []\n\
             [[rate_limit]]\nname = 'r'\nrate = '10/m'\n",
        );
        let config = config.unwrap();
        assert_eq!(config.limits.refs.access, [1, 0]);
        assert_eq!(config.limits.refs.rate_limits, [0]);
        assert_eq!(config.query.access, [0]);
    }

    #[test]
    fn what_is_not_there_cannot_be_named() {
        check_wrong(
            "[limits]\naccess = 'office'\n",
            "limits.access: no [[access]] is named \"office\" (line 2)",
        );
        check_wrong(
            "[query]\nrate_limit = 'r'\n",
            "query.rate_limit: no [[rate_limit]] is named \"r\" (line 2)",
        );
    }

    #[test]
    fn rates_have_a_number_and_a_period() {
        let limit = |more: &str| {
            let text = format!("[[rate_limit]]\nname = 'r'\n{more}\n");
            read(&text).map(|config| config.rate_limits[0].clone())
        };
        let plain = limit("rate = '100/s'").unwrap();
        assert_eq!((plain.requests.get(), plain.burst.get()), (100, 100));
        assert_eq!((plain.period.as_secs(), plain.ipv6_prefix), (1, 64));
        let slow = limit("rate = '5/d'\nburst = 20\nkey = 'header:X-Key'").unwrap();
        assert_eq!((slow.period.as_secs(), slow.burst.get()), (86_400, 20));
        assert_eq!(slow.key, RateKey::Header("x-key".to_owned()));
        for wrong in ["100", "/s", "0/s", "-1/s", "1/w", "1.5/s", "2000000000/s"] {
            let error = limit(&format!("rate = '{wrong}'")).unwrap_err();
            assert!(error.contains("is not a rate"), "{error}");
        }
        let error = limit("rate = '1/d'\nburst = 400").unwrap_err();
        assert!(error.contains("more than a year"), "{error}");
        let error = limit("rate = '1/s'\nkey = 'header:a b'").unwrap_err();
        assert!(error.contains("header:NAME"), "{error}");
        for name in ["X-Forwarded-For", "x_real_ip", "X-Geo-Country"] {
            let error = limit(&format!("rate = '1/s'\nkey = 'header:{name}'")).unwrap_err();
            assert!(error.contains("say of themselves"), "{error}");
        }
    }

    #[test]
    fn most_is_a_number_or_auto() {
        let config = read("[limits]\nmax_connections = 5\nmax_memory = '2g'\n").unwrap();
        assert_eq!(config.limits.max_connections, Limit::Fixed(5));
        assert_eq!(config.limits.max_requests, Limit::Auto);
        assert_eq!(config.limits.max_memory, Limit::Fixed(2 << 30));
        check_wrong(
            "[limits]\nmax_connections = 0\n",
            "limits.max_connections: 0",
        );
        check_wrong("[limits]\nmax_memory = 0\n", "limits.max_memory: at least");
        check_wrong("[limits]\nmax_requests = 'many'\n", "limits.max_requests: ");
    }
}
