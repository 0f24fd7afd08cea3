//! What unit tests need.

use std::path::Path;
use std::time::Instant;

/// The one instant from which a test counts.
#[expect(clippy::disallowed_methods, reason = "an instant has no other constructor")]
pub(crate) fn start() -> Instant {
    Instant::now()
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares lines with the file of this name in `tests/golden/`. `UPDATE_GOLDEN=1` rewrites the
/// file: review the difference as code.
#[expect(clippy::disallowed_methods, reason = "a switch of the test, not of the library")]
pub(crate) fn check_golden(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var("UPDATE_GOLDEN").is_ok() {
        std::fs::write(&path, actual).expect("the golden file can be written");
    }
    let expected = std::fs::read_to_string(&path).expect("the golden file can be read");
    for (number, (actual, expected)) in (1..).zip(actual.lines().zip(expected.lines())) {
        assert_eq!(actual, expected, "line {number}");
    }
    assert_eq!(actual.lines().count(), expected.lines().count());
}
