//! Signed documents, key files, words and ids.

use x0x_core::crypto::hash::blake3;
use x0x_core::identity::{
    AgentCertificate, AgentId, AgentKey, AgentWords, BINDING_SIZE_MAX, BindingVerifier,
    CERTIFICATE_SIZE_MAX, KEY_FILE_SIZE, MachineKey, REVOCATION_SIZE_MAX, Revocation, UserKey,
    fuzzing,
};

use crate::fixture::{UNIX_TIME, fixture};

/// A binding has one form, and only one that the agent signed is believed.
pub fn binding(data: &[u8]) {
    let rewritten = fuzzing::binding(data);
    if let Some(rewritten) = &rewritten {
        assert_eq!(rewritten, data, "one form");
        assert!(data.len() <= BINDING_SIZE_MAX);
    }
    let mut verifier = BindingVerifier::default();
    let machine = fixture().machine.id();
    let mut verify = || verifier.verify(data, &machine, UNIX_TIME, |_| 0);
    let verified = verify();
    assert_eq!(verified, verify(), "what is remembered changes nothing");
    if let Ok(proven) = verified {
        assert!(rewritten.is_some());
        assert_eq!(proven.agent, fixture().agent.id());
        assert!(fixture().bindings.iter().any(|genuine| genuine == data), "a forgery");
    }
}

/// As [`binding`].
pub fn certificate(data: &[u8]) {
    let rewritten = fuzzing::certificate(data);
    let parsed = AgentCertificate::parse(data).ok();
    assert_eq!(parsed.is_some(), rewritten.is_some());
    let (Some(rewritten), Some(parsed)) = (rewritten, parsed) else { return };
    assert_eq!(rewritten, data, "one form");
    assert_eq!(parsed.bytes(), data);
    assert!(data.len() <= CERTIFICATE_SIZE_MAX);
    if parsed.verify(&fixture().agent.id(), UNIX_TIME).is_ok() {
        assert!(fixture().certificates.iter().any(|genuine| genuine == data), "a forgery");
    }
}

/// As [`binding`].
pub fn revocation(data: &[u8]) {
    let rewritten = fuzzing::revocation(data);
    let parsed = Revocation::parse(data).ok();
    assert_eq!(parsed.is_some(), rewritten.is_some());
    let (Some(rewritten), Some(parsed)) = (rewritten, parsed) else { return };
    assert_eq!(rewritten, data, "one form");
    assert_eq!(parsed.bytes(), data);
    assert!(data.len() <= REVOCATION_SIZE_MAX);
    if let Ok(proven) = parsed.verify() {
        assert_eq!(proven.agent(), parsed.agent());
        assert!(fixture().revocations.iter().any(|genuine| genuine == data), "a forgery");
    }
}

/// A key file is read as its one kind and gives itself when it is written again. The same holds
/// after its checksum was made right.
pub fn key_file(data: &[u8]) {
    read_key_file(data);
    if let Some((content, _)) = data.split_first_chunk::<{ KEY_FILE_SIZE - 32 }>() {
        read_key_file(&[&content[..], &blake3(content)].concat());
    }
}

fn read_key_file(data: &[u8]) {
    let files = [
        MachineKey::from_key_file(data).ok().map(|key| key.to_key_file()),
        AgentKey::from_key_file(data).ok().map(|key| key.to_key_file()),
        UserKey::from_key_file(data).ok().map(|key| key.to_key_file()),
    ];
    assert!(files.iter().flatten().count() <= 1, "a file has one kind");
    for file in files.iter().flatten() {
        assert_eq!(&file[..], data, "one form");
    }
}

/// Words that are read give themselves when they are written and read again.
pub fn words(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match text.parse::<AgentWords>() {
        Ok(words) => {
            let written = words.to_string();
            assert_eq!(written.parse(), Ok(words));
            assert_eq!(written.parse::<AgentWords>().map(|w| w.to_string()), Ok(written));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// An id that is read is written as 64 lower-case digits.
pub fn id(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match text.parse::<AgentId>() {
        Ok(id) => assert_eq!(id.to_string(), text.to_ascii_lowercase()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
