//! The two back-ends give the same bytes from the same seeds, and refuse the same inputs.
#![cfg(feature = "native-crypto")]

use x0x_core::crypto::Backend;
use x0x_core::crypto::aead::Algorithm;
use x0x_core::crypto::kem::{CIPHERTEXT_LEN, ENCAPSULATION_KEY_LEN};
use x0x_core::crypto::native::Native;
use x0x_core::crypto::reference::Reference;
use x0x_core::crypto::signature::{SIGNATURE_LEN, VERIFYING_KEY_LEN};
use x0x_core::support::Rng;

const ROUNDS: usize = 50;

fn rng() -> Rng {
    Rng::from_seed([42; 32])
}

fn message(rng: &mut Rng) -> Vec<u8> {
    let len = usize::from(rng.bytes::<1>()[0]) * 8;
    let mut message = vec![0; len];
    rng.fill(&mut message);
    message
}

/// Flips one random bit.
fn flip(rng: &mut Rng, bytes: &mut [u8]) -> String {
    let bit = rng.below(bytes.len() as u64 * 8);
    let place = usize::try_from(bit / 8).expect("it is an index of a slice");
    bytes[place] ^= 1 << (bit % 8);
    format!("bit {bit} flipped")
}

#[test]
fn signing_keys_and_signatures_are_equal() {
    let mut rng = rng();
    for round in 0..ROUNDS {
        let (seed, randomness) = (rng.bytes(), rng.bytes());
        let message = message(&mut rng);
        let (reference, key) = Reference::signing_key(&seed);
        let (native, native_key) = Native::signing_key(&seed);
        assert!(key == native_key, "round {round}: the keys differ");
        let signature = Reference::sign(&reference, &message, &randomness);
        let native_signature = Native::sign(&native, &message, &randomness);
        assert!(signature == native_signature, "round {round}: the signatures differ");
        assert!(Reference::verify(&key, &message, &signature), "round {round}: refused");
        assert!(Native::verify(&key, &message, &signature), "round {round}: refused, native");
    }
}

#[test]
fn changed_signatures_keys_and_messages_are_refused() {
    let mut rng = rng();
    let (secret, key) = Reference::signing_key(&rng.bytes());
    let message = b"as it was signed".to_vec();
    let signature = Reference::sign(&secret, &message, &rng.bytes());
    let refused = |key: &[u8; _], message: &[u8], signature: &[u8; _], case: &str| {
        assert!(!Reference::verify(key, message, signature), "{case}");
        assert!(!Native::verify(key, message, signature), "{case}, native");
    };
    for _ in 0..ROUNDS {
        let mut changed = signature;
        let case = flip(&mut rng, &mut changed);
        refused(&key, &message, &changed, &format!("signature, {case}"));
        let mut changed = key;
        let case = flip(&mut rng, &mut changed);
        refused(&changed, &message, &signature, &format!("key, {case}"));
        let mut changed = message.clone();
        let case = flip(&mut rng, &mut changed);
        refused(&key, &changed, &signature, &format!("message, {case}"));
    }
    refused(&key, &[], &signature, "no message");
    refused(&key, &message, &[0; SIGNATURE_LEN], "zeros as a signature");
    refused(&key, &message, &[0xff; SIGNATURE_LEN], "ones as a signature");
    refused(&[0; VERIFYING_KEY_LEN], &message, &signature, "zeros as a key");
    refused(&[0xff; VERIFYING_KEY_LEN], &message, &signature, "ones as a key");
}

/// The last 61 bytes of a signature are its hints; they have one encoding only.
#[test]
fn every_change_of_the_hints_is_refused() {
    let (secret, key) = Reference::signing_key(&[1; 32]);
    let signature = Reference::sign(&secret, b"hints", &[2; 32]);
    for place in SIGNATURE_LEN - 61..SIGNATURE_LEN {
        for value in [0, 1, 54, 55, 56, 0xff] {
            let mut changed = signature;
            changed[place] = value;
            let same = changed == signature;
            assert_eq!(Reference::verify(&key, b"hints", &changed), same, "{place}: {value}");
            assert_eq!(Native::verify(&key, b"hints", &changed), same, "{place}: {value}, native");
        }
    }
}

#[test]
fn encapsulation_is_equal_and_either_side_decapsulates() {
    let mut rng = rng();
    for round in 0..ROUNDS {
        let (seed, message) = (rng.bytes(), rng.bytes());
        let (reference, key) = Reference::decapsulation_key(&seed);
        let (native, native_key) = Native::decapsulation_key(&seed);
        assert!(key == native_key, "round {round}: the keys differ");
        let (ciphertext, secret) = Reference::encapsulate(&key, &message);
        assert!(
            (ciphertext, secret) == Native::encapsulate(&key, &message),
            "round {round}: the ciphertexts or secrets differ"
        );
        assert_eq!(Reference::decapsulate(&reference, &ciphertext), secret, "round {round}");
        assert_eq!(Native::decapsulate(&native, &ciphertext), secret, "round {round}, native");
    }
}

#[test]
fn a_changed_ciphertext_gives_the_same_wrong_secret() {
    let mut rng = rng();
    let seed = rng.bytes();
    let (reference, key) = Reference::decapsulation_key(&seed);
    let (native, _) = Native::decapsulation_key(&seed);
    let (ciphertext, secret) = Reference::encapsulate(&key, &rng.bytes());
    let mut cases = vec![
        ("zeros".to_owned(), [0; CIPHERTEXT_LEN]),
        ("ones".to_owned(), [0xff; CIPHERTEXT_LEN]),
        ("random".to_owned(), rng.bytes()),
    ];
    for _ in 0..ROUNDS {
        let mut changed = ciphertext;
        cases.push((flip(&mut rng, &mut changed), changed));
    }
    for (case, ciphertext) in cases {
        let wrong = Reference::decapsulate(&reference, &ciphertext);
        assert_ne!(wrong, secret, "{case}");
        assert_eq!(Native::decapsulate(&native, &ciphertext), wrong, "{case}");
    }
}

#[test]
fn keys_that_are_not_reduced_are_refused() {
    const MODULUS: u16 = 3329;
    let (_, key) = Reference::decapsulation_key(&[1; 64]);
    for place in [0, 1, 383, 767] {
        for (value, valid) in
            [(0, true), (MODULUS - 1, true), (MODULUS, false), (MODULUS + 1, false), (4095, false)]
        {
            let key = with_coefficient(key, place, value);
            let case = format!("coefficient {place} is {value}");
            assert_eq!(Reference::is_encapsulation_key(&key), valid, "{case}");
            assert_eq!(Native::is_encapsulation_key(&key), valid, "{case}, native");
        }
    }
}

/// Sets one of the 768 coefficients of 12 bits (FIPS 203, algorithm 5).
fn with_coefficient(
    mut key: [u8; ENCAPSULATION_KEY_LEN],
    place: usize,
    value: u16,
) -> [u8; ENCAPSULATION_KEY_LEN] {
    for bit in 0..12 {
        let position = place * 12 + bit;
        let mask = 1 << (position % 8);
        key[position / 8] &= !mask;
        if value >> bit & 1 == 1 {
            key[position / 8] |= mask;
        }
    }
    key
}

#[test]
fn sealed_messages_are_equal_and_either_side_opens_them() {
    let mut rng = rng();
    for algorithm in [Algorithm::Aes256Gcm, Algorithm::ChaCha20Poly1305] {
        for round in 0..ROUNDS {
            let (key, nonce) = (rng.bytes(), rng.bytes());
            let (aad, plaintext) = (message(&mut rng), message(&mut rng));
            let reference = Reference::aead_key(algorithm, &key);
            let native = Native::aead_key(algorithm, &key);
            let case = format!("{algorithm:?}, round {round}");

            let (mut sealed, mut native_sealed) = (plaintext.clone(), plaintext.clone());
            Reference::seal(&reference, &nonce, &aad, &mut sealed);
            Native::seal(&native, &nonce, &aad, &mut native_sealed);
            assert!(sealed == native_sealed, "{case}: the sealed messages differ");

            let (mut opened, mut native_opened) = (sealed.clone(), sealed.clone());
            assert!(Reference::open(&reference, &nonce, &aad, &mut opened), "{case}");
            assert!(Native::open(&native, &nonce, &aad, &mut native_opened), "{case}");
            assert!(opened == plaintext && native_opened == plaintext, "{case}: not the plaintext");

            let what = flip(&mut rng, &mut sealed);
            for len in [sealed.len(), sealed.len() - 1, 15, 0] {
                let refused = |opened: bool| assert!(!opened, "{case}: {what}, {len} bytes");
                refused(Reference::open(&reference, &nonce, &aad, &mut sealed[..len].to_vec()));
                refused(Native::open(&native, &nonce, &aad, &mut sealed[..len].to_vec()));
            }
        }
    }
}
