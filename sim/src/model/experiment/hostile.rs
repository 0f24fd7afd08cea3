//! The attackers that a scenario can name.

use std::time::Duration;

use x0x_core::support::Rng;

use super::file::Attack;
use crate::model::attack::abuse::{
    Abuse, Beacons, InventedItems, NamedAddresses, PuppetAuthors, Reconciler,
};
use crate::model::attack::{Attacker, Filler, Flood, Puppet, Recorder, Strangers, Twist, Twisted};
use crate::model::peer::PeerId;
use crate::model::protocol::Protocol;

/// Makes an attacker that goes for these nodes.
pub fn attacker<P: Protocol + 'static>(
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
        Attack::Strangers => return Box::new(Strangers::new::<P>(me, targets)),
        Attack::Forge => Twist::Forge,
        Attack::Mute => Twist::Mute,
        Attack::Swallow => Twist::Swallow,
        Attack::Topics => Twist::Topics(1000),
        Attack::Repeat => Twist::Repeat(10),
        Attack::Beacons
        | Attack::NamedAddresses
        | Attack::PuppetAuthors
        | Attack::InventedItems
        | Attack::Reconciler => Twist::Nothing,
    };
    let plan = Twisted { twist, targets, patience: Duration::from_secs(5) };
    let puppet = Puppet::<P>::new(me, rng, plan);
    Box::new(match abuse(attack, me) {
        Some(abuse) => puppet.with_abuse(abuse),
        None => puppet,
    })
}

/// Makes what an attacker says beside its honest node.
fn abuse(attack: Attack, me: PeerId) -> Option<Box<dyn Abuse>> {
    let ms = Duration::from_millis;
    Some(match attack {
        Attack::Beacons => Box::new(Beacons::new(me, ms(10))),
        Attack::NamedAddresses => Box::new(NamedAddresses::new(ms(250))),
        Attack::PuppetAuthors => Box::new(PuppetAuthors::new(ms(250))),
        Attack::InventedItems => Box::new(InventedItems::new(ms(2000))),
        Attack::Reconciler => Box::new(Reconciler::new(ms(100))),
        Attack::Forge
        | Attack::Mute
        | Attack::Swallow
        | Attack::Topics
        | Attack::Repeat
        | Attack::Junk
        | Attack::Replay
        | Attack::Strangers => return None,
    })
}
