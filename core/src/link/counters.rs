//! The counters of links. Whatever is dropped or refused is counted by reason.

crate::counters! {
    /// What links count.
    pub enum Counter {
        /// Datagrams that arrived.
        DatagramsReceived => "datagrams_received",
        /// Datagrams that are neither QUIC nor a path probe of a known session.
        DatagramsMalformed => "datagrams_malformed",
        /// Datagrams for no connection of this node.
        DatagramsUnknown => "datagrams_unknown",
        /// Incoming handshakes that were accepted.
        HandshakesAccepted => "handshakes_accepted",
        /// Handshakes answered with Retry because too many are under way.
        HandshakesRetried => "handshakes_retried",
        /// Handshakes dropped because a node-wide limit was reached.
        HandshakesOverLimit => "handshakes_over_limit",
        /// Handshakes dropped because their source started too many.
        HandshakesOverSourceLimit => "handshakes_over_source_limit",
        /// Handshakes evicted for others, because their source had the most under way.
        HandshakesEvicted => "handshakes_evicted",
        /// Handshakes that failed: wrong key, bad signature, or not finished in time.
        HandshakesFailed => "handshakes_failed",
        /// Handshakes, of either side, in which a session was resumed and no key was proven again.
        HandshakesResumed => "handshakes_resumed",
        /// Path probes whose authentication code is wrong.
        ProbesForged => "probes_forged",
        /// Moves of a link to another path.
        PathsChanged => "paths_changed",
        /// Datagrams beside QUIC (Retry, probes, answers to probes) dropped because too many waited.
        AnswersDropped => "answers_dropped",
        /// Dials.
        Dials => "dials",
        /// Dials to an address that another peer named, delayed because there were too many.
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
        /// Connections closed because too many bytes waited for peers that did not read.
        SendBuffersOverLimit => "send_buffers_over_limit",
    }
}
