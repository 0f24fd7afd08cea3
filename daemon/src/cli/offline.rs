//! Commands that need no daemon.

use std::io::{IsTerminal as _, Write as _};
use std::process::{Command, Stdio};

use clap::CommandFactory as _;
use serde_json::json;

use super::args::Arguments;
use super::{CliError, Context};
use crate::config::{Config, Overrides};
use crate::doctor::{self, Verdict};

/// What this network stands for.
const CONSTITUTION: &str = include_str!("../api/constitution.md");

/// Looks for what is wrong.
pub(super) fn doctor(context: &Context) -> Result<(), CliError> {
    let overrides = Overrides { name: context.locator.name.clone(), ..Overrides::default() };
    let config = Config::read(&context.home, &overrides)
        .map_err(|error| CliError::Failed(error.to_string()))?;
    let locator = &context.locator;
    let report = match &locator.api {
        None => doctor::examine(&config, locator.token.clone()),
        // The token in the file is not for just any address.
        Some(api) => doctor::examine_at(&config, api, locator.token.clone()),
    };
    let (has_failure, summary) = (report.has_failure(), report.summary());
    let answer = json!({ "ok": !has_failure, "checks": report.checks(), "summary": summary });
    context.answer(&answer, || {
        let paint = |line: &str| match line.split_once("  ") {
            Some((word, rest)) => format!("{}  {rest}", coloured(context, word)),
            None => line.to_owned(),
        };
        report.to_string().lines().map(paint).collect::<Vec<_>>().join("\n")
    })?;
    if has_failure { Err(CliError::Failed("something is wrong, see above".into())) } else { Ok(()) }
}

fn coloured(context: &Context, word: &str) -> String {
    let verdict = [Verdict::Pass, Verdict::Warn, Verdict::Fail];
    match verdict.into_iter().find(|verdict| verdict.word() == word) {
        Some(Verdict::Pass) => context.paint.green(word),
        Some(Verdict::Warn) => context.paint.yellow(word),
        Some(Verdict::Fail) => context.paint.red(word),
        None => word.to_owned(),
    }
}

/// Shows the constitution, on a terminal through the pager.
pub(super) fn constitution(context: &Context, is_raw: bool) -> Result<(), CliError> {
    if context.is_json {
        let (version, status) = edition(CONSTITUTION);
        let answer = json!(
            { "ok": true, "version": version, "status": status, "content": CONSTITUTION }
        );
        return context.answer(&answer, String::new);
    }
    let pager = std::env::var("PAGER").ok().filter(|pager| !pager.trim().is_empty());
    let is_terminal = std::io::stdout().is_terminal();
    match pager.filter(|_| is_terminal && !is_raw) {
        Some(pager) if page(&pager).is_ok() => Ok(()),
        Some(_) | None => context.print(CONSTITUTION.trim_end()),
    }
}

/// The version and the status that a text names in the line `Version 1.2, draft.`
fn edition(text: &str) -> (String, String) {
    let line = text.lines().find_map(|line| line.strip_prefix("Version ")).unwrap_or_default();
    let (version, status) = line.trim_end_matches('.').split_once(", ").unwrap_or((line, ""));
    let mut letters = status.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    (version.to_owned(), first.into_iter().chain(letters).collect())
}

fn page(pager: &str) -> std::io::Result<()> {
    let mut child = Command::new("sh").arg("-c").arg(pager).stdin(Stdio::piped()).spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // The reader may leave before the end.
        drop(input.write_all(CONSTITUTION.as_bytes()));
    }
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(std::io::Error::other("the pager failed")) }
}

/// Shows all commands.
pub(super) fn tree(context: &Context) -> Result<(), CliError> {
    let command = Arguments::command();
    if context.is_json {
        return context.answer(&branch(&command), String::new);
    }
    let mut lines = vec![("x0x".to_owned(), String::new())];
    add_branches(&command, "", &mut lines);
    let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let lines = lines.iter().map(|(name, about)| format!("{name:<width$}  {about}"));
    let lines: Vec<String> = lines.map(|line| line.trim_end().to_owned()).collect();
    context.print(&lines.join("\n"))
}

fn add_branches(command: &clap::Command, margin: &str, lines: &mut Vec<(String, String)>) {
    let children: Vec<&clap::Command> = command.get_subcommands().collect();
    for (at, child) in children.iter().enumerate() {
        let is_last = at + 1 == children.len();
        let (twig, next) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        let about = child.get_about().map(ToString::to_string).unwrap_or_default();
        lines.push((format!("{margin}{twig}{}", usage(child)), about));
        add_branches(child, &format!("{margin}{next}"), lines);
    }
}

/// The name of a command with its arguments.
fn usage(command: &clap::Command) -> String {
    let own = command.get_arguments().filter(|argument| !argument.is_global_set());
    let positional = own.filter(|argument| argument.is_positional());
    let names = positional.map(|argument| match argument.is_required_set() {
        true => format!("<{}>", argument.get_id()),
        false => format!("[{}]", argument.get_id()),
    });
    [command.get_name().to_owned()].into_iter().chain(names).collect::<Vec<_>>().join(" ")
}

fn branch(command: &clap::Command) -> serde_json::Value {
    let about = command.get_about().map(ToString::to_string);
    let commands: Vec<_> = command.get_subcommands().map(branch).collect();
    json!({ "name": command.get_name(), "usage": usage(command), "about": about, "commands": commands })
}

/// Prints a script for a shell.
pub(super) fn completions(context: &Context, shell: clap_complete::Shell) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "x0x", &mut script);
    context.print(String::from_utf8_lossy(&script).trim_end())
}

/// Prints a manual page.
pub(super) fn man(context: &Context, words: &[String]) -> Result<(), CliError> {
    let mut root = Arguments::command();
    // This hands down the options for all, and gives each command its whole name.
    root.build();
    let mut command = &root;
    for word in words {
        let unknown = || CliError::Failed(format!("there is no command '{word}'; see: x0x tree"));
        command = command.find_subcommand(word).ok_or_else(unknown)?;
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page).map_err(CliError::system)?;
    context.print(String::from_utf8_lossy(&page).trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constitution_names_its_version() {
        assert_eq!(edition(CONSTITUTION), ("0.1".into(), "Draft".into()));
        assert_eq!(edition("x"), (String::new(), String::new()));
    }

    #[test]
    fn the_tree_has_every_command() {
        let mut lines = Vec::new();
        add_branches(&Arguments::command(), "", &mut lines);
        let has = |text: &str| lines.iter().any(|(name, _)| name.ends_with(text));
        let expected = [
            "├─ start",
            "─ send <id> <text>",
            "├─ dm",
            "└─ gossip",
            "─ subscribe <topic>",
            "─ completions <shell>",
        ];
        for text in expected.into_iter().chain(["└─ man [command]"]) {
            assert!(has(text), "{text} is not in {lines:?}");
        }
    }
}
