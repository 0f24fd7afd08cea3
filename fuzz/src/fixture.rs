//! Fixed keys and documents, from which the seeds of the corpora are made as well.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use x0x_core::identity::{
    AgentBinding, AgentCertificate, AgentKey, MachineKey, Revocation, RevocationKind, UserKey,
    Validity,
};

/// The wall time of every target.
pub(crate) const UNIX_TIME: Duration = Duration::from_secs(1_750_000_000);
/// The randomness of every signature.
const RANDOMNESS: [u8; 32] = [4; 32];

/// Everything that is signed by the fixed keys. No other document may ever be accepted.
pub(crate) struct Fixture {
    pub(crate) machine: MachineKey,
    pub(crate) agent: AgentKey,
    pub(crate) certificates: Vec<Bytes>,
    pub(crate) bindings: Vec<Bytes>,
    pub(crate) revocations: Vec<Bytes>,
    pub(crate) key_files: Vec<Bytes>,
}

/// Returns the fixture.
pub(crate) fn fixture() -> &'static Fixture {
    static FIXTURE: LazyLock<Fixture> = LazyLock::new(make);
    &FIXTURE
}

fn make() -> Fixture {
    let machine = MachineKey::from_seed(&[1; 32]);
    let agent = AgentKey::from_seed(&[2; 32]);
    let user = UserKey::from_seed(&[3; 32]);
    let start = UNIX_TIME.as_secs() - 1000;
    let certify = |expires| AgentCertificate::issue(&user, agent.id(), start, expires, &RANDOMNESS);
    let certificates = [certify(None), certify(Some(start + 1_000_000))];
    let validity = Validity { not_before: start, not_after: start + 30 * 24 * 60 * 60 };
    let bind = |certificate| {
        let id = machine.id();
        AgentBinding::issue(&agent, id, validity, 7, certificate, &RANDOMNESS).bytes().clone()
    };
    let bindings = vec![bind(None), bind(Some(certificates[0].clone()))];
    let kinds = [RevocationKind::BindingsBelow(8), RevocationKind::Agent];
    let mut revocations: Vec<Bytes> = kinds
        .iter()
        .map(|&kind| Revocation::issue(&agent, kind, start, &RANDOMNESS).bytes().clone())
        .collect();
    for kind in kinds {
        let revocation = Revocation::issue_as_user(&user, &bindings[1], kind, start, &RANDOMNESS);
        revocations.push(revocation.expect("the agent consented").bytes().clone());
    }
    let key_files = [machine.to_key_file(), agent.to_key_file(), user.to_key_file()];
    Fixture {
        key_files: key_files.iter().map(|file| Bytes::copy_from_slice(&file[..])).collect(),
        certificates: certificates.iter().map(|it| it.bytes().clone()).collect(),
        machine,
        agent,
        bindings,
        revocations,
    }
}
