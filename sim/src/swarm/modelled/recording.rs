//! A modelled world that failed, as a file that plays it again, and fewer acts that fail as well.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::act::{Act, Stage, TimedAct};
use crate::model::{GossipNode, ModelConfig, OverlayNode, Protocol};
use crate::recording::{RecordingError, from_file, to_file};
use crate::swarm::shrink::{minimise, way};

/// The first line of a file: what it is and in which version.
const FORMAT: &[u8] = b"x0x-sim modelled acts 2\n";

/// What is said of a world that panicked.
pub(super) const PANIC: &str = "a node or the world panicked";

/// A modelled world.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelledRecording {
    /// What the world was made from.
    pub config: ModelConfig,
    /// Whether messages are signed; if not, the overlay runs alone.
    pub is_gossip: bool,
    /// What was done, in order.
    pub acts: Vec<TimedAct>,
    /// The virtual time at which it stopped.
    pub stopped_at: Duration,
    /// The hash over everything that moved.
    pub trace: u64,
    /// What went wrong, if anything did.
    pub failure: Option<String>,
}

impl ModelledRecording {
    pub(super) fn of<P: Protocol + 'static>(
        stage: &Stage<P>,
        is_gossip: bool,
        failure: Option<String>,
    ) -> Self {
        Self {
            config: stage.world.config().clone(),
            is_gossip,
            acts: stage.acts.clone(),
            stopped_at: stage.world.now(),
            trace: stage.world.trace_hash(),
            failure,
        }
    }

    /// Returns the bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_file(FORMAT, self)
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// If it is no recording of a modelled world.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RecordingError> {
        from_file(FORMAT, bytes)
    }

    /// Plays it again and returns what came of it, which is the same if the program is.
    #[must_use]
    pub fn play(&self) -> Self {
        self.play_acts(&self.acts)
    }

    /// Finds fewer acts that fail in the same way, with at most so many worlds; `progress` is told the
    /// number of acts after each. Nothing if it does not fail as it did. What came after
    /// [`Act::Calm`] stays, if it failed after that.
    pub fn shrink(&self, runs_max: u32, mut progress: impl FnMut(usize)) -> Option<Self> {
        let way_of = |recording: &Self| recording.failure.as_deref().map(way);
        let wanted = way_of(self)?;
        let calm = self.acts.iter().position(|timed| timed.act == Act::Calm);
        let (free, fixed) = self.acts.split_at(calm.unwrap_or(self.acts.len()));
        let mut best = None;
        minimise(free.to_vec(), runs_max, |acts| {
            let played = self.play_acts(&[acts, fixed].concat());
            let is_same = way_of(&played).as_ref() == Some(&wanted);
            if is_same {
                progress(played.acts.len());
                best = Some(played);
            }
            is_same
        });
        best
    }

    fn play_acts(&self, acts: &[TimedAct]) -> Self {
        if self.is_gossip {
            self.play_with::<GossipNode>(acts)
        } else {
            self.play_with::<OverlayNode>(acts)
        }
    }

    fn play_with<P: Protocol + 'static>(&self, acts: &[TimedAct]) -> Self {
        let mut stage = Stage::<P>::new(self.config.clone(), self.is_gossip);
        let played = std::panic::catch_unwind(AssertUnwindSafe(|| {
            for TimedAct { at, act } in acts {
                stage.run_until(*at)?;
                stage.act(act.clone())?;
            }
            stage.run_until(self.stopped_at)
        }));
        let failure = played.unwrap_or_else(|_| Err(PANIC.to_owned())).err();
        Self::of(&stage, self.is_gossip, failure)
    }
}
