//! What every page has to be, for the tests.

/// Fails if a page is not well formed, holds a script, or asks for something from elsewhere.
#[track_caller]
pub(crate) fn check(page: &str) {
    for never in ["<script", "https:", "src=", "href", "<link", "@import", "url(", "NaN", "inf\""] {
        assert!(!page.contains(never), "{never}");
    }
    assert!(!page.contains("http:"), "nothing is fetched");
    let body = page.strip_prefix("<!DOCTYPE html>").expect("a page");
    let mut open = Vec::new();
    let mut rest = body;
    while let Some(begin) = rest.find('<') {
        let end = begin + rest[begin..].find('>').expect("a tag ends");
        let tag = &rest[begin + 1..end];
        assert!(!rest[..begin].contains('>'), "a text with a bracket before <{tag}>");
        assert_eq!(tag.matches('"').count() % 2, 0, "a quote is open in <{tag}>");
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap_or_default();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "closed in disorder");
        } else if !tag.ends_with('/') {
            open.push(name);
        }
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty(), "{open:?} stay open");
}
