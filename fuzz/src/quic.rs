//! Initial packets of QUIC (RFC 9001, section 5.2): anyone who sees a connection begin can make
//! them, so whatever is in them is read before a peer has proven anything.

use rustls::Side;
use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::quic::{Keys, Version};

/// The length of each connection id in here.
const ID_LEN: usize = 8;
/// The number of bytes of a packet number.
const NUMBER_LEN: usize = 4;
/// The smallest datagram that carries a client's Initial packet.
const DATAGRAM_MIN: usize = 1200;

fn keys(id: &[u8], side: Side) -> Keys {
    let suite = TLS13_AES_128_GCM_SHA256.tls13().expect("a suite of TLS 1.3");
    let quic = suite.quic.expect("the suite is for QUIC");
    Keys::initial(Version::V1, suite, quic, id, side)
}

fn small(value: usize) -> u8 {
    u8::try_from(value).expect("a length of a few bytes")
}

/// A variable-length integer in the form of two bytes.
fn two_bytes(value: usize) -> [u8; 2] {
    let value = u16::try_from(value).ok().filter(|&value| value < 0x4000);
    (0x4000 | value.expect("a packet is small")).to_be_bytes()
}

/// What is in an Initial packet of a client.
#[derive(Debug)]
pub(crate) struct Initial<'a> {
    pub(crate) target_id: [u8; ID_LEN],
    pub(crate) number: u32,
    pub(crate) token: &'a [u8],
    /// The frames.
    pub(crate) payload: &'a [u8],
}

/// Makes the datagram.
pub(crate) fn seal(initial: &Initial<'_>) -> Vec<u8> {
    let keys = keys(&initial.target_id, Side::Client);
    let mut packet = vec![0xc0 | (small(NUMBER_LEN) - 1), 0, 0, 0, 1, small(ID_LEN)];
    packet.extend_from_slice(&initial.target_id);
    packet.push(small(ID_LEN));
    packet.extend_from_slice(b"fuzzfuzz");
    let token = initial.token;
    packet.extend_from_slice(&two_bytes(token.len()));
    packet.extend_from_slice(token);
    let tag = keys.local.packet.tag_len();
    let least = DATAGRAM_MIN.saturating_sub(packet.len() + 2 + NUMBER_LEN + tag);
    let mut payload = initial.payload.to_vec();
    payload.resize(payload.len().max(least), 0);
    let length = NUMBER_LEN + payload.len() + tag;
    packet.extend_from_slice(&two_bytes(length));
    let number_at = packet.len();
    packet.extend_from_slice(&initial.number.to_be_bytes());
    let sealed =
        keys.local.packet.encrypt_in_place(u64::from(initial.number), &packet, &mut payload);
    packet.extend_from_slice(&payload);
    packet.extend_from_slice(sealed.expect("a packet can be sealed").as_ref());
    let (head, sample) = packet.split_at_mut(number_at + NUMBER_LEN);
    let sample = &sample[..keys.local.header.sample_len()];
    let (first, rest) = head.split_first_mut().expect("a packet has a first byte");
    let number = &mut rest[number_at - 1..];
    keys.local.header.encrypt_in_place(sample, first, number).expect("a sample has its length");
    packet
}

/// Opens the first Initial packet of a client: its target id and its frames.
pub(crate) fn open(datagram: &[u8]) -> Option<([u8; ID_LEN], Vec<u8>)> {
    let id: [u8; ID_LEN] = datagram.get(6..6 + ID_LEN)?.try_into().ok()?;
    let keys = keys(&id, Side::Server);
    let mut packet = datagram.to_vec();
    let token_at = 6 + ID_LEN + 1 + usize::from(*packet.get(6 + ID_LEN)?);
    let (token, size) = x0x_core::wire::varint::read(&packet[token_at..])?;
    let length_at = token_at + size + usize::try_from(token).ok()?;
    let (length, size) = x0x_core::wire::varint::read(&packet[length_at..])?;
    let number_at = length_at + size;
    let end = number_at + usize::try_from(length).ok()?;
    packet.truncate(end);
    let (head, sample) = packet.split_at_mut(number_at + NUMBER_LEN);
    let sample = &sample[..keys.remote.header.sample_len()];
    let (first, rest) = head.split_first_mut()?;
    keys.remote.header.decrypt_in_place(sample, first, &mut rest[number_at - 1..]).ok()?;
    let number_len = usize::from(packet[0] & 3) + 1;
    let (header, payload) = packet.split_at_mut(number_at + number_len);
    let number = header[number_at..].iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
    let opened = keys.remote.packet.decrypt_in_place(number, header, payload).ok()?;
    Some((id, opened.to_vec()))
}
