//! What a probe must not be, and what a path must not get.

use std::time::Duration;

use super::path::{EXPORT_LEN, PROBE_LEN, Path, PathOutput, PathState, Probe, ProbeKeys};
use crate::support::Rng;
use crate::support::testing::start;
use crate::transport::Side;

/// What TLS exports for the probes of the connection in these tests.
fn exported() -> [u8; EXPORT_LEN] {
    std::array::from_fn(|index| u8::try_from(index).expect("48 fits"))
}

#[test]
fn a_probe_that_asks_names_no_address() {
    let [client, server] =
        [Side::Client, Side::Server].map(|side| ProbeKeys::new(&exported(), side));
    for prefer in [false, true] {
        let mut probe = client.seal(&Probe::Ask { challenge: *b"12345678", prefer });
        probe[18] = 1;
        let probe = client.with_mac(&probe);
        assert_eq!(server.open(&probe), None, "prefer {prefer}");
    }
}

#[test]
fn a_path_gets_at_most_three_times_what_came_over_it() {
    let now = start();
    let mut rng = Rng::from_seed([1; 32]);
    let local = ([192, 0, 2, 1], 5483).into();
    let path = |number| Path { local, remote: ([192, 0, 2, number], 5483).into() };
    for prefer in [false, true] {
        let mut state = PathState::new(path(2));
        let mut sent = 0;
        for asked in 1..=2 {
            state.handle_ask(now, path(3), prefer, &mut rng);
            // The answer.
            sent += PROBE_LEN;
            for millis in 0..3000 {
                while let Some(output) = state.poll(now + Duration::from_millis(millis)) {
                    if let PathOutput::Probe(target, _) = output {
                        sent += if target == path(3) { PROBE_LEN } else { 0 };
                    }
                }
            }
            assert_eq!(sent, 3 * PROBE_LEN * asked, "prefer {prefer}");
        }
    }
}
