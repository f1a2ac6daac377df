//! Spans of addresses in the usual notation, and their sizes.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// 32 bits.
    V4,
    /// 128 bits.
    V6,
}

impl Family {
    /// Both families.
    pub const ALL: [Family; 2] = [Family::V4, Family::V6];

    /// Returns `IPv4` or `IPv6`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        }
    }

    /// Returns the unit of [`Family::count`].
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Family::V4 => "addresses",
            Family::V6 => "/64 networks",
        }
    }

    /// Converts a number of addresses into the unit of reports. For IPv4 it is the number itself.
    /// For IPv6 it is the number of /64 networks, rounded up, because numbers of addresses would be
    /// too long to read.
    #[must_use]
    pub const fn count(self, addresses: u128) -> u128 {
        match self {
            Family::V4 => addresses,
            Family::V6 => addresses.div_ceil(1 << 64),
        }
    }

    /// Returns the number of addresses of the whole family, for use as a divisor.
    #[must_use]
    pub const fn space(self) -> f64 {
        match self {
            Family::V4 => 4_294_967_296.0,
            Family::V6 => 4_294_967_296.0 * 4_294_967_296.0 * 4_294_967_296.0 * 4_294_967_296.0,
        }
    }
}

/// Consecutive addresses of one family; both ends are included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Address family.
    pub family: Family,
    /// Lowest address.
    pub first: u128,
    /// Highest address.
    pub last: u128,
}

impl Span {
    /// Returns the number of addresses; one short for all of IPv6.
    #[must_use]
    pub fn addresses(&self) -> u128 {
        size(self.first, self.last)
    }

    /// Returns the length of the prefix, if the span is one network.
    fn prefix(&self) -> Option<u32> {
        let bits = match self.family {
            Family::V4 => 32,
            Family::V6 => 128,
        };
        let host = (self.last - self.first).checked_add(1);
        let host_bits = host.map_or(128, u128::trailing_zeros);
        let aligned =
            host.is_none_or(|size| size.is_power_of_two() && self.first.is_multiple_of(size));
        aligned.then(|| bits - host_bits)
    }
}

/// Returns the number of addresses from `first` to `last`; one short for all of IPv6.
pub(super) fn size(first: u128, last: u128) -> u128 {
    (last - first).saturating_add(1)
}

/// Writes one network in CIDR form, and any other span as `first-last`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = |f: &mut fmt::Formatter<'_>, address: u128| match self.family {
            Family::V4 => write!(f, "{}", Ipv4Addr::from(address as u32)),
            Family::V6 => write!(f, "{}", Ipv6Addr::from(address)),
        };
        address(f, self.first)?;
        if let Some(prefix) = self.prefix() {
            return write!(f, "/{prefix}");
        }
        f.write_str("-")?;
        address(f, self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(family: Family, first: u128, last: u128, expected: &str) {
        let span = Span {
            family,
            first,
            last,
        };
        assert_eq!(span.to_string(), expected);
    }

    #[test]
    fn a_network_is_written_as_one_and_anything_else_by_its_ends() {
        check(Family::V4, 0x0100_0000, 0x0100_00ff, "1.0.0.0/24");
        check(Family::V4, 0x0100_0000, 0x0100_01fe, "1.0.0.0-1.0.1.254");
        check(Family::V4, 0x0100_0080, 0x0100_017f, "1.0.0.128-1.0.1.127");
        check(Family::V4, 7, 7, "0.0.0.7/32");
        check(Family::V4, 0, u128::from(u32::MAX), "0.0.0.0/0");
        check(Family::V6, 0x2001 << 112, (0x2002 << 112) - 1, "2001::/16");
        check(Family::V6, 0, u128::MAX, "::/0");
        check(Family::V6, 1, 2, "::1-::2");
    }

    #[test]
    fn ipv6_is_counted_in_networks() {
        assert_eq!(Family::V4.count(256), 256);
        assert_eq!(Family::V6.count(1 << 80), 1 << 16);
        assert_eq!(Family::V6.count(5), 1);
        assert_eq!(Family::V6.count(0), 0);
    }
}
