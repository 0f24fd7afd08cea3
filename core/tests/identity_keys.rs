//! Ids, keys, key files and words.

use x0x_core::crypto::hash::{blake3, sha256};
use x0x_core::identity::ids::ID_LEN;
use x0x_core::identity::{
    AgentId, AgentKey, AgentWords, Domain, KEY_FILE_SIZE, KeyFileError, KeyKind, MachineId,
    MachineKey, ParseIdError, UserKey, Words, WordsError, verify,
};

#[test]
fn an_id_is_the_hash_of_the_public_key() {
    let key = AgentKey::from_seed(&[7; 32]);
    assert_eq!(key.id().0, sha256(key.public().as_bytes()));
    assert_eq!(AgentId::of(key.public()), key.id());
}

#[test]
fn an_id_is_shown_in_lower_case_and_read_in_either() {
    let id = MachineId(std::array::from_fn(|at| u8::try_from(at * 8 + 5).unwrap_or(0xff)));
    let text = id.to_string();
    assert_eq!(text.len(), 64);
    assert_eq!(text, text.to_lowercase());
    assert_eq!(text.parse(), Ok(id));
    assert_eq!(text.to_uppercase().parse(), Ok(id));
    assert_eq!(id.short(), "050d151d");
    assert_eq!(format!("{id:?}"), "MachineId(050d151d)");
    let stored = postcard::to_stdvec(&id).unwrap();
    assert_eq!(stored, id.0);
    assert_eq!(postcard::from_bytes(&stored), Ok(id));
}

#[test]
fn a_text_that_is_no_id_is_refused_with_the_reason() {
    let long = "ab".repeat(33);
    let cases = [
        ("", "expected 32 bytes (64 hex chars), got 0"),
        ("abcd", "expected 32 bytes (64 hex chars), got 2"),
        (long.as_str(), "expected 32 bytes (64 hex chars), got 33"),
        ("abc", "invalid hex: odd number of digits"),
        ("abxd", "invalid hex: invalid character 'x' at position 2"),
        ("äb", "invalid hex: invalid character 'ä' at position 0"),
        ("+1", "invalid hex: invalid character '+' at position 0"),
    ];
    for (text, message) in cases {
        let error: ParseIdError = text.parse::<AgentId>().unwrap_err();
        assert_eq!(error.to_string(), message, "{text}");
    }
}

#[test]
fn a_key_is_its_seed_and_never_shows_it() {
    let key = MachineKey::from_seed(&[0xab; 32]);
    assert_eq!(format!("{key:?}"), format!("MachineKey {{ id: {:?}, .. }}", key.id()));
    let stored = postcard::to_stdvec(&key).unwrap();
    assert_eq!(stored, [0xab; 32]);
    assert_eq!(postcard::from_bytes(&stored), Ok(key.clone()));
    assert_ne!(key, MachineKey::from_seed(&[0xac; 32]));
    assert_eq!(key.public(), key.signing_key().verifying_key());
}

#[test]
fn secrets_for_different_purposes_differ() {
    let key = AgentKey::from_seed(&[1; 32]);
    assert_eq!(key.derive_secret("a"), key.derive_secret("a"));
    assert_ne!(key.derive_secret("a"), key.derive_secret("b"));
    assert_ne!(key.derive_secret("a"), AgentKey::from_seed(&[2; 32]).derive_secret("a"));
}

#[test]
fn a_signature_of_one_domain_holds_in_no_other() {
    let key = UserKey::from_seed(&[3; 32]);
    for &made in Domain::ALL {
        let signature = key.sign(made, b"statement", &[0; 32]);
        for &checked in Domain::ALL {
            let holds = verify(checked, key.public(), b"statement", &signature).is_ok();
            assert_eq!(holds, made == checked, "made for {made:?}, checked for {checked:?}");
        }
        assert!(!made.name().contains('\0'));
        assert!(verify(made, key.public(), b"statemenT", &signature).is_err());
    }
}

/// A key file in which `change` changed something and the checksum was made anew.
fn forged(change: impl Fn(&mut [u8])) -> Vec<u8> {
    let mut file = AgentKey::from_seed(&[9; 32]).to_key_file().to_vec();
    let (content, checksum) = file.split_at_mut(KEY_FILE_SIZE - 32);
    change(content);
    checksum.copy_from_slice(&blake3(content));
    file
}

#[test]
fn a_key_file_gives_the_key_back() {
    let machine = MachineKey::from_seed(&[1; 32]);
    assert_eq!(MachineKey::from_key_file(&machine.to_key_file()[..]), Ok(machine));
    let agent = AgentKey::from_seed(&[2; 32]);
    assert_eq!(AgentKey::from_key_file(&agent.to_key_file()[..]), Ok(agent));
    let user = UserKey::from_seed(&[3; 32]);
    assert_eq!(UserKey::from_key_file(&user.to_key_file()[..]), Ok(user));
}

#[test]
fn a_key_file_that_is_cut_or_damaged_anywhere_is_refused() {
    let file = AgentKey::from_seed(&[9; 32]).to_key_file();
    for size in 0..file.len() {
        let error = AgentKey::from_key_file(&file[..size]);
        assert_eq!(error, Err(KeyFileError::Truncated { size }), "cut to {size}");
    }
    for position in 0..file.len() {
        let mut damaged = file.clone();
        damaged[position] ^= 0x10;
        let expected = match position {
            0..6 => KeyFileError::NotAKeyFile,
            6 => KeyFileError::UnsupportedVersion { found: 0x11 },
            _ => KeyFileError::ChecksumMismatch,
        };
        assert_eq!(AgentKey::from_key_file(&damaged[..]), Err(expected), "byte {position}");
    }
}

#[test]
fn a_file_that_is_no_key_file_of_the_kind_is_refused_with_the_reason() {
    let mut trailing = forged(|_| ());
    trailing.push(0);
    let wrong_kind = |found| KeyFileError::WrongKind { found, wanted: KeyKind::Agent };
    let cases = [
        ("text", b"# notes".to_vec(), KeyFileError::NotAKeyFile),
        ("trailing byte", trailing, KeyFileError::TrailingBytes { count: 1 }),
        ("machine", forged(|file| file[7] = 1), wrong_kind(1)),
        ("unknown kind", forged(|file| file[7] = 9), wrong_kind(9)),
        ("other seed", forged(|file| file[8] ^= 1), KeyFileError::IdMismatch),
        ("other id", forged(|file| file[40] ^= 1), KeyFileError::IdMismatch),
    ];
    for (name, file, error) in cases {
        assert_eq!(AgentKey::from_key_file(&file), Err(error), "{name}");
    }
}

#[test]
fn words_stand_for_the_first_44_bits() {
    let id = |start: [u8; 6]| {
        let mut id = [0xee; ID_LEN];
        id[..6].copy_from_slice(&start);
        id
    };
    let cases = [
        ([0; 6], 0, "abacus abacus abacus abacus"),
        ([0xff; 6], (1 << 44) - 1, "zoo zoo zoo zoo"),
        ([0x00, 0x20, 0x08, 0x01, 0x80, 0x4f], 0x0002_0080_1804, "abalone abbey ability abroad"),
    ];
    for (start, prefix, text) in cases {
        let words = Words::of(&id(start));
        assert_eq!((words.to_string().as_str(), words.prefix()), (text, prefix));
        assert_eq!(text.parse(), Ok(words));
        assert_eq!(text.to_uppercase().replace(' ', "\t ").parse(), Ok(words));
        assert!(words.matches(&id(start)));
        for bit in 0..48 {
            let mut other = start;
            other[bit / 8] ^= 0x80 >> (bit % 8);
            assert_eq!(words.matches(&id(other)), bit >= 44, "{text}, bit {bit}");
        }
        let alone = AgentWords { agent: words, user: None };
        assert_eq!((alone.to_string().as_str(), text.parse()), (text, Ok(alone)));
        let user = Some(Words::of(&[7; ID_LEN]));
        let both = AgentWords { agent: words, user };
        assert_eq!(both.to_string(), format!("{text} @ {}", Words::of(&[7; ID_LEN])));
        assert_eq!(both.to_string().parse(), Ok(both));
    }
}

#[test]
fn a_text_that_is_no_words_is_refused_with_the_reason() {
    let unknown = |word: &str, position, suggestion| WordsError::UnknownWord {
        word: word.into(),
        position,
        suggestion,
    };
    let cases = [
        ("", WordsError::WrongCount { count: 0 }),
        ("tiger tiger tiger", WordsError::WrongCount { count: 3 }),
        ("tiger tiger tiger tiger tiger", WordsError::WrongCount { count: 5 }),
        ("tiger tiger itger tiger", unknown("itger", 3, Some("tiger"))),
        ("Tigre tiger tiger tiger", unknown("tigre", 1, Some("tiger"))),
        ("tiger tiger tiger tïger", unknown("tïger", 4, Some("tiger"))),
        ("tiger qqqqqq tiger tiger", unknown("qqqqqq", 2, None)),
        ("tiger tiger tiger tiger @", WordsError::WrongCount { count: 0 }),
        ("tiger tiger tiger tiger @ tiger zooo tiger tiger", unknown("zooo", 2, Some("zoo"))),
        ("tiger tiger tiger tiger @ tiger tiger tiger tiger @", WordsError::TooManyUsers),
    ];
    for (text, error) in cases {
        assert_eq!(text.parse::<AgentWords>(), Err(error), "{text}");
    }
    assert_eq!(unknown("wlof", 2, None).to_string(), "unknown word \"wlof\" (word 2)");
    let suggested = unknown("wlof", 2, Some("wolf")).to_string();
    assert_eq!(suggested, "unknown word \"wlof\" (word 2), did you mean \"wolf\"?");
}
