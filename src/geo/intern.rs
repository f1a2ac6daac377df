//! Values numbered in the order of their first appearance, each kept once.
//!
//! A large source has a million texts and as many records. So the table that finds a value's number
//! holds only numbers and compares the values in place, and texts are joined in one allocation. The
//! author of a file chooses the values, so the hashes are seeded at random.

use std::hash::{BuildHasher, Hash};

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};

/// Map from values to their numbers; the values are kept elsewhere.
#[derive(Debug, Clone, Default)]
struct Numbers {
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Numbers {
    /// Returns the number of `value`, and `true` if it is new. `value_of` returns the value of a
    /// number.
    fn number<'v, V>(&mut self, value: &V, value_of: impl Fn(u32) -> &'v V) -> (u32, bool)
    where
        V: Eq + Hash + ?Sized + 'v,
    {
        let next = self.table.len();
        let hash = |value: &V| self.hasher.hash_one(value);
        let entry = self.table.entry(
            hash(value),
            |&number| value_of(number) == value,
            |&number| hash(value_of(number)),
        );
        match entry {
            Entry::Occupied(known) => (*known.get(), false),
            Entry::Vacant(room) => {
                let next = u32::try_from(next).expect("fewer than 2^32 distinct values");
                room.insert(next);
                (next, true)
            }
        }
    }
}

/// Numbered values of any type.
#[derive(Debug, Clone)]
pub struct Interner<T> {
    values: Vec<T>,
    numbers: Numbers,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Interner {
            values: Vec::new(),
            numbers: Numbers::default(),
        }
    }
}

impl<T: Eq + Hash + Clone> Interner<T> {
    /// Returns the number of `value`, which is added if it is new.
    ///
    /// # Panics
    /// At the 2^32nd distinct value.
    pub fn intern(&mut self, value: &T) -> u32 {
        let values = &self.values;
        let (number, is_new) = self
            .numbers
            .number(value, |number| &values[number as usize]);
        if is_new {
            self.values.push(value.clone());
        }
        number
    }

    /// Returns all values, in the order of their numbers.
    #[must_use]
    pub fn values(&self) -> &[T] {
        &self.values
    }
}

/// Numbered texts.
#[derive(Debug, Clone, Default)]
pub struct TextPool {
    joined: String,
    /// End offsets: text `n` ends at `ends[n]` and starts where the previous one ends.
    ends: Vec<u32>,
    numbers: Numbers,
}

impl TextPool {
    /// Returns the number of `text`, which is added if it is new.
    ///
    /// # Panics
    /// At the 2^32nd distinct text, or if all texts together have more than 4 GiB.
    pub fn intern(&mut self, text: &str) -> u32 {
        let (joined, ends) = (&self.joined, &self.ends);
        let (number, is_new) = self
            .numbers
            .number(text, |number| text_at(joined, ends, number));
        if is_new {
            self.joined.push_str(text);
            let end = u32::try_from(self.joined.len()).expect("texts of less than 4 GiB");
            self.ends.push(end);
        }
        number
    }

    /// Returns the text of a number that [`TextPool::intern`] returned.
    ///
    /// # Panics
    /// If `number` was not returned by it.
    #[must_use]
    pub fn get(&self, number: u32) -> &str {
        text_at(&self.joined, &self.ends, number)
    }

    /// Returns all texts, in the order of their numbers.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.ends.len()).map(|number| self.get(number as u32))
    }

    /// Returns the number of texts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns `true` if there is no text at all, not even the empty one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns the length of all texts together, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.joined.len()
    }
}

fn text_at<'t>(joined: &'t str, ends: &[u32], number: u32) -> &'t str {
    let number = number as usize;
    let start = number.checked_sub(1).map_or(0, |before| ends[before]);
    &joined[start as usize..ends[number] as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_have_one_number() {
        let (mut texts, mut values) = (TextPool::default(), Interner::default());
        let appearing = ["b", "", "a", "b", "ab", "", "a"];
        for (text, expected) in appearing.into_iter().zip([0, 1, 2, 0, 3, 1, 2]) {
            assert_eq!(texts.intern(text), expected, "{text:?}");
            assert_eq!(values.intern(&text), expected, "{text:?}");
        }
        assert!(texts.iter().eq(["b", "", "a", "ab"]));
        assert_eq!(values.values(), ["b", "", "a", "ab"]);
        assert_eq!((texts.get(3), texts.bytes()), ("ab", 4));
    }

    #[test]
    fn numbers_hold_while_the_table_grows() {
        let mut texts = TextPool::default();
        for round in 0..2 {
            for number in 0..10_000 {
                assert_eq!(texts.intern(&number.to_string()), number, "{round}");
            }
        }
        assert_eq!(texts.len(), 10_000);
    }
}
