//! Numbers that nobody can guess.
//!
//! Ids of requests and traces are keys to what is known of them, so one must not lead to the next:
//! these are from a generator of cryptographic strength that each thread has for itself and that is
//! seeded by the system now and then. It takes no lock and no system call for one number.

/// A random id of 128 bits, never zero.
#[must_use]
pub fn id() -> u128 {
    rand::random::<u128>().max(1)
}

/// A random id of 64 bits, never zero.
#[must_use]
pub fn short_id() -> u64 {
    rand::random::<u64>().max(1)
}

/// A key that nobody knows.
#[must_use]
pub fn key() -> [u8; 32] {
    rand::random()
}

/// A number as lower case hexadecimal digits, all of them.
#[must_use]
pub fn hex<const DIGITS: usize>(number: u128) -> [u8; DIGITS] {
    const DIGIT: &[u8; 16] = b"0123456789abcdef";
    let mut digits = [b'0'; DIGITS];
    let mut left = number;
    for digit in digits.iter_mut().rev() {
        *digit = DIGIT[(left & 15) as usize];
        left >>= 4;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_the_number() {
        for number in [0, 1, 0xab, u128::MAX, id()] {
            assert_eq!(hex::<32>(number), format!("{number:032x}").as_bytes());
        }
        assert_eq!(&hex::<4>(0x00c0_ffee), b"ffee");
    }

    #[test]
    fn ids_differ() {
        let ids: std::collections::HashSet<_> = (0..1000).map(|_| id()).collect();
        assert_eq!(ids.len(), 1000);
        assert_ne!(short_id(), short_id());
    }
}
