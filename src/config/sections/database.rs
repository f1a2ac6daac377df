//! `[[database]]` and `[geo]`.

use std::net::IpAddr;
use std::time::Duration;

use super::{one_of, path, url_of};
use crate::config::Overrides;
use crate::config::document::{Item, Section};
use crate::config::model::{Database, Geo, Probe, Published};
use crate::geo::format::Languages;
use crate::geo::{Field, Names, Regions};

/// Reads the layers, highest first; the embedded database alone if there are none.
pub(super) fn databases(root: &Section, overrides: &Overrides) -> Vec<Database> {
    let sections = root.sections("database");
    let databases: Vec<_> = sections.iter().filter_map(database).collect();
    if !overrides.databases.is_empty() {
        return overrides.databases.clone();
    }
    if databases.is_empty() {
        return vec![Database::Embedded];
    }
    databases
}

fn database(section: &Section) -> Option<Database> {
    let given = ["file", "embedded", "url"].map(|key| section.item(key).is_some());
    let database = match given {
        [true, false, false] => section.required("file", path).map(Database::File),
        [_, false, true] => published(section).map(Box::new).map(Database::Published),
        [false, true, false] => section.required("embedded", |item| {
            let embedded = item.boolean()?.then_some(Database::Embedded);
            embedded.ok_or_else(|| "true is all that can be said; leave the section out".to_owned())
        }),
        [false, false, false] => {
            section.note("", "has neither file nor embedded");
            None
        }
        [_, true, _] => {
            let reason = "has embedded and more; each is a [[database]] of its own";
            section.note("", reason);
            None
        }
    };
    section.refuse_unknown();
    database
}

fn published(section: &Section) -> Option<Published> {
    let url = section.required("url", url_of);
    let file = section.required("file", path);
    let day = Duration::from_secs(24 * 60 * 60);
    let published = Published {
        checksum_url: section.value("checksum_url", None, |item| url_of(item).map(Some)),
        interval: section.value("interval", day, |item| {
            let interval = item.duration()?;
            if interval < Duration::from_secs(1) {
                return Err("at least a second is expected".to_owned());
            }
            Ok(interval)
        }),
        timeout: section.value("timeout", Duration::from_secs(600), Item::duration),
        ca_file: section.value("ca_file", None, |item| path(item).map(Some)),
        url: url?,
        file: file?,
    };
    Some(published)
}

pub(super) fn geo(section: &Section) -> Geo {
    let canonical = section.value("canonical_names", true, Item::boolean);
    let geo = Geo {
        codes: section.value("codes", None, |item| path(item).map(Some)),
        names: if canonical {
            Names::Canonical
        } else {
            Names::Raw
        },
        regions: section.value("regions", Regions::Iso, |item| {
            one_of(item, &[("iso", Regions::Iso), ("china", Regions::China)])
        }),
        languages: languages(section),
        watch: section.value("watch", true, Item::boolean),
        max_shrinkage: section.value("max_shrinkage", 0.3, Item::share),
        probes: section.sections("probe").iter().filter_map(probe).collect(),
    };
    section.refuse_unknown();
    geo
}

fn probe(section: &Section) -> Option<Probe> {
    let ip = section.required("ip", |item| {
        let text = item.string()?;
        let ip = text
            .parse()
            .map_err(|_| format!("{text:?} is not an address"));
        ip.map(|ip: IpAddr| ip.to_canonical())
    });
    let expected: Vec<_> = Field::ALL
        .into_iter()
        .filter_map(|field| {
            let text = section.item(field.name())?.read(Item::string)?;
            Some((field, text.to_owned()))
        })
        .collect();
    section.refuse_unknown();
    if expected.is_empty() {
        section.note("", "has no expected field such as country_code = \"CN\"");
    }
    Some(Probe { ip: ip?, expected })
}

fn languages(section: &Section) -> Languages {
    let Some(item) = section.item("languages") else {
        return Languages::default();
    };
    if item.is_empty_array() {
        section.note("languages", "at least one language is needed");
    }
    let tag = |item: &Item| match item.string()? {
        "" => Err("a language such as \"zh-CN\" is expected".to_owned()),
        tag => Ok(tag.to_owned()),
    };
    let items = item.items();
    Languages::new(items.iter().filter_map(|item| item.read(tag)).collect())
}
