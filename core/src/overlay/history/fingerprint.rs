//! Fingerprints: 16 bytes that differ if two sets of items differ.
//!
//! A set is a polynomial whose roots are the ids of its items; its fingerprint is the value at a
//! random point, the *salt*:
//!
//! ```text
//! fingerprint(salt, ids) = ∏ (salt − id)  mod  2¹²⁷ − 1
//! ```
//!
//! # Security
//!
//! The fingerprints of two different sets of at most *n* ids agree for at most *n* salts, whatever the
//! ids are. One of the two ends draws the salt for each exchange from 2⁶⁴ values. An author who chooses
//! ids at will therefore cannot hide an item from two honest nodes: the ids come before the salt, so the
//! probability is at most *n* · 2⁻⁶⁴ for each exchange, 2⁻⁵² with 4096 items. This needs no assumption on
//! a hash function, and no state for each item.
//!
//! The common fingerprint without a salt, a hash of the sum of 256-bit hashes, is not enough. If ids are
//! cheap, the generalised birthday algorithm finds sets of equal sums: with 4096 ids in 2³² steps (4096
//! lists of 2²⁰ hashes; D. Wagner, *A Generalized Birthday Problem*, 2002).
//!
//! A peer that knows the salt can lie in its fingerprints, as in any message. It deceives only the node
//! at the other end.
//!
//! Comparing sets as polynomials is an idea of Minsky, Trachtenberg and Zippel, *Set
//! Reconciliation with Nearly Optimal Communication Complexity*, 2003.

use super::ItemId;

/// The Mersenne prime 2¹²⁷ − 1.
const MODULUS: u128 = (1 << 127) - 1;

/// The low half of a number.
const LOW: u128 = (1 << 64) - 1;

/// The fingerprint of a set of items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 16]);

impl Fingerprint {
    /// Returns the fingerprint of a set of ids, in any order.
    pub fn of<'a>(salt: u64, ids: impl IntoIterator<Item = &'a ItemId>) -> Self {
        let product = ids.into_iter().fold(1, |product, id| {
            let root = canonical(u128::from_be_bytes(id.0));
            multiply(product, fold(u128::from(salt) + (MODULUS - root)))
        });
        Self(canonical(product).to_be_bytes())
    }

    /// Returns the fingerprint of the union of disjoint sets with the same salt.
    pub fn of_union(parts: impl IntoIterator<Item = Self>) -> Self {
        let numbers = parts.into_iter().map(|part| u128::from_be_bytes(part.0));
        Self(canonical(numbers.fold(1, multiply)).to_be_bytes())
    }
}

/// Reduces a number to at most 2¹²⁷ and keeps its remainder.
const fn fold(number: u128) -> u128 {
    (number & MODULUS) + (number >> 127)
}

/// Returns the remainder.
const fn canonical(number: u128) -> u128 {
    let number = fold(number);
    if number >= MODULUS { number - MODULUS } else { number }
}

/// Multiplies two numbers of at most 2¹²⁷. The result is at most 2¹²⁷, too.
const fn multiply(left: u128, right: u128) -> u128 {
    let (left_high, left_low) = (left >> 64, left & LOW);
    let (right_high, right_low) = (right >> 64, right & LOW);
    // The factors are below 2⁶⁴, the high ones at most 2⁶³; so neither sum overflows.
    let middle = left_high * right_low + left_low * right_high;
    let low = left_low * right_low;
    // 2¹²⁷ is 1, so the high product, with weight 2¹²⁸, counts twice, and the middle, with weight
    // 2⁶⁴, is split at its 63rd bit.
    let high = fold(2 * (left_high * right_high));
    let middle = fold(((middle & (LOW >> 1)) << 64) + (middle >> 63));
    fold(fold(high + fold(low)) + middle)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Multiplies bit by bit.
    fn slowly(left: u128, right: u128) -> u128 {
        let (mut product, mut power) = (0, canonical(left));
        for bit in 0..128 {
            if right >> bit & 1 == 1 {
                product = canonical(product + power);
            }
            power = canonical(power * 2);
        }
        product
    }

    fn of(salt: u64, numbers: &[u128]) -> u128 {
        let ids: Vec<ItemId> = numbers.iter().map(|number| ItemId(number.to_be_bytes())).collect();
        u128::from_be_bytes(Fingerprint::of(salt, &ids).0)
    }

    #[test]
    fn small_cases_can_be_computed_by_hand() {
        let cases: &[(&str, u64, &[u128], u128)] = &[
            ("nothing", 9, &[], 1),
            ("a root below", 9, &[2], 7),
            ("a root above", 2, &[9], MODULUS - 7),
            ("two roots", 10, &[3, 12], MODULUS - 14),
            ("the salt", 9, &[2, 9], 0),
            ("a root that is zero in another form", 9, &[MODULUS], 9),
            ("the greatest root", 9, &[u128::MAX], 8),
            ("the greatest salt", u64::MAX, &[0], u128::from(u64::MAX)),
        ];
        for &(name, salt, ids, expected) in cases {
            assert_eq!(of(salt, ids), expected, "{name}");
        }
    }

    #[test]
    fn the_edges_of_a_product_do_not_overflow() {
        let edges = [0, 1, LOW, LOW + 1, MODULUS - 1, MODULUS, MODULUS + 1];
        for left in edges {
            for right in edges {
                let product = multiply(left, right);
                assert!(product <= MODULUS + 1);
                assert_eq!(canonical(product), slowly(left, right), "{left} × {right}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_product_is_the_one_computed_bit_by_bit(
            left in 0..=MODULUS + 1,
            right in 0..=MODULUS + 1,
        ) {
            prop_assert_eq!(canonical(multiply(left, right)), slowly(left, right));
        }

        #[test]
        fn the_order_of_ids_does_not_matter_and_each_id_does(
            salt: u64,
            mut ids in prop::collection::vec(any::<u128>(), 1..20),
        ) {
            let all = of(salt, &ids);
            ids.reverse();
            prop_assert_eq!(of(salt, &ids), all);
            ids.pop();
            prop_assert_ne!(of(salt, &ids), all);
        }
    }
}
