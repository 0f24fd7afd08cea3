//! The program writes the steps of a world and plays them again.

#![expect(clippy::unwrap_used, reason = "a program that does not run has failed its test")]

use std::path::PathBuf;
use std::process::{Command, Output};

fn x0x_sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_x0x-sim")).args(arguments).output().unwrap()
}

/// The last word of what was printed: the trace hash.
fn hash(output: &Output) -> String {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.split_whitespace().last().unwrap().to_owned()
}

fn scratch(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

#[test]
fn a_world_plays_again_from_its_file() {
    let file = scratch("replay.steps");
    let path = file.to_str().unwrap();
    let faults = ["--loss", "0.02", "--crashes", "3", "--partitions", "2"];
    let run = x0x_sim(&[&["run", "--nodes", "8", "--steps", path][..], &faults].concat());
    assert!(run.status.success(), "{run:?}");
    assert_eq!(hash(&run).len(), 64);
    for more in [&[][..], &["--events"]] {
        let replay = x0x_sim(&[&["replay", path][..], more].concat());
        assert!(replay.status.success(), "{replay:?}");
        assert_eq!(hash(&replay), hash(&run));
    }
}

#[test]
fn a_file_that_holds_no_steps_is_refused() {
    let file = scratch("no.steps");
    std::fs::write(&file, "something else").unwrap();
    let replay = x0x_sim(&["replay", file.to_str().unwrap()]);
    assert!(!replay.status.success());
    let text = String::from_utf8(replay.stderr).unwrap();
    assert!(text.contains("not a file of steps of this version"), "{text}");
}
