//! The tests that a driver has to pass, whatever its runtime. Nodes run over real sockets on loopback;
//! what loopback does not provoke is injected by a [`Runtime`](crate::Runtime) around the one that is
//! tested.
//!
//! An adapter has a test program of two items:
//!
//! ```ignore
//! x0x_driver::conformance!(run);
//!
//! fn run<F: Future<Output = ()>>(test: impl FnOnce(MyRuntime) -> F) {
//!     MyRuntime::new().block_on(test);
//! }
//! ```
//!
//! All tasks of a test run on one thread.

#![expect(clippy::missing_panics_doc, reason = "a test panics if it fails")]
#![expect(clippy::unwrap_used, reason = "a node that cannot go on has failed its test")]

mod faults;
pub mod lifecycle;
pub mod messages;
mod nodes;
pub mod recordings;
pub mod sockets;
pub mod stores;
mod test_store;

/// Makes a test of each function of the suite. `run` calls a test with the runtime and drives what it
/// returns to completion, see [`conformance`](mod@crate::conformance).
#[macro_export]
macro_rules! conformance {
    ($run:path) => {
        $crate::conformance! {
            $run;
            lifecycle {
                a_handle_that_is_dropped_stops_the_node
                a_node_that_is_shut_down_answers_everybody_and_frees_its_port
                a_shutdown_loses_nothing
                an_address_that_is_taken_is_an_error_that_names_it
                the_state_survives_a_restart
                a_clock_that_jumps_breaks_no_link
            }
            messages {
                a_slow_application_loses_the_oldest_events_and_the_node_goes_on
                an_immediate_answer_shares_the_datagram_of_the_acknowledgement
                requests_beyond_the_limit_wait_and_none_is_lost
                storms_both_ways_arrive_in_order
            }
            recordings {
                a_file_that_cannot_be_written_ends_the_recording_and_the_node_goes_on
                a_full_recording_ends_and_the_node_goes_on
                nodes_under_load_run_again_from_their_recordings
            }
            sockets {
                a_blocked_socket_holds_up_no_request
                a_link_moves_when_its_address_is_removed
                a_port_that_is_unreachable_does_not_end_the_node
                a_socket_that_fails_again_and_again_is_read_again_after_a_pause
                a_socket_that_stays_blocked_does_not_keep_the_node_from_stopping
                peers_are_reached_over_every_socket
            }
            stores {
                a_full_disk_halts_the_node_and_nobody_waits_for_ever
                a_store_that_lags_holds_up_requests_at_its_limit_and_loses_none
                a_store_that_panics_halts_the_node
            }
        }
    };
    ($run:path; $($module:ident { $($name:ident)+ })+) => {
        $($(
            #[test]
            fn $name() {
                $run($crate::conformance::$module::$name);
            }
        )+)+
    };
}
