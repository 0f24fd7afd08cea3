//! Ids: the SHA-256 hashes of ML-DSA-65 public keys.
//!
//! There is one type for each kind of key, so that a machine is never taken for an agent. Users see
//! an id as 64 lower-case hexadecimal digits and may write it in either case. Logs show the first
//! eight digits, which tell ids apart and prove nothing.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::crypto::hash::{HASH_LEN, sha256};
use crate::crypto::signature::VerifyingKey;

/// The length of an id in bytes.
pub const ID_LEN: usize = HASH_LEN;

/// How many bytes of an id its short form shows.
const SHORT_LEN: usize = 4;

/// Why a text is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseIdError {
    /// A character is not a hexadecimal digit.
    #[error("invalid hex: invalid character {character:?} at position {position}")]
    InvalidCharacter {
        /// The first such character.
        character: char,
        /// Its position, counted in characters from zero.
        position: usize,
    },
    /// A digit has no partner.
    #[error("invalid hex: odd number of digits")]
    OddLength,
    /// There are too few or too many digits.
    #[error("expected {ID_LEN} bytes (64 hex chars), got {len}")]
    WrongLength {
        /// How many bytes the text has.
        len: usize,
    },
}

fn parse(text: &str) -> Result<[u8; ID_LEN], ParseIdError> {
    let mut digits = Vec::with_capacity(text.len());
    for (position, character) in text.chars().enumerate() {
        let digit = character.to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        digits.push(digit.ok_or(ParseIdError::InvalidCharacter { character, position })?);
    }
    let (pairs, []) = digits.as_chunks::<2>() else { return Err(ParseIdError::OddLength) };
    let bytes: Vec<u8> = pairs.iter().map(|[high, low]| (high << 4) | low).collect();
    bytes.try_into().map_err(|bytes: Vec<u8>| ParseIdError::WrongLength { len: bytes.len() })
}

fn write_hex(formatter: &mut impl fmt::Write, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
}

macro_rules! id {
    ($name:ident, $what:literal) => {
        #[doc = concat!("The id of ", $what, ": the SHA-256 hash of its public key.")]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; ID_LEN]);

        impl $name {
            /// Returns the id that belongs to the public key.
            pub fn of(key: &VerifyingKey) -> Self {
                Self(sha256(key.as_bytes()))
            }

            /// Returns the id as bytes.
            pub fn as_bytes(&self) -> &[u8; ID_LEN] {
                &self.0
            }

            /// Returns the first eight hexadecimal digits.
            pub fn short(&self) -> String {
                let mut text = String::with_capacity(2 * SHORT_LEN);
                write_hex(&mut text, &self.0[..SHORT_LEN]).expect("a string takes all text");
                text
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(formatter, &self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(concat!(stringify!($name), "("))?;
                write_hex(formatter, &self.0[..SHORT_LEN])?;
                formatter.write_char(')')
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse(text).map(Self)
            }
        }
    };
}

id!(MachineId, "a machine");
id!(AgentId, "an agent");
id!(UserId, "a human user");
