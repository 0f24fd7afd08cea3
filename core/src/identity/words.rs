//! Words: the start of an id in a form that people can read to each other.
//!
//! The first 44 bits of an id become four words of 11 bits, most significant bits first. A word is
//! one of 2048 plain English words; its place in the list is its value. No two of them are one
//! typing error apart, so a mistyped word is found, and the error names the word that was probably
//! meant.
//!
//! An agent with a user may be written `w w w w @ w w w w`: the agent's words, then the user's.
//!
//! Words help to recognise an id and to find it among known ones. They prove nothing: an attacker that tries
//! enough keys finds one with given words.

use std::fmt;
use std::str::FromStr;

use super::ids::ID_LEN;
use super::word_list::WORDS;

/// How many words stand for an id.
pub const WORD_COUNT: usize = 4;

/// How many bits of an id its words cover.
pub const PREFIX_BITS: usize = WORD_COUNT * WORD_BITS;

/// How many bits a word stands for.
const WORD_BITS: usize = 11;

/// How many typing errors a suggested word may be away.
const SUGGESTION_ERRORS_MAX: usize = 2;

/// The greatest length of a word for which another is suggested.
const SUGGESTION_LEN_MAX: usize = 12;

/// Why a text is not words for an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordsError {
    /// There are too few or too many words.
    #[error("expected {WORD_COUNT} words, got {count}")]
    WrongCount {
        /// How many there are.
        count: usize,
    },
    /// A word is not on the list.
    #[error("unknown word {word:?} (word {position}){}", meant(*.suggestion))]
    UnknownWord {
        /// The first such word.
        word: String,
        /// Its place among the words, counted from one; those of a user are counted anew.
        position: usize,
        /// The word on the list that is most like it.
        suggestion: Option<&'static str>,
    },
    /// More than one user is given.
    #[error("more than one \"@\"")]
    TooManyUsers,
}

fn meant(suggestion: Option<&str>) -> String {
    suggestion.map(|word| format!(", did you mean {word:?}?")).unwrap_or_default()
}

/// The words for the start of an id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Words {
    /// The first [`PREFIX_BITS`] bits of the id.
    prefix: u64,
}

impl Words {
    /// Returns the words for an id.
    pub fn of(id: &[u8; ID_LEN]) -> Self {
        let (&start, _) = id.split_first_chunk().expect("an id is longer than its prefix");
        Self { prefix: u64::from_be_bytes(start) >> (64 - PREFIX_BITS) }
    }

    /// Returns whether these are the words for the id. Other ids may have the same.
    pub fn matches(&self, id: &[u8; ID_LEN]) -> bool {
        *self == Self::of(id)
    }

    /// Returns the start of the id: the [`PREFIX_BITS`] bits that the words stand for.
    pub fn prefix(&self) -> u64 {
        self.prefix
    }
}

impl fmt::Display for Words {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = (0..WORD_COUNT).rev().map(|at| spell(self.prefix >> (at * WORD_BITS)));
        formatter.write_str(&words.collect::<Vec<_>>().join(" "))
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Words({self})")
    }
}

impl FromStr for Words {
    type Err = WordsError;

    fn from_str(text: &str) -> Result<Self, WordsError> {
        let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
        let mut prefix = 0;
        for (word, position) in words.iter().zip(1..) {
            let value = read(word).ok_or_else(|| WordsError::UnknownWord {
                word: word.clone(),
                position,
                suggestion: nearest(word),
            })?;
            prefix = (prefix << WORD_BITS) | value;
        }
        if words.len() != WORD_COUNT {
            return Err(WordsError::WrongCount { count: words.len() });
        }
        Ok(Self { prefix })
    }
}

/// Returns the word for the low 11 bits.
fn spell(bits: u64) -> &'static str {
    let at = usize::try_from(bits % (1 << WORD_BITS)).expect("eleven bits fit");
    WORDS[at]
}

/// Returns the 11 bits that a word in lower case stands for.
fn read(word: &str) -> Option<u64> {
    let at = WORDS.binary_search(&word).ok()?;
    u64::try_from(at).ok()
}

/// Returns the word on the list that is the fewest typing errors away, if they are few.
fn nearest(word: &str) -> Option<&'static str> {
    let letters: Vec<char> = word.chars().collect();
    if letters.len() > SUGGESTION_LEN_MAX {
        return None;
    }
    // Each letter that is missing or too many is an error.
    let is_near = |known: &&str| known.len().abs_diff(letters.len()) <= SUGGESTION_ERRORS_MAX;
    let known = WORDS.iter().copied().filter(is_near);
    let (errors, known) = known.map(|known| (distance(&letters, known.as_bytes()), known)).min()?;
    (errors <= SUGGESTION_ERRORS_MAX).then_some(known)
}

/// Returns how many letters must be added, removed, replaced, or swapped with their neighbours to
/// turn one word into the other. The second has letters of ASCII; both have no more than
/// [`SUGGESTION_LEN_MAX`].
fn distance(left: &[char], right: &[u8]) -> usize {
    let is_same = |i: usize, j: usize| left[i - 1] == char::from(right[j - 1]);
    // The last three rows.
    let mut rows = [std::array::from_fn::<usize, { SUGGESTION_LEN_MAX + 1 }, _>(|j| j); 3];
    for i in 1..=left.len() {
        let (row, above, beyond) = (i % 3, (i + 2) % 3, (i + 1) % 3);
        rows[row][0] = i;
        for j in 1..=right.len() {
            let replaced = rows[above][j - 1] + usize::from(!is_same(i, j));
            let mut least = replaced.min(rows[above][j] + 1).min(rows[row][j - 1] + 1);
            if i > 1 && j > 1 && is_same(i, j - 1) && is_same(i - 1, j) {
                least = least.min(rows[beyond][j - 2] + 1);
            }
            rows[row][j] = least;
        }
    }
    rows[left.len() % 3][right.len()]
}

/// The words for an agent and, where it matters, for its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentWords {
    /// The agent's.
    pub agent: Words,
    /// The user's.
    pub user: Option<Words>,
}

impl fmt::Display for AgentWords {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.agent)?;
        self.user.iter().try_for_each(|user| write!(formatter, " @ {user}"))
    }
}

impl FromStr for AgentWords {
    type Err = WordsError;

    fn from_str(text: &str) -> Result<Self, WordsError> {
        let mut parts = text.split('@');
        let agent = parts.next().unwrap_or_default().parse()?;
        let user = parts.next().map(str::parse).transpose()?;
        if parts.next().is_some() {
            return Err(WordsError::TooManyUsers);
        }
        Ok(Self { agent, user })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::crypto::hash::sha256;

    fn errors(left: &str, right: &str) -> usize {
        distance(&left.chars().collect::<Vec<_>>(), right.as_bytes())
    }

    #[test]
    fn the_words_are_plain_and_in_order() {
        assert_eq!(WORDS.len(), 1 << WORD_BITS);
        assert!(WORDS.is_sorted_by(|left, right| left < right));
        for word in WORDS.iter() {
            assert!((3..=8).contains(&word.len()), "{word}");
            assert!(word.bytes().all(|letter| letter.is_ascii_lowercase()), "{word}");
        }
    }

    #[test]
    fn the_list_never_changes() {
        let hash = sha256((WORDS.join("\n") + "\n").as_bytes());
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "5ffe9afe41da6f760bc1af7c38c2ede1c3b571cb92bb4d3cf63004548232d960");
    }

    #[test]
    fn no_two_words_are_one_typing_error_apart() {
        // Words that are one error apart become equal if at most one letter of each is removed.
        let mut shortened: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for word in WORDS.iter() {
            let removed = (0..word.len()).map(|at| word[..at].to_owned() + &word[at + 1..]);
            for form in removed.chain([(*word).to_owned()]).collect::<BTreeSet<_>>() {
                shortened.entry(form).or_default().push(word);
            }
        }
        for alike in shortened.values() {
            for (at, left) in alike.iter().enumerate() {
                let close = alike[at + 1..].iter().find(|right| errors(left, right) <= 1);
                assert_eq!(close, None, "{left}");
            }
        }
    }

    #[test]
    fn all_words_are_read_back() {
        for bits in 0..1 << WORD_BITS {
            assert_eq!(read(spell(bits)), Some(bits));
        }
    }

    #[test]
    fn typing_errors_are_counted() {
        let cases =
            [("", "", 0), ("tiger", "tiger", 0), ("tigr", "tiger", 1), ("itger", "tiger", 1)];
        for (left, right, expected) in cases {
            assert_eq!(errors(left, right), expected, "{left} {right}");
            assert_eq!(errors(right, left), expected, "{right} {left}");
        }
        assert_eq!(errors("abc", ""), 3);
        assert_eq!(errors("stiger", "tigre"), 2);
    }
}
