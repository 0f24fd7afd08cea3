//! The bytes of identities, compared with `golden/identity.txt`.
//!
//! `UPDATE_GOLDEN=1` rewrites the file: review the difference as code.

use std::fmt::Write as _;
use std::path::Path;

use x0x_core::crypto::hash::blake3;
use x0x_core::identity::{
    AgentBinding, AgentCertificate, AgentKey, AgentWords, Domain, MachineKey, Revocation,
    RevocationKind, UserKey, Validity, Words,
};

/// How many bytes one line shows.
const LINE_BYTES: usize = 48;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all text");
        text
    })
}

/// A document in full, after its size and hash.
fn write_document(text: &mut String, name: &str, bytes: &[u8]) {
    writeln!(text, "{name} size = {}", bytes.len()).expect("a string takes all text");
    writeln!(text, "{name} blake3 = {}", hex(&blake3(bytes))).expect("a string takes all text");
    writeln!(text, "{name} =").expect("a string takes all text");
    for line in bytes.chunks(LINE_BYTES) {
        writeln!(text, "  {}", hex(line)).expect("a string takes all text");
    }
}

fn keys(machine: &MachineKey, agent: &AgentKey, user: &UserKey) -> String {
    let words = AgentWords { agent: Words::of(&agent.id().0), user: Some(Words::of(&user.id().0)) };
    let lines = [
        ("machine seed", hex(machine.seed())),
        ("machine public key blake3", hex(&blake3(machine.public().as_bytes()))),
        ("machine id", machine.id().to_string()),
        ("machine key file", hex(&machine.to_key_file()[..])),
        ("agent seed", hex(agent.seed())),
        ("agent public key blake3", hex(&blake3(agent.public().as_bytes()))),
        ("agent id", agent.id().to_string()),
        ("agent key file", hex(&agent.to_key_file()[..])),
        ("agent secret for \"example\"", hex(&agent.derive_secret("example"))),
        ("user seed", hex(user.seed())),
        ("user public key blake3", hex(&blake3(user.public().as_bytes()))),
        ("user id", user.id().to_string()),
        ("user key file", hex(&user.to_key_file()[..])),
        ("words", words.to_string()),
    ];
    lines.iter().fold(String::new(), |text, (name, value)| text + name + " = " + value + "\n")
}

fn vectors() -> String {
    let machine = MachineKey::from_seed(&[1; 32]);
    let agent = AgentKey::from_seed(&[2; 32]);
    let user = UserKey::from_seed(&[3; 32]);
    let mut text = String::from(
        "# Seeds are 32 times 01, 02 and 03; the randomness of each signature is 32 times 04.\n\
         # Certificate: issued at 1700000000, expires at 1800000000.\n\
         # Bindings: not before 1700000000, not after 1702592000, sequence 7.\n\
         # Revocations: bindings below 8, and the agent; issued at 1700000001.\n",
    );
    for domain in Domain::ALL {
        writeln!(text, "domain = {}", domain.name()).expect("a string takes all text");
    }
    text += &keys(&machine, &agent, &user);
    let randomness = [4; 32];
    let (start, end) = (1_700_000_000, 1_800_000_000);
    let certificate = AgentCertificate::issue(&user, agent.id(), start, Some(end), &randomness);
    write_document(&mut text, "certificate", certificate.bytes());
    let validity = Validity { not_before: start, not_after: start + 30 * 24 * 60 * 60 };
    let bind = |certificate| {
        AgentBinding::issue(&agent, machine.id(), validity, 7, certificate, &randomness)
    };
    write_document(&mut text, "binding", bind(None).bytes());
    let certified = bind(Some(certificate));
    write_document(&mut text, "binding with certificate", certified.bytes());
    let kinds = [
        ("revocation of bindings", RevocationKind::BindingsBelow(8)),
        ("revocation of the agent", RevocationKind::Agent),
    ];
    for (name, kind) in kinds {
        let revocation = Revocation::issue(&agent, kind, start + 1, &randomness);
        write_document(&mut text, name, revocation.bytes());
    }
    let kind = RevocationKind::Agent;
    let revocation =
        Revocation::issue_as_user(&user, certified.bytes(), kind, start + 1, &randomness)
            .expect("the agent presented the certificate");
    write_document(&mut text, "revocation by the user", revocation.bytes());
    text
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a switch of the test, not of the library")]
fn the_bytes_of_identities_do_not_change() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/identity.txt");
    let actual = vectors();
    if std::env::var("UPDATE_GOLDEN").is_ok() {
        std::fs::write(&path, &actual).expect("the golden file can be written");
    }
    let expected = std::fs::read_to_string(&path).expect("the golden file can be read");
    for (number, (actual, expected)) in (1..).zip(actual.lines().zip(expected.lines())) {
        assert_eq!(actual, expected, "line {number}");
    }
    assert_eq!(actual.lines().count(), expected.lines().count());
}
