//! Dictionaries: pieces of bytes that random changes would take long to find.
//!
//! A dictionary belongs to the targets of one family: those whose names begin with its name. The
//! files have libFuzzer's form, for its option `-dict`: one `"…"` in a line, in which `\xHH` is a byte,
//! `\\` a backslash and `\"` a quotation mark; `#` begins a comment.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// Returns where the dictionaries are stored.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dictionaries")
}

/// Reads the dictionary of a target; it is empty if there is none.
///
/// # Errors
///
/// If the file cannot be read, or has another form.
pub fn load(target: &str) -> io::Result<Vec<Vec<u8>>> {
    let family = target.split('_').next().unwrap_or_default();
    let file = folder().join(format!("{family}.dict"));
    if !file.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(&file)?;
    let lines = text.lines().map(str::trim);
    let entries = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let wrong = |line| io::Error::other(format!("{}: no entry: {line}", file.display()));
    entries.map(|line| parse(line).ok_or_else(|| wrong(line))).collect()
}

/// Reads one entry.
fn parse(line: &str) -> Option<Vec<u8>> {
    let mut rest = line.strip_prefix('"')?.strip_suffix('"')?.as_bytes();
    let mut token = Vec::new();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            token.push(byte);
            continue;
        }
        let (&escape, after) = rest.split_first()?;
        rest = after;
        if escape == b'x' {
            let digits = str::from_utf8(rest.get(..2)?).ok()?;
            token.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &rest[2..];
        } else {
            token.push(escape);
        }
    }
    (!token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_have_the_form_of_libfuzzer() {
        assert_eq!(parse(r#""a\x00\xffb""#), Some(b"a\x00\xffb".to_vec()));
        assert_eq!(parse(r#""\\\"""#), Some(b"\\\"".to_vec()));
        for wrong in ["", "a", r#""""#, r#""\x0""#, r#""\"#, r#""\xgg""#] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
