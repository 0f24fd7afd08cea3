//! Counts of what a node did and of what it refused, by reason.

use serde::{Deserialize, Serialize};

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident => $label:literal,)+) => {
        /// One thing that a node counts. Everything that is dropped or refused has its reason here.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Counter { $($(#[doc = $doc])+ $name,)+ }

        impl Counter {
            /// Every counter, in the order in which they are shown.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The name that users see, in snake case.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)+ }
            }
        }
    };
}

counters! {
    /// Datagrams that arrived.
    DatagramsReceived => "datagrams_received",
    /// Datagrams that are neither QUIC nor a path probe of a known session.
    DatagramsMalformed => "datagrams_malformed",
    /// Datagrams for no connection of this node.
    DatagramsUnknown => "datagrams_unknown",
    /// Handshakes started by strangers and let in.
    HandshakesAccepted => "handshakes_accepted",
    /// Handshakes answered with Retry because too many are under way.
    HandshakesRetried => "handshakes_retried",
    /// Handshakes dropped because a node-wide limit was reached.
    HandshakesOverLimit => "handshakes_over_limit",
    /// Handshakes dropped because their source started too many.
    HandshakesOverSourceLimit => "handshakes_over_source_limit",
    /// Handshakes given up for the sake of others, because their source had the most under way.
    HandshakesEvicted => "handshakes_evicted",
    /// Handshakes that failed: wrong key, bad signature, or not finished in time.
    HandshakesFailed => "handshakes_failed",
    /// Handshakes, of either side, in which a session was resumed and no key was proven again.
    HandshakesResumed => "handshakes_resumed",
    /// Path probes whose authentication code is wrong.
    ProbesForged => "probes_forged",
    /// Moves of a link to another path.
    PathsChanged => "paths_changed",
    /// Answers to strangers and probes that were dropped because too many waited.
    AnswersDropped => "answers_dropped",
    /// Attempts to reach a peer.
    Dials => "dials",
    /// Attempts to reach a peer at an address that another peer named, put off because there were too
    /// many.
    DialsDelayed => "dials_delayed",
    /// Links that came up.
    LinksUp => "links_up",
    /// Links that went down.
    LinksDown => "links_down",
    /// Peers refused because there are too many links.
    LinksOverLimit => "links_over_limit",
    /// Agent bindings of peers that were checked and hold.
    BindingsProven => "bindings_proven",
    /// Peers refused because they speak no version of the protocol that this node speaks.
    VersionsRefused => "versions_refused",
    /// Peers refused because an agent binding was not valid.
    BindingsRefused => "bindings_refused",
    /// Links closed because a binding was not renewed in time.
    BindingsExpired => "bindings_expired",
    /// Connections closed because the peer broke a rule of the protocol.
    ProtocolViolations => "protocol_violations",
    /// Connections closed because incomplete messages took too much memory.
    ReassemblyOverLimit => "reassembly_over_limit",
    /// Connections closed because the peer had much credit that it did not use.
    CreditOverLimit => "credit_over_limit",
    /// Connections closed because too much waited for peers that did not read.
    LanesOverLimit => "lanes_over_limit",
    /// Direct messages taken for an agent of this node.
    DirectMessagesReceived => "direct_messages_received",
    /// Direct messages refused: blocked sender, unknown recipient, or no room.
    DirectMessagesRefused => "direct_messages_refused",
    /// Direct messages that came a second time and were not delivered again.
    DirectMessagesDuplicate => "direct_messages_duplicate",
    /// What was known of a direct conversation and had to be forgotten for want of room.
    DirectRecordsForgotten => "direct_records_forgotten",
    /// Agents that were not blocked because too many are.
    DirectBlocksOverLimit => "direct_blocks_over_limit",
    /// Frames of direct messages from a machine without a session.
    DirectFramesUnknown => "direct_frames_unknown",
    /// Sessions in which a peer broke a rule of direct messages.
    DirectViolations => "direct_violations",
    /// Items of topics that arrived for the first time.
    OverlayItemsReceived => "overlay_items_received",
    /// Items of topics that arrived once more.
    OverlayItemsDuplicate => "overlay_items_duplicate",
    /// Items of topics that came by repair.
    OverlayItemsRepaired => "overlay_items_repaired",
    /// Items that were announced and never came.
    OverlayItemsMissed => "overlay_items_missed",
    /// Items that did not fit the queue of a slow peer and were announced to it instead.
    OverlayItemsDisplaced => "overlay_items_displaced",
    /// Announcements that were not looked at because too many items are missing.
    OverlayAnnouncementsDropped => "overlay_announcements_dropped",
    /// Frames without an item that were dropped because a peer does not read.
    OverlayControlDropped => "overlay_control_dropped",
    /// Requests of peers that were not answered because there were too many.
    OverlayRequestsOverLimit => "overlay_requests_over_limit",
    /// Sessions in which a peer broke a rule of the overlay.
    OverlayViolations => "overlay_violations",
    /// Sessions that topics do not use because the peer broke a rule not long ago.
    OverlayPeersShunned => "overlay_peers_shunned",
    /// Neighbours in topics that came.
    OverlayNeighboursUp => "overlay_neighbours_up",
    /// Neighbours in topics that went.
    OverlayNeighboursDown => "overlay_neighbours_down",
    /// Messages of this node that were signed and sent.
    GossipMessagesPublished => "gossip_messages_published",
    /// Messages that were refused because too much waited, or for their size or topic.
    GossipPublishesRefused => "gossip_publishes_refused",
    /// Times that new batches were held back because a neighbour was behind.
    GossipStalls => "gossip_stalls",
    /// Batches that came.
    GossipBatchesReceived => "gossip_batches_received",
    /// Batches whose signature was checked and holds.
    GossipBatchesVerified => "gossip_batches_verified",
    /// Batches that are malformed or not signed by their author.
    GossipBatchesForged => "gossip_batches_forged",
    /// Batches outside the window of time, of a topic that was left, or of an author that is no
    /// longer heard.
    GossipBatchesUnwanted => "gossip_batches_unwanted",
    /// Batches that had come before.
    GossipBatchesDuplicate => "gossip_batches_duplicate",
    /// Batches that were given up because the key of their author did not come, or too much waited.
    GossipBatchesWithoutKey => "gossip_batches_without_key",
    /// Messages in the batches that verified.
    GossipMessagesReceived => "gossip_messages_received",
    /// Messages that were delivered, those of this node included.
    GossipMessagesDelivered => "gossip_messages_delivered",
    /// Messages that were not delivered because their author is blocked.
    GossipMessagesBlocked => "gossip_messages_blocked",
    /// Messages that were missed and will not come.
    GossipMessagesLagged => "gossip_messages_lagged",
    /// Batches that were repaired history from before the subscription, or of an earlier stream.
    GossipBatchesPast => "gossip_batches_past",
    /// Questions for keys that were sent.
    GossipKeysAsked => "gossip_keys_asked",
    /// Questions for keys that were not answered: the key is not known, or a peer asked too often or
    /// reads too slowly.
    GossipKeysRefused => "gossip_keys_refused",
    /// Batches of authors that a node does not know, beyond the number that a peer may bring up.
    GossipStrangersOverLimit => "gossip_strangers_over_limit",
    /// Times that the author or peer that held the most had to give way, because too much was held.
    GossipHoldersOverBudget => "gossip_holders_over_budget",
    /// Authors that had to make room for others in a topic.
    GossipAuthorsForgotten => "gossip_authors_forgotten",
    /// Authors that were caught signing two things that exclude each other.
    GossipEquivocations => "gossip_equivocations",
    /// Evidence that was not looked at: known, of another topic, or too much of it.
    GossipEvidenceIgnored => "gossip_evidence_ignored",
    /// Agents that were not blocked because too many are.
    GossipBlocksOverLimit => "gossip_blocks_over_limit",
    /// Frames of gossip from a machine without a session.
    GossipFramesUnknown => "gossip_frames_unknown",
    /// Sessions in which a peer broke a rule of gossip.
    GossipViolations => "gossip_violations",
}

/// The counts of one node since it started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    values: Vec<u64>,
}

impl Default for Counters {
    fn default() -> Self {
        Self { values: vec![0; Counter::ALL.len()] }
    }
}

impl Counters {
    /// Adds to a count. It stops at the largest number that it can hold.
    pub fn add(&mut self, counter: Counter, amount: u64) {
        if let Some(value) = self.values.get_mut(counter as usize) {
            *value = value.saturating_add(amount);
        }
    }

    /// Returns a count.
    pub fn get(&self, counter: Counter) -> u64 {
        self.values.get(counter as usize).copied().unwrap_or(0)
    }

    /// Returns every count that is not zero, with its name.
    pub fn non_zero(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Counter::ALL
            .iter()
            .map(|&counter| (counter.label(), self.get(counter)))
            .filter(|&(_, value)| value > 0)
    }
}
