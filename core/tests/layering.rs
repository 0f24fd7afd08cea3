//! The rules of the core's sources, checked on the sources themselves: imports go down only,
//! nothing reads a clock, a socket, a file, a thread or the operating system's randomness, and the
//! prose of sources and protocol pages avoids certain phrases.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its sources has failed")]

use std::collections::BTreeMap;
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
    ("notes", 7),
    ("direct", 7),
    ("node", 9),
];

/// Macros that modules name by the path of the crate.
const MACROS: &[&str] = &["counters", "requests"];

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
const LINES_MAX: usize = 600;

/// Phrases that the sources and the protocol pages do not use, in lower case.
const BANNED: &[&str] = &[
    "all the same",
    "are told",
    "at the most",
    "be told",
    "been told",
    "fared",
    "for want of",
    "in vain",
    "is to be",
    "is told",
    "lately",
    "of late",
    "of no use",
    "so many",
    "tell whether",
    "tells how",
    "tells what",
    "tells whether",
    "tells why",
    "was to be",
    "was told",
    "were to be",
    "were told",
    "what became of",
    "whoever",
    "whomever",
    "without a word",
];

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
    let is_test = path
        .components()
        .any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "pair_tests")))
        || path.ends_with("tests.rs")
        || path.ends_with("pair_tests.rs")
        || path.ends_with("testing.rs");
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
            // Macros of the crate are at its root.
            if name.is_empty() || name == source.module || MACROS.contains(&name.as_str()) {
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

/// The types that a source implements by an inherent block, by name.
fn implemented(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for line in code.lines().filter(|line| line.starts_with("impl")) {
        if line.contains(" for ") {
            continue;
        }
        let mut rest = line.trim_start_matches("impl");
        if rest.starts_with('<') {
            let mut depth = 0;
            let end = rest.find(|c: char| {
                depth += i32::from(c == '<') - i32::from(c == '>');
                depth == 0
            });
            rest = &rest[end.map_or(rest.len(), |end| end + 1)..];
        }
        let name: String =
            rest.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        names.push(name);
    }
    names
}

/// Returns whether a source defines a type.
fn defines(code: &str, name: &str) -> bool {
    ["struct", "enum", "union"].iter().any(|kind| {
        code.match_indices(&format!("{kind} {name}")).any(|(at, found)| {
            let next = code[at + found.len()..].chars().next();
            next.is_none_or(|c| !c.is_alphanumeric() && c != '_')
        })
    })
}

/// The methods of a type are in the file that defines it, or in the folder whose `mod.rs` does.
#[test]
fn methods_are_where_their_type_is() {
    let sources = sources();
    let mut strays = Vec::new();
    for source in &sources {
        for name in implemented(&source.code) {
            let folder = source.path.parent().unwrap();
            let root = sources.iter().find(|other| other.path == folder.join("mod.rs"));
            let is_near =
                defines(&source.code, &name) || root.is_some_and(|root| defines(&root.code, &name));
            if !is_near {
                strays.push(format!("{}: impl {name}", source.path.display()));
            }
        }
    }
    assert!(strays.is_empty(), "move these to their types: {strays:#?}");
}

#[test]
fn no_source_file_is_too_long_to_read() {
    for source in sources() {
        assert!(source.lines <= LINES_MAX, "{}: {}", source.path.display(), source.lines);
    }
}

/// The root of the workspace.
fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The folders whose prose is checked: the core, the protocol pages and the drivers.
fn prose_folders() -> Vec<PathBuf> {
    let root = workspace();
    let mut folders = vec![root.join("core/src"), root.join("docs/src/protocol")];
    for parent in [&root, &root.join("core")] {
        let paths = fs::read_dir(parent).unwrap().map(|entry| entry.unwrap().path());
        folders.extend(paths.filter(|path| {
            path.is_dir() && path.file_name().unwrap().to_string_lossy().starts_with("driver")
        }));
    }
    folders
}

/// Returns the text of a source or a page in lower case on one line, without comment markers, so
/// that a line break within a phrase does not hide it.
fn prose(text: &str) -> String {
    let unmarked = |line: &str| {
        let line = line.trim().trim_end_matches('\\');
        line.trim_start_matches('/').trim_start_matches('!').to_lowercase()
    };
    let words = text.lines().map(unmarked).collect::<Vec<_>>().join(" ");
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns the banned phrases in a text, at borders of words.
fn banned(prose: &str) -> Vec<&'static str> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let is_used = |phrase: &&&str| {
        prose.match_indices(**phrase).any(|(at, found)| {
            !prose[..at].ends_with(is_word) && !prose[at + found.len()..].starts_with(is_word)
        })
    };
    BANNED.iter().filter(is_used).copied().collect()
}

/// Returns the checked files by their paths from the root of the workspace, with the banned phrases
/// in each.
fn phrases_by_file() -> BTreeMap<String, Vec<&'static str>> {
    let root = workspace();
    let mut folders = prose_folders();
    let mut files = BTreeMap::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let is_text = path.extension().is_some_and(|kind| kind == "rs" || kind == "md");
            if path.is_dir() {
                folders.push(path);
            } else if is_text {
                let name = path.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
                files.insert(name, banned(&prose(&fs::read_to_string(&path).unwrap())));
            }
        }
    }
    files
}

#[test]
fn sources_and_protocol_pages_use_no_banned_phrases() {
    let files = phrases_by_file();
    for folder in ["core/src/", "docs/src/protocol/", "driver-tokio/src/"] {
        let is_there = files.keys().any(|file| file.starts_with(folder));
        assert!(is_there, "{folder} is where the test looks");
    }
    let found: Vec<_> = files.iter().filter(|(_, found)| !found.is_empty()).collect();
    assert!(found.is_empty(), "reword these: {found:#?}");
}

#[test]
fn a_banned_phrase_is_found_across_lines_and_only_as_words() {
    let cases: &[(&str, &[&str])] = &[
        ("/// Returns what is\n/// to be sent.", &["is to be"]),
        ("//! Whoever\n//! comes Of\n//!\n//! late.", &["of late", "whoever"]),
        ("\"it is \\\n    told\"", &["is told"]),
        ("a page that is\ntold", &["is told"]),
        ("of later, this to be, is_told, fn is_to_be()", &[]),
    ];
    for (text, phrases) in cases {
        assert_eq!(&banned(&prose(text)), phrases, "{text}");
    }
}
