//! Scenario files: what is done to a world, and what must come out.
//!
//! A [`Scenario`] is a TOML file. It says what it shows, how large the worlds are, how nodes come to
//! be in the topic, and then, step by step, what is published and what goes wrong. Each `expect`
//! names a figure of a step and its limit; [`run`] plays the scenario for some seeds and says which
//! limits hold.

mod expect;
mod figures;
mod file;
mod hostile;
mod play;
mod steps;

pub use expect::{Verdict, judge};
pub use figures::{Figure, Part, Round, Run, Sample};
pub use file::{Attack, Expect, Fidelity, Join, Links, Publisher, Scenario, Step};
pub use hostile::attacker;
pub use play::run;
