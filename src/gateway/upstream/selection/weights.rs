//! Reduction of weights to small numbers.
//!
//! Only the ratios of weights matter, and tables grow with the sum of the weights, so weights are
//! reduced as far as possible.

/// Returns the smallest numbers in the same ratio as `weights`. If their sum is still above
/// `limit`, returns approximate numbers, each at least 1.
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
