//! Stored inputs, and changes to them at random.
//!
//! An execution is named by a seed and a number: the same two change the same corpus in the same
//! way, whatever ran before.

use std::path::{Path, PathBuf};
use std::{fs, io};

use x0x_core::support::Rng;

use crate::dictionary;

/// The longest input that changes make.
const SIZE_MAX: usize = 32 * 1024;

/// Numbers at the edges of encodings.
const EDGES: &[u8] = &[0x00, 0x01, 0x3f, 0x40, 0x7f, 0x80, 0xbf, 0xc0, 0xfe, 0xff];

/// What the inputs of a target are made from.
#[derive(Debug)]
pub struct Material {
    /// The inputs, with the names of their files.
    pub inputs: Vec<(String, Vec<u8>)>,
    /// The dictionary.
    pub tokens: Vec<Vec<u8>>,
}

impl Material {
    /// Reads what is stored for a target.
    ///
    /// # Errors
    ///
    /// If a file cannot be read.
    pub fn load(target: &str) -> io::Result<Self> {
        Ok(Self { inputs: load(target)?, tokens: dictionary::load(target)? })
    }
}

/// Returns where the corpus of a target is stored.
pub fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpora").join(target)
}

/// Reads the corpus of a target, in the order of the names.
///
/// # Errors
///
/// If a file cannot be read.
pub fn load(target: &str) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut inputs = Vec::new();
    for entry in fs::read_dir(folder(target))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        inputs.push((name, fs::read(path)?));
    }
    inputs.sort();
    Ok(inputs)
}

/// Makes the input of one execution: one of the corpus, changed a few times.
pub fn change(material: &Material, target: &str, seed: u64, execution: u64) -> Vec<u8> {
    let mut root = [0; 32];
    root[..8].copy_from_slice(&seed.to_be_bytes());
    root[8..16].copy_from_slice(&execution.to_be_bytes());
    let mut rng = Rng::from_seed(root).fork(target);
    let mut data = pick(&material.inputs, &mut rng).to_vec();
    for _ in 0..1 + (rng.next_u32() % 16).count_ones() * 2 {
        change_once(&mut data, material, &mut rng);
    }
    data.truncate(SIZE_MAX);
    data
}

fn pick<'a>(corpus: &'a [(String, Vec<u8>)], rng: &mut Rng) -> &'a [u8] {
    if corpus.is_empty() { &[] } else { &corpus[below(rng, corpus.len())].1 }
}

fn below(rng: &mut Rng, bound: usize) -> usize {
    usize::try_from(rng.below(bound.max(1) as u64)).unwrap_or_default()
}

/// A place in the data and a short length from there.
fn range(data: &[u8], rng: &mut Rng) -> std::ops::Range<usize> {
    let start = below(rng, data.len() + 1);
    let longest = 1 << below(rng, 10);
    start..data.len().min(start + below(rng, longest + 1))
}

fn change_once(data: &mut Vec<u8>, material: &Material, rng: &mut Rng) {
    let range = range(data, rng);
    let at = range.start;
    // Without a dictionary there is one way less.
    match rng.below(if material.tokens.is_empty() { 10 } else { 12 }) {
        0 if at < data.len() => data[at] ^= 1 << rng.below(8),
        1 if at < data.len() => data[at] = rng.bytes::<1>()[0],
        2 if at < data.len() => data[at] = EDGES[below(rng, EDGES.len())],
        3 if at < data.len() => data[at] = data[at].wrapping_add(1).wrapping_sub(data[at] & 2),
        4 => data.truncate(at),
        5 => drop(data.drain(range)),
        6 => {
            let copy = data[range].to_vec();
            let place = below(rng, data.len() + 1);
            data.splice(place..place, copy);
        }
        7 => {
            let mut noise = vec![0; range.len()];
            rng.fill(&mut noise);
            data.splice(range, noise);
        }
        10 | 11 => {
            let token = &material.tokens[below(rng, material.tokens.len())];
            let replaced = if rng.below(2) == 0 { 0 } else { token.len() };
            data.splice(at..data.len().min(at + replaced), token.iter().copied());
        }
        _ => {
            let other = pick(&material.inputs, rng);
            let piece = other[self::range(other, rng)].to_vec();
            let end = if rng.below(2) == 0 { at } else { range.end };
            data.splice(at..end, piece);
        }
    }
}

/// Takes pieces out of an input as long as it still fails.
pub fn minimise(mut data: Vec<u8>, fails: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut size = data.len().next_power_of_two();
    while size > 0 {
        let mut at = 0;
        while at < data.len() {
            let mut shorter = data.clone();
            shorter.drain(at..data.len().min(at + size));
            if fails(&shorter) {
                data = shorter;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    data
}
