//! Known answers: what the standards and the public test suites say each operation gives.
//!
//! Every table runs on every back-end that is compiled. The files under `vectors` name their
//! sources; the vectors in this file name theirs.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use serde_json::Value;
use shake::digest::{ExtendableOutput, Update, XofReader};
use shake::{Shake128, Shake128Reader};
#[cfg(feature = "native-crypto")]
use x0x_core::crypto::native::Native;
use x0x_core::crypto::{Backend, aead::Algorithm, hash, kem, reference::Reference, signature};

const ML_DSA: &str = include_str!("vectors/ml_dsa_65.json");
const ML_KEM: &str = include_str!("vectors/ml_kem_768.json");
const AEAD: &str = include_str!("vectors/aead.json");

/// Makes a module of tests for each back-end.
macro_rules! for_each_back_end {
    ($($test:ident),+ $(,)?) => {
        mod reference {
            $(#[test] fn $test() { super::$test::<super::Reference>(); })+
        }
        #[cfg(feature = "native-crypto")]
        mod native {
            $(#[test] fn $test() { super::$test::<super::Native>(); })+
        }
    };
}

for_each_back_end! {
    ml_dsa_keys_are_those_of_the_standard,
    ml_dsa_signatures_are_those_of_the_test_suite,
    ml_dsa_verification_accepts_and_refuses_what_the_test_suite_does,
    ml_dsa_accumulates_to_the_published_hash,
    ml_kem_keys_are_those_of_the_standard,
    ml_kem_encapsulation_is_that_of_the_standard,
    ml_kem_decapsulation_is_that_of_the_test_suite,
    ml_kem_accumulates_to_the_published_hash,
    aes_256_gcm_seals_and_opens_as_the_test_suite_does,
    chacha20_poly1305_seals_and_opens_as_the_test_suite_does,
    aes_256_gcm_is_that_of_its_specification,
    chacha20_poly1305_is_that_of_its_specification,
}

fn ml_dsa_keys_are_those_of_the_standard<B: Backend>() {
    for case in cases(ML_DSA, "acvp_key_generation") {
        let (_, key) = B::signing_key(&array(&case["seed"]));
        assert_hash(&case, "verifying_key_sha256", &key);
    }
}

fn ml_dsa_signatures_are_those_of_the_test_suite<B: Backend>() {
    for case in cases(ML_DSA, "wycheproof_signing") {
        let (secret, key) = B::signing_key(&array(&case["seed"]));
        assert_hash(&case, "verifying_key_sha256", &key);
        let message = bytes(&case["message"]);
        let signature = B::sign(&secret, &message, &array(&case["randomness"]));
        assert_hash(&case, "signature_sha256", &signature);
        assert!(B::verify(&key, &message, &signature), "{}", case["name"]);
    }
}

fn ml_dsa_verification_accepts_and_refuses_what_the_test_suite_does<B: Backend>() {
    for group in cases(ML_DSA, "wycheproof_verifying") {
        let key = array(&group["verifying_key"]);
        for case in group["cases"].as_array().unwrap() {
            let valid = B::verify(&key, &bytes(&case["message"]), &array(&case["signature"]));
            assert_eq!(valid, case["valid"], "{}", case["name"]);
        }
    }
}

/// C2SP CCTV, `ML-DSA/accumulated` (CC0): 100 keys and the deterministic signatures of nothing.
fn ml_dsa_accumulates_to_the_published_hash<B: Backend>() {
    let mut seeds = Shake128::default().finalize_xof();
    let mut accumulator = Shake128::default();
    for _ in 0..100 {
        let (secret, key) = B::signing_key(&read(&mut seeds));
        let signature = B::sign(&secret, &[], &[0; 32]);
        assert!(B::verify(&key, &[], &signature));
        accumulator.update(&key);
        accumulator.update(&signature);
    }
    let expected = "8358a1843220194417cadbc2651295cd8fc65125b5a5c1a239a16dc8b57ca199";
    assert_eq!(read::<32>(&mut accumulator.finalize_xof()), from_hex(expected)[..]);
}

fn ml_kem_keys_are_those_of_the_standard<B: Backend>() {
    for case in cases(ML_KEM, "acvp_key_generation") {
        let (_, key) = B::decapsulation_key(&array(&case["seed"]));
        assert_hash(&case, "encapsulation_key_sha256", &key);
    }
}

fn ml_kem_encapsulation_is_that_of_the_standard<B: Backend>() {
    let standard = cases(ML_KEM, "acvp_encapsulation");
    for case in standard.into_iter().chain(cases(ML_KEM, "wycheproof_encapsulation")) {
        let key = array(&case["encapsulation_key"]);
        assert_eq!(B::is_encapsulation_key(&key), case["valid"], "{}", case["name"]);
        if case["valid"] == true {
            let (ciphertext, secret) = B::encapsulate(&key, &array(&case["message"]));
            assert_hash(&case, "ciphertext_sha256", &ciphertext);
            assert_eq!(secret, bytes(&case["secret"])[..], "{}", case["name"]);
        }
    }
}

fn ml_kem_decapsulation_is_that_of_the_test_suite<B: Backend>() {
    for case in cases(ML_KEM, "wycheproof_decapsulation") {
        let (secret_key, key) = B::decapsulation_key(&array(&case["seed"]));
        assert_hash(&case, "encapsulation_key_sha256", &key);
        let secret = B::decapsulate(&secret_key, &array(&case["ciphertext"]));
        assert_eq!(secret, bytes(&case["secret"])[..], "{}", case["name"]);
    }
}

/// Go, `crypto/mlkem` (BSD-3-Clause): 100 keys, encapsulations, and refused ciphertexts.
fn ml_kem_accumulates_to_the_published_hash<B: Backend>() {
    let mut drawn = Shake128::default().finalize_xof();
    let mut accumulator = Shake128::default();
    for _ in 0..100 {
        let (secret_key, key) = B::decapsulation_key(&read(&mut drawn));
        let (ciphertext, secret) = B::encapsulate(&key, &read(&mut drawn));
        assert_eq!(B::decapsulate(&secret_key, &ciphertext), secret);
        accumulator.update(&key);
        accumulator.update(&ciphertext);
        accumulator.update(&secret);
        accumulator.update(&B::decapsulate(&secret_key, &read(&mut drawn)));
    }
    let expected = "1114b1b6699ed191734fa339376afa7e285c9e6acf6ff0177d346696ce564415";
    assert_eq!(read::<32>(&mut accumulator.finalize_xof()), from_hex(expected)[..]);
}

fn aes_256_gcm_seals_and_opens_as_the_test_suite_does<B: Backend>() {
    check_aead::<B>(Algorithm::Aes256Gcm, "aes_256_gcm");
}

fn chacha20_poly1305_seals_and_opens_as_the_test_suite_does<B: Backend>() {
    check_aead::<B>(Algorithm::ChaCha20Poly1305, "chacha20_poly1305");
}

fn check_aead<B: Backend>(algorithm: Algorithm, list: &str) {
    for case in cases(AEAD, list) {
        let key = B::aead_key(algorithm, &array(&case["key"]));
        let (nonce, aad) = (array(&case["nonce"]), bytes(&case["aad"]));
        let mut buffer = bytes(&case["plaintext"]);
        B::seal(&key, &nonce, &aad, &mut buffer);
        assert_eq!(buffer == bytes(&case["sealed"]), case["valid"], "{}", case["name"]);

        let mut buffer = bytes(&case["sealed"]);
        assert_eq!(B::open(&key, &nonce, &aad, &mut buffer), case["valid"], "{}", case["name"]);
        assert!(case["valid"] == false || buffer == bytes(&case["plaintext"]), "{}", case["name"]);
    }
}

/// McGrew and Viega, "The Galois/Counter Mode of Operation", test cases 13 and 14.
fn aes_256_gcm_is_that_of_its_specification<B: Backend>() {
    let key = B::aead_key(Algorithm::Aes256Gcm, &[0; 32]);
    let cases = [
        (0, "530f8afbc74536b9a963b4f1c4cb738b"),
        (16, "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"),
    ];
    for (len, sealed) in cases {
        let mut buffer = vec![0; len];
        B::seal(&key, &[0; 12], &[], &mut buffer);
        assert_eq!(buffer, from_hex(sealed), "{len} bytes");
    }
}

/// RFC 8439 §2.8.2.
fn chacha20_poly1305_is_that_of_its_specification<B: Backend>() {
    let key = std::array::from_fn(|index| 0x80 + u8::try_from(index).unwrap());
    let key = B::aead_key(Algorithm::ChaCha20Poly1305, &key);
    let nonce = from_hex("070000004041424344454647").try_into().unwrap();
    let mut buffer = b"Ladies and Gentlemen of the class of '99: If I could offer you only one \
                       tip for the future, sunscreen would be it."
        .to_vec();
    B::seal(&key, &nonce, &from_hex("50515253c0c1c2c3c4c5c6c7"), &mut buffer);
    let sealed = "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6\
                  3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36\
                  92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc\
                  3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691";
    assert_eq!(buffer, from_hex(sealed));
}

/// NIST publishes these for `Sign_internal` and `Verify_internal` with expanded keys, a form that
/// only the reference takes; the native back-end is tied to it by equal bytes.
#[test]
#[expect(deprecated, reason = "the vectors are expanded keys")]
fn the_internal_functions_of_ml_dsa_are_those_of_the_standard() {
    type ExpandedKey = ml_dsa::ExpandedSigningKey<ml_dsa::MlDsa65>;
    type Key = ml_dsa::VerifyingKey<ml_dsa::MlDsa65>;
    for case in cases(ML_DSA, "acvp_internal_signing") {
        let key = ExpandedKey::from_expanded(&array::<4032>(&case["signing_key"]).into());
        let randomness = array::<32>(&case["randomness"]).into();
        let signature = key.sign_internal(&[&bytes(&case["message"])], &randomness);
        assert_hash(&case, "signature_sha256", &signature.encode());
    }
    for group in cases(ML_DSA, "acvp_internal_verifying") {
        let key = array::<{ signature::VERIFYING_KEY_LEN }>(&group["verifying_key"]);
        let key = Key::decode(&key.into());
        for case in group["cases"].as_array().unwrap() {
            let signature = ml_dsa::Signature::try_from(&bytes(&case["signature"])[..]);
            let valid = signature
                .is_ok_and(|signature| key.verify_internal(&bytes(&case["message"]), &signature));
            assert_eq!(valid, case["valid"], "{}", case["name"]);
        }
    }
}

/// NIST publishes these for expanded keys, which the protocol never uses.
#[test]
#[expect(deprecated, reason = "the vectors are expanded keys")]
fn ml_kem_decapsulation_with_an_expanded_key_is_that_of_the_standard() {
    use ml_kem::{Decapsulate, DecapsulationKey768};
    for group in cases(ML_KEM, "acvp_expanded_decapsulation") {
        let key = array::<2400>(&group["decapsulation_key"]);
        let reference = DecapsulationKey768::from_expanded(&key.into()).unwrap();
        for case in group["cases"].as_array().unwrap() {
            let ciphertext = array::<{ kem::CIPHERTEXT_LEN }>(&case["ciphertext"]);
            let expected = bytes(&case["secret"]);
            let secret = reference.decapsulate(&ciphertext.into());
            assert_eq!(secret[..], expected, "{}", case["name"]);
            #[cfg(feature = "native-crypto")]
            {
                use libcrux_ml_kem::mlkem768;
                let secret = mlkem768::decapsulate(&key.into(), &ciphertext.into());
                assert_eq!(secret[..], expected, "{}, native", case["name"]);
            }
        }
    }
}

/// FIPS 180-4, the examples that NIST publishes with it.
#[test]
fn sha256_is_that_of_the_standard() {
    let cases = [
        ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(hash::sha256(text.as_bytes()), from_hex(expected)[..], "{text}");
        let mut pieces = hash::Sha256::new();
        text.as_bytes().chunks(5).for_each(|piece| pieces.update(piece));
        assert_eq!(pieces.finish(), from_hex(expected)[..], "{text} in pieces");
    }
}

/// BLAKE3 team, `test_vectors.json` (CC0): by length of input, the hash and the keyed hash.
#[test]
fn blake3_is_that_of_its_specification() {
    let key = b"whats the Elvish word for friend";
    let cases = [
        (
            0,
            "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
            "92b2b75604ed3c761f9d6f62392c8a9227ad0ea3f09573e783f1498a4ed60d26",
        ),
        (
            1,
            "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
            "6d7878dfff2f485635d39013278ae14f1454b8c0a3a2d34bc1ab38228a80c95b",
        ),
    ];
    for (len, plain, keyed) in cases {
        let input: Vec<u8> = (0..len).collect();
        assert_eq!(hash::blake3(&input), from_hex(plain)[..], "{len} bytes");
        assert_eq!(hash::blake3_keyed(key, &input), from_hex(keyed)[..], "{len} bytes, keyed");
    }
}

#[test]
fn blake3_in_pieces_is_blake3_at_once() {
    let input: Vec<u8> = (0..5000_u32).map(|index| (index % 251).to_le_bytes()[0]).collect();
    // From the same file as above; this length takes a tree of two nodes.
    let expected = "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444";
    assert_eq!(hash::blake3(&input[..1025]), from_hex(expected)[..]);
    let (mut plain, mut keyed) = (hash::Blake3::new(), hash::Blake3::keyed(&[7; 32]));
    for piece in input.chunks(333) {
        plain.update(piece);
        keyed.update(piece);
    }
    assert_eq!(plain.finish(), hash::blake3(&input));
    assert_eq!(keyed.finish(), hash::blake3_keyed(&[7; 32], &input));
}

/// The key and inputs of the SipHash reference code, the values of its variant with 1 and 3 rounds.
#[test]
fn siphash_is_that_of_the_reference_code() {
    let key = std::array::from_fn(|index| u8::try_from(index).unwrap());
    let cases: [(&[u8], [u8; 8]); 3] = [
        (&[], [0xdc, 0xc4, 0x0f, 0x05, 0x58, 0x01, 0xac, 0xab]),
        (&[0], [0x93, 0xca, 0x57, 0x7d, 0xf3, 0x9b, 0xf4, 0xc9]),
        (&[0, 1], [0x4d, 0xd4, 0xc7, 0x4d, 0x02, 0x9b, 0xcb, 0x82]),
    ];
    for (input, expected) in cases {
        assert_eq!(hash::siphash(&key, input), u64::from_le_bytes(expected), "{input:?}");
    }
}

fn cases(file: &str, list: &str) -> Vec<Value> {
    let mut file: Value = serde_json::from_str(file).unwrap();
    let Value::Array(cases) = file[list].take() else { panic!("no list {list}") };
    assert!(!cases.is_empty(), "{list} is empty");
    cases
}

fn bytes(value: &Value) -> Vec<u8> {
    from_hex(value.as_str().unwrap())
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().unwrap()
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().map(|digit| u8::try_from(digit.to_digit(16).unwrap()).unwrap()).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn read<const N: usize>(reader: &mut Shake128Reader) -> [u8; N] {
    let mut bytes = [0; N];
    reader.read(&mut bytes);
    bytes
}

fn assert_hash(case: &Value, field: &str, value: &[u8]) {
    assert_eq!(hash::sha256(value), bytes(&case[field])[..], "{} of {}", field, case["name"]);
}
