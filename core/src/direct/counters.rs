//! What direct messages count. Everything that is dropped or refused has its reason here.

crate::counters! {
    /// What direct messages count.
    pub enum Counter {
        /// Direct messages taken for an agent of this node.
        MessagesReceived => "direct_messages_received",
        /// Direct messages refused: blocked sender, unknown recipient, or no room.
        MessagesRefused => "direct_messages_refused",
        /// Direct messages that came a second time and were not delivered again.
        MessagesDuplicate => "direct_messages_duplicate",
        /// Records of direct conversations that were evicted because the table was full.
        RecordsForgotten => "direct_records_forgotten",
        /// Agents that were not blocked because too many are.
        BlocksOverLimit => "direct_blocks_over_limit",
        /// Frames of direct messages from a machine without a session.
        FramesUnknown => "direct_frames_unknown",
        /// Sessions in which a peer broke a rule of direct messages.
        Violations => "direct_violations",
    }
}
