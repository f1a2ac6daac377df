//! Places of clients, copied once for each thread and place.
//!
//! A request has a copy of its client's place, so that it does not hold a replaced database in memory.
//! Clients of one network come again and again, so the last copies are kept, with the header lines that
//! upstreams get: a direct-mapped table, in which a place that is asked for takes the slot of another
//! one.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;

use super::geo_headers::LocationHeaders;
use crate::geo::{Database, Place, PlaceCopy};
use crate::proto::headers::LineBuffer;

/// Number of places that a thread keeps, some hundred bytes each.
const SLOTS: usize = 256;

/// Place of a client, independent of its database.
pub struct ClientPlace {
    copy: PlaceCopy,
    lines: LineBuffer,
}

impl ClientPlace {
    /// Place.
    pub fn place(&self) -> Place<'_> {
        self.copy.place()
    }

    /// Header lines for upstreams.
    pub fn lines(&self) -> &LineBuffer {
        &self.lines
    }
}

struct Slot {
    key: Key,
    place: Arc<ClientPlace>,
}

/// Number of a place in a database, and the settings of the header lines.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    database: u64,
    number: u32,
    headers: u64,
}

thread_local! {
    static CACHE: RefCell<Vec<Option<Slot>>> = const { RefCell::new(Vec::new()) };
}

/// Returns the place of an address; `None` if the database has none.
pub fn place_of(
    address: IpAddr,
    database: &Database,
    headers: &LocationHeaders,
) -> Option<Arc<ClientPlace>> {
    let key = Key {
        database: database.serial(),
        number: database.find(address)?,
        headers: headers.serial(),
    };
    CACHE.with_borrow_mut(|slots| {
        if slots.is_empty() {
            slots.resize_with(SLOTS, || None);
        }
        let slot = &mut slots[key.number as usize % SLOTS];
        if let Some(slot) = slot.as_ref().filter(|slot| slot.key == key) {
            return Some(Arc::clone(&slot.place));
        }
        let place = database.place(key.number);
        let place = Arc::new(ClientPlace {
            lines: headers.render(&place),
            copy: place.copied(),
        });
        *slot = Some(Slot {
            key,
            place: Arc::clone(&place),
        });
        Some(place)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{GeoHeaders, HeaderEncoding, HeaderNames};
    use crate::gateway::request::variables::tests::database;
    use crate::geo::Field;

    #[test]
    fn a_copy_is_made_once_for_each_database_and_settings() {
        let config = GeoHeaders {
            enabled: true,
            names: HeaderNames::Geogate,
            more: Vec::new(),
            encoding: HeaderEncoding::Percent,
        };
        let (headers, others) = (LocationHeaders::new(&config), LocationHeaders::new(&config));
        let (first, second) = (database(), database());
        let address = IpAddr::from([1, 0, 0, 7]);
        let copy = place_of(address, &first, &headers).unwrap();
        assert_eq!(copy.place().text(Field::City), "福州");
        assert_eq!(
            copy.lines().first("x-geo-city"),
            Some(&b"%E7%A6%8F%E5%B7%9E"[..])
        );
        let is_same = |database, headers| {
            let other = place_of(address, database, headers).unwrap();
            Arc::ptr_eq(&copy, &other)
        };
        assert!(is_same(&first, &headers));
        assert!(!is_same(&first, &others) && !is_same(&second, &headers));
        assert!(place_of(IpAddr::from([9, 9, 9, 9]), &first, &headers).is_none());
    }
}
