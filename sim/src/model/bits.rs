//! A set of node numbers.

/// A set of small numbers, one bit for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bits {
    words: Vec<u64>,
}

impl Bits {
    /// Adds a number; tells whether it was not in the set.
    pub fn insert(&mut self, number: u32) -> bool {
        let (word, bit) = place(number);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let is_new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        is_new
    }

    /// Removes a number.
    pub fn remove(&mut self, number: u32) {
        let (word, bit) = place(number);
        if let Some(word) = self.words.get_mut(word) {
            *word &= !bit;
        }
    }

    /// Tells whether a number is in the set.
    pub fn contains(&self, number: u32) -> bool {
        let (word, bit) = place(number);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Returns how many numbers there are.
    pub fn count(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// Returns the numbers in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        let count = u32::try_from(self.words.len() * 64).unwrap_or(u32::MAX);
        (0..count).filter(|&number| self.contains(number))
    }
}

fn place(number: u32) -> (usize, u64) {
    ((number / 64) as usize, 1 << (number % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_in_the_set_once() {
        let mut bits = Bits::default();
        assert!(bits.insert(70) && bits.insert(3) && !bits.insert(70));
        assert_eq!(bits.iter().collect::<Vec<_>>(), [3, 70]);
        bits.remove(3);
        assert_eq!((bits.count(), bits.contains(3), bits.contains(1000)), (1, false, false));
    }
}
