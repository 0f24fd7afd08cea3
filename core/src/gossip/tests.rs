//! Several states joined by queues, over virtual time.

mod clocks;
mod codec;
mod crowds;
mod equivocation;
mod golden;
mod harness;
mod hostile;
mod joining;
mod keys;
mod ordering;
mod publishing;
