//! Whole worlds that are written down, as files and in Rust.

#![expect(clippy::unwrap_used, reason = "a script that cannot be read has failed its test")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use x0x_sim::script::{
    Act, Demand, Expect, Limit, Link, Nat, Node, Publish, Script, Send, Step, Verdict,
};
use x0x_sim::{LinkProfile, NatProfile, Recording, World};

/// The scripts of the library.
fn library() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/worlds");
    let entries = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn every_world_of_the_library_shows_what_it_says() {
    let paths = library();
    assert!(paths.len() >= 12, "{paths:?}");
    for path in paths {
        let script = Script::parse(&std::fs::read_to_string(&path).unwrap());
        let script = script.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(script.shows.ends_with('.'), "{}", path.display());
        assert!(!script.expect.is_empty(), "{}", path.display());
        let played = script.run(1).unwrap();
        let verdicts: Vec<String> = played.verdicts.iter().map(Verdict::to_string).collect();
        let verdicts = verdicts.join("\n");
        assert_eq!(played.failure, None, "{}\n{verdicts}", path.display());
        let all_hold = played.verdicts.iter().all(|verdict| verdict.holds == Some(true));
        assert!(all_hold, "{}\n{verdicts}", path.display());
    }
}

/// What is expected to be there is not if every datagram is lost, and what is expected to be missing
/// is there without the faults: so each expectation tells something.
#[test]
fn every_expectation_of_the_library_can_fail() {
    for path in library() {
        let mut script = Script::parse(&std::fs::read_to_string(&path).unwrap()).unwrap();
        script.limit.clear();
        script.step.retain(|step| {
            matches!(
                step.act,
                Act::Connect(_) | Act::Send(_) | Act::Publish(_) | Act::Subscribe { .. }
            )
        });
        for nat in &mut script.nat {
            nat.profile = NatProfile::default();
        }
        for expect in std::mem::take(&mut script.expect) {
            let is_missing = matches!(expect.that, Demand::Apart(_) | Demand::Unheard { .. });
            script.links.loss = if is_missing { 0.0 } else { 1.0 };
            script.expect = vec![expect];
            let played = script.run(1).unwrap();
            assert_eq!(played.verdicts[0].holds, Some(false), "{}: {played:?}", path.display());
        }
    }
}

#[test]
fn the_example_of_the_book_is_a_script_that_passes() {
    let book = include_str!("../../docs/src/simulator.md");
    let example = book.split("```").find_map(|part| part.strip_prefix("toml\n")).unwrap();
    let played = Script::parse(example).unwrap().run(1).unwrap();
    assert_eq!(played.failure, None, "{:?}", played.verdicts);
    assert_eq!(played.verdicts.len(), 2);
}

const SMALL: &str = r#"
title = "Small"
shows = "A file and a value are the same."
duration_s = 12.5
links.latency_ms = 30

[[nat]]
name = "home"
profile.timeout_s = 25

[[node]]
name = "server"
subscribes = ["news"]

[[node]]
name = "client"
count = 2
networks = ["home"]
connects = ["server"]
subscribes = ["news"]

[[link]]
from = "client-2"
to = "server"
profile = { latency_ms = 80, loss = 0.01 }

[[step]]
at_s = 3
do.send = { name = "hello", from = "client", to = "server", count = 3, every_ms = 100 }

[[step]]
at_s = 4
do.publish = { name = "news", from = "server", topic = "news" }

[[step]]
at_s = 9
do.crash = "client-1"

[[expect]]
at_s = 8
that.delivered = "hello"

[[expect]]
at_s = 8
that.heard = { message = "news", by = ["client"] }

[[limit]]
figure = "messages_acknowledged"
min = 6
"#;

/// The same as [`SMALL`].
fn small() -> Script {
    let seconds = Duration::from_secs;
    let latency = |ms| LinkProfile { latency: Duration::from_millis(ms), ..Default::default() };
    let news = || vec!["news".to_owned()];
    let send = Send {
        name: "hello".into(),
        from: "client".into(),
        to: "server".into(),
        count: 3,
        every: Duration::from_millis(100),
        ..Send::default()
    };
    let publish = Publish {
        name: "news".into(),
        from: "server".into(),
        topic: "news".into(),
        ..Publish::default()
    };
    let heard = Demand::Heard { message: "news".into(), by: vec!["client".into()] };
    let profile = NatProfile { timeout: seconds(25), ..NatProfile::default() };
    let figure = "messages_acknowledged".to_owned();
    Script {
        title: "Small".into(),
        shows: "A file and a value are the same.".into(),
        duration: Duration::from_millis(12_500),
        links: latency(30),
        nat: vec![Nat { name: "home".into(), behind: None, profile }],
        node: vec![
            Node { name: "server".into(), subscribes: news(), ..Node::default() },
            Node {
                name: "client".into(),
                count: Some(2),
                networks: vec!["home".into()],
                connects: vec!["server".into()],
                subscribes: news(),
                ..Node::default()
            },
        ],
        link: vec![Link {
            from: "client-2".into(),
            to: "server".into(),
            one_way: false,
            profile: Some(LinkProfile { loss: 0.01, ..latency(80) }),
        }],
        step: vec![
            Step { at: seconds(3), act: Act::Send(send) },
            Step { at: seconds(4), act: Act::Publish(publish) },
            Step { at: seconds(9), act: Act::Crash("client-1".into()) },
        ],
        expect: vec![
            Expect { at: seconds(8), that: Demand::Delivered("hello".into()) },
            Expect { at: seconds(8), that: heard },
        ],
        limit: vec![Limit { figure, min: Some(6.0), max: None }],
        ..Script::default()
    }
}

#[test]
fn a_file_and_the_same_in_rust_are_one_world() {
    let read = Script::parse(SMALL).unwrap();
    assert_eq!(read, small());
    let (read, built) = (read.run(7).unwrap(), small().run(7).unwrap());
    assert_eq!(read, built);
    assert_eq!(read.failure, None, "{:?}", read.verdicts);
    assert_eq!(read.report.tally.crashes, 1);
    let other = small().run(8).unwrap();
    assert_ne!(read.report.trace_hash, other.report.trace_hash);
}

/// Changes one line of [`SMALL`] and returns what is said about that.
fn said_of(from: &str, to: &str) -> String {
    assert_eq!(SMALL.matches(from).count(), 1, "{from}");
    Script::parse(&SMALL.replace(from, to)).expect_err(to).to_string()
}

#[test]
fn a_mistake_is_named_with_its_place_and_what_would_be_right() {
    let cases: [(&str, &str, &[&str]); 20] = [
        ("duration_s = 12.5", "duration = 12.5", &["line 4", "unknown field `duration`"]),
        ("duration_s = 12.5", "duration_s = -1", &["line 4", "a time, which is not negative"]),
        ("loss = 0.01", "loss = 30", &["line 25", "a probability from 0 to 1"]),
        ("loss = 0.01", "losses = 0.01", &["line 25", "unknown field `losses`", "`loss`"]),
        ("do.crash", "do.crush", &["line 37", "unknown variant `crush`", "`crash`"]),
        ("count = 3", "counts = 3", &["line 29", "unknown field `counts`", "`count`"]),
        (
            "do.crash = \"client-1\"",
            "do.crash = \"client-3\"",
            &[
                "line 35, [[step]] number 3",
                "there is no node `client-3`; there is client, client-1, client-2, server",
            ],
        ),
        (
            "networks = [\"home\"]",
            "networks = [\"work\"]",
            &["line 15, [[node]] number 2", "there is no NAT `work`; there is home"],
        ),
        (
            "name = \"home\"",
            "name = \"home\"\nbehind = \"carrier\"",
            &["line 7, [[nat]] number 1", "no NAT `carrier`", "outer NATs come first"],
        ),
        ("name = \"server\"", "name = \"client-1\"", &["[[node]] number 2", "is taken"]),
        ("at_s = 9", "at_s = 19", &["line 35", "19 s is after the end", "more than 12.5"]),
        ("every_ms = 100", "every_ms = 9000", &["line 27", "21 s is after the end"]),
        ("that.delivered = \"hello\"", "that.delivered = \"news\"", &["use that.heard"]),
        ("message = \"news\"", "message = \"hello\"", &["use that.delivered"]),
        (
            "messages_acknowledged",
            "messages_read",
            &[
                "line 47, [[limit]] number 1",
                "there is no figure `messages_read`; there is nodes, links_wanted,",
            ],
        ),
        ("every_ms = 100", "every_ms = 1e18", &["is after the end"]),
        (
            "do.crash = \"client-1\"",
            "do.upgrade = { node = \"server\", oldest = 2, newest = 9 }",
            &["2 to 9 are no versions within 1 to 2"],
        ),
        (
            "do.crash = \"client-1\"",
            "do.roam = { node = \"server\", socket = 1, network = \"home\" }",
            &["`server` has no socket 1; they count from 0: 1"],
        ),
        (
            "do.crash = \"client-1\"",
            "do.heal = \"sea cable\"",
            &["there is no partition `sea cable`, and no other"],
        ),
        ("min = 6", "", &["there is no limit: add max or min"]),
    ];
    for (from, to, expected) in cases {
        let said = said_of(from, to);
        for part in expected {
            assert!(said.contains(part), "{to}: {said}");
        }
    }
}

#[test]
fn what_a_script_expects_and_does_not_come_out_fails_its_world() {
    let mut script = small();
    let apart = Demand::Apart(["client".into(), "server".into()]);
    let linked = Demand::Linked(["client".into(), "server".into()]);
    let at = Duration::from_secs(5);
    script.expect.extend([Expect { at, that: apart }, Expect { at, that: linked }]);
    let mut world: World = script.world(7).unwrap();
    let played = script.run_in(&mut world).unwrap();
    let verdicts: Vec<String> = played.verdicts.iter().map(Verdict::to_string).collect();
    let expected = [
        "FAILS  at 5 s apart: client, server (2 of 2, as the link of n1 and n0 is up, which must not be)",
        "holds  at 5 s linked: client, server",
        "open   at 8 s delivered: hello",
        "open   at 8 s heard: news, by client",
        "open   messages_acknowledged ≥ 6",
    ];
    assert_eq!(verdicts, expected);
    let failure = played.failure.unwrap();
    assert_eq!(failure.at, at);
    let recording = Recording::from_bytes(&world.recording().to_bytes()).unwrap();
    let mut again: World = recording.world();
    assert_eq!(again.play(&recording), Err(failure));
    assert_eq!(again.trace_hash(), played.report.trace_hash);
}

#[test]
fn a_limit_that_is_not_kept_fails_its_world() {
    let mut script = small();
    script.limit[0].max = Some(5.0);
    let played = script.run(7).unwrap();
    assert_eq!(played.verdicts[2].to_string(), "FAILS  messages_acknowledged ≤ 5 ≥ 6 (6)");
    let failure = played.failure.unwrap();
    assert_eq!(failure.at, script.duration);
    assert_eq!(failure.what, "messages_acknowledged ≤ 5 ≥ 6 (6)");
}
