//! Weights as small numbers.
//!
//! Only how they relate matters, and tables grow with their sum, so they are made as small as they
//! can be.

/// The smallest numbers that relate as `weights`. If their sum is still beyond `limit`, numbers that
/// nearly do, each at least 1.
pub fn reduced(weights: &[u32], limit: u32) -> Vec<u32> {
    let divisor = weights.iter().copied().fold(0, greatest_common_divisor);
    let divisor = u64::from(divisor.max(1));
    let sum = weights.iter().map(|&w| u64::from(w) / divisor).sum::<u64>();
    let limit = u64::from(limit);
    let reduce = |&weight: &u32| {
        let weight = u64::from(weight) / divisor;
        let scaled = if sum > limit {
            weight * limit / sum
        } else {
            weight
        };
        scaled.max(1) as u32
    };
    weights.iter().map(reduce).collect()
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_made_small() {
        assert_eq!(reduced(&[1000, 500, 500], 100), [2, 1, 1]);
        assert_eq!(reduced(&[7, 3], 100), [7, 3]);
        assert_eq!(reduced(&[999, 1], 100), [99, 1]);
        assert!(reduced(&[], 100).is_empty());
    }
}
