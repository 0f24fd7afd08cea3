//! Hostile peers: whatever somebody does with datagrams, keys, frames and patience, honest nodes
//! neither stop nor swell, talk to one another as before, and count why they refused.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod hostile {
    pub(crate) mod arena;
    pub(crate) mod attacker;
    pub(crate) mod frames;

    mod claims;
    mod floods;
    mod keys;
    mod limits;
    mod malformed;
    mod mutation;
    mod stalls;
    mod verdicts;
}
