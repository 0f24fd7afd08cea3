//! The part of the corpora that is made from what the core itself writes.
//!
//! Everything in here is made from fixed keys and randomness, so a change of an encoding shows as a
//! change of the stored files. `x0x-fuzz seeds` writes them.

use bytes::{BufMut, BytesMut};
use x0x_core::crypto::kem::{CIPHERTEXT_LEN, DecapsulationKey};
use x0x_core::crypto::tls::server_name;
use x0x_core::identity::AgentWords;
use x0x_core::identity::Words;
use x0x_core::link;
use x0x_core::link::fuzzing::make_control;
use x0x_core::node::{Connect, Event, Target};
use x0x_core::path::fuzzing::authenticated;
use x0x_core::transport::fuzzing::issue;
use x0x_core::wire::{varint, write_frame};

use crate::bench::{Bench, Who, socket};
use crate::fixture::fixture;
use crate::gossip::genuine;
use crate::link::exported;
use crate::transport::shares;
use crate::{peer, quic};

type Seeds = Vec<Vec<u8>>;

/// Returns the seeds of a target, in order.
pub fn seeds(target: &str) -> Seeds {
    match target {
        "address_page" => vec![page(&[0, 1, 2]), page(&[3]), page(&[])],
        "binding" => copies(&fixture().bindings),
        "certificate" => copies(&fixture().certificates),
        "class_stream" => class_streams(),
        "close_code" => (0..=10).map(|code: u32| code.to_be_bytes().to_vec()).collect(),
        "connection_id" => connection_ids(),
        "control_frame" => control_frames(),
        "direct_frame" => direct_frames(),
        "direct_sessions" => direct_sessions(),
        "frame_reader" => vec![reader(300, 1), reader(100, 7), reader(4, 255)],
        "gossip_batch" => copies(&genuine().batches),
        "gossip_evidence" => copies(&genuine().evidence),
        "gossip_frame" => copies(&genuine().frames),
        "gossip_inputs" => crate::subscriber::seeds(),
        "gossip_proof" => copies(&genuine().proofs),
        // Signatures take the time of an execution.
        "gossip_world" => crate::modelled::seeds(2),
        "id" => vec![fixture().agent.id().to_string().into_bytes(), b"Ab".repeat(32)],
        "kem" => kem(),
        "key_file" => copies(&fixture().key_files),
        "node_datagrams" => node_datagrams(),
        "node_initials" => node_initials(),
        "node_inputs" => node_inputs(),
        "node_recording" => crate::recording::seeds(),
        "node_restored" => node_restored(),
        "node_world" => crate::node_world::seeds(),
        "overlay_frame" => overlay_frames(),
        "overlay_inputs" => crate::overlay::seeds(),
        "overlay_world" => crate::modelled::seeds(6),
        "path_probe" => path_probes(),
        "peer_streams" => peer_streams(),
        "reconcile_histories" => reconcile_histories(),
        "reconcile_message" => reconcile_messages(),
        "revocation" => copies(&fixture().revocations),
        "signature" => signatures(),
        "tls_key" => vec![tls_key()],
        "tls_name" => [None, Some(&[0; 32]), Some(&[0x5a; 32])]
            .map(|id| server_name(id).into_bytes())
            .to_vec(),
        "tls_share" => tls_shares(),
        "varint" => [0, 63, 64, 16_383, 16_384, (1 << 30) - 1, 1 << 30, varint::VALUE_MAX]
            .map(number)
            .to_vec(),
        "words" => words(),
        _ => Vec::new(),
    }
}

fn copies(documents: &[bytes::Bytes]) -> Seeds {
    documents.iter().map(|document| document.to_vec()).collect()
}

fn number(value: u64) -> Vec<u8> {
    let mut written = BytesMut::new();
    varint::write(&mut written, value);
    written.to_vec()
}

fn framed(payloads: &[&[u8]]) -> Vec<u8> {
    let mut written = BytesMut::new();
    for payload in payloads {
        write_frame(&mut written, &[payload]);
    }
    written.to_vec()
}

/// Bytes after their number in two bytes.
fn counted(bytes: &[u8]) -> Vec<u8> {
    let count = u16::try_from(bytes.len()).expect("a seed is small");
    [&count.to_be_bytes(), bytes].concat()
}

fn reader(size_max: u16, step: u8) -> Vec<u8> {
    let frames = framed(&[b"a", b"four", &[7; 90], &[8; 250]]);
    [&size_max.to_be_bytes()[..], &[step], &frames].concat()
}

/// A page with a place of each kind in `kinds`, and one agent.
fn page(kinds: &[u8]) -> Vec<u8> {
    let mut page = BytesMut::from(&[1, u8::try_from(kinds.len()).unwrap_or(0)][..]);
    for &kind in kinds {
        if kind & 1 == 0 {
            page.put_slice(&[0, 192, 0, 2, kind]);
        } else {
            page.put_slice(&[1, 0x20, 0x01, 0x0d, 0xb8]);
            page.put_slice(&[kind; 12]);
        }
        // Port 5483, worked at second 300, failed that many times.
        page.put_slice(&[0xeb, 0x2a, 0xac, 0x02, kind]);
    }
    page.put_u8(1);
    page.put_slice(&[2; 32]);
    page.put_slice(&[0x80, 0x01]);
    page.to_vec()
}

fn control_frames() -> Seeds {
    let bindings = [peer::binding(), fixture().bindings[1].clone()];
    vec![
        make_control(bindings, true).to_vec(),
        make_control([peer::binding()], false).to_vec(),
        make_control([], true).to_vec(),
    ]
}

fn class_streams() -> Seeds {
    let direct = direct_frames();
    let direct: Vec<&[u8]> = direct.iter().map(Vec::as_slice).collect();
    vec![
        [&[100, 0], &framed(&[&make_control([], true), &make_control([], false)])[..]].concat(),
        [&[3, 1], &framed(&direct)[..]].concat(),
        [&[255, 3], &framed(&[b"bulk", &[1; 500]])[..]].concat(),
    ]
}

fn connection_ids() -> Seeds {
    let id = issue(5, [9; 32]);
    vec![
        [&[0x40], &id[..], b"rest"].concat(),
        [&[0xc0, 0, 0, 0, 1, 8], &id[..], b"\x04abcd"].concat(),
    ]
}

/// The frames of a conversation from agent 0 of a machine to the agent `to`.
fn direct_frames_to(to: u8) -> Seeds {
    let open = [&[1, 0], &[9; 8][..], &[0], &[to; 32], &[1, 1, 1]].concat();
    vec![
        open,
        b"\x02\x00\x01".to_vec(),
        b"\x02\x01\x01\x05\x00\x40\x46\x01\x80\x01\x00\x00\x04".to_vec(),
        b"\x03\x00\x01hello".to_vec(),
        b"\x03\x00\x02again".to_vec(),
        b"\x04\x00\x01\x00".to_vec(),
    ]
}

fn direct_frames() -> Seeds {
    direct_frames_to(2)
}

fn direct_sessions() -> Seeds {
    let step = |kind: u8, number: u8, rest: &[u8]| [&[kind, number], rest].concat();
    let frame = |number: u8, frame: &[u8]| {
        let size = u8::try_from(frame.len()).unwrap_or(0);
        step(3, number, &[&[size], frame].concat())
    };
    let frames = direct_frames_to(0);
    let up = step(0, 0b0011_1001, &[0xff, 0xff]);
    let receive = [up.clone(), frame(0, &frames[0]), frame(0, &frames[3]), frame(0, &frames[4])];
    let send = [
        step(5, 0b1111_0001, &[20]),
        up.clone(),
        step(5, 0b1111_0001, &[3]),
        frame(0, &frames[1]),
        frame(0, &frames[5]),
        step(8, 200, &[]),
        step(1, 0, &[]),
        up,
        frame(0, b"\x02\x00\x01\x01\x00"),
        step(7, 1, &[]),
        step(2, 0, &[1, 0]),
        step(6, 1, &[]),
    ];
    let both = [receive.concat(), send.concat()].concat();
    vec![receive.concat(), send.concat(), both]
}

/// The bytes of messages: a range of each kind, and lists.
fn reconcile_messages() -> Seeds {
    let fingerprint = [7; 16];
    let parts: [&[&[u8]]; 4] = [
        &[&[6, 10, 0], &fingerprint],
        &[&[7, 10, 1, 8, 0]],
        &[&[3, 10, 0, 20, 2, 5, 9, 2, 1], &[3; 16], &[1], &[4; 16]],
        &[&[2, 10, 0, 20, 0], &fingerprint, &[1, 5, 0, 0], &[6, 9, 1, 4], &fingerprint],
    ];
    parts.map(|parts| [&[0, 0, 0, 0, 0, 0, 0, 1][..], &parts.concat()].concat()).to_vec()
}

fn reconcile_histories() -> Seeds {
    let many = |side: u8, first: u16, count: u16, step: u8| {
        let (first, count) = (first.to_be_bytes(), count.to_be_bytes());
        [&[2 | side << 7][..], &first, &count, &[step]].concat()
    };
    let message = |side: u8, message: &[u8]| {
        let size = u16::try_from(message.len()).unwrap_or(0).to_be_bytes();
        [&[6 | side << 7][..], &size, message].concat()
    };
    let exchange = |side: u8| [&[5 | side << 7][..], &[9; 8]].concat();
    let both = [many(0, 0, 600, 2), many(1, 0, 600, 3), exchange(0), many(1, 5000, 40, 1)];
    let full = (0..6).flat_map(|turn| many(turn % 2, 1000 * u16::from(turn), 1000, 1));
    let lies = reconcile_messages().into_iter().flat_map(|bytes| message(1, &bytes));
    vec![
        [&[0, 0][..], &both.concat()].concat(),
        [&[0, 60][..], &full.collect::<Vec<u8>>(), &exchange(1)].concat(),
        [&[100, 0][..], &[0, 1, 2, 0, 9, 3, 0, 5, 4, 9, 9][..], &lies.collect::<Vec<u8>>()]
            .concat(),
    ]
}

/// One of each kind, as the overlay's target makes them.
fn overlay_frames() -> Seeds {
    let choices = (0..16).map(|kind| vec![kind, 1, 2, 3, 4, 5, 6, 7]).chain([vec![16, 3, 1, 2, 0]]);
    choices.map(|choices| crate::overlay::frame(&choices).to_vec()).collect()
}

fn kem() -> Seeds {
    let key = DecapsulationKey::from_seed(&[7; 64]);
    let (ciphertext, _) = key.encapsulation_key().encapsulate(&[8; 32]);
    vec![
        [&[0], &key.encapsulation_key().as_bytes()[..], &[8; 32]].concat(),
        [&[1], &ciphertext.as_bytes()[..]].concat(),
        [&[1], &[0xff; CIPHERTEXT_LEN][..]].concat(),
    ]
}

fn signatures() -> Seeds {
    let key = fixture().agent.signing_key();
    let message = b"what is signed";
    let signature = key.sign(message, &[4; 32]);
    let all = [&key.verifying_key().as_bytes()[..], signature.as_bytes(), message].concat();
    vec![all]
}

fn tls_key() -> Vec<u8> {
    let prefix = [
        0x30, 0x82, 0x07, 0xb2, 0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04,
        0x03, 0x12, 0x03, 0x82, 0x07, 0xa1, 0x00,
    ];
    [&prefix[..], fixture().machine.public().as_bytes()].concat()
}

fn tls_shares() -> Seeds {
    let mut seeds = Vec::new();
    for hybrid in [false, true] {
        let (client, server) = shares(hybrid);
        seeds.push([&[u8::from(hybrid)], &client[..]].concat());
        seeds.push([&[u8::from(hybrid) | 2], &server[..]].concat());
    }
    seeds
}

fn words() -> Seeds {
    let agent = Words::of(&fixture().agent.id().0);
    let user = Some(Words::of(&[0x5a; 32]));
    [AgentWords { agent, user: None }, AgentWords { agent, user }]
        .map(|words| words.to_string().into_bytes())
        .to_vec()
}

fn path_probes() -> Seeds {
    let body = |kind: u8, address: &[u8]| {
        let mut body = vec![1, kind];
        body.extend_from_slice(&[0; 8]);
        body.extend_from_slice(&[3; 8]);
        body.extend_from_slice(address);
        authenticated(&body, &exported(), kind & 1 == 1).to_vec()
    };
    let v4 = [&[0; 10], &[0xff, 0xff, 192, 0, 2, 1][..], &[0x15, 0x6b]].concat();
    let v6 = [&[0x20, 1, 0x0d, 0xb8], &[0; 12][..], &[0x15, 0x6b]].concat();
    vec![body(1, &[0; 18]), body(2, &[0; 18]), body(3, &v4), body(3, &v6)]
}

/// What the two nodes send to one another until both are up: to the tested node, and to the other.
fn handshake(dialling: Who) -> (Seeds, Seeds) {
    let [mut tested, mut other] = [Who::Tested, Who::Other].map(Bench::fresh);
    for bench in [&mut tested, &mut other] {
        bench.anywhere = true;
    }
    let (dialler, address) = match dialling {
        Who::Tested => (&mut tested, socket(Who::Other)),
        Who::Other => (&mut other, socket(Who::Tested)),
    };
    let target = Target::Address { address, machine: None };
    let timeout = std::time::Duration::from_secs(9);
    dialler.command(Connect { target, keep: false, timeout }.into()).expect("it can be dialled");
    let (mut to_tested, mut to_other) = (Seeds::new(), Seeds::new());
    for _ in 0..6 {
        for datagram in std::mem::take(&mut other.sent) {
            to_tested.push(datagram.payload.to_vec());
            tested.receive(datagram.source, datagram.local, &datagram.payload);
        }
        for datagram in std::mem::take(&mut tested.sent) {
            to_other.push(datagram.payload.to_vec());
            other.receive(datagram.source, datagram.local, &datagram.payload);
        }
    }
    let is_up = |bench: &Bench| {
        bench.events.iter().any(|e| matches!(e, Event::Link(link::Event::PeerUp { .. })))
    };
    assert!(is_up(&tested) && is_up(&other), "the two nodes meet");
    (to_tested, to_other)
}

fn node_datagrams() -> Seeds {
    let (inbound, outbound) = handshake(Who::Other);
    let step = |source: u8, payload: &Vec<u8>| [&[source, 0], &counted(payload)[..]].concat();
    let whole: Vec<u8> = inbound.iter().flat_map(|datagram| step(0, datagram)).collect();
    // A packet from elsewhere with an id that the node gave to the stranger.
    let mut forged = [&[0xc0, 0, 0, 0, 1, 8], &outbound[0][15..23]].concat();
    forged.resize(1200, 0);
    let mut credited: Vec<u8> =
        inbound[..2].iter().flat_map(|datagram| step(0, datagram)).collect();
    credited.extend((0..4).flat_map(|_| step(1, &forged)));
    let begun: Vec<u8> = inbound[..2].iter().flat_map(|datagram| step(1, datagram)).collect();
    let unknown_version = [&[0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8], &[1; 8][..], &[4, 1, 2, 3, 4]];
    let mut unknown_version = unknown_version.concat();
    unknown_version.resize(1200, 0);
    let short = [&[0x40], &[5; 60][..]].concat();
    let (version, probe) = (step(2, &unknown_version), step(0, &path_probes()[0]));
    vec![whole, begun, version, step(3, &short), probe, credited]
}

fn node_initials() -> Seeds {
    let (inbound, _) = handshake(Who::Other);
    let opened = inbound.iter().map_while(|datagram| quic::open(datagram));
    let frames: Vec<Vec<u8>> = opened.map(|(_, frames)| frames).collect();
    let step = |choice: u8, token: &[u8], frames: &[u8]| {
        let size = u8::try_from(token.len()).unwrap_or(0);
        [&[choice, size], token, &counted(frames)].concat()
    };
    let hello: Vec<u8> = frames.iter().flat_map(|frames| step(1, &[], frames)).collect();
    vec![
        hello,
        step(0, &[7; 40], &frames[0]),
        step(2, &[], &[1]),
        step(3, &[], b"\x1c\x00\x06\x00"),
    ]
}

fn node_restored() -> Seeds {
    let row = |choice: u8, key: &[u8], value: &[u8]| {
        let key = if choice >> 6 == 0 { counted(key) } else { Vec::new() };
        [vec![choice], key, counted(value)].concat()
    };
    vec![
        row(0, &[9; 32], &page(&[0, 1, 2])),
        [row(0b0100_0000, &[], &page(&[2])), row(0b0100_0001, &[], &[1])].concat(),
        row(1, &[2; 32], &[1]),
    ]
}

fn node_inputs() -> Seeds {
    let step = |kind: u8, number: u8, rest: &[u8]| [&[kind, number], rest].concat();
    let connect = step(2, 0, &[200]);
    let meet: Vec<u8> = (0..4).flat_map(|_| step(7, 0, &[])).collect();
    let message = [step(3, 3, &[100]), step(7, 0, &[]), step(7, 0, &[])].concat();
    let blocked = [step(4, 1, &[]), step(6, 0, &[]), step(4, 9, &[]), step(6, 0, &[])].concat();
    let moved = [step(5, 64, &[]), step(7, 0, &[]), step(7, 0, &[]), message.clone()].concat();
    let talk = [connect, meet, message].concat();
    let time = step(1, 0, &[0, 0, 0x40, 0, 0, 0, 0, 0]);
    vec![
        [talk.clone(), blocked].concat(),
        [talk.clone(), moved, step(5, 0, &[])].concat(),
        [talk, time.clone(), step(7, 0, &[])].concat(),
        [step(2, 10, &[255]), step(3, 0, &[255]), time, step(6, 255, &[]), step(5, 3, &[])]
            .concat(),
    ]
}

fn peer_streams() -> Seeds {
    let step = |kind: u8, number: u8, rest: &[u8]| [&[kind, number], rest].concat();
    let hello = step(3, 0, &[]);
    let frames = {
        // Class 1, then the frames of a conversation with the tested node's agent.
        let mut frames = direct_frames();
        frames[0][11..43].copy_from_slice(&fixture().agent.id().0);
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        [&[1], &framed(&[frames[0], frames[3], frames[4]])[..]].concat()
    };
    let direct = step(0, 1, &counted(&frames));
    let rebind = step(3, 3, &[]);
    let ask = step(4, 1, &counted(&path_probes()[0]));
    let prefer = step(4, 0, &counted(&path_probes()[1]));
    vec![
        [hello.clone(), direct.clone(), rebind].concat(),
        [direct, hello.clone(), ask.clone(), step(6, 20, &[]), prefer].concat(),
        [hello.clone(), step(0, 3, &counted(&[3, 4, 1, 2, 3, 4])), step(7, 1, &[])].concat(),
        [step(0, 0, &counted(&[0, 5, 1, 2, 3, 4, 5])), hello, ask].concat(),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use x0x_core::overlay::reconcile;
    use x0x_core::{direct, link, overlay};

    use super::*;
    use crate::{node, peer};
    use x0x_core::node::Reply;

    fn has(bench: &Bench, wanted: impl Fn(&Event) -> bool) -> bool {
        bench.events.iter().any(wanted)
    }

    fn is_up(event: &Event) -> bool {
        matches!(event, Event::Link(link::Event::PeerUp { .. }))
    }

    #[test]
    fn what_a_decoder_is_given_it_reads() {
        for page in seeds("address_page") {
            assert!(
                x0x_core::address_book::fuzzing::record(&page, &fixture().agent.id()).is_some()
            );
        }
        for frame in seeds("control_frame") {
            assert!(link::fuzzing::control(&frame).is_some());
        }
        let kinds: BTreeSet<u8> = seeds("direct_frame").iter().map(|frame| frame[0]).collect();
        assert_eq!(kinds.len(), 4, "each kind");
        for frame in seeds("direct_frame") {
            assert_eq!(direct::fuzzing::frame(frame.clone().into()), Some(frame.into()));
        }
        for message in seeds("reconcile_message") {
            assert_eq!(reconcile::fuzzing::message(&message), Some(message.into()));
        }
        for frame in seeds("overlay_frame") {
            assert_eq!(overlay::fuzzing::frame(&frame.clone().into()), Some(frame.into()));
        }
        for probe in seeds("path_probe") {
            let taken = |at_client| {
                x0x_core::path::fuzzing::probe(&probe, &exported(), at_client).is_some()
            };
            assert!(taken(true) != taken(false));
        }
        for words in seeds("words") {
            let text = String::from_utf8(words).expect("words are text");
            assert!(text.parse::<AgentWords>().is_ok());
        }
    }

    #[test]
    fn the_datagrams_of_a_peer_bring_a_session_up() {
        let seeds = seeds("node_datagrams");
        assert!(has(&node::after_datagrams(&seeds[0]), is_up));
        assert!(!node::after_datagrams(&seeds[1]).sent.is_empty(), "a stranger is answered");
    }

    #[test]
    fn a_sealed_packet_is_read_by_the_node() {
        assert!(!node::after_initials(&seeds("node_initials")[0]).sent.is_empty());
    }

    #[test]
    fn inputs_bring_a_session_up_and_carry_a_message() {
        let bench = node::after_inputs(&seeds("node_inputs")[0]);
        assert!(has(&bench, is_up));
        let acknowledged = |event: &Event| {
            matches!(
                event,
                Event::Reply { reply: Reply::Direct(direct::Reply::SendDirect(Ok(_))), .. }
            )
        };
        assert!(has(&bench, acknowledged), "{:?}", bench.events);
        let moved = node::after_inputs(&seeds("node_inputs")[1]);
        let moving = |event: &Event| matches!(event, Event::Link(link::Event::PathChanged { .. }));
        assert!(has(&moved, moving), "{:?}", moved.events);
    }

    #[test]
    fn a_peer_that_says_hello_is_heard() {
        let seeds = seeds("peer_streams");
        let worlds: Vec<_> = seeds.iter().map(|seed| peer::after_steps(seed)).collect();
        let received: Vec<usize> = worlds.iter().map(|world| world.received).collect();
        assert_eq!(received, [2, 2, 0, 0]);
        let is_up: Vec<bool> = worlds.iter().map(|world| world.is_up).collect();
        assert_eq!(is_up, [true, true, false, false]);
    }
}
