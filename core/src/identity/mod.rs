//! Identity: who a machine, an agent and a human user are, and how they prove what they say.
//!
//! - [`ids`]: an id is the SHA-256 hash of a public key.
//! - [`keys`]: the private keys, and the domains in which they sign.
//! - [`certificate`]: a user states that an agent is theirs.
//! - [`binding`]: an agent states that it lives on a machine.
//! - [`revocation`]: an agent or its user withdraws bindings, or the agent itself.
//! - [`key_file`]: the form of a key at rest.
//! - [`words`]: an id for people to read to each other.
//!
//! A machine proves its key in the handshake of a connection. An agent proves itself to the
//! connection by a binding to that machine, so the sender of what arrives is proven, never claimed.
//!
//! This module decides nothing about trust: whether a proven agent is welcome is the user's affair.
//!
//! # Invariants
//!
//! - A type whose name starts with `Proven` is made by verifying and by nothing else in here.
//! - A signature covers the domain of the statement and its record form, of which there is one.
//! - Every statement fits a named size; every cache and set has a named limit.
//! - Time and randomness are arguments. No input makes a parser or verifier panic.

use std::time::Duration;

pub mod binding;
pub mod certificate;
mod consent;
mod document;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod ids;
pub mod key_file;
pub mod keys;
pub mod revocation;
mod word_list;
pub mod words;

pub use binding::{
    AgentBinding, BINDING_SIZE_MAX, BINDING_VALIDITY, BINDING_VALIDITY_MAX, BindingError,
    BindingVerifier, ProvenAgent, Validity,
};
pub use certificate::{AgentCertificate, CERTIFICATE_SIZE_MAX, CertificateError, ProvenUser};
pub use ids::{AgentId, MachineId, ParseIdError, UserId};
pub use key_file::{KEY_FILE_SIZE, KeyFileError, KeyKind};
pub use keys::{AgentKey, Domain, MachineKey, UserKey, verify};
pub use revocation::{
    ProvenRevocation, REVOCATION_SIZE_MAX, Revocation, RevocationError, RevocationKind,
    RevocationSet,
};
pub use words::{AgentWords, Words, WordsError};

/// How far the clocks of two nodes may be apart: by so much every validity is extended.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_secs(120);
