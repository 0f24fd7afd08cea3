//! What gossip counts. Everything that is dropped or refused has its reason here.

crate::counters! {
    /// What gossip counts.
    pub enum Counter {
        /// Messages of this node that were signed and sent.
        MessagesPublished => "gossip_messages_published",
        /// Messages that were refused because too much waited, or for their size or topic.
        PublishesRefused => "gossip_publishes_refused",
        /// Times that new batches were held back because a neighbour was behind.
        Stalls => "gossip_stalls",
        /// Batches that came.
        BatchesReceived => "gossip_batches_received",
        /// Batches whose signature was checked and holds.
        BatchesVerified => "gossip_batches_verified",
        /// Batches that are malformed or not signed by their author.
        BatchesForged => "gossip_batches_forged",
        /// Batches outside the window of time, of a topic that was left, or of an author that is no
        /// longer heard.
        BatchesUnwanted => "gossip_batches_unwanted",
        /// Batches that had come before.
        BatchesDuplicate => "gossip_batches_duplicate",
        /// Batches that were given up because the key of their author did not come, or too much waited.
        BatchesWithoutKey => "gossip_batches_without_key",
        /// Messages in the batches that verified.
        MessagesReceived => "gossip_messages_received",
        /// Messages that were delivered, those of this node included.
        MessagesDelivered => "gossip_messages_delivered",
        /// Messages that were not delivered because their author is blocked.
        MessagesBlocked => "gossip_messages_blocked",
        /// Messages that were missed and will not come.
        MessagesLagged => "gossip_messages_lagged",
        /// Batches that were repaired history from before the subscription, or of an earlier stream.
        BatchesPast => "gossip_batches_past",
        /// Questions for keys that were sent.
        KeysAsked => "gossip_keys_asked",
        /// Questions for keys that were not answered: the key is not known, or a peer asked too often or
        /// reads too slowly.
        KeysRefused => "gossip_keys_refused",
        /// Batches of authors that a node does not know, beyond the number that a peer may bring up.
        StrangersOverLimit => "gossip_strangers_over_limit",
        /// Times that the author or peer that held the most had to give way, because too much was held.
        HoldersOverBudget => "gossip_holders_over_budget",
        /// Authors that had to make room for others in a topic.
        AuthorsForgotten => "gossip_authors_forgotten",
        /// Authors that were caught signing two things that exclude each other.
        Equivocations => "gossip_equivocations",
        /// Evidence that was not looked at: known, of another topic, or too much of it.
        EvidenceIgnored => "gossip_evidence_ignored",
        /// Agents that were not blocked because too many are.
        BlocksOverLimit => "gossip_blocks_over_limit",
        /// Frames of gossip from a machine without a session.
        FramesUnknown => "gossip_frames_unknown",
        /// Sessions in which a peer broke a rule of gossip.
        Violations => "gossip_violations",
    }
}
