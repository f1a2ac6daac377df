//! Unpredictable random numbers.
//!
//! The id of a request or a trace gives access to what is recorded about it, so one id must not
//! reveal the next. These numbers come from a cryptographically secure generator for each thread,
//! reseeded periodically by the system. A number costs no lock and no system call.

/// Returns a random id of 128 bits, never zero.
#[must_use]
pub fn id() -> u128 {
    rand::random::<u128>().max(1)
}

/// Returns a random id of 64 bits, never zero.
#[must_use]
pub fn short_id() -> u64 {
    rand::random::<u64>().max(1)
}

/// Returns a random secret key.
#[must_use]
pub fn key() -> [u8; 32] {
    rand::random()
}

/// Formats a number as a fixed number of lower-case hexadecimal digits.
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
