//! The files of an instance: who owns them, who may use them, and whether the keys are whole.

use std::fs::{Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use x0x_core::identity::{AgentKey, MachineKey, UserKey};

use super::{Report, Verdict};
use crate::config::Config;
use crate::files::{self, Fault, parse_kem_key};
use crate::paths::api_token;

/// Says what is wrong with the content of a file.
type Parse = fn(&[u8]) -> Result<(), String>;

/// Looks at the directories and files of a configuration.
pub(super) fn examine(report: &mut Report, config: &Config) {
    let (keys, data) = (&config.keys_dir, &config.data_dir);
    configuration(report, config.file.as_deref());
    entry(report, "key directory", keys);
    if entry(report, "data directory", data).is_some() {
        probe(report, data);
    }
    entry(report, "API token", &api_token(data));
    entry(report, "store", &data.join("x0x.redb"));
    let parsers: [Parse; 4] = [
        |bytes| text(MachineKey::from_key_file(bytes)),
        |bytes| text(AgentKey::from_key_file(bytes)),
        |bytes| text(parse_kem_key(bytes).ok_or("this is not a key for sealed messages")),
        |bytes| text(UserKey::from_key_file(bytes)),
    ];
    let paths = [
        keys.join("machine.key"),
        keys.join("agent.key"),
        data.join("agent_kem.key"),
        config.user_key.clone(),
    ];
    for (path, parse) in paths.iter().zip(parsers) {
        if entry(report, "key file", path).is_some() {
            content(report, path, parse);
        }
    }
}

fn text<K, E: ToString>(parsed: Result<K, E>) -> Result<(), String> {
    parsed.map(drop).map_err(|error| error.to_string())
}

fn configuration(report: &mut Report, file: Option<&Path>) {
    let Some(path) = file else {
        return report.add(Verdict::Pass, "configuration", "no file: defaults");
    };
    // Root may own it, and everybody may read it.
    match files::inspect(path) {
        Ok((_, Some(fault @ (Fault::Writable { .. } | Fault::Link { .. })))) => {
            report.add(Verdict::Warn, "configuration", fault.to_string());
        }
        Ok((metadata, Some(fault @ Fault::Foreign { .. }))) if metadata.uid() != 0 => {
            report.add(Verdict::Warn, "configuration", fault.to_string());
        }
        Ok(_) => report.add(Verdict::Pass, "configuration", path.display().to_string()),
        Err(error) => cannot(report, "configuration", "look at", path, &error),
    }
}

/// Looks at a file or a directory, unless there is none.
fn entry(report: &mut Report, name: &'static str, path: &Path) -> Option<Metadata> {
    match files::inspect(path) {
        Ok((metadata, fault)) => {
            let (verdict, detail) = match fault {
                // A start sets its mode right.
                Some(fault @ Fault::Readable { .. }) => (Verdict::Warn, fault.to_string()),
                Some(fault) => (Verdict::Fail, fault.to_string()),
                None => {
                    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
                    let path = path.display();
                    (Verdict::Pass, format!("{path} (user {owner}, mode {mode:o})"))
                }
            };
            report.add(verdict, name, detail);
            Some(metadata)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if name.ends_with("directory") {
                let detail = format!("{} is made by the first start", path.display());
                report.add(Verdict::Pass, name, detail);
            }
            None
        }
        Err(error) => {
            cannot(report, name, "look at", path, &error);
            None
        }
    }
}

/// Writes a file in the data directory and removes it.
fn probe(report: &mut Report, directory: &Path) {
    let probe = directory.join(format!(".doctor-{}", std::process::id()));
    // In a directory that others may write, a link of theirs may stand there.
    let made = OpenOptions::new().write(true).create_new(true).open(&probe);
    let written = made.and_then(|mut file| file.write_all(b"x0x"));
    if let Err(error) = written.and_then(|()| std::fs::remove_file(&probe)) {
        cannot(report, "data directory", "write in", directory, &error);
    }
}

/// Reads a key.
fn content(report: &mut Report, path: &Path, parse: Parse) {
    match std::fs::read(path) {
        Ok(bytes) => {
            if let Err(reason) = parse(&bytes) {
                let path = path.display();
                let detail = format!("{path}: {reason}; restore it from a copy, or move it away");
                report.add(Verdict::Fail, "key file", detail);
            }
        }
        Err(error) => cannot(report, "key file", "read", path, &error),
    }
}

fn cannot(report: &mut Report, name: &'static str, action: &str, path: &Path, error: &io::Error) {
    report.add(Verdict::Fail, name, format!("cannot {action} {}: {error}", path.display()));
}
