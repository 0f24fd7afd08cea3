//! Doors for the fuzz targets: control frames, class bytes and close codes.

use bytes::Bytes;

use super::frames::{self, CloseCode, Control, Hello};
use super::{Class, PROTOCOL_VERSION};
use crate::wire::{self, Versioned};

/// The greatest size of a control frame.
pub const CONTROL_SIZE_MAX: usize = Control::SIZE_MAX;

/// Makes a hello, or a rebind, with these bindings.
pub fn make_control(bindings: impl IntoIterator<Item = Bytes>, hello: bool) -> Bytes {
    let bindings = frames::bindings(bindings);
    let (version_min, version_max) = (PROTOCOL_VERSION, PROTOCOL_VERSION);
    wire::encode(&if hello {
        Control::Hello(Hello { version_min, version_max, incarnation: 1 << 40, bindings })
    } else {
        Control::Rebind(bindings)
    })
}

/// Reads a control frame; returns its bytes when it is written again.
pub fn control(frame: &[u8]) -> Option<Bytes> {
    wire::decode::<Control>(frame).ok().map(|control| wire::encode(&control))
}

/// Reads the first byte of a stream.
pub fn class(code: u8) -> Option<(Class, u8)> {
    Class::from_code(code).map(|class| (class, class.code()))
}

/// Reads the number of an application close; returns the number of what was read.
pub fn close_code(number: u32) -> Option<u32> {
    CloseCode::from_number(number).map(CloseCode::number)
}
