//! Which machines a node goes back to after a restart.

use super::*;
use crate::link::RESUMED_MAX;

impl Pair {
    /// An end stops without a close and starts again at an address, with what it stored.
    fn restart(&mut self, index: usize, address: SocketAddr, seed: u8) {
        let unix_time = UNIX_TIME + (self.now - self.start);
        self.addresses[index] = address;
        let rng = Rng::from_seed([seed; 32]);
        self.ends[index].state = state(index, address, self.now, unix_time, &rng);
        self.ends[index].rng = rng;
        let records = self.ends[index].records.clone();
        self.act(index, |state, context| {
            for (machine, record) in records {
                state.restore(context, Table::Peers, machine, &record).unwrap();
            }
            state.resume(context.now);
        });
    }

    fn has_sessions(&self) -> [bool; 2] {
        self.ends.each_ref().map(|end| end.state.has_sessions())
    }
}

#[test]
fn two_nodes_that_knew_each_other_meet_again_after_both_were_restarted() {
    let elsewhere = SocketAddr::from(([10, 0, 0, 9], 7777));
    for moved in [DIALLER, SERVER] {
        let mut pair = Pair::new();
        pair.connect();
        pair.restart(DIALLER, address(DIALLER), 50);
        pair.restart(SERVER, address(SERVER), 51);
        pair.restart(moved, elsewhere, 52);
        pair.run_for(Duration::from_secs(3));
        assert_eq!(pair.has_sessions(), [true; 2], "{moved} has moved");
    }
}

#[test]
fn a_machine_that_is_kept_is_kept_after_a_restart_even_if_it_was_never_reached() {
    let mut pair = Pair::new();
    pair.is_deaf = [true; 2];
    let target = DialTarget::MachineAt(pair.server(), address(SERVER));
    pair.act(DIALLER, |state, context| {
        state.connect(context, RequestId(1), target, true, Duration::from_secs(1));
    });
    pair.run_for(Duration::from_secs(5));
    pair.restart(DIALLER, address(DIALLER), 50);
    // Far beyond the time for which a machine is tried that is not kept.
    pair.run_for(Duration::from_secs(600));
    assert_eq!(pair.has_sessions(), [false; 2]);
    pair.is_deaf = [false; 2];
    pair.run_for(Duration::from_secs(80));
    assert_eq!(pair.has_sessions(), [true; 2]);
    // Nor does a second restart end that, but to part does.
    pair.restart(DIALLER, address(DIALLER), 51);
    pair.run_for(Duration::from_secs(3));
    assert_eq!(pair.has_sessions(), [true; 2]);
    pair.disconnect();
    pair.restart(DIALLER, address(DIALLER), 52);
    pair.run_for(Duration::from_secs(60));
    assert_eq!(pair.has_sessions(), [false; 2]);
}

#[test]
fn a_machine_that_was_kept_by_its_address_alone_is_kept_after_a_restart() {
    let mut pair = Pair::new();
    pair.act(DIALLER, |state, context| {
        let target = DialTarget::Address(address(SERVER));
        state.connect(context, RequestId(1), target, true, Duration::from_secs(1));
    });
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.ends[DIALLER].state.dialer.book.addresses.kept(), [pair.server()]);
}

#[test]
fn a_machine_that_moved_is_dialled_first_where_the_application_says_that_it_is() {
    let mut pair = Pair::new();
    pair.connect();
    pair.disconnect();
    let elsewhere = SocketAddr::from(([10, 0, 0, 9], 7777));
    pair.restart(SERVER, elsewhere, 50);
    let target = DialTarget::MachineAt(pair.server(), elsewhere);
    pair.act(DIALLER, |state, context| {
        state.connect(context, RequestId(2), target, false, Duration::from_secs(30));
    });
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.has_sessions(), [true; 2]);
}

#[test]
fn a_node_that_starts_dials_a_few_machines_one_after_the_other() {
    let mut pair = Pair::new();
    for number in 0..50_u8 {
        let machine = MachineId([100 + number; 32]);
        pair.act(DIALLER, |state, context| {
            let source = SocketAddr::from(([203, 0, 113, number], 4000));
            state.dialer.book.note_peer(context, (machine, source), &[]);
        });
    }
    pair.restart(DIALLER, address(DIALLER), 50);
    let mut dials = vec![0];
    for _ in 0..12 {
        pair.run_for(Duration::from_millis(250));
        dials.push(pair.ends[DIALLER].state.usage().connections);
    }
    let begun: Vec<usize> = dials.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(begun, [1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0]);
    assert_eq!(begun.iter().sum::<usize>(), RESUMED_MAX);
    pair.run_for(Duration::from_secs(60));
    let usage = pair.ends[DIALLER].state.usage();
    assert_eq!((usage.dials, usage.connections), (0, 0), "it does not try for ever");
}
