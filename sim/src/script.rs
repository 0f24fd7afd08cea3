//! Worlds in which everything is written down: who is where, what is done, what goes wrong and when,
//! and what must come out.
//!
//! A [`Script`] is a TOML file or a value that Rust code builds; both are the same. Nodes, networks,
//! topics and messages have names in it. It becomes steps of a [`World`] ([`Step`](crate::Step)), with
//! every rule that holds in all worlds ([`checks`](crate::checks)), and with expectations and limits
//! of its own. The scripts of `sim/scenarios/worlds` each show one thing.
//!
//! ```
//! use std::time::Duration;
//! use x0x_sim::script::{Act, Demand, Expect, Node, Script, Send, Step};
//!
//! let script = Script {
//!     duration: Duration::from_secs(10),
//!     node: vec![
//!         Node { name: "server".into(), ..Node::default() },
//!         Node { name: "phone".into(), connects: vec!["server".into()], ..Node::default() },
//!     ],
//!     step: vec![Step {
//!         at: Duration::from_secs(2),
//!         act: Act::Send(Send {
//!             name: "hello".into(),
//!             from: "phone".into(),
//!             to: "server".into(),
//!             ..Send::default()
//!         }),
//!     }],
//!     expect: vec![Expect {
//!         at: Duration::from_secs(5),
//!         that: Demand::Delivered("hello".into()),
//!     }],
//!     ..Script::default()
//! };
//! let played = script.run(1)?;
//! assert_eq!(played.failure, None);
//! # Ok::<(), x0x_sim::script::Mistake>(())
//! ```

use x0x_core::node;

use crate::{Machine, World, WorldConfig};

mod act;
mod file;
mod mistake;
mod names;
mod plan;
mod play;

pub use act::{Act, Connect, Publish, Roam, Send};
pub use file::{Demand, Expect, Limit, Link, Nat, Node, PUBLIC, Script, Step};
pub use mistake::{Mistake, ParseError};
pub use play::{Played, Verdict};

use names::Names;
use plan::Plan;

impl Script {
    /// Reads a script and checks that it makes sense.
    ///
    /// # Errors
    ///
    /// If the text is none; the error says where and why.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let script: Self = toml::from_str(text).map_err(ParseError::Form)?;
        script.check().map_err(|mistake| ParseError::Meaning {
            line: mistake::line_of(&mistake, text),
            mistake,
        })?;
        Ok(script)
    }

    /// Checks that it makes sense.
    ///
    /// # Errors
    ///
    /// If it does not.
    pub fn check(&self) -> Result<(), Mistake> {
        Plan::new(self, &self.world::<node::Node>(0)?).map(|_| ())
    }

    /// Returns the name of each node, in order.
    ///
    /// # Errors
    ///
    /// If the names make no sense.
    pub fn names(&self) -> Result<Vec<String>, Mistake> {
        Names::new(self).map(|names| names.own().to_vec())
    }

    /// Makes the world in which it runs.
    ///
    /// # Errors
    ///
    /// If the names of its nodes and NATs make no sense.
    pub fn world<M: Machine>(&self, seed: u64) -> Result<World<M>, Mistake> {
        let names = Names::new(self)?;
        let nodes = names.count();
        Ok(World::with_machines(WorldConfig {
            dual_stack: self.dual_stack,
            nats: names.configs,
            places: names.places,
            link: self.links,
            disk: self.disks,
            marked: true,
            record_events: false,
            ..WorldConfig::new(seed, nodes)
        }))
    }

    /// Runs it with whole nodes.
    ///
    /// # Errors
    ///
    /// If it makes no sense. What goes wrong in the world is part of what came out.
    pub fn run(&self, seed: u64) -> Result<Played, Mistake> {
        self.run_in(&mut self.world::<node::Node>(seed)?)
    }

    /// Runs it in its world, which is new. The world's [`recording`](World::recording) plays it again.
    ///
    /// # Errors
    ///
    /// If it makes no sense. What goes wrong in the world is part of what came out.
    pub fn run_in<M: Machine>(&self, world: &mut World<M>) -> Result<Played, Mistake> {
        let plan = Plan::new(self, world)?;
        Ok(play::play(self, plan, world))
    }
}
