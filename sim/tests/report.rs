//! The program writes pages about worlds of whole nodes.

#![expect(clippy::unwrap_used, reason = "a program that does not run has failed its test")]

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use x0x_sim::{Scenario, World};

fn x0x_sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_x0x-sim")).args(arguments).output().unwrap()
}

fn scratch(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn hash(output: &Output) -> String {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.split_whitespace().last().unwrap().to_owned()
}

#[test]
fn a_world_and_its_replay_have_the_same_pages_and_traces() {
    let [steps, first, second] = ["page.steps", "first.html", "second.html"].map(scratch);
    let [steps, first, second] = [&steps, &first, &second].map(|path| path.to_str().unwrap());
    let run = ["run", "--nodes", "5", "--seconds", "20", "--crashes", "2", "--steps", steps];
    let page = ["--report", first, "--between", "0,1,2", "--to", "19.5"];
    let without = x0x_sim(&run);
    let with = x0x_sim(&[&run[..], &page].concat());
    assert!(without.status.success() && with.status.success(), "{with:?}");
    assert_eq!(hash(&without), hash(&with));
    let replay =
        x0x_sim(&["replay", steps, "--report", second, "--between", "0,1,2", "--to", "19.5"]);
    assert!(replay.status.success(), "{replay:?}");
    let [first, second] = [first, second].map(|path| std::fs::read_to_string(path).unwrap());
    for part in ["Every check passed.", "n4: runs", "crashes", "arrived</text>", &hash(&with)] {
        assert!(first.contains(part), "{part}");
    }
    assert!(!first.contains("http") && !first.contains("<script"));
    // They differ in the command that makes them.
    let differing = first.lines().zip(second.lines()).filter(|(a, b)| a != b);
    for (a, b) in differing {
        assert!(a.contains("x0x-sim run") && b.contains("x0x-sim replay"), "{a}\n{b}");
    }
}

#[test]
fn a_page_that_is_not_possible_is_refused_with_the_reason() {
    let file = scratch("refused.html");
    let path = file.to_str().unwrap();
    let run = ["run", "--nodes", "3", "--report", path];
    let swarm = ["swarm", "--report", path];
    for (arguments, reason) in [
        ([&run[..], &["--between", "0,3"]].concat(), "there is no node 3"),
        ([&run[..], &["--between", "1"]].concat(), "two nodes or more"),
        ([&run[..], &["--from", "3", "--to", "2"]].concat(), "later than --to"),
        (swarm.to_vec(), "add --seeds 1"),
        ([&swarm[..], &["--seeds", "1", "--modelled"]].concat(), "whole nodes"),
        (vec!["run", "--between", "0,1"], "--report <HTML>"),
    ] {
        let output = x0x_sim(&arguments);
        assert!(!output.status.success(), "{arguments:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(reason), "{arguments:?}: {text}");
    }
    assert!(!file.exists());
}

#[test]
fn a_world_that_did_not_recover_says_so_when_it_is_replayed() {
    let ms = Duration::from_millis;
    let scenario = Scenario::new(1, 2).duration(ms(40)).recovery(ms(10));
    let mut world: World = scenario.world();
    let failure = scenario.run_in(&mut world).unwrap_err();
    let [steps, page] = ["failed.steps", "failed.html"].map(scratch);
    std::fs::write(&steps, world.recording().to_bytes()).unwrap();
    let [steps, path] = [&steps, &page].map(|path| path.to_str().unwrap());
    let replay = x0x_sim(&["replay", steps, "--report", path]);
    assert!(replay.status.success(), "{replay:?}");
    let page = std::fs::read_to_string(&page).unwrap();
    assert!(page.contains(&format!("<p class=\"failure\">{failure}</p>")), "{page}");
    assert!(page.contains(&format!("FAILED: {}", failure.what)));
    assert!(failure.what.contains("links that stay down: n1-n0"), "{failure}");
}
