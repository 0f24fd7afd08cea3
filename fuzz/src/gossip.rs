//! Batches, proofs, evidence and frames of gossip.

use std::sync::LazyLock;

use bytes::Bytes;
use x0x_core::gossip::batch::{Batch, Draft, Root, VerifiedBatch};
use x0x_core::gossip::{
    AuthorKey, BATCH_SIZE_MAX, EVIDENCE_SIZE_MAX, Evidence, PROOF_SIZE_MAX, Proof, Topic, fuzzing,
};
use x0x_core::identity::AgentKey;

/// What an author really signed, and what follows from it.
pub(crate) struct Genuine {
    author: AuthorKey,
    pub(crate) batches: Vec<Bytes>,
    pub(crate) proofs: Vec<Bytes>,
    pub(crate) evidence: Vec<Bytes>,
    pub(crate) frames: Vec<Bytes>,
}

/// Returns it.
pub(crate) fn genuine() -> &'static Genuine {
    static GENUINE: LazyLock<Genuine> = LazyLock::new(make);
    &GENUINE
}

fn make() -> Genuine {
    let key = AgentKey::from_seed(&[2; 32]);
    let author = AuthorKey::new(key.public().clone());
    let topic = Topic::new("fuzz").expect("a topic has a name").id();
    let start = Root {
        author: key.id(),
        topic,
        stream: 1_750_000_000_000,
        sequence: 0,
        first: 0,
        count: 0,
        time: 1_750_000_000_000,
        previous_time: 0,
        previous: [0; 32],
        merkle: [0; 32],
    };
    let seal = |root: &Root, texts: &[&'static str]| -> VerifiedBatch {
        let payloads: Vec<Bytes> = texts.iter().map(|&text| Bytes::from(text)).collect();
        Draft { root: root.clone(), payloads: &payloads, seed: [7; 32] }.sign(&key, &[8; 32])
    };
    let one = seal(&start, &["one"]);
    let other = seal(&start, &["other"]);
    let next = Root {
        sequence: 1,
        first: 1,
        time: start.time + 5,
        previous_time: start.time,
        previous: *one.hash(),
        ..start
    };
    let next = seal(&next, &["a", "", "bcd"]);
    let batches = [&one, &next, &other].map(|batch| batch.bytes().clone()).to_vec();
    let proofs = [(&one, 0), (&next, 0), (&next, 2)]
        .map(|(batch, index)| fuzzing::proof(&author, batch, index).expect("the message is there"));
    let evidence = [(&one, &other), (&other, &next)]
        .map(|(one, other)| fuzzing::evidence(&author, one, other).expect("they exclude"));
    let frames = vec![
        Bytes::from_static(&[0, 1, 2, 3]),
        [&[1][..], author.key().as_bytes()].concat().into(),
        [&[2][..], author.id().as_bytes()].concat().into(),
        [&[3][..], &evidence[0]].concat().into(),
    ];
    Genuine { author, batches, proofs: proofs.to_vec(), evidence: evidence.to_vec(), frames }
}

/// A batch has one form, and only one that the author signed verifies.
pub fn gossip_batch(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let Some(rewritten) = fuzzing::batch(bytes.clone()) else { return };
    assert_eq!(rewritten, bytes, "one form");
    assert!(data.len() <= BATCH_SIZE_MAX);
    let batch = Batch::parse(bytes.clone()).expect("it was parsed before");
    assert_eq!(batch.payloads().count(), usize::from(batch.root().count));
    if batch.verify(&genuine().author).is_ok() {
        assert!(genuine().batches.contains(&bytes), "a forgery");
    }
}

/// A proof has one form, and only one of a message that the author signed holds.
pub fn gossip_proof(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let Ok(proof) = Proof::parse(&bytes) else { return };
    assert_eq!(proof.encode(), bytes, "one form");
    assert!(data.len() <= PROOF_SIZE_MAX);
    if proof.verify(&genuine().author.id()).is_ok() {
        assert!(genuine().proofs.contains(&bytes), "a forgery");
    }
}

/// Only two roots that the author signed are evidence against it.
pub fn gossip_evidence(data: &[u8]) {
    if let Ok(proven) = Evidence::verify(data) {
        assert!(data.len() <= EVIDENCE_SIZE_MAX);
        let is_genuine = genuine().evidence.iter().any(|genuine| genuine == data);
        assert!(is_genuine || proven.author != genuine().author.id(), "a forgery");
    }
}

/// A frame has one form.
pub fn gossip_frame(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    if let Some(rewritten) = fuzzing::frame(&bytes) {
        assert_eq!(rewritten, bytes, "one form");
    }
}
