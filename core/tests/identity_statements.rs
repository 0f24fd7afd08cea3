//! Certificates, bindings and revocations.
//!
//! `binding` writes bindings by hand, from the documented layout alone: so the tests can make those
//! that the library would not make, and the layout is checked against a second writer.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use x0x_core::identity::{
    AgentBinding, AgentCertificate, AgentId, AgentKey, BINDING_SIZE_MAX, BINDING_VALIDITY_MAX,
    BindingError, BindingVerifier, CERTIFICATE_SIZE_MAX, CertificateError, Domain, MachineId,
    ProvenAgent, REVOCATION_SIZE_MAX, Revocation, RevocationError, RevocationKind, RevocationSet,
    UserKey, Validity,
};
use x0x_core::wire::DecodeError;

const MACHINE: MachineId = MachineId([5; 32]);
const START: u64 = 1_000_000;
const END: u64 = START + 1000;
const SKEW: u64 = 120;
const SEQUENCE: u64 = 300;
const VALIDITY: Validity = Validity { not_before: START, not_after: END };

fn agent() -> AgentKey {
    AgentKey::from_seed(&[2; 32])
}

fn user() -> UserKey {
    UserKey::from_seed(&[3; 32])
}

fn certificate() -> AgentCertificate {
    AgentCertificate::issue(&user(), agent().id(), START, Some(END), &[8; 32])
}

fn issue(certificate: Option<AgentCertificate>) -> Bytes {
    let binding = AgentBinding::issue(&agent(), MACHINE, VALIDITY, SEQUENCE, certificate, &[9; 32]);
    binding.bytes().clone()
}

/// One by the agent and one by its user.
fn revocations() -> [Revocation; 2] {
    let (kind, binding) = (RevocationKind::Agent, issue(Some(certificate())));
    [
        Revocation::issue(&agent(), kind, START, &[9; 32]),
        Revocation::issue_as_user(&user(), &binding, kind, START, &[9; 32])
            .expect("the agent presented the certificate"),
    ]
}

fn check_at(bytes: &[u8], seconds: u64) -> Result<ProvenAgent, BindingError> {
    BindingVerifier::default().verify(bytes, &MACHINE, Duration::from_secs(seconds), |_| 0)
}

fn check(bytes: &[u8]) -> Result<ProvenAgent, BindingError> {
    check_at(bytes, START)
}

/// A number in groups of seven bits, the least significant first.
fn number(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(u8::try_from(value & 0x7f).expect("seven bits") | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).expect("seven bits"));
    bytes
}

/// A byte string after its length.
fn string(bytes: &[u8]) -> Vec<u8> {
    [&number(u64::try_from(bytes.len()).expect("a short string")), bytes].concat()
}

/// A binding written by hand.
fn binding(validity: Validity, certificate: Option<&[u8]>) -> Vec<u8> {
    let record = [
        vec![1],
        string(agent().public().as_bytes()),
        MACHINE.0.to_vec(),
        number(validity.not_before),
        number(validity.not_after),
        number(SEQUENCE),
        certificate.map_or_else(|| vec![0], |bytes| [vec![1], string(bytes)].concat()),
    ]
    .concat();
    let signature = agent().sign(Domain::AgentBinding, &record, &[9; 32]);
    [record.as_slice(), signature.as_bytes()].concat()
}

#[test]
fn a_binding_proves_the_agent_and_its_user() {
    let mut proven = ProvenAgent {
        agent: agent().id(),
        key: agent().public().clone(),
        sequence: SEQUENCE,
        not_after: END,
        user: None,
    };
    assert_eq!(check(&issue(None)), Ok(proven.clone()));
    proven.user = Some(user().id());
    assert_eq!(check(&issue(Some(certificate()))), Ok(proven.clone()));
    // It ends with its certificate.
    let short = AgentCertificate::issue(&user(), agent().id(), 0, Some(START + 1), &[8; 32]);
    proven.not_after = START + 1;
    assert_eq!(check(&issue(Some(short))), Ok(proven));
}

#[test]
fn a_binding_has_the_documented_layout() {
    assert_eq!(issue(None), binding(VALIDITY, None));
    let certificate = certificate();
    assert_eq!(issue(Some(certificate.clone())), binding(VALIDITY, Some(certificate.bytes())));
}

#[test]
fn statements_fit_their_sizes_exactly() {
    let certificate =
        AgentCertificate::issue(&user(), agent().id(), u64::MAX, Some(u64::MAX), &[8; 32]);
    assert_eq!(certificate.bytes().len(), CERTIFICATE_SIZE_MAX);
    let validity = Validity { not_before: u64::MAX - 1, not_after: u64::MAX };
    let binding =
        AgentBinding::issue(&agent(), MACHINE, validity, u64::MAX, Some(certificate), &[9; 32]);
    assert_eq!(binding.bytes().len(), BINDING_SIZE_MAX);
    let kind = RevocationKind::BindingsBelow(u64::MAX);
    let revocation =
        Revocation::issue_as_user(&user(), binding.bytes(), kind, u64::MAX, &[9; 32]).unwrap();
    assert_eq!(revocation.bytes().len(), REVOCATION_SIZE_MAX);
}

#[test]
fn a_statement_that_is_cut_anywhere_is_refused() {
    let bytes = issue(Some(certificate()));
    let mut verifier = BindingVerifier::default();
    let mut verify = |bytes: &[u8]| verifier.verify(bytes, &MACHINE, Duration::ZERO, |_| 0);
    assert_eq!(verify(&[]), Err(BindingError::Malformed(DecodeError::Empty)));
    for size in 1..bytes.len() {
        let error = verify(&bytes[..size]).unwrap_err();
        assert!(matches!(error, BindingError::Malformed(_)), "cut to {size}: {error}");
    }
    let certificate = certificate();
    for size in 0..certificate.bytes().len() {
        assert!(AgentCertificate::parse(&certificate.bytes()[..size]).is_err(), "cut to {size}");
    }
    for revocation in revocations() {
        for size in 0..revocation.bytes().len() {
            assert!(Revocation::parse(&revocation.bytes()[..size]).is_err(), "cut to {size}");
        }
    }
}

/// Changes a bit in every `step`th byte of the long parts and in each byte of the others.
fn mutations(bytes: &[u8], step: usize) -> impl Iterator<Item = BytesMut> {
    let head = [0..4, 1950..2010, bytes.len() - 3320..bytes.len() - 3300].into_iter().flatten();
    let last = std::iter::once(bytes.len() - 1);
    head.chain((0..bytes.len()).step_by(step)).chain(last).map(move |position| {
        let mut mutated = BytesMut::from(bytes);
        mutated[position] ^= 1 << (position % 8);
        mutated
    })
}

#[test]
fn a_changed_statement_never_verifies() {
    let bytes = issue(Some(certificate()));
    for mutated in mutations(&bytes, 37) {
        assert!(check(&mutated).is_err());
    }
    for mutated in mutations(certificate().bytes(), 37) {
        if let Ok(parsed) = AgentCertificate::parse(&mutated) {
            assert!(parsed.verify(&agent().id(), Duration::from_secs(START)).is_err());
        }
    }
    for revocation in revocations() {
        for mutated in mutations(revocation.bytes(), 97) {
            if let Ok(parsed) = Revocation::parse(&mutated) {
                assert_eq!(parsed.verify(), Err(RevocationError::BadSignature));
            }
        }
    }
}

#[test]
fn a_binding_that_cannot_be_read_is_malformed() {
    let trailing = [&binding(VALIDITY, None)[..], &[0]].concat();
    let mut version = binding(VALIDITY, None);
    version[0] = 2;
    let size = BINDING_SIZE_MAX + 1;
    let too_large = DecodeError::TooLarge { size, size_max: BINDING_SIZE_MAX };
    let unknown = DecodeError::UnknownVersion { found: 2, known: 1 };
    let backwards = Validity { not_before: END, not_after: START };
    let empty = Validity { not_before: START, not_after: START };
    let cases = [
        ("trailing byte", trailing, DecodeError::TrailingBytes { count: 1 }),
        ("version", version, unknown),
        ("size", vec![1; size], too_large),
        ("signature alone", vec![1; 3309], DecodeError::Empty),
        ("less than a signature", vec![1; 3308], DecodeError::Truncated),
        ("backwards", binding(backwards, None), DecodeError::InvalidField),
        ("empty validity", binding(empty, None), DecodeError::InvalidField),
        ("bad certificate", binding(VALIDITY, Some(b"none")), DecodeError::InvalidField),
    ];
    for (name, bytes, error) in cases {
        assert_eq!(check(&bytes), Err(BindingError::Malformed(error)), "{name}");
    }
}

#[test]
fn a_binding_holds_on_its_machine_alone() {
    let other = MachineId([6; 32]);
    let now = Duration::from_secs(START);
    let result = BindingVerifier::default().verify(&issue(None), &other, now, |_| 0);
    assert_eq!(result, Err(BindingError::WrongMachine { found: MACHINE }));
}

#[test]
fn a_binding_holds_for_its_time_and_the_skew_of_clocks() {
    let bytes = issue(None);
    let early = Err(BindingError::NotYetValid { not_before: START });
    let late = Err(BindingError::Expired { not_after: END });
    let verdict = |seconds| check_at(&bytes, seconds).map(|_| ());
    assert_eq!(verdict(START - SKEW - 1), early);
    assert_eq!(verdict(START - SKEW), Ok(()));
    assert_eq!(verdict(END + SKEW), Ok(()));
    assert_eq!(verdict(END + SKEW + 1), late);
}

#[test]
fn a_binding_that_is_valid_for_too_long_is_refused() {
    let most = BINDING_VALIDITY_MAX.as_secs();
    let until = |not_after| binding(Validity { not_before: START, not_after }, None);
    assert!(check(&until(START + most)).is_ok());
    let error = Err(BindingError::TooLong { seconds: most + 1 });
    assert_eq!(check(&until(START + most + 1)), error);
}

#[test]
fn the_sequence_is_compared_with_what_is_known_of_the_agent() {
    let bytes = issue(None);
    let mut verifier = BindingVerifier::default();
    let mut verify = |known| {
        let sequence_min = |asked: &AgentId| if *asked == agent().id() { known } else { u64::MAX };
        verifier.verify(&bytes, &MACHINE, Duration::from_secs(START), sequence_min).map(|_| ())
    };
    assert_eq!(verify(SEQUENCE), Ok(()));
    let known = SEQUENCE + 1;
    assert_eq!(verify(known), Err(BindingError::Superseded { known }));
}

#[test]
fn a_binding_by_another_key_is_not_signed() {
    let mut bytes = binding(VALIDITY, None);
    let at = bytes.len() - 3309;
    let forged = AgentKey::from_seed(&[4; 32]).sign(Domain::AgentBinding, &bytes[..at], &[0; 32]);
    bytes[at..].copy_from_slice(forged.as_bytes());
    assert_eq!(check(&bytes), Err(BindingError::BadSignature));
    let other = agent().sign(Domain::Revocation, &bytes[..at], &[0; 32]);
    bytes[at..].copy_from_slice(other.as_bytes());
    assert_eq!(check(&bytes), Err(BindingError::BadSignature));
}

#[test]
fn a_certificate_that_does_not_hold_spoils_the_binding() {
    let issue_one = |agent, issued_at, expires_at| {
        AgentCertificate::issue(&user(), agent, issued_at, expires_at, &[8; 32])
    };
    let (own, other) = (agent().id(), AgentId([9; 32]));
    let mut forged = certificate().bytes().to_vec();
    forged[CERTIFICATE_SIZE_MAX - 2000] ^= 1;
    let forged = AgentCertificate::parse(&forged).unwrap();
    let late = START + SKEW + 1;
    let early = START - SKEW - 1;
    let cases = [
        (issue_one(other, START, None), CertificateError::WrongAgent { found: other }),
        (issue_one(own, late, None), CertificateError::NotYetValid { issued_at: late }),
        (issue_one(own, 0, Some(early)), CertificateError::Expired { expires_at: early }),
        (forged, CertificateError::BadSignature),
    ];
    for (certificate, error) in cases {
        let result = certificate.verify(&own, Duration::from_secs(START));
        assert_eq!(result, Err(error));
        let bytes = issue(Some(certificate));
        assert_eq!(check(&bytes), Err(BindingError::BadCertificate(error)));
    }
}

#[test]
fn a_certificate_is_stored_as_its_bytes() {
    let certificate = certificate();
    let stored = postcard::to_stdvec(&certificate).unwrap();
    assert_eq!(stored, string(certificate.bytes()));
    assert_eq!(postcard::from_bytes(&stored), Ok(certificate.clone()));
    assert!(postcard::from_bytes::<AgentCertificate>(&string(b"none")).is_err());
    assert_eq!((certificate.user(), certificate.agent()), (user().id(), agent().id()));
}

#[test]
fn a_revocation_withdraws_bindings_that_were_verified_before() {
    let bytes = issue(None);
    let mut verifier = BindingVerifier::default();
    let verify = |verifier: &mut BindingVerifier| {
        verifier.verify(&bytes, &MACHINE, Duration::from_secs(START), |_| 0).map(|_| ())
    };
    assert_eq!(verify(&mut verifier), Ok(()));
    let steps = [
        (RevocationKind::BindingsBelow(SEQUENCE), true, Ok(())),
        (RevocationKind::BindingsBelow(SEQUENCE + 1), true, Err(BindingError::Revoked)),
        (RevocationKind::BindingsBelow(1), false, Err(BindingError::Revoked)),
        (RevocationKind::Agent, true, Err(BindingError::Revoked)),
    ];
    for (kind, news, verdict) in steps {
        let revocation = Revocation::issue(&agent(), kind, START, &[9; 32]);
        let revocation = Revocation::parse(revocation.bytes()).unwrap().verify().unwrap();
        assert_eq!((revocation.agent(), revocation.kind()), (agent().id(), kind));
        assert_eq!(revocation.issued_at(), START);
        assert_eq!(verifier.revoke(&revocation), Ok(news), "{kind:?}");
        assert_eq!(verify(&mut verifier), verdict, "{kind:?}");
    }
    assert_eq!(verifier.revocations().len(), 1);
}

#[test]
fn a_user_revokes_an_agent_that_presented_their_certificate() {
    let [by_agent, by_user] = revocations().map(|revocation| revocation.verify().unwrap());
    assert_eq!((by_agent.agent(), by_agent.user()), (agent().id(), None));
    assert_eq!((by_user.agent(), by_user.user()), (agent().id(), Some(user().id())));
    let mut verifier = BindingVerifier::default();
    assert_eq!(verifier.revoke(&by_user), Ok(true));
    let now = Duration::from_secs(START);
    // A thief of the agent's key leaves the certificate out, to no avail.
    let result = verifier.verify(&issue(None), &MACHINE, now, |_| 0);
    assert_eq!(result, Err(BindingError::Revoked));
}

#[test]
fn a_user_revokes_no_agent_that_did_not_consent() {
    let stranger = UserKey::from_seed(&[4; 32]);
    let attempt = |user: &UserKey, binding: &[u8]| {
        Revocation::issue_as_user(user, binding, RevocationKind::Agent, START, &[9; 32]).err()
    };
    let claimed = AgentCertificate::issue(&stranger, agent().id(), START, None, &[8; 32]);
    let of_another = AgentCertificate::issue(&user(), AgentId([9; 32]), START, None, &[8; 32]);
    let mut forged = binding(VALIDITY, Some(claimed.bytes()));
    let end = forged.len();
    forged[end - 3000] ^= 1;
    let cases = [
        ("no binding", &stranger, b"none".to_vec()),
        ("no certificate", &stranger, issue(None).to_vec()),
        ("certificate of another user", &stranger, issue(Some(certificate())).to_vec()),
        ("certificate for another agent", &user(), issue(Some(of_another)).to_vec()),
        ("binding not signed by the agent", &stranger, forged.clone()),
    ];
    for (name, user, bytes) in cases {
        assert_eq!(attempt(user, &bytes), Some(RevocationError::NoConsent), "{name}");
    }
    // Written by hand, the forged one is read and found out.
    let record = [vec![1, 1], string(&forged), vec![1], number(START)].concat();
    let signature = stranger.sign(Domain::Revocation, &record, &[9; 32]);
    let bytes = [record.as_slice(), signature.as_bytes()].concat();
    let parsed = Revocation::parse(&bytes).unwrap();
    assert_eq!((parsed.agent(), parsed.user()), (agent().id(), Some(stranger.id())));
    assert_eq!(parsed.verify(), Err(RevocationError::NoConsent));
    // A user's signature counts under that user's certificate only.
    let signature = user().sign(Domain::Revocation, &record, &[9; 32]);
    let bytes = [record.as_slice(), signature.as_bytes()].concat();
    let result = Revocation::parse(&bytes).unwrap().verify();
    assert_eq!(result, Err(RevocationError::BadSignature));
}

#[test]
fn a_full_memory_of_verified_bindings_forgets_the_least_recently_used() {
    let mut verifier = BindingVerifier::new(2, RevocationSet::default());
    for sequence in 0..3 {
        let binding = AgentBinding::issue(&agent(), MACHINE, VALIDITY, sequence, None, &[9; 32]);
        for _ in 0..2 {
            let now = Duration::from_secs(START);
            let proven = verifier.verify(binding.bytes(), &MACHINE, now, |_| 0).unwrap();
            assert_eq!(proven.sequence, sequence);
        }
    }
    assert_eq!(verifier.remembered(), 2);
    let refused = verifier.verify(&issue(None), &MACHINE, Duration::ZERO, |_| 0);
    assert_eq!(refused, Err(BindingError::NotYetValid { not_before: START }));
    assert_eq!(verifier.remembered(), 2);
}

#[test]
#[should_panic(expected = "valid for some time")]
fn an_empty_validity_is_a_mistake_of_the_issuer() {
    let validity = Validity { not_before: END, not_after: START };
    let _ = AgentBinding::issue(&agent(), MACHINE, validity, 0, None, &[0; 32]);
}
