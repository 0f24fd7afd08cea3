//! Merkle trees over BLAKE3: one hash that stands for a list of payloads, and short paths that show
//! that a payload is in the list.
//!
//! The tree has the shape and the domain separation of RFC 6962, section 2.1: a leaf is
//! `H(00 ‖ salt ‖ index ‖ payload)`, a node is `H(01 ‖ left ‖ right)`, and the left half of a list is
//! the largest power of two below its length. The salt (16 bytes) hides a payload from those who
//! see only a path, and the index (16 bits, big-endian) ties a leaf to its place. The salts of one
//! tree come from one seed, so a party that has all payloads needs the seed only, and one that gets a
//! single payload gets its salt and learns nothing about the others.
//!
//! Nothing here allocates but [`path`], and no input panics.

use super::hash::{Blake3, HASH_LEN, blake3, blake3_keyed};

/// The length of a salt in bytes.
pub const SALT_LEN: usize = 16;

/// The length of the seed of the salts of a tree in bytes.
pub const SALT_SEED_LEN: usize = 32;

/// The longest path: as many nodes as a tree with 2¹⁶ leaves is high.
pub const PATH_NODES_MAX: usize = 16;

/// The hash of a leaf, of a node or of a whole tree.
pub type Hash = [u8; HASH_LEN];

/// What hides a payload.
pub type Salt = [u8; SALT_LEN];

/// What comes before the payload in a leaf.
const LEAF_PREFIX_LEN: usize = 1 + SALT_LEN + 2;

/// Leaves up to this size are put together before they are hashed, which is faster.
const SMALL_LEAF_MAX: usize = 1024;

/// Returns the salt of the leaf with this index: the first half of a keyed BLAKE3 hash.
pub fn salt(seed: &[u8; SALT_SEED_LEN], index: u16) -> Salt {
    let [salt, _] = halves(blake3_keyed(seed, &index.to_be_bytes()));
    salt
}

/// Returns the hash of a leaf.
pub fn leaf(salt: &Salt, index: u16, payload: &[u8]) -> Hash {
    let mut prefix = [0; LEAF_PREFIX_LEN];
    prefix[1..=SALT_LEN].copy_from_slice(salt);
    prefix[1 + SALT_LEN..].copy_from_slice(&index.to_be_bytes());
    let size = LEAF_PREFIX_LEN + payload.len();
    if size <= SMALL_LEAF_MAX {
        let mut whole = [0; SMALL_LEAF_MAX];
        whole[..LEAF_PREFIX_LEN].copy_from_slice(&prefix);
        whole[LEAF_PREFIX_LEN..size].copy_from_slice(payload);
        return blake3(&whole[..size]);
    }
    let mut hash = Blake3::new();
    hash.update(&prefix);
    hash.update(payload);
    hash.finish()
}

/// Returns the hash of the tree with these leaves. What they held is gone afterwards.
///
/// A tree without leaves has the hash of no bytes.
pub fn root(leaves: &mut [Hash]) -> Hash {
    let mut level = leaves.len();
    while level > 1 {
        level = reduce(leaves, level);
    }
    leaves.first().copied().unwrap_or_else(|| blake3(&[]))
}

/// Returns the nodes that lead from a leaf to the root, the lowest first. What the leaves held is
/// gone afterwards. A leaf that does not exist has no path.
pub fn path(leaves: &mut [Hash], index: u16) -> Option<Vec<Hash>> {
    let mut index = usize::from(index);
    let mut level = leaves.len();
    if index >= level {
        return None;
    }
    let mut path = Vec::new();
    while level > 1 {
        path.extend(leaves[..level].get(index ^ 1));
        level = reduce(leaves, level);
        index /= 2;
    }
    Some(path)
}

/// Returns the hash of the tree of `count` leaves in which a leaf has this index and path, or
/// `None` if no such tree can be.
pub fn climb(leaf: &Hash, index: u16, count: u16, path: &[Hash]) -> Option<Hash> {
    if index >= count {
        return None;
    }
    let (mut hash, mut index, mut level) = (*leaf, index, count);
    let mut path = path.iter();
    while level > 1 {
        let is_alone = index == level - 1 && level % 2 == 1;
        if !is_alone {
            let sibling = path.next()?;
            let [left, right] = if index % 2 == 1 { [sibling, &hash] } else { [&hash, sibling] };
            hash = node(left, right);
        }
        index /= 2;
        level = level.div_ceil(2);
    }
    path.next().is_none().then_some(hash)
}

fn node(left: &Hash, right: &Hash) -> Hash {
    let mut whole = [1; 1 + 2 * HASH_LEN];
    whole[1..=HASH_LEN].copy_from_slice(left);
    whole[1 + HASH_LEN..].copy_from_slice(right);
    blake3(&whole)
}

/// Replaces a level of the tree by the one above and returns how many nodes that has. A node
/// without a sibling rises as it is.
fn reduce(nodes: &mut [Hash], level: usize) -> usize {
    let above = level.div_ceil(2);
    for index in 0..above {
        nodes[index] = match nodes[..level].get(2 * index + 1) {
            Some(right) => node(&nodes[2 * index], right),
            None => nodes[2 * index],
        };
    }
    above
}

fn halves(hash: Hash) -> [[u8; HASH_LEN / 2]; 2] {
    let (halves, _) = hash.as_chunks();
    [halves[0], halves[1]]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: u16) -> Vec<Hash> {
        (0..count).map(|index| leaf(&salt(&[9; 32], index), index, &[7; 3])).collect()
    }

    /// The definition of RFC 6962, word for word.
    fn defined(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => blake3(&[]),
            [leaf] => *leaf,
            leaves => {
                let split = leaves.len().next_power_of_two() / 2;
                let (left, right) = leaves.split_at(split);
                blake3(&[&[1], &defined(left)[..], &defined(right)[..]].concat())
            }
        }
    }

    #[test]
    fn the_tree_has_the_shape_of_rfc_6962() {
        for count in 0..70 {
            let leaves = leaves(count);
            assert_eq!(root(&mut leaves.clone()), defined(&leaves), "{count} leaves");
        }
    }

    #[test]
    fn a_leaf_is_the_hash_of_its_parts_whatever_its_size() {
        for size in [0, 1, 1005, 1006, 5000] {
            let payload = vec![5; size];
            let whole = [&[0][..], &[3; 16], &[1, 2], &payload].concat();
            assert_eq!(leaf(&[3; 16], 0x0102, &payload), blake3(&whole), "{size} bytes");
        }
        assert_eq!(salt(&[3; 32], 0x0102), blake3_keyed(&[3; 32], &[1, 2])[..16]);
    }

    #[test]
    fn every_path_leads_to_the_root_and_no_other_does() {
        for count in 1..70 {
            let leaves = leaves(count);
            let whole = root(&mut leaves.clone());
            for index in 0..count {
                let way = path(&mut leaves.clone(), index).unwrap();
                let from = &leaves[usize::from(index)];
                assert_eq!(climb(from, index, count, &way), Some(whole), "{index} of {count}");
                assert_eq!(climb(from, index, index, &way), None, "an index over the count");
                let longer = [&way[..], &[whole]].concat();
                assert_eq!(climb(from, index, count, &longer), None, "a path too long");
                if let Some((_, shorter)) = way.split_last() {
                    assert_eq!(climb(from, index, count, shorter), None, "a path too short");
                }
                let other = (index + 1) % count;
                assert!(count == 1 || climb(from, other, count, &way) != Some(whole));
            }
            assert_eq!(path(&mut leaves.clone(), count), None);
        }
    }
}
