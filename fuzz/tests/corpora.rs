//! Every stored input passes its target, and every target has inputs and a wrapper.

use std::path::Path;

use x0x_fuzz::corpus::Material;
use x0x_fuzz::{STATEFUL, TARGETS, corpus, dictionary, seeds, target};

#[test]
fn every_stored_input_passes() {
    for (name, target) in TARGETS {
        for (file, data) in corpus::load(name).expect("each target has a corpus") {
            println!("{name}/{file}");
            target(&data);
        }
    }
}

#[test]
fn the_seeds_are_what_the_core_writes() {
    for (name, _) in TARGETS {
        let stored = corpus::load(name).expect("each target has a corpus");
        let stored = stored.into_iter().filter(|(file, _)| file.starts_with("seed-"));
        let stored: Vec<Vec<u8>> = stored.map(|(_, data)| data).collect();
        assert!(!stored.is_empty(), "{name}");
        assert!(stored == seeds::seeds(name), "{name}: run `x0x-fuzz seeds`");
    }
}

#[test]
fn every_target_has_a_wrapper() {
    for (name, _) in TARGETS {
        let wrapper = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fuzz_targets/{name}.rs"));
        let text = std::fs::read_to_string(wrapper).expect("a target has a wrapper");
        assert!(text.contains(&format!("::{name}(data)")), "{name}");
    }
}

#[test]
fn the_same_execution_gives_the_same_input() {
    let material = Material::load("varint").expect("each target has a corpus");
    let change = |execution| corpus::change(&material, "varint", 1, execution);
    assert_eq!(change(7), change(7));
    assert!((0..100).any(|execution| change(execution) != change(execution + 1)));
}

#[test]
fn a_failing_input_is_cut_to_what_fails() {
    let data: Vec<u8> = (0..200).collect();
    let cut = corpus::minimise(data, |data| data.contains(&17) && data.contains(&150));
    assert_eq!(cut, [17, 150]);
}

#[test]
fn what_has_a_state_is_a_target() {
    assert!(STATEFUL.iter().all(|name| target(name).is_some()));
}

#[test]
fn every_dictionary_is_of_some_target() {
    for file in std::fs::read_dir(dictionary::folder()).expect("there are dictionaries") {
        let path = file.expect("it is there").path();
        let family = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        let of_family = |name: &str| name.split('_').next() == Some(&family);
        assert!(TARGETS.iter().any(|(name, _)| of_family(name)), "{family}");
        assert!(!dictionary::load(&family).expect("it is well formed").is_empty(), "{family}");
    }
}
