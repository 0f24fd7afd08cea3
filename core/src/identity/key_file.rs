//! Key files: the form of a key at rest.
//!
//! | bytes | content |
//! |---|---|
//! | 0–5 | `x0xkey` |
//! | 6 | version, 1 |
//! | 7 | kind: 1 machine, 2 agent, 3 user |
//! | 8–39 | the seed |
//! | 40–71 | the id |
//! | 72–103 | BLAKE3 hash of the bytes before |
//!
//! The checksum finds damage and the id finds a wrong implementation; neither protects from an attacker who
//! can write the file. The seed is not encrypted: who can read the file has the key.

use zeroize::Zeroizing;

use super::ids::ID_LEN;
use super::keys::{AgentKey, MachineKey, SEED_LEN, UserKey};
use crate::crypto::hash::{HASH_LEN, blake3};

/// The size of a key file in bytes.
pub const KEY_FILE_SIZE: usize = CHECKSUM_START + HASH_LEN;

const MAGIC: &[u8; 6] = b"x0xkey";
const VERSION: u8 = 1;
const VERSION_AT: usize = MAGIC.len();
const KIND_AT: usize = VERSION_AT + 1;
const SEED_START: usize = KIND_AT + 1;
const ID_START: usize = SEED_START + SEED_LEN;
const CHECKSUM_START: usize = ID_START + ID_LEN;

/// Whose key a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    /// A machine's.
    Machine,
    /// An agent's.
    Agent,
    /// A human user's.
    User,
}

impl KeyKind {
    /// Returns the byte that stands for it in a file.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Machine => 1,
            Self::Agent => 2,
            Self::User => 3,
        }
    }
}

/// Why a file does not hold the wanted key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// It does not start as key files do.
    #[error("this is not a key file")]
    NotAKeyFile,
    /// Its version is not one that this program reads.
    #[error("version {found} of this key file is unknown (known: {VERSION})")]
    UnsupportedVersion {
        /// The version of the file.
        found: u8,
    },
    /// It ends too early.
    #[error("the key file is cut short: {size} of {KEY_FILE_SIZE} bytes")]
    Truncated {
        /// The size of the file.
        size: usize,
    },
    /// It ends too late.
    #[error("{count} bytes follow the key file")]
    TrailingBytes {
        /// How many bytes follow the key file.
        count: usize,
    },
    /// It was damaged.
    #[error("the key file is damaged: its checksum is wrong")]
    ChecksumMismatch,
    /// It holds a key of another kind.
    #[error("the key file holds a key of kind {found}, not of kind {} ({wanted:?})", wanted.byte())]
    WrongKind {
        /// The kind in the file.
        found: u8,
        /// The kind that is wanted.
        wanted: KeyKind,
    },
    /// The seed in it makes a key with another id than the one in it.
    #[error("the key file names an id that its seed does not have")]
    IdMismatch,
}

/// Lays out a file.
fn encode(
    kind: KeyKind,
    seed: &[u8; SEED_LEN],
    id: &[u8; ID_LEN],
) -> Zeroizing<[u8; KEY_FILE_SIZE]> {
    let mut file = Zeroizing::new([0; KEY_FILE_SIZE]);
    file[..VERSION_AT].copy_from_slice(MAGIC);
    file[VERSION_AT] = VERSION;
    file[KIND_AT] = kind.byte();
    file[SEED_START..ID_START].copy_from_slice(seed);
    file[ID_START..CHECKSUM_START].copy_from_slice(id);
    let checksum = blake3(&file[..CHECKSUM_START]);
    file[CHECKSUM_START..].copy_from_slice(&checksum);
    file
}

/// Returns the seed in a file and the id in it, which is not compared yet.
fn decode(
    wanted: KeyKind,
    file: &[u8],
) -> Result<(Zeroizing<[u8; SEED_LEN]>, [u8; ID_LEN]), KeyFileError> {
    let truncated = KeyFileError::Truncated { size: file.len() };
    let common = file.len().min(MAGIC.len());
    if file[..common] != MAGIC[..common] {
        return Err(KeyFileError::NotAKeyFile);
    }
    match file.get(VERSION_AT) {
        Some(&VERSION) => {}
        Some(&found) => return Err(KeyFileError::UnsupportedVersion { found }),
        None => return Err(truncated),
    }
    let (file, rest) = file.split_first_chunk::<KEY_FILE_SIZE>().ok_or(truncated)?;
    if !rest.is_empty() {
        return Err(KeyFileError::TrailingBytes { count: rest.len() });
    }
    if blake3(&file[..CHECKSUM_START]) != file[CHECKSUM_START..] {
        return Err(KeyFileError::ChecksumMismatch);
    }
    let found = file[KIND_AT];
    if found != wanted.byte() {
        return Err(KeyFileError::WrongKind { found, wanted });
    }
    let (mut seed, mut id) = (Zeroizing::new([0; SEED_LEN]), [0; ID_LEN]);
    seed.copy_from_slice(&file[SEED_START..ID_START]);
    id.copy_from_slice(&file[ID_START..CHECKSUM_START]);
    Ok((seed, id))
}

macro_rules! file {
    ($key:ident, $kind:ident) => {
        impl $key {
            /// Returns the content of the [key file](super::key_file), which is a secret.
            pub fn to_key_file(&self) -> Zeroizing<[u8; KEY_FILE_SIZE]> {
                encode(KeyKind::$kind, self.seed(), self.id().as_bytes())
            }

            /// Reads the content of a [key file](super::key_file).
            ///
            /// # Errors
            ///
            /// A [`KeyFileError`] if it does not hold a key of this kind.
            pub fn from_key_file(file: &[u8]) -> Result<Self, KeyFileError> {
                let (seed, id) = decode(KeyKind::$kind, file)?;
                let key = Self::from_seed(&seed);
                if *key.id().as_bytes() == id { Ok(key) } else { Err(KeyFileError::IdMismatch) }
            }
        }
    };
}

file!(MachineKey, Machine);
file!(AgentKey, Agent);
file!(UserKey, User);
