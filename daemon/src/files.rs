//! Keys and tokens on disk.
//!
//! Secrets are made once, with mode 0600, and never replaced: a file that cannot be read is an
//! error that says so. They are read and made only under the lock of their [`Directories`], so two
//! daemons that start at once never make two keys.

mod private;

use std::io;
use std::path::{Path, PathBuf};

use x0x_core::crypto::hash::blake3;
use x0x_core::crypto::kem::{DECAPSULATION_SEED_LEN, DecapsulationKey};
use x0x_core::identity::{AgentCertificate, AgentKey, KeyFileError, MachineKey, UserKey};

pub use private::{Directories, Fault, write_private};
pub(crate) use private::{inspect, open, private_directory};

use private::{publish, read};

/// The fewest characters of a token that is taken as it is.
const TOKEN_LEN_MIN: usize = 32;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system does not let us.
    #[error("cannot {action} {path}: {error}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Another user owns it or may write it.
    #[error(transparent)]
    Exposed(#[from] Fault),
    /// Another daemon has the directory of data.
    #[error("{0} is in use: another daemon runs on this directory; stop it with: x0x stop")]
    DataInUse(PathBuf),
    /// Another daemon has the directory of keys.
    #[error(
        "{0} is in use: another daemon runs with these keys, and an agent runs once at a time; stop \
         that daemon, or start this one with --name NAME to give it keys of its own"
    )]
    KeysInUse(PathBuf),
    /// There is a key already.
    #[error("{0} exists, and a key is never replaced: choose another path, or move that file away")]
    Exists(PathBuf),
    /// The key in it is no key.
    #[error("{path}: {reason}; restore it from a copy, or move it away to get a new identity")]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The system gave no randomness.
    #[error("the system gives no randomness: {0}")]
    Randomness(getrandom::Error),
}

/// The keys of an instance.
#[derive(Debug)]
pub struct Keys {
    /// The machine's.
    pub machine: MachineKey,
    /// The agent's.
    pub agent: AgentKey,
    /// What messages for the agent are sealed to while it is away.
    pub kem: DecapsulationKey,
    /// The human's, if there is one.
    pub user: Option<UserKey>,
    /// The human's word for the agent, if there is one.
    pub certificate: Option<AgentCertificate>,
    /// Whether the agent is new.
    pub is_new: bool,
}

impl Keys {
    /// Reads the keys of an instance and makes those that are missing, except the human's.
    ///
    /// # Errors
    ///
    /// If a key exists and cannot be used, or cannot be made.
    pub fn open(directories: &Directories, user_key: &Path) -> Result<Self, FileError> {
        let machine_path = directories.keys().join("machine.key");
        let agent_path = directories.keys().join("agent.key");
        let is_new = !agent_path.exists();
        let machine = key(&machine_path, MachineKey::from_key_file, |seed| {
            MachineKey::from_seed(seed).to_key_file().to_vec()
        })?;
        let agent = key(&agent_path, AgentKey::from_key_file, |seed| {
            AgentKey::from_seed(seed).to_key_file().to_vec()
        })?;
        let user = match read(user_key)? {
            Some(bytes) => Some(UserKey::from_key_file(&bytes).map_err(bad_key(user_key))?),
            None => None,
        };
        let kem = kem_key(&directories.data().join("agent_kem.key"))?;
        let certificate_path = directories.keys().join("agent.cert");
        let certificate = certificate(&certificate_path, user.as_ref(), &agent)?;
        Ok(Self { machine, agent, kem, user, certificate, is_new })
    }
}

/// Makes a key file for a human.
///
/// # Errors
///
/// If the file exists or cannot be made.
pub fn make_user_key(path: &Path) -> Result<UserKey, FileError> {
    let user = UserKey::from_seed(&random()?);
    if publish(path, &user.to_key_file()[..])? {
        Ok(user)
    } else {
        Err(FileError::Exists(path.into()))
    }
}

/// Reads the token of the API, or makes one.
///
/// # Errors
///
/// If the file exists and cannot be read, or cannot be made.
pub fn token(path: &Path) -> Result<String, FileError> {
    let make = || Ok(hex(&random::<32>()?).into_bytes());
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
    let token = text(read_or_make(path, make)?);
    if token.len() >= TOKEN_LEN_MIN {
        return Ok(token);
    }
    let token = make()?;
    write_private(path, &token)?;
    Ok(text(token))
}

/// Writes bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all text");
        text
    })
}

/// Draws random bytes from the system.
///
/// # Errors
///
/// If it has none.
pub fn random<const N: usize>() -> Result<[u8; N], FileError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(FileError::Randomness)?;
    Ok(bytes)
}

/// Reads a file, or makes it if there is none.
fn read_or_make(
    path: &Path,
    make: impl FnOnce() -> Result<Vec<u8>, FileError>,
) -> Result<Vec<u8>, FileError> {
    if let Some(bytes) = read(path)? {
        return Ok(bytes);
    }
    let bytes = make()?;
    if publish(path, &bytes)? {
        return Ok(bytes);
    }
    let error = io::Error::from(io::ErrorKind::NotFound);
    read(path)?.ok_or_else(|| FileError::Io { action: "read", path: path.into(), error })
}

fn bad_key<E: std::fmt::Display>(path: &Path) -> impl FnOnce(E) -> FileError {
    move |error| FileError::Key { path: path.into(), reason: error.to_string() }
}

fn key<K>(
    path: &Path,
    parse: impl Fn(&[u8]) -> Result<K, KeyFileError>,
    make: impl Fn(&[u8; 32]) -> Vec<u8>,
) -> Result<K, FileError> {
    let bytes = read_or_make(path, || Ok(make(&random()?)))?;
    parse(&bytes).map_err(bad_key(path))
}

/// What a file with a KEM key starts with; the last byte is its version.
const KEM_MAGIC: &[u8; 7] = b"x0xkem\x01";

/// Reads or makes the file: the magic, the seed, and the BLAKE3 hash of both.
fn kem_key(path: &Path) -> Result<DecapsulationKey, FileError> {
    let make = || {
        let body = [&KEM_MAGIC[..], &random::<DECAPSULATION_SEED_LEN>()?].concat();
        Ok([&body[..], &blake3(&body)].concat())
    };
    parse_kem_key(&read_or_make(path, make)?)
        .ok_or_else(|| bad_key(path)("this is not a key for sealed messages, or it is damaged"))
}

/// Reads the content of the file; nothing if it is damaged.
pub(crate) fn parse_kem_key(bytes: &[u8]) -> Option<DecapsulationKey> {
    let (body, checksum) = bytes.split_at_checked(KEM_MAGIC.len() + DECAPSULATION_SEED_LEN)?;
    let seed = body.strip_prefix(KEM_MAGIC)?.try_into().ok()?;
    (blake3(body)[..] == *checksum).then(|| DecapsulationKey::from_seed(seed))
}

/// Reads the human's word for the agent, or makes it if there is a human.
fn certificate(
    path: &Path,
    user: Option<&UserKey>,
    agent: &AgentKey,
) -> Result<Option<AgentCertificate>, FileError> {
    let Some(user) = user else { return Ok(None) };
    if let Some(bytes) = read(path)? {
        let certificate = AgentCertificate::parse(&bytes).map_err(bad_key(path))?;
        if certificate.user() == user.id() && certificate.agent() == agent.id() {
            return Ok(Some(certificate));
        }
    }
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let certificate = AgentCertificate::issue(user, agent.id(), now, None, &random()?);
    write_private(path, certificate.bytes())?;
    Ok(Some(certificate))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn directory(test: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("x0x-files-{}-{test}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn keys_are_made_once_private_and_kept() {
        let root = directory("keys");
        let open = || {
            let directories = Directories::lock(&root.join("data"), &root.join("keys"))?;
            Keys::open(&directories, &root.join("user.key"))
        };
        let first = open().expect("keys are made");
        let second = open().expect("keys are read");
        assert!(first.is_new && !second.is_new);
        assert_eq!(first.machine.id(), second.machine.id());
        assert_eq!(first.agent.id(), second.agent.id());
        assert_eq!(first.kem.encapsulation_key(), second.kem.encapsulation_key());
        assert!(first.user.is_none() && first.certificate.is_none());
        for file in ["keys/machine.key", "keys/agent.key", "data/agent_kem.key"] {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(root.join(file)).expect("it exists").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        let user = make_user_key(&root.join("user.key")).expect("a user is made");
        assert!(make_user_key(&root.join("user.key")).is_err(), "a key is never replaced");
        let third = open().expect("keys are read");
        assert_eq!(third.certificate.expect("the user signed").user(), user.id());
        fs::remove_dir_all(&root).expect("the directory is ours");
    }

    #[test]
    fn a_damaged_key_is_named_and_left_alone() {
        let root = directory("damaged");
        let open = || {
            let directories = Directories::lock(&root.join("data"), &root.join("keys"))?;
            Keys::open(&directories, &root.join("user.key"))
        };
        open().expect("keys are made");
        for file in ["keys/machine.key", "keys/agent.key", "data/agent_kem.key"] {
            let path = root.join(file);
            let good = fs::read(&path).expect("it exists");
            let mut bad = good.clone();
            bad[20] ^= 1;
            fs::write(&path, &bad).expect("it is ours");
            let error = open().expect_err("it is damaged").to_string();
            assert!(error.contains(file) && error.contains("restore it"), "{error}");
            assert_eq!(fs::read(&path).expect("it exists"), bad);
            fs::write(&path, &good).expect("it is ours");
        }
        fs::remove_dir_all(&root).expect("the directory is ours");
    }

    #[test]
    fn a_token_is_kept_unless_it_is_too_short() {
        let root = directory("token");
        fs::create_dir_all(&root).expect("it can be made");
        let path = root.join("api-token");
        let made = token(&path).expect("it is made");
        assert_eq!((made.len(), &token(&path).expect("it is read")), (64, &made));
        let own = "a".repeat(TOKEN_LEN_MIN);
        fs::write(&path, format!(" {own}\n")).expect("it is ours");
        assert_eq!(token(&path).expect("it is read"), own);
        fs::write(&path, "short").expect("it is ours");
        assert_eq!(token(&path).expect("it is made").len(), 64);
        fs::remove_dir_all(&root).expect("the directory is ours");
    }
}
