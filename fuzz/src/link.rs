//! What a link reads: streams, control frames, path probes and stored pages.

use x0x_core::address_book::ADDRESSES_MAX;
use x0x_core::address_book::fuzzing as records;
use x0x_core::identity::AgentId;
use x0x_core::link::{Class, fuzzing};
use x0x_core::path::{EXPORT_LEN, fuzzing as probes, is_probe};

use crate::input::Input;
use crate::wire::read_all;

/// What TLS would export for the probes of a connection.
pub(crate) fn exported() -> [u8; EXPORT_LEN] {
    std::array::from_fn(|index| u8::try_from(index).unwrap_or(0))
}

/// A control frame has one form.
pub fn control_frame(data: &[u8]) {
    if let Some(rewritten) = fuzzing::control(data) {
        assert_eq!(rewritten, data, "one form");
        assert!(data.len() <= fuzzing::CONTROL_SIZE_MAX);
        assert!(data.len() <= Class::Control.frame_size_max(), "it fits its stream");
    }
}

/// A stream: the byte of its class, then frames, which the owner of the class reads.
pub fn class_stream(data: &[u8]) {
    let mut input = Input::new(data);
    let (step, code) = (usize::from(input.byte()) + 1, input.byte());
    let Some((class, written)) = fuzzing::class(code) else { return };
    assert_eq!(written, code);
    let (frames, _) = read_all(class.frame_size_max(), step, input.rest());
    for frame in frames {
        match class {
            Class::Control => control_frame(&frame),
            Class::Direct => crate::direct::direct_frame(&frame),
            Class::Gossip | Class::Bulk => {}
        }
    }
}

/// The number of a close is read back.
pub fn close_code(data: &[u8]) {
    let number = u32::from_be_bytes(Input::new(data).array());
    if let Some(read) = fuzzing::close_code(number) {
        assert_eq!(read, number);
    }
}

/// A probe has one form, at either end, whether its MAC is as it came or made right.
pub fn path_probe(data: &[u8]) {
    let exported = exported();
    for at_client in [true, false] {
        let sealed = probes::authenticated(data, &exported, at_client);
        for datagram in [data, &sealed] {
            if let Some(rewritten) = probes::probe(datagram, &exported, at_client) {
                assert_eq!(rewritten, *datagram, "one form");
                assert!(is_probe(datagram));
                assert_eq!(probes::probe(datagram, &exported, !at_client), None, "reflected");
            }
        }
    }
}

/// A stored page of the address book that was read is read again as it is written.
pub fn address_page(data: &[u8]) {
    if let Some(page) = records::record(data, &AgentId([2; 32])) {
        assert!(page.addresses <= ADDRESSES_MAX);
        let again = records::record(&page.record, &AgentId([2; 32])).expect("it was just written");
        assert_eq!(again.record, page.record, "one form");
        assert!(again.addresses <= page.addresses, "what peers said is not written");
    }
}
