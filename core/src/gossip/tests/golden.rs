//! The bytes of batches, frames, proofs and evidence, compared with `tests/golden/gossip.txt`.

use std::fmt::Write as _;

use super::super::batch::Batch;
use super::super::evidence::prove;
use super::super::frames;
use super::super::proof::Proof;
use super::super::{Evidence, Topic};
use super::harness::{Writer, key};
use crate::support::testing::{check_golden, hex};

#[test]
fn the_bytes_of_gossip_do_not_change() {
    let mut text = String::from(
        "# The author's seed is 32 times 09. The salt seed is 32 times 07, the randomness of each\n\
         # signature 32 times 08. Topic \"news\". Stream 1750000000000. Batches: at +0 \"hello\"; at\n\
         # +5 \"a\", nothing and \"b\" with 64 bytes. Proof: of the third message of the second batch.\n\
         # Evidence: the first batch, and \"other\" in its place.\n",
    );
    let mut line = |name: &str, bytes: &[u8]| {
        writeln!(text, "{name} = {}", hex(bytes)).expect("a string takes all text");
    };
    line("topic id", &Topic::new("news").unwrap().id().0);
    let mut author = Writer::new(9, 1_750_000_000_000);
    let other = author.fork(&["other"]);
    let first = author.write(&["hello"]);
    let second = author.write_at(1_750_000_000_005, &["a", "", &"b".repeat(64)]);
    for (name, batch) in [("first", &first), ("second", &second)] {
        let bytes = batch.item().bytes;
        assert_eq!(Batch::parse(bytes.clone()).as_ref(), Ok(&**batch));
        line(&format!("{name} root record"), batch.record());
        line(&format!("{name} batch"), &bytes);
        line(&format!("{name} id"), &batch.id().0);
    }
    line("frame of the overlay", &frames::overlay(&[1, 2, 3]));
    line("frame with a key", &frames::key(key(9).public()));
    line("frame that asks for a key", &frames::key_request(&key(9).id()));
    let proof = Proof::of(&author.author(), &second, 2).unwrap();
    assert!(proof.verify(&key(9).id()).is_ok());
    line("proof", &proof.encode());
    let evidence = prove(&author.author(), &first, &other).unwrap();
    assert!(Evidence::verify(&evidence).is_ok());
    line("frame with evidence", &[&frames::evidence()[..], &evidence].concat());
    check_golden("gossip.txt", &text);
}
