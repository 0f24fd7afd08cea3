//! Runs the targets without libFuzzer, with any compiler.
//!
//! `replay` runs the stored corpora, `mutate` changes them at random from a seed, `minimise` cuts a
//! failing input, `seeds` writes the part of the corpora that is made from real encodings.

use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use std::{env, fs, io};

use x0x_core::crypto::hash::blake3;
use x0x_fuzz::{TARGETS, Target, corpus, seeds, target};

const USAGE: &str = "\
usage: x0x-fuzz replay [TARGET…]
       x0x-fuzz mutate [--executions N] [--start N] [--seed N] [TARGET…]
       x0x-fuzz minimise TARGET FILE
       x0x-fuzz run TARGET FILE
       x0x-fuzz seeds";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["replay", names @ ..] => chosen(names).and_then(|chosen| replay(&chosen)),
        ["mutate", options @ ..] => mutate(options),
        ["minimise", name, file] => minimise(name, Path::new(file)),
        ["run", name, file] => chosen(&[name]).and_then(|chosen| {
            chosen[0].1(&fs::read(file)?);
            Ok(())
        }),
        ["seeds"] => write_seeds(),
        _ => Err(io::Error::other(USAGE)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

type Chosen = Vec<(&'static str, Target)>;

/// Returns the targets with these names, or all.
fn chosen(names: &[&str]) -> io::Result<Chosen> {
    if names.is_empty() {
        return Ok(TARGETS.to_vec());
    }
    let known = |name: &&str| TARGETS.iter().find(|(known, _)| known == name).copied();
    names
        .iter()
        .map(|name| known(name).ok_or_else(|| io::Error::other(format!("no target {name}"))))
        .collect()
}

fn replay(chosen: &Chosen) -> io::Result<()> {
    for (name, target) in chosen {
        let (start, inputs) = (Instant::now(), corpus::load(name)?);
        for (file, data) in &inputs {
            if fails(*target, data) {
                return Err(io::Error::other(format!("{name}: corpora/{name}/{file} fails")));
            }
        }
        let elapsed = start.elapsed().as_secs_f32();
        println!("{name}: {} inputs in {elapsed:.2} s", inputs.len());
    }
    Ok(())
}

fn mutate(options: &[&str]) -> io::Result<()> {
    let (mut executions, mut start, mut seed) = (100_000, 0, 1);
    let mut names = options;
    while let [option, value, rest @ ..] = names
        && option.starts_with("--")
    {
        let number = value.parse().map_err(|_| io::Error::other(USAGE))?;
        match *option {
            "--executions" => executions = number,
            "--start" => start = number,
            "--seed" => seed = number,
            _ => return Err(io::Error::other(USAGE)),
        }
        names = rest;
    }
    let mut failed = 0;
    for (name, target) in chosen(names)? {
        failed += usize::from(!explore(name, target, seed, start..start + executions)?);
    }
    if failed == 0 { Ok(()) } else { Err(io::Error::other(format!("{failed} targets failed"))) }
}

/// Runs one target; returns whether all executions passed.
fn explore(
    name: &str,
    target: Target,
    seed: u64,
    executions: std::ops::Range<u64>,
) -> io::Result<bool> {
    let (begun, inputs) = (Instant::now(), corpus::load(name)?);
    for execution in executions.clone() {
        let data = corpus::change(&inputs, name, seed, execution);
        if fails(target, &data) {
            let file = keep(name, &data)?;
            println!("{name}: seed {seed}, execution {execution} failed: {}", file.display());
            return Ok(false);
        }
    }
    let (count, elapsed) = (executions.end - executions.start, begun.elapsed().as_secs_f32());
    println!("{name}: seed {seed}, {count} executions in {elapsed:.0} s");
    Ok(true)
}

fn minimise(name: &str, file: &Path) -> io::Result<()> {
    let target = target(name).ok_or_else(|| io::Error::other(format!("no target {name}")))?;
    let data = fs::read(file)?;
    panic::set_hook(Box::new(|_| {}));
    if !fails(target, &data) {
        return Err(io::Error::other("the input does not fail"));
    }
    let small = corpus::minimise(data, |data| fails(target, data));
    println!("{} bytes: {}", small.len(), keep(name, &small)?.display());
    Ok(())
}

fn fails(target: Target, data: &[u8]) -> bool {
    panic::catch_unwind(AssertUnwindSafe(|| target(data))).is_err()
}

/// Writes a failing input under the name that libFuzzer would choose the folder for.
fn keep(name: &str, data: &[u8]) -> io::Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("artifacts").join(name);
    fs::create_dir_all(&folder)?;
    let hash: String = blake3(data)[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let file = folder.join(format!("crash-{hash}"));
    fs::write(&file, data)?;
    Ok(file)
}

fn write_seeds() -> io::Result<()> {
    for (name, _) in TARGETS {
        let folder = corpus::folder(name);
        fs::create_dir_all(&folder)?;
        for (number, seed) in seeds::seeds(name).iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:02}")), seed)?;
        }
    }
    Ok(())
}
