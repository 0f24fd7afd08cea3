//! Cryptography: everything that the protocol computes with keys, and nothing that it decides.
//!
//! * [`hash`]: SHA-256, BLAKE3 and SipHash.
//! * [`merkle`]: one hash for a list of payloads, and proofs that a payload is in it.
//! * [`signature`]: ML-DSA-65 (FIPS 204), the signature of every identity.
//! * [`kem`]: ML-KEM-768 (FIPS 203), the key exchange of links and groups.
//! * [`aead`]: AES-256-GCM and ChaCha20-Poly1305.
//! * [`tls`]: the configuration of TLS 1.3 for QUIC; [`entropy`]: where TLS gets its randomness.
//!
//! **Two back-ends.** [`mod@reference`] is pure Rust and always compiled. The feature
//! `native-crypto` adds `native` and selects it. Both implement [`Backend`], and a test proves that they give the
//! same bytes from the same seeds, so the choice changes speed only.
//!
//! **Invariants.** This is the only module that names a cryptographic crate. Nothing in it draws
//! randomness from the operating system: every function that needs randomness takes it as bytes.
//! Nothing in it reads a clock. Secrets are wiped when they are dropped, and `Debug` never shows
//! them. No bytes of a peer make a function panic.

pub mod aead;
pub mod backend;
pub mod entropy;
pub mod hash;
pub mod kem;
pub mod merkle;
#[cfg(feature = "native-crypto")]
pub mod native;
mod octets;
pub mod reference;
pub mod signature;
pub mod tls;

pub use backend::Backend;
#[cfg(feature = "native-crypto")]
pub use native::Native as Selected;
#[cfg(not(feature = "native-crypto"))]
pub use reference::Reference as Selected;
