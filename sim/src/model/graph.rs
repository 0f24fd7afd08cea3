//! Who is whose neighbour.

use super::histogram::Histogram;

/// An undirected graph of nodes; those that are absent have no place in it.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// The neighbours of each node, `None` for an absent one.
    neighbours: Vec<Option<Vec<u32>>>,
}

impl Graph {
    /// Takes the neighbours of each node.
    pub fn new(neighbours: Vec<Option<Vec<u32>>>) -> Self {
        Self { neighbours }
    }

    /// Returns how many nodes have how many neighbours.
    pub fn degrees(&self) -> Histogram {
        let mut degrees = Histogram::default();
        for neighbours in self.neighbours.iter().flatten() {
            degrees.add(neighbours.len());
        }
        degrees
    }

    /// Returns the sizes of the connected components, the largest first.
    pub fn components(&self) -> Vec<usize> {
        let mut root: Vec<u32> = (0_u32..).take(self.neighbours.len()).collect();
        for (node, neighbours) in (0_u32..).zip(&self.neighbours) {
            for &neighbour in neighbours.iter().flatten() {
                if self.neighbours.get(neighbour as usize).is_some_and(Option::is_some) {
                    let (a, b) = (find(&mut root, node), find(&mut root, neighbour));
                    root[a.max(b) as usize] = a.min(b);
                }
            }
        }
        let mut sizes = vec![0; self.neighbours.len()];
        for node in (0_u32..).zip(&self.neighbours).filter(|(_, n)| n.is_some()).map(|(i, _)| i) {
            sizes[find(&mut root, node) as usize] += 1;
        }
        sizes.retain(|&size| size > 0);
        sizes.sort_unstable_by_key(|&size| std::cmp::Reverse(size));
        sizes
    }

    /// Returns how many links only one of both ends counts as one.
    pub fn one_sided(&self) -> usize {
        let links = (0_u32..).zip(&self.neighbours);
        let links = links.flat_map(|(node, list)| list.iter().flatten().map(move |&n| (node, n)));
        links
            .filter(|&(node, other)| {
                let back = self.neighbours.get(other as usize).and_then(Option::as_ref);
                back.is_none_or(|back| !back.contains(&node))
            })
            .count()
    }
}

fn find(root: &mut [u32], mut node: u32) -> u32 {
    while root[node as usize] != node {
        let above = root[node as usize];
        root[node as usize] = root[above as usize];
        node = above;
    }
    node
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_leave_out_who_is_absent() {
        let graph = Graph::new(vec![
            Some(vec![1]),
            Some(vec![0, 2]),
            None,
            Some(vec![4]),
            Some(vec![3]),
            Some(vec![0]),
            Some(vec![]),
        ]);
        assert_eq!(graph.components(), [3, 2, 1]);
        assert_eq!(graph.one_sided(), 2);
        assert_eq!(graph.degrees().iter().collect::<Vec<_>>(), [(0, 1), (1, 4), (2, 1)]);
    }
}
