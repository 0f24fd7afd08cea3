//! What moves a connection, and what does not.

mod candidates;

use std::time::{Duration, Instant};

use super::selection::{GRACE_MAX, GRACE_MIN};
use super::*;
use crate::support::Rng;
use crate::support::testing::start;
use crate::transport::Side;

const ROUND_TRIP: Duration = Duration::from_millis(30);

fn keys(side: Side) -> ProbeKeys {
    let exported: [u8; EXPORT_LEN] = std::array::from_fn(|index| u8::try_from(index).unwrap());
    ProbeKeys::new(&exported, side)
}

fn path(number: u8) -> Path {
    let local = ([192, 0, 2, 1], 5483).into();
    Path { local, remote: ([198, 51, 100, number], 5483).into() }
}

/// A path state with its time and what it wanted.
struct Case<R = Path> {
    state: PathState<R>,
    now: Instant,
    rng: Rng,
    probes: Vec<(R, Probe)>,
    moves: Vec<R>,
}

impl Case {
    fn new() -> Self {
        Self::of(path(1), 1)
    }
}

impl<R: Candidate> Case<R> {
    fn of(current: R, candidates_max: usize) -> Self {
        let (now, rng) = (start(), Rng::from_seed([1; 32]));
        let (probes, moves) = (Vec::new(), Vec::new());
        Self { state: PathState::new(current, candidates_max), now, rng, probes, moves }
    }

    fn foreign(&mut self, from: R, size: usize) {
        let earned = size * AMPLIFICATION_MAX;
        self.state.handle_foreign(self.now, from, earned, &mut self.rng);
        self.poll();
    }

    fn ask(&mut self, from: R, prefer: bool) {
        self.state.handle_ask(self.now, from, prefer, &mut self.rng);
        self.poll();
    }

    /// The peer answers the newest probe to a path, over that path.
    fn answer(&mut self, over: R) {
        let challenge = self.challenge(over);
        self.state.handle_answer(self.now, over, challenge, ROUND_TRIP);
        self.poll();
    }

    fn challenge(&self, of: R) -> [u8; CHALLENGE_LEN] {
        let newest = self.probes.iter().rev().find(|(path, _)| *path == of);
        match newest {
            Some((_, Probe::Ask { challenge, .. })) => *challenge,
            other => panic!("no probe was sent there: {other:?}"),
        }
    }

    /// Lets time pass, firing what is due on the way.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.state.deadline().filter(|&at| at <= end) {
            assert!(at > self.now, "the deadline lies ahead once all is done");
            self.now = at;
            self.poll();
        }
        self.now = end;
    }

    fn poll(&mut self) {
        while let Some(output) = self.state.poll(self.now) {
            match output {
                PathOutput::Probe(path, probe) => self.probes.push((path, probe)),
                PathOutput::Moved(path) => self.moves.push(path),
            }
        }
    }

    fn probes_to(&self, of: R) -> usize {
        self.probes.iter().filter(|(path, _)| *path == of).count()
    }
}

#[test]
fn a_probe_is_opened_by_the_other_end_and_by_nobody_else() {
    let (client, server) = (keys(Side::Client), keys(Side::Server));
    let challenge = [7; CHALLENGE_LEN];
    let probes = [
        Probe::Ask { challenge, prefer: false },
        Probe::Ask { challenge, prefer: true },
        Probe::Answer { challenge, observed: ([203, 0, 113, 9], 65_535).into() },
        Probe::Answer { challenge, observed: ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 1).into() },
    ];
    for probe in probes {
        for (sender, recipient) in [(&client, &server), (&server, &client)] {
            let sealed = sender.seal(&probe);
            assert!(is_probe(&sealed));
            assert_eq!(receiver(&sealed), Some(recipient.own_id));
            assert_eq!(recipient.open(&sealed), Some(probe));
            assert_eq!(sender.open(&sealed), None, "a probe that is reflected is forged");
            for index in 0..PROBE_LEN {
                let mut forged = sealed;
                forged[index] ^= 1;
                assert_eq!(recipient.open(&forged), None, "byte {index}");
            }
            assert_eq!(recipient.open(&sealed[1..]), None);
            for len in 0..PROBE_LEN {
                assert_eq!(recipient.open(&sealed[..len]), None, "cut to {len}");
            }
        }
    }
}

#[test]
fn a_connection_follows_a_peer_whose_old_address_is_dead() {
    let mut case = Case::new();
    case.foreign(path(2), 1200);
    assert_eq!((case.probes_to(path(1)), case.probes_to(path(2))), (1, 1), "both are probed");
    case.pass(ROUND_TRIP);
    case.answer(path(2));
    assert_eq!(case.moves, [], "the old path may be slower");
    case.pass(GRACE_MIN);
    assert_eq!(case.moves, [path(2)]);
    assert_eq!(case.state.current(), path(2));
    assert_eq!(case.state.deadline(), None);
}

#[test]
fn a_round_trip_of_minutes_holds_no_connection_to_a_dead_path() {
    let mut case = Case::new();
    case.foreign(path(2), 1200);
    let challenge = case.challenge(path(2));
    case.state.handle_answer(case.now, path(2), challenge, Duration::from_secs(60));
    case.pass(GRACE_MAX);
    assert_eq!(case.moves, [path(2)]);
}

#[test]
fn a_connection_stays_on_a_path_that_works() {
    let mut case = Case::new();
    case.foreign(path(2), 1200);
    case.answer(path(2));
    case.pass(GRACE_MIN / 2);
    case.answer(path(1));
    case.pass(Duration::from_secs(10));
    assert_eq!(case.moves, []);
    assert_eq!(case.state.current(), path(1));
}

#[test]
fn a_path_that_never_answers_gets_few_probes_and_is_given_up() {
    let mut case = Case::new();
    case.foreign(path(2), 1200);
    for _ in 0..1000 {
        case.foreign(path(2), 1200);
    }
    case.pass(CHECK_TIME);
    let limit = usize::try_from(PROBES_MAX).unwrap();
    assert_eq!((case.probes_to(path(1)), case.probes_to(path(2))), (limit, limit));
    assert_eq!((case.moves.len(), case.state.deadline()), (0, None));
    case.foreign(path(2), 1200);
    case.answer(path(2));
    case.pass(GRACE_MIN);
    assert_eq!(case.moves, [path(2)], "the next datagram checks it again");
}

#[test]
fn no_path_gets_more_than_three_times_what_came_over_it_until_it_answers() {
    let mut case = Case::new();
    case.foreign(path(2), PROBE_LEN / AMPLIFICATION_MAX);
    case.pass(Duration::from_secs(1));
    assert_eq!(case.probes_to(path(2)), 0);
    let size = (PROBE_LEN - 1).div_ceil(AMPLIFICATION_MAX);
    case.foreign(path(2), size);
    assert_eq!(case.probes_to(path(2)), 1);
    case.pass(Duration::from_secs(1));
    assert_eq!(case.probes_to(path(2)), 1);
}

#[test]
fn a_move_that_an_end_asks_for_needs_no_silence_of_the_old_path() {
    let mut case = Case::new();
    case.ask(path(2), true);
    assert_eq!((case.probes_to(path(1)), case.probes_to(path(2))), (0, 1));
    case.answer(path(2));
    assert_eq!(case.moves, [path(2)]);

    let mut case = Case::new();
    case.state.move_to(case.now, path(3), &mut case.rng);
    case.poll();
    let Some((_, Probe::Ask { prefer: true, .. })) = case.probes.first() else {
        panic!("the peer is asked to move: {:?}", case.probes)
    };
    case.answer(path(3));
    assert_eq!(case.moves, [path(3)]);
}

#[test]
fn an_answer_counts_only_for_its_own_challenge_and_path() {
    let mut case = Case::new();
    case.foreign(path(2), 1200);
    let challenge = case.challenge(path(2));
    let mut wrong = challenge;
    wrong[0] ^= 1;
    for (over, challenge) in [(path(2), wrong), (path(3), challenge), (path(1), challenge)] {
        case.state.handle_answer(case.now, over, challenge, ROUND_TRIP);
    }
    case.pass(Duration::from_secs(10));
    assert_eq!(case.moves, []);
    case.answer(path(2));
    case.pass(Duration::from_secs(10));
    assert_eq!(case.moves, [], "the check is over");
}

#[test]
fn one_move_is_considered_at_a_time() {
    let mut case = Case::new();
    case.foreign(path(2), 1200);
    for number in 3..100 {
        case.foreign(path(number), 1200);
        case.ask(path(number), false);
    }
    assert!(case.probes.iter().all(|(to, _)| *to == path(1) || *to == path(2)));
    case.ask(path(3), true);
    assert_eq!(case.probes_to(path(3)), 1, "what the peer asks for goes first");
}

#[test]
fn a_probe_is_worth_its_answer_and_two_probes() {
    for prefer in [false, true] {
        let mut case = Case::new();
        case.ask(path(2), prefer);
        case.pass(Duration::from_secs(10));
        assert_eq!(case.probes_to(path(2)), AMPLIFICATION_MAX - 1, "prefer: {prefer}");
        assert_eq!(case.state.current(), path(1));
    }
}

#[test]
fn a_probe_that_asks_names_no_address() {
    let [client, server] = [Side::Client, Side::Server].map(keys);
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
        let mut state = PathState::new(path(2), 1);
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
