//! What overlays count. Everything that is dropped or refused has its reason here.

crate::counters! {
    /// What overlays count.
    pub enum Counter {
        /// Items of topics that arrived for the first time.
        ItemsReceived => "overlay_items_received",
        /// Items of topics that arrived once more.
        ItemsDuplicate => "overlay_items_duplicate",
        /// Items of topics that came by repair.
        ItemsRepaired => "overlay_items_repaired",
        /// Items that were announced and never came.
        ItemsMissed => "overlay_items_missed",
        /// Items that did not fit the queue of a slow peer and were announced to it instead.
        ItemsDisplaced => "overlay_items_displaced",
        /// Announcements that were not looked at because too many items are missing.
        AnnouncementsDropped => "overlay_announcements_dropped",
        /// Frames without an item that were dropped because a peer does not read.
        ControlDropped => "overlay_control_dropped",
        /// Requests of peers that were not answered because there were too many.
        RequestsOverLimit => "overlay_requests_over_limit",
        /// Sessions in which a peer broke a rule of the overlay.
        Violations => "overlay_violations",
        /// Sessions that topics do not use because the peer broke a rule not long ago.
        PeersShunned => "overlay_peers_shunned",
        /// Neighbours in topics that came.
        NeighboursUp => "overlay_neighbours_up",
        /// Neighbours in topics that went.
        NeighboursDown => "overlay_neighbours_down",
    }
}
