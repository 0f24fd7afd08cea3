//! The rules of the core's sources, checked on the sources themselves: imports go down only, and
//! nothing reads a clock, a socket, a file, a thread or the operating system's randomness.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its sources has failed")]

use std::fs;
use std::path::{Path, PathBuf};

/// The rank of each module. A module may use those of lower rank and itself.
const RANKS: &[(&str, u32)] = &[
    ("support", 0),
    ("wire", 0),
    ("crypto", 1),
    ("identity", 2),
    ("transport", 3),
    ("session", 3),
    ("path", 4),
    ("address_book", 4),
    ("link", 5),
    ("overlay", 6),
    ("gossip", 7),
    ("direct", 7),
    ("node", 9),
];

/// Crates that one module alone may name.
const OWNERS: &[(&str, &[&str])] = &[
    ("quinn_proto", &["transport"]),
    ("rustls", &["crypto"]),
    ("ml_dsa", &["crypto"]),
    ("ml_kem", &["crypto"]),
    ("libcrux_ml_dsa", &["crypto"]),
    ("libcrux_ml_kem", &["crypto"]),
    ("aws_lc_rs", &["crypto"]),
    ("aes_gcm", &["crypto"]),
    ("chacha20poly1305", &["crypto"]),
    ("sha2", &["crypto"]),
    ("siphasher", &["crypto"]),
    ("x25519_dalek", &["crypto"]),
    ("rand_chacha", &["support"]),
    ("postcard", &["wire"]),
];

/// What the core must not contain, outside tests.
const FORBIDDEN: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    ".elapsed()",
    "std::fs",
    "std::env",
    "std::thread",
    "std::process",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "getrandom",
    "OsRng",
    "SysRng",
    "rand::rng",
    "thread_rng",
    "HashMap",
    "HashSet",
    "unsafe ",
];

/// The longest source file.
const LINES_MAX: usize = 800;

struct Source {
    path: PathBuf,
    module: String,
    /// The code, without comments and without unit tests.
    code: String,
    lines: usize,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(source(&root, path));
            }
        }
    }
    assert!(found.len() > 30, "the sources are where the test looks");
    found
}

fn source(root: &Path, path: PathBuf) -> Source {
    let text = fs::read_to_string(&path).unwrap();
    let is_test = path.ends_with("tests.rs") || path.ends_with("testing.rs");
    let tested = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = tested.lines().map(|line| line.split("//").next().unwrap_or_default());
    let code = if is_test { String::new() } else { lines.collect::<Vec<_>>().join("\n") };
    let relative = path.strip_prefix(root).unwrap();
    let first = relative.components().next().unwrap().as_os_str().to_string_lossy();
    let module = first.trim_end_matches(".rs").to_owned();
    Source { module, code, lines: text.lines().count(), path }
}

fn rank(module: &str) -> Option<u32> {
    RANKS.iter().find(|(name, _)| *name == module).map(|(_, rank)| *rank)
}

/// The modules that a source names by `crate::`.
fn named(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for part in code.split("crate::").skip(1) {
        if let Some(list) = part.strip_prefix('{') {
            let list = list.split('}').next().unwrap_or_default();
            let heads = list.split(',').map(|item| item.trim().split("::").next().unwrap_or(""));
            names.extend(heads.filter(|head| !head.is_empty()).map(str::to_owned));
        } else {
            let end = part.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(part.len());
            names.push(part[..end].to_owned());
        }
    }
    names
}

#[test]
fn imports_go_down_only() {
    for source in sources().iter().filter(|source| source.module != "lib") {
        let own = rank(&source.module).expect("each module has a rank");
        for name in named(&source.code) {
            if name == source.module {
                continue;
            }
            let other = rank(&name);
            let fine = other.is_some_and(|other| other < own);
            assert!(
                fine,
                "{}: crate::{name} is not below {}",
                source.path.display(),
                source.module
            );
        }
    }
}

#[test]
fn each_outside_crate_has_its_owner() {
    for source in sources() {
        for (name, owners) in OWNERS {
            let used = source.code.contains(&format!("{name}::"))
                || source.code.contains(&format!("use {name};"));
            // A path such as `crypto::rustls::` names a module of another crate.
            let qualified = source.code.matches(&format!("::{name}::")).count();
            let direct = source.code.matches(&format!("{name}::")).count();
            if used && direct > qualified {
                let fine = owners.contains(&source.module.as_str());
                assert!(fine, "{}: {name} belongs to {owners:?}", source.path.display());
            }
        }
    }
}

#[test]
fn nothing_reaches_outside() {
    for source in sources() {
        for word in FORBIDDEN {
            assert!(!source.code.contains(word), "{}: {word}", source.path.display());
        }
    }
}

#[test]
fn no_source_file_is_too_long_to_read() {
    for source in sources() {
        assert!(source.lines <= LINES_MAX, "{}: {}", source.path.display(), source.lines);
    }
}
