//! Many overlays joined by sessions over virtual time; peers are numbers.

mod beacons;
mod golden;
mod hostile;
mod lone;
mod memory;
mod missing;
mod reconciling;
mod repair;
mod spread;
mod tree;
mod views;
mod world;
