//! The two address widths, as plain integers.
//!
//! The trie is written once and compiled for both. A lookup consumes an address from its top bits:
//! 16 bits for the root, then 8 or 32 a node. Shifts by a constant keep this cheap for `u128` too,
//! where a shift by a variable costs several instructions and a branch.

use std::fmt::Debug;

/// An address as an unsigned integer in host order: `u32` for IPv4, `u128` for IPv6.
///
/// Sealed: the trie's depth and its node layout are chosen for these two widths.
pub trait Address: Copy + Ord + Debug + Send + Sync + sealed::Bits {}

impl Address for u32 {}
impl Address for u128 {}

pub(super) mod sealed {
    /// Operations of the trie on an unsigned integer.
    ///
    /// "Top" bits are the most significant ones. Dropping top bits shifts the others up and fills
    /// with zeros.
    pub trait Bits: Sized {
        /// Width in bits.
        const BITS: u32;
        /// The lowest address.
        const MIN: Self;
        /// The highest address.
        const MAX: Self;

        /// Returns the top 8 bits.
        fn top_8(self) -> u8;
        /// Returns the top 16 bits.
        fn top_16(self) -> u16;
        /// Returns the top 32 bits.
        fn top_32(self) -> u32;
        /// Drops the top 8 bits.
        fn drop_8(self) -> Self;
        /// Drops the top 16 bits.
        fn drop_16(self) -> Self;
        /// Drops the top 32 bits; the result is 0 for an address of 32 bits.
        fn drop_32(self) -> Self;
        /// The 32 bits above the `shift` lowest ones, with zeros beyond the top of the address;
        /// `shift < BITS`.
        fn low_32_above(self, shift: u32) -> u32;
        /// Returns `true` if a slot of `2^shift` addresses starts here; `shift < BITS`.
        fn starts_slot(self, shift: u32) -> bool;
        /// The last address that keeps this one's bits above the `bits` lowest, and whose `bits`
        /// lowest bits start with the 32 bits of `next` (or with its upper ones, if `bits` is below
        /// 32); `0 < bits < BITS`.
        fn last_under(self, bits: u32, next: u32) -> Self;
        /// Returns the next address, or `None` after the highest.
        fn next(self) -> Option<Self>;
        /// Returns the previous address. The caller makes sure that there is one.
        fn previous(self) -> Self;
        /// Returns the address as a number of 128 bits.
        fn to_u128(self) -> u128;
        /// Returns the lowest bits of a number as an address.
        fn from_u128(number: u128) -> Self;
        /// `last - self`, for `last >= self`: the number of addresses, less one (so the whole space fits).
        fn distance_to(self, last: Self) -> Self;
    }

    macro_rules! bits {
        ($integer:ty) => {
            #[allow(clippy::cast_possible_truncation)] // the casts take the low bits on purpose
            impl Bits for $integer {
                const BITS: u32 = <$integer>::BITS;
                const MIN: Self = <$integer>::MIN;
                const MAX: Self = <$integer>::MAX;

                #[inline]
                fn top_16(self) -> u16 {
                    (self >> (Self::BITS - 16)) as u16
                }

                #[inline]
                fn top_8(self) -> u8 {
                    (self >> (Self::BITS - 8)) as u8
                }

                #[inline]
                fn drop_16(self) -> Self {
                    self << 16
                }

                #[inline]
                fn top_32(self) -> u32 {
                    (self >> (Self::BITS - 32)) as u32
                }

                #[inline]
                fn drop_8(self) -> Self {
                    self << 8
                }

                #[inline]
                fn drop_32(self) -> Self {
                    self.unbounded_shl(32)
                }

                #[inline]
                fn low_32_above(self, shift: u32) -> u32 {
                    (self >> shift) as u32
                }

                #[inline]
                fn starts_slot(self, shift: u32) -> bool {
                    self & ((1 << shift) - 1) == 0
                }

                #[inline]
                fn last_under(self, bits: u32, next: u32) -> Self {
                    let top = Self::BITS - bits;
                    let below = Self::from(next) << (Self::BITS - 32) | Self::MAX.unbounded_shr(32);
                    self >> bits << bits | below >> top
                }

                #[inline]
                fn next(self) -> Option<Self> {
                    self.checked_add(1)
                }

                #[inline]
                fn previous(self) -> Self {
                    self - 1
                }

                #[inline]
                fn to_u128(self) -> u128 {
                    self.into()
                }

                #[inline]
                fn from_u128(number: u128) -> Self {
                    number as Self
                }

                #[inline]
                fn distance_to(self, last: Self) -> Self {
                    last - self
                }
            }
        };
    }

    bits!(u32);
    bits!(u128);
}
