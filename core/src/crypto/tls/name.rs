//! The names that a client calls its servers by.
//!
//! TLS remembers a session under the server's name and hands the name to the verifier. So the name
//! of a machine whose id is known holds that id, in lower-case base32 (RFC 4648, no padding): it
//! pins the key, and no two machines share a session. The name never leaves the node.

/// The alphabet of base32 in lower case: five bits per letter.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// How many letters 32 bytes take.
const LETTERS: usize = 52;
/// What follows the letters. Names under `invalid` never exist in the DNS (RFC 2606).
const SUFFIX: &str = ".x0x.invalid";
/// The name of every machine whose id is not known.
const STRANGER: &str = "stranger.x0x.invalid";

/// Whom a client expects to meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// The machine with this id: the SHA-256 hash of its key.
    Machine([u8; 32]),
    /// Any server that answers.
    Anyone,
}

/// Returns the name to connect to: of the machine with this id, or of a machine yet unknown.
pub fn server_name(machine: Option<&[u8; 32]>) -> String {
    match machine {
        Some(id) => base32(id) + SUFFIX,
        None => STRANGER.into(),
    }
}

/// Reads a name that [`server_name`] made; any other gives nothing.
pub(super) fn expected(name: &str) -> Option<Expected> {
    if name == STRANGER {
        return Some(Expected::Anyone);
    }
    let id = parse_base32(name.strip_suffix(SUFFIX)?)?;
    Some(Expected::Machine(id))
}

fn base32(bytes: &[u8; 32]) -> String {
    let bit = |place: usize| bytes.get(place / 8).map_or(0, |byte| byte >> (7 - place % 8) & 1);
    let letter = |index: usize| {
        let value = (0..5).fold(0, |value, offset| value << 1 | bit(index * 5 + offset));
        char::from(ALPHABET[usize::from(value)])
    };
    (0..LETTERS).map(letter).collect()
}

fn parse_base32(text: &str) -> Option<[u8; 32]> {
    if text.len() != LETTERS {
        return None;
    }
    let mut bytes = [0_u8; 32];
    for (index, letter) in text.bytes().enumerate() {
        let value = ALPHABET.iter().position(|&known| known == letter)?;
        for offset in 0..5 {
            if value >> (4 - offset) & 1 == 1 {
                let place = index * 5 + offset;
                // The four bits beyond the last byte must be zero: one id has one name.
                *bytes.get_mut(place / 8)? |= 0x80 >> (place % 8);
            }
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;

    use super::*;

    #[test]
    fn a_name_gives_back_the_id_and_is_a_dns_name() {
        let mixed = std::array::from_fn(|index| u8::try_from(index * 37 % 256).unwrap());
        for id in [[0; 32], [0xff; 32], [0x5a; 32], mixed] {
            let name = server_name(Some(&id));
            assert_eq!(expected(&name), Some(Expected::Machine(id)), "{name}");
            assert!(name.split('.').all(|label| label.len() <= 63), "{name}");
            ServerName::try_from(name).unwrap();
        }
        let stranger = server_name(None);
        assert_eq!(expected(&stranger), Some(Expected::Anyone));
        ServerName::try_from(stranger).unwrap();
    }

    #[test]
    fn the_encoding_is_base32() {
        // RFC 4648 §10.
        let mut id = [0; 32];
        id[..5].copy_from_slice(b"fooba");
        assert!(server_name(Some(&id)).starts_with("mzxw6ytb"));
    }

    #[test]
    fn any_other_name_is_refused() {
        let good = server_name(Some(&[7; 32]));
        let cases = [
            ("empty", String::new()),
            ("another suffix", good.replace("invalid", "example")),
            ("no suffix", good.replace(SUFFIX, "")),
            ("upper case", good.to_uppercase()),
            ("a letter too few", good[1..].to_owned()),
            ("a letter too many", format!("a{good}")),
            ("a letter outside the alphabet", good.replacen('a', "1", 1)),
            ("bits beyond the last byte", format!("{}b{SUFFIX}", "a".repeat(LETTERS - 1))),
            ("a prefix of the stranger", "stranger.x0x".to_owned()),
        ];
        for (case, name) in cases {
            assert_ne!(name, good, "{case}");
            assert_eq!(expected(&name), None, "{case}");
        }
    }
}
