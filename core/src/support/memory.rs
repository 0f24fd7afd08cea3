//! The memory that peers can make a node hold, as one budget with a share for each purpose.
//!
//! Limits for each peer and each topic do not add up to a limit for the node: many peers can each
//! stay within theirs. So every structure that peers fill also counts against its share of one
//! budget, as allocated rather than as payload. When a share is used up, the peer or author that
//! holds the most of it gives way.

use serde::{Deserialize, Serialize};

/// The memory that peers can make a node hold, in bytes: see the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryBudget {
    bytes: usize,
}

impl MemoryBudget {
    /// The budget of a node that is not configured otherwise: 256 MiB.
    pub const DEFAULT: Self = Self { bytes: 256 << 20 };

    /// The smallest budget, for small machines: 32 MiB.
    pub const BYTES_MIN: usize = 32 << 20;

    /// The largest budget: 64 GiB.
    pub const BYTES_MAX: usize = 64 << 30;

    /// Makes a budget of a number of bytes; `None` if that is below [`Self::BYTES_MIN`] or above
    /// [`Self::BYTES_MAX`].
    pub fn new(bytes: usize) -> Option<Self> {
        (Self::BYTES_MIN..=Self::BYTES_MAX).contains(&bytes).then_some(Self { bytes })
    }

    /// Returns the whole budget, in bytes.
    pub const fn total(self) -> usize {
        self.bytes
    }

    /// Data that connections may receive and have not delivered: granted stream credit and
    /// incomplete frames.
    pub const fn receive(self) -> usize {
        self.sixteenths(3)
    }

    /// Frames that wait in links for room in their streams.
    pub const fn send(self) -> usize {
        self.sixteenths(1)
    }

    /// Control frames of overlays that wait for peers to read.
    pub const fn control(self) -> usize {
        self.sixteenths(1)
    }

    /// Items of topics that wait for peers to read.
    pub const fn items(self) -> usize {
        self.sixteenths(2)
    }

    /// Ids of items: missing, seen, and gone from a history.
    pub const fn index(self) -> usize {
        self.sixteenths(2)
    }

    /// Items in the histories of topics.
    pub const fn history(self) -> usize {
        self.sixteenths(4)
    }

    /// Batches of gossip that wait for their turn or for a key, and what is known of authors.
    pub const fn ordering(self) -> usize {
        self.sixteenths(3)
    }

    const fn sixteenths(self, count: usize) -> usize {
        self.bytes / 16 * count
    }
}

impl Default for MemoryBudget {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_add_up_to_the_budget() {
        for bytes in [MemoryBudget::BYTES_MIN, 256 << 20, MemoryBudget::BYTES_MAX] {
            let budget = MemoryBudget::new(bytes).unwrap();
            let shares = [
                budget.receive(),
                budget.send(),
                budget.control(),
                budget.items(),
                budget.index(),
                budget.history(),
                budget.ordering(),
            ];
            assert_eq!(shares.iter().sum::<usize>(), budget.total());
        }
    }

    #[test]
    fn a_budget_outside_its_bounds_is_refused() {
        assert_eq!(MemoryBudget::new(MemoryBudget::BYTES_MIN - 1), None);
        assert_eq!(MemoryBudget::new(MemoryBudget::BYTES_MAX + 1), None);
    }
}
