//! Sessions between modelled nodes.

use bytes::Bytes;

use super::library::Number;
use super::peer::PeerId;

/// One end of a session. Places are used again; the generation tells an old user from a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct End {
    pub(crate) session: u32,
    pub(crate) generation: u32,
    /// Zero is the side that dialled.
    pub(crate) side: u8,
}

impl End {
    pub(crate) fn other(self) -> Self {
        Self { side: 1 - self.side, ..self }
    }

    pub(crate) fn index(self) -> usize {
        usize::from(self.side)
    }
}

/// A frame on its way.
#[derive(Clone, Debug)]
pub(crate) struct Parcel {
    pub(crate) frame: Bytes,
    /// The item in it, if there is one.
    pub(crate) item: Option<Carried>,
}

/// What a frame is known to carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carried {
    /// This item.
    Item(Number),
    /// Something; only its receiver can tell.
    Opaque,
}

/// The frames of one flush to one peer.
#[derive(Clone, Debug)]
pub(crate) struct Burst {
    /// The end that receives it.
    pub(crate) end: End,
    pub(crate) parcels: Vec<Parcel>,
    pub(crate) bytes: u64,
    /// Its number among the bursts of its lane: a session keeps their order.
    pub(crate) number: u64,
}

/// One direction of a session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lane {
    /// Bytes sent since the sender was last told its room.
    pub(crate) spent: usize,
    /// Bytes that have not left.
    pub(crate) queued: usize,
    /// When the last byte so far will have left.
    pub(crate) free_at: u64,
    /// How many bursts were sent.
    pub(crate) bursts: u64,
    /// What waits for the network to heal.
    pub(crate) held: Vec<Burst>,
}

#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) generation: u32,
    /// The node of each end.
    pub(crate) nodes: [u32; 2],
    /// Who they are to each other; a hostile node may be somebody else by now.
    pub(crate) ids: [PeerId; 2],
    /// Which ends believe that it is up. None is while it is being dialled.
    pub(crate) up: [bool; 2],
    /// Whether the overlay of that side asked for it and has not released it.
    pub(crate) wanted: [bool; 2],
    /// Whether the owner of a node keeps it, whatever the overlay thinks.
    pub(crate) is_pinned: bool,
    /// Whether nothing gets through for the moment.
    pub(crate) is_cut: bool,
    /// One way, in nanoseconds.
    pub(crate) latency: u64,
    /// When it was dialled.
    pub(crate) dialled_at: u64,
    /// By the side that sends.
    pub(crate) lanes: [Lane; 2],
}

impl Session {
    pub(crate) fn is_dialling(&self) -> bool {
        self.up == [false; 2]
    }
}

/// All sessions, by place.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    places: Vec<Session>,
    is_used: Vec<bool>,
    free: Vec<u32>,
}

impl Sessions {
    /// Takes a session and returns the end that dialled.
    pub(crate) fn insert(&mut self, mut session: Session) -> End {
        if let Some(place) = self.free.pop() {
            let index = place as usize;
            session.generation = self.places[index].generation + 1;
            let generation = session.generation;
            self.places[index] = session;
            self.is_used[index] = true;
            return End { session: place, generation, side: 0 };
        }
        let place = u32::try_from(self.places.len()).expect("fewer than 2³² sessions");
        self.places.push(session);
        self.is_used.push(true);
        End { session: place, generation: 0, side: 0 }
    }

    /// Returns the session of an end, if it still is.
    pub(crate) fn get_mut(&mut self, end: End) -> Option<&mut Session> {
        let index = end.session as usize;
        let session = self.places.get_mut(index)?;
        (self.is_used[index] && session.generation == end.generation).then_some(session)
    }

    /// Returns the session of an end, if it still is.
    pub(crate) fn get(&self, end: End) -> Option<&Session> {
        let index = end.session as usize;
        let session = self.places.get(index)?;
        (self.is_used[index] && session.generation == end.generation).then_some(session)
    }

    /// Forgets a session.
    pub(crate) fn remove(&mut self, end: End) {
        if self.get(end).is_some() {
            let index = end.session as usize;
            self.places[index].lanes = Default::default();
            self.is_used[index] = false;
            self.free.push(end.session);
        }
    }

    /// Returns the dialling end of every session.
    pub(crate) fn ends(&self) -> Vec<End> {
        let places = (0_u32..).zip(&self.places).zip(&self.is_used);
        let used = places.filter(|&(_, &is_used)| is_used);
        used.map(|((session, place), _)| End { session, generation: place.generation, side: 0 })
            .collect()
    }
}
