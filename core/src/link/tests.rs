//! The bytes of links and of path probes, compared with `tests/golden/link.txt`, and versions.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};

use super::Class;
use super::frames::{CloseCode, Control, Hello, bindings};
use crate::path::{EXPORT_LEN, Probe, ProbeKeys};
use crate::support::testing::{check_golden, hex};
use crate::transport::Side;
use crate::wire::{decode, encode, write_frame};

/// What TLS exports for the probes of the connection in these tests.
fn exported() -> [u8; EXPORT_LEN] {
    std::array::from_fn(|index| u8::try_from(index).expect("48 fits"))
}

fn control_frames() -> [(&'static str, Control); 5] {
    let list = || bindings([Bytes::from("the first"), Bytes::from("and the second")]);
    let hello = |bindings| {
        Control::Hello(Hello {
            version_min: 1,
            version_max: 300,
            incarnation: 0x0102_0304_0506_0708,
            bindings,
        })
    };
    [
        ("hello", hello(list())),
        ("hello without bindings", hello(bindings([]))),
        ("rebind", Control::Rebind(list())),
        ("ping", Control::Ping(300)),
        ("pong", Control::Pong(300)),
    ]
}

fn probes() -> [(&'static str, Side, Probe); 6] {
    let challenge = *b"12345678";
    let v4: SocketAddr = ([192, 0, 2, 1], 5483).into();
    let v6: SocketAddr = ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 5483).into();
    let ask = |prefer| Probe::Ask { challenge, prefer };
    let answer = |observed| Probe::Answer { challenge, observed };
    [
        ("probe of the client", Side::Client, ask(false)),
        ("probe of the server", Side::Server, ask(false)),
        ("probe of the client to move", Side::Client, ask(true)),
        ("answer of the server", Side::Server, answer(v4)),
        ("answer of the client", Side::Client, answer(v4)),
        ("answer of the server, IPv6", Side::Server, answer(v6)),
    ]
}

#[test]
fn the_bytes_of_links_do_not_change() {
    let mut text = String::from(
        "# Hellos: versions 1 to 300, incarnation 0x0102030405060708. Bindings are any bytes\n\
         # here: \"the first\" and \"and the second\".\n\
         # Probes: exported from TLS are the bytes 00 to 2f; the challenge is \"12345678\"; observed\n\
         # are 192.0.2.1:5483 and [2001:db8::1]:5483.\n",
    );
    for class in Class::ALL {
        let (code, size_max) = (class.code(), class.frame_size_max());
        text += &format!("class {class:?} = {code:02x}, frames of at most {size_max} bytes\n");
    }
    for number in 1..=9 {
        let code = CloseCode::from_number(number).expect("nine codes");
        text += &format!("close code {number} = {}\n", code.text());
    }
    assert_eq!((CloseCode::from_number(0), CloseCode::from_number(10)), (None, None));
    for (name, control) in control_frames() {
        let record = encode(&control);
        assert_eq!(decode::<Control>(&record), Ok(control), "{name}");
        text += &format!("{name} = {}\n", hex(&record));
        let mut stream = BytesMut::from(&[Class::Control.code()][..]);
        write_frame(&mut stream, &[&record]);
        text += &format!("stream that starts with {name} = {}\n", hex(&stream));
    }
    text += &format!("exported = {}\n", hex(&exported()));
    for (name, side, probe) in probes() {
        text += &format!("{name} = {}\n", hex(&ProbeKeys::new(&exported(), side).seal(&probe)));
    }
    check_golden("link.txt", &text);
}

#[test]
fn the_newest_version_that_both_ends_speak_is_theirs() {
    let cases = [
        ((1, 1), (1, 1), Some(1)),
        ((1, 1), (1, 2), Some(1)),
        ((1, 2), (1, 2), Some(2)),
        ((1, 3), (2, 4), Some(3)),
        ((1, 1), (2, 2), None),
        ((0, 0), (1, 2), None),
        ((0, 9), (2, 2), Some(2)),
    ];
    let common = |(version_min, version_max), (start, end)| {
        let hello = Hello { version_min, version_max, incarnation: 1, bindings: bindings([]) };
        hello.common_version(&(start..=end))
    };
    for (one, other, expected) in cases {
        assert_eq!(common(one, other), expected, "{one:?} and {other:?}");
        assert_eq!(common(other, one), expected, "{other:?} and {one:?}");
    }
    assert_eq!(common((2, 1), (1, 2)), None, "these are none");
}
