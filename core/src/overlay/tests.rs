//! Many overlays joined by sessions over virtual time; peers are numbers.

mod golden;
mod hostile;
mod repair;
mod spread;
mod tree;
mod views;
mod world;
