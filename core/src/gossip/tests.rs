//! Several states joined by queues, over virtual time.

mod clocks;
mod codec;
mod equivocation;
mod golden;
mod harness;
mod hostile;
mod keys;
mod ordering;
mod publishing;
