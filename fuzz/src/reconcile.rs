//! Messages of reconciliation, and two histories that exchange them.

use std::collections::BTreeSet;

use bytes::Bytes;
use x0x_core::overlay::history::{
    END, GONE_MAX, HISTORY_BYTES_MAX, HISTORY_ITEMS_MAX, History, Insertion,
};
use x0x_core::overlay::reconcile::{
    MESSAGE_SIZE_MAX, Message, Opening, Response, fuzzing, open, respond,
};
use x0x_core::overlay::{Item, ItemId, Stamp};

use crate::input::Input;

/// The wall time at the start, in milliseconds.
const START: u64 = 1_750_000_000_000;

/// More messages than any exchange has.
const MESSAGES_MAX: usize = 64;

/// A message has one form.
pub fn reconcile_message(data: &[u8]) {
    if let Some(rewritten) = fuzzing::message(data) {
        assert_eq!(rewritten, data);
    }
}

/// Any sequence of items, refusals, times, exchanges and messages of a peer. Limits hold; in the
/// end both histories know the same from the higher floor on, as long as nothing was given up.
pub fn reconcile_histories(data: &[u8]) {
    let mut input = Input::new(data);
    let mut pair = Pair::new(&mut input);
    while !input.is_empty() {
        pair.step(&mut input);
        pair.check();
    }
    pair.agree();
}

/// Two histories and the wall time.
struct Pair {
    histories: [History; 2],
    now: u64,
    has_given_up: bool,
}

/// An item: its number decides its id, its source and its time.
fn item(number: u16, size: usize) -> Item {
    static BYTES: [u8; 1 << 16] = [0; 1 << 16];
    let [high, low] = number.to_be_bytes();
    let mut id = [high; 16];
    id[usize::from(low % 16)] = low;
    let stamp = Stamp { time: START + u64::from(number / 4) * 50, id: ItemId(id) };
    Item { stamp, source: u64::from(low % 5), bytes: Bytes::from_static(&BYTES[..size]) }
}

impl Pair {
    fn new(input: &mut Input<'_>) -> Self {
        let mut since = || START.saturating_sub(500_000) + u64::from(input.byte()) * 4000;
        let histories = [History::new(since()), History::new(since())];
        Self { histories, now: START, has_given_up: false }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let kind = input.byte();
        let side = usize::from(kind >> 7);
        let history = &mut self.histories[side];
        match kind % 8 {
            0 | 1 => {
                let _ = history.insert(item(number(input), input.number()), self.now);
            }
            2 => {
                // Many items, of one author or of several.
                let (first, count) = (number(input), number(input));
                let step = u16::from(input.byte());
                for index in 0..count % 1024 {
                    let number = first.wrapping_add(index.wrapping_mul(step));
                    let _ = history.insert(item(number, 3000), self.now);
                }
            }
            3 => {
                if history.refuse(item(number(input), 0).stamp, self.now) == Insertion::New {
                    self.has_given_up = true;
                }
            }
            4 => {
                // The clock of a node may jump back.
                self.now =
                    START.saturating_sub(50_000) + u64::try_from(input.number() * 16).unwrap_or(0);
                history.expire(self.now);
            }
            5 => {
                self.exchange(side, input.long());
            }
            _ => {
                if let Ok(message) = Message::decode(input.counted()) {
                    let _ = self.answer(side, &message);
                }
            }
        }
    }

    /// Answers a message, whoever made it.
    fn answer(&self, side: usize, message: &Message) -> Response {
        let history = &self.histories[side];
        let response = respond(history, message);
        assert!(response.send.iter().all(|id| history.contains(id)), "what is sent is kept");
        assert!(response.want.iter().all(|id| !history.has_seen(id)), "what is wanted is new");
        if let Some(reply) = &response.reply {
            let bytes = reply.encode();
            assert!(bytes.len() <= MESSAGE_SIZE_MAX);
            assert_eq!(Message::decode(&bytes).as_ref(), Ok(reply), "a reply is well formed");
        }
        response
    }

    /// Runs an exchange to its end, then carries the items; returns how many.
    fn exchange(&mut self, opener: usize, salt: u64) -> usize {
        let opening = Opening { now: self.now, until: u64::MAX, salt };
        let mut message = open(&self.histories[opener], opening);
        let (mut to, mut transfers) = (1 - opener, Vec::new());
        for _ in 0..MESSAGES_MAX {
            let Some(sent) = message else {
                return self.carry(&transfers);
            };
            let Response { reply, send, want } = self.answer(to, &sent);
            transfers.extend(send.into_iter().map(|id| (to, id)));
            transfers.extend(want.into_iter().map(|id| (1 - to, id)));
            (message, to) = (reply, 1 - to);
        }
        panic!("an exchange ends");
    }

    fn carry(&mut self, transfers: &[(usize, ItemId)]) -> usize {
        let unique: BTreeSet<_> = transfers.iter().collect();
        assert_eq!(unique.len(), transfers.len(), "an item is carried once");
        for (from, id) in transfers {
            if let Some(item) = self.histories[*from].get(id).cloned() {
                let _ = self.histories[1 - from].insert(item, self.now);
            }
        }
        transfers.len()
    }

    fn check(&mut self) {
        for history in &self.histories {
            assert!(history.len() <= HISTORY_ITEMS_MAX && history.bytes() <= HISTORY_BYTES_MAX);
            assert!(history.gone_len() <= GONE_MAX);
            self.has_given_up |= history.gone_len() > 0;
        }
    }

    /// Exchanges until nothing is carried.
    fn agree(&mut self) {
        for history in &mut self.histories {
            history.expire(self.now);
        }
        for opener in [0, 1, 0, 1] {
            self.exchange(opener, 77);
            self.check();
        }
        if self.has_given_up {
            return;
        }
        let floors = [0, 1].map(|side| self.histories[side].floor());
        // The window of an exchange begins a little above the age limit.
        let recent = Stamp { time: self.now.saturating_sub(14 * 60 * 1000), id: ItemId([0; 16]) };
        let floor = floors[0].max(floors[1]).max(recent);
        let known = [0, 1].map(|side| self.histories[side].fingerprint(floor..END, 78));
        assert_eq!(known[0], known[1], "both know the same");
        assert_eq!(self.exchange(0, 79), 0, "nothing is left to carry");
    }
}

fn number(input: &mut Input<'_>) -> u16 {
    u16::from_be_bytes(input.array())
}
