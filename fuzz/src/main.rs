//! Runs the targets without libFuzzer, with any compiler.
//!
//! `replay` runs the stored corpora, `mutate` changes them at random from a seed, `long` does so ten
//! million times for each decoder and a million times for what has a state, `minimise` cuts a failing
//! input, `seeds` writes the part of the corpora that is made from real encodings.

use std::ops::Range;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use std::{env, fs, io, thread};

use x0x_core::crypto::hash::blake3;
use x0x_fuzz::corpus::Material;
use x0x_fuzz::{TARGETS, Target, corpus, long_run, seeds, target};

const USAGE: &str = "\
usage: x0x-fuzz replay [TARGET…]
       x0x-fuzz mutate [--executions N] [--start N] [--seed N] [--jobs N] [TARGET…]
       x0x-fuzz long [--seed N] [--jobs N] [TARGET…]
       x0x-fuzz minimise TARGET FILE
       x0x-fuzz run TARGET FILE
       x0x-fuzz seeds";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["replay", names @ ..] => chosen(names).and_then(|chosen| replay(&chosen)),
        ["mutate", options @ ..] => mutate(Some(100_000), options),
        ["long", options @ ..] => mutate(None, options),
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

/// Runs targets so many times, or as often as a long run does.
fn mutate(executions: Option<u64>, options: &[&str]) -> io::Result<()> {
    let (mut executions, mut start, mut seed, mut jobs) = (executions, 0, 1, 1);
    let mut names = options;
    while let [option, value, rest @ ..] = names
        && option.starts_with("--")
    {
        let number = value.parse().map_err(|_| io::Error::other(USAGE))?;
        match *option {
            "--executions" => executions = Some(number),
            "--start" => start = number,
            "--seed" => seed = number,
            "--jobs" => jobs = number,
            _ => return Err(io::Error::other(USAGE)),
        }
        names = rest;
    }
    let waiting = Mutex::new(chosen(names)?.into_iter());
    let failed = Mutex::new(Vec::new());
    let work = || {
        while let Some((name, target)) = lock(&waiting).next() {
            let end = start + executions.unwrap_or_else(|| long_run(name));
            match explore(name, target, seed, start..end) {
                Ok(line) => println!("{line}"),
                Err(error) => {
                    eprintln!("{error}");
                    lock(&failed).push(name);
                }
            }
        }
    };
    thread::scope(|scope| (0..jobs.max(1)).for_each(|_| drop(scope.spawn(work))));
    let failed = lock(&failed).join(", ");
    if failed.is_empty() { Ok(()) } else { Err(io::Error::other(format!("failed: {failed}"))) }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs one target; returns what to say of it.
fn explore(name: &str, target: Target, seed: u64, executions: Range<u64>) -> io::Result<String> {
    let (begun, material) = (Instant::now(), Material::load(name)?);
    let count = executions.end - executions.start;
    for execution in executions {
        let data = corpus::change(&material, name, seed, execution);
        if fails(target, &data) {
            let file = keep(name, &data)?;
            let what = format!("{name}: seed {seed}, execution {execution} failed");
            return Err(io::Error::other(format!("{what}: {}", file.display())));
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let rate = count as f64 / seconds;
    Ok(format!("{name}: seed {seed}, {count} executions in {seconds:.0} s, {rate:.0} a second"))
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
