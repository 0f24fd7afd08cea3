//! The counters of overlays. Whatever is dropped or refused has its reason here.

crate::counters! {
    /// The counters of overlays.
    pub enum Counter {
        /// Items of topics that arrived for the first time.
        ItemsReceived => "overlay_items_received",
        /// Items of topics that arrived again.
        ItemsDuplicate => "overlay_items_duplicate",
        /// Items of topics that arrived by repair.
        ItemsRepaired => "overlay_items_repaired",
        /// Items that were announced and never arrived.
        ItemsMissed => "overlay_items_missed",
        /// Items that did not fit into the send queue of a slow peer, and were announced to it instead.
        ItemsDisplaced => "overlay_items_displaced",
        /// Announcements that were ignored because too many items are missing.
        AnnouncementsDropped => "overlay_announcements_dropped",
        /// Frames without an item that were dropped because a peer does not read.
        ControlDropped => "overlay_control_dropped",
        /// Requests of peers that were not answered because they exceeded a rate.
        RequestsOverLimit => "overlay_requests_over_limit",
        /// Sessions that ended because the peer violated the protocol of overlays.
        Violations => "overlay_violations",
        /// Sessions that topics do not use because the peer is shunned.
        PeersShunned => "overlay_peers_shunned",
        /// Peers that became neighbors in a topic.
        NeighboursUp => "overlay_neighbours_up",
        /// Peers that ceased to be neighbors in a topic.
        NeighboursDown => "overlay_neighbours_down",
    }
}
