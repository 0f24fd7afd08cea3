//! Words: the start of an id in a form that people can read to each other.
//!
//! The first 48 bits of an id become four words of 12 bits, most significant bits first. A word is
//! two syllables and a syllable is a consonant (four bits) and a vowel (two bits), as in
//! [proquints](https://arxiv.org/abs/0901.4016), so that all 4096 words are distinct and nobody
//! needs a list:
//!
//! ```text
//! consonant  0 b  1 d  2 f  3 g  4 h  5 j  6 k  7 l  8 m  9 n  10 p  11 r  12 s  13 t  14 v  15 z
//! vowel      0 a  1 i  2 o  3 u
//! ```
//!
//! An agent with a user may be written `w w w w @ w w w w`: the agent's words, then the user's.
//!
//! Words help to recognise an id and to find it among known ones. They prove nothing: whoever tries
//! enough keys finds one with given words.

use std::fmt;
use std::str::FromStr;

use super::ids::ID_LEN;

/// How many words stand for an id.
pub const WORD_COUNT: usize = 4;

/// How many bytes of an id its words cover.
const PREFIX_LEN: usize = 6;
const WORD_BITS: usize = 12;
const CONSONANTS: &[u8; 16] = b"bdfghjklmnprstvz";
const VOWELS: &[u8; 4] = b"aiou";

/// Why a text is not words for an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordsError {
    /// There are too few or too many words.
    #[error("expected {WORD_COUNT} words, got {count}")]
    WrongCount {
        /// How many there are.
        count: usize,
    },
    /// A word is not one of the 4096.
    #[error("unknown word {word:?} (word {position})")]
    UnknownWord {
        /// The first such word.
        word: String,
        /// Its place among the words, counted from one; those of a user are counted anew.
        position: usize,
    },
    /// More than one user is given.
    #[error("more than one \"@\"")]
    TooManyUsers,
}

/// The words for the start of an id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Words {
    prefix: [u8; PREFIX_LEN],
}

impl Words {
    /// Returns the words for an id.
    pub fn of(id: &[u8; ID_LEN]) -> Self {
        let (&prefix, _) = id.split_first_chunk().expect("an id is longer than its prefix");
        Self { prefix }
    }

    /// Tells whether these are the words for the id. Other ids may have the same.
    pub fn matches(&self, id: &[u8; ID_LEN]) -> bool {
        id.starts_with(&self.prefix)
    }

    /// Returns the start of the id: the six bytes that the words stand for.
    pub fn prefix(&self) -> [u8; PREFIX_LEN] {
        self.prefix
    }
}

impl fmt::Display for Words {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.prefix.iter().fold(0_u64, |bits, &byte| (bits << 8) | u64::from(byte));
        let words: Vec<String> =
            (0..WORD_COUNT).rev().map(|at| spell(bits >> (at * WORD_BITS))).collect();
        formatter.write_str(&words.join(" "))
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
        let words: Vec<&str> = text.split_whitespace().collect();
        let mut bits = 0;
        for (&word, position) in words.iter().zip(1..) {
            let value = read(word)
                .ok_or_else(|| WordsError::UnknownWord { word: word.to_owned(), position })?;
            bits = (bits << WORD_BITS) | value;
        }
        if words.len() != WORD_COUNT {
            return Err(WordsError::WrongCount { count: words.len() });
        }
        let [_, _, prefix @ ..] = bits.to_be_bytes();
        Ok(Self { prefix })
    }
}

/// Returns the word for the low 12 bits.
fn spell(bits: u64) -> String {
    let pick = |letters: &[u8], shift: u32| {
        let at = usize::try_from(bits >> shift).unwrap_or(usize::MAX) & (letters.len() - 1);
        char::from(letters[at])
    };
    [pick(CONSONANTS, 8), pick(VOWELS, 6), pick(CONSONANTS, 2), pick(VOWELS, 0)].iter().collect()
}

/// Returns the 12 bits that a word in either case stands for.
fn read(word: &str) -> Option<u64> {
    let letters: [u8; 4] = word.to_ascii_lowercase().into_bytes().try_into().ok()?;
    let alphabets: [&[u8]; 4] = [CONSONANTS, VOWELS, CONSONANTS, VOWELS];
    letters.iter().zip(alphabets).try_fold(0, |bits, (letter, alphabet)| {
        let at = alphabet.iter().position(|known| known == letter)?;
        Some((bits << alphabet.len().ilog2()) | u64::try_from(at).ok()?)
    })
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
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn all_words_are_distinct_and_read_back() {
        let words: BTreeSet<String> = (0..4096).map(spell).collect();
        assert_eq!(words.len(), 4096);
        for bits in 0..4096 {
            assert_eq!(read(&spell(bits)), Some(bits));
        }
    }
}
