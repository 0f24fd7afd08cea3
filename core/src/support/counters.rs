//! Counts of what a module did and of what it refused, by reason.

use std::fmt;
use std::marker::PhantomData;

use serde::{Deserialize, Serialize};

/// The counters of one module: an enum of fields without values, made by [`counters!`](crate::counters).
pub trait CounterSet: Copy + 'static {
    /// Every counter, in the order in which they are shown.
    const ALL: &'static [Self];

    /// Returns the place of the counter in [`CounterSet::ALL`].
    fn index(self) -> usize;

    /// Returns the name that users see, in snake case.
    fn label(self) -> &'static str;
}

/// Makes the enum of a module's counters. Each has its documentation and the name that users see.
#[macro_export]
macro_rules! counters {
    ($(#[$meta:meta])* $visibility:vis enum $enum:ident {
        $($(#[doc = $doc:literal])+ $name:ident => $label:literal,)+
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $visibility enum $enum { $($(#[doc = $doc])+ $name,)+ }

        impl $crate::support::CounterSet for $enum {
            const ALL: &'static [Self] = &[$(Self::$name,)+];

            fn index(self) -> usize {
                self as usize
            }

            fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)+ }
            }
        }
    };
}

/// The counts of one module since it started.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Counts<C> {
    values: Vec<u64>,
    counters: PhantomData<C>,
}

impl<C: CounterSet> Default for Counts<C> {
    fn default() -> Self {
        Self { values: vec![0; C::ALL.len()], counters: PhantomData }
    }
}

impl<C: CounterSet> Counts<C> {
    /// Adds to a count. It stops at the largest number that it can hold.
    pub fn add(&mut self, counter: C, amount: u64) {
        if let Some(value) = self.values.get_mut(counter.index()) {
            *value = value.saturating_add(amount);
        }
    }

    /// Returns a count.
    pub fn get(&self, counter: C) -> u64 {
        self.values.get(counter.index()).copied().unwrap_or(0)
    }

    /// Returns every count with its name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        C::ALL.iter().map(|&counter| (counter.label(), self.get(counter)))
    }
}

impl<C: CounterSet> fmt::Debug for Counts<C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(self.iter().filter(|&(_, count)| count > 0)).finish()
    }
}
