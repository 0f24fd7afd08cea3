//! The attackers that a scenario can name.

use std::time::Duration;

use x0x_core::support::Rng;

use super::file::Attack;
use crate::model::attack::{Attacker, Filler, Flood, Puppet, Recorder, Twist, Twisted};
use crate::model::peer::PeerId;
use crate::model::protocol::Protocol;

/// Makes an attacker that goes for these nodes.
pub(crate) fn attacker<P: Protocol + 'static>(
    attack: Attack,
    me: PeerId,
    rng: &Rng,
    targets: Vec<PeerId>,
) -> Box<dyn Attacker> {
    let twist = match attack {
        Attack::Junk => {
            return Box::new(Flood::new(Filler::Junk(2000), targets, Duration::from_millis(100)));
        }
        Attack::Replay => return Box::new(Recorder::new(targets, Duration::from_millis(200))),
        Attack::Forge => Twist::Forge,
        Attack::Mute => Twist::Mute,
        Attack::Swallow => Twist::Swallow,
        Attack::Topics => Twist::Topics(1000),
        Attack::Repeat => Twist::Repeat(10),
    };
    let plan = Twisted { twist, targets, patience: Duration::from_secs(5) };
    Box::new(Puppet::<P>::new(me, rng, plan))
}
