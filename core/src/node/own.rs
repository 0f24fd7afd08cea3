//! What a node keeps about itself: the sequence of its last binding. It is the time of its making in
//! milliseconds since the Unix epoch, and that of a later run is greater even if the clock shows less:
//! whoever knows the old binding would refuse the new one.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::store::{Record, Table};
use super::{Clock, Node};
use crate::wire::{self, DecodeError, Versioned};

/// The record, under the id of the machine.
#[derive(Debug, Serialize, Deserialize)]
struct Own {
    sequence: u64,
}

impl Versioned for Own {
    const VERSION: u8 = 1;
    const SIZE_MAX: usize = 16;
}

impl Node {
    /// Takes the record of an earlier run back.
    pub(super) fn restore_own(&mut self, clock: Clock, record: &[u8]) -> Result<(), DecodeError> {
        let Own { sequence } = wire::decode(record)?;
        self.own_sequence = sequence;
        self.link.act(clock, &mut self.counters, |link, context| {
            link.number_after(context, sequence);
        });
        Ok(())
    }

    /// Stores the sequence if it has grown. Before anybody saw the binding there is no need to.
    pub(super) fn store_own(&mut self) {
        let sequence = self.link.state.sequence();
        if sequence > self.own_sequence {
            self.own_sequence = sequence;
            let key = Bytes::copy_from_slice(&self.machine.0);
            let value = wire::encode(&Own { sequence });
            self.store(vec![Record { table: Table::Own, key, value }], vec![], vec![]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::node::tests::config;
    use crate::node::{Output, Restored};
    use crate::support::testing::start;

    /// The records that a node stores that starts with these.
    fn stored(unix_time: Duration, restored: Restored) -> Vec<Record> {
        let mut node = Node::new(config(), [3; 32], restored, start(), unix_time).unwrap();
        node.store_own();
        let mut stored = Vec::new();
        while let Output::Store(batch) = node.poll_output(&mut Vec::new()) {
            stored.extend(batch.puts);
        }
        stored
    }

    #[test]
    fn a_node_numbers_its_binding_above_that_of_an_earlier_run_whatever_its_clock_shows() {
        let noon = Duration::from_secs(1_750_000_000);
        let sequence = |records: &[Record]| {
            let [record] = records else { panic!("{records:?}") };
            assert_eq!(record.table, Table::Own);
            wire::decode::<Own>(&record.value).unwrap().sequence
        };
        let mut records = stored(noon, Restored::default());
        assert_eq!(sequence(&records), 1_750_000_000_000);
        for (unix_time, expected) in [
            (noon + Duration::from_millis(5), 1_750_000_000_005),
            (noon - Duration::from_secs(3600), 1_750_000_000_006),
            (noon, 1_750_000_000_007),
        ] {
            records = stored(unix_time, Restored { records });
            assert_eq!(sequence(&records), expected);
        }
    }
}
