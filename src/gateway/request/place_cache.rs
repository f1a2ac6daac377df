//! Copies of places for requests, made once for each thread and place.
//!
//! A request has a copy of its client's place, so that it does not hold a replaced database in memory.
//! Clients of one network come again and again, so the last copies are kept: a direct-mapped table, in
//! which a place that is asked for takes the slot of another one.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;

use crate::geo::{Database, PlaceCopy};

/// Number of copies that a thread keeps, some hundred bytes each.
const SLOTS: usize = 256;

struct Slot {
    database: u64,
    number: u32,
    place: Arc<PlaceCopy>,
}

thread_local! {
    static CACHE: RefCell<Vec<Option<Slot>>> = const { RefCell::new(Vec::new()) };
}

/// Returns a copy of the place of an address; `None` if the database has none.
pub fn place_of(address: IpAddr, database: &Database) -> Option<Arc<PlaceCopy>> {
    let number = database.find(address)?;
    CACHE.with_borrow_mut(|slots| {
        if slots.is_empty() {
            slots.resize_with(SLOTS, || None);
        }
        let slot = &mut slots[number as usize % SLOTS];
        match slot {
            Some(slot) if slot.database == database.serial() && slot.number == number => {
                Some(Arc::clone(&slot.place))
            }
            _ => {
                let place = Arc::new(database.place(number).copied());
                *slot = Some(Slot {
                    database: database.serial(),
                    number,
                    place: Arc::clone(&place),
                });
                Some(place)
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::request::variables::tests::database;
    use crate::geo::Field;

    #[test]
    fn a_copy_is_made_once_for_each_database() {
        let (first, second) = (database(), database());
        let address = IpAddr::from([1, 0, 0, 7]);
        let copy = place_of(address, &first).unwrap();
        assert_eq!(copy.place().text(Field::City), "福州");
        assert!(Arc::ptr_eq(&copy, &place_of(address, &first).unwrap()));
        assert!(!Arc::ptr_eq(&copy, &place_of(address, &second).unwrap()));
        assert!(place_of(IpAddr::from([9, 9, 9, 9]), &first).is_none());
    }
}
