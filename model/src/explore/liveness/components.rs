//! Strongly connected components: where a machine can stay for ever.

use core::ops::Range;

use super::graph::{CLASS, Graph};
use super::lasso::{NOWHERE, Reach};

/// The strongly connected components of those worlds over steps that recur.
pub(super) struct Components {
    /// By world.
    pub(super) of: Vec<u32>,
    /// The first world, in the order of reaching, of a component that a fair machine can stay in.
    pub(super) fair: Option<u32>,
}

impl Components {
    pub(super) fn new(graph: &Graph<'_>, duty: usize, reach: &Reach) -> Components {
        let mut place = vec![0u32; reach.from.len()];
        for (at, &state) in reach.order.iter().enumerate() {
            place[state as usize] = at as u32;
        }
        let mut fair: Option<u32> = None;
        let next = |edge: usize| graph.recurs(duty, edge).then(|| graph.to[edge]);
        let of = components(
            reach.from.len(),
            &reach.order,
            &|state| graph.edges(state),
            &next,
            &mut |members, number, of| {
                let every = |owed, &member: &u32| owed & graph.due(duty, member);
                let mut owed = members.iter().fold(!0, every);
                for &member in members {
                    if owed == 0 {
                        break;
                    }
                    for edge in graph.edges(member) {
                        if next(edge).is_some_and(|next| of[next as usize] == number) {
                            owed &= !(1 << (graph.kinds[edge] & CLASS));
                        }
                    }
                }
                if owed == 0 {
                    let first = members.iter().copied().chain(fair);
                    fair = first.min_by_key(|&state| place[state as usize]);
                }
            },
        );
        Components { of, fair }
    }
}

/// Takes a component: its members, its number, and the component of each node as far as known.
type Found<'a> = dyn FnMut(&[u32], u32, &[u32]) + 'a;

/// Tarjan's algorithm, without recursion: depths here are in the hundred thousands. For each node
/// its component.
fn components(
    nodes: usize,
    roots: &[u32],
    edges: &dyn Fn(u32) -> Range<usize>,
    next: &dyn Fn(usize) -> Option<u32>,
    found: &mut Found<'_>,
) -> Vec<u32> {
    let mut index = vec![NOWHERE; nodes];
    let mut low = vec![NOWHERE; nodes];
    let mut of = vec![NOWHERE; nodes];
    // Those entered that have no component yet, and the way to the present one with the edge that
    // each is at.
    let mut open: Vec<u32> = Vec::new();
    let mut way: Vec<(u32, usize)> = Vec::new();
    let mut entered = 0;
    let mut number = 0;
    for &root in roots {
        if index[root as usize] != NOWHERE {
            continue;
        }
        way.push((root, edges(root).start));
        while let Some(&(node, edge)) = way.last() {
            let at = node as usize;
            if index[at] == NOWHERE {
                index[at] = entered;
                low[at] = entered;
                entered += 1;
                open.push(node);
            }
            if edge < edges(node).end {
                let last = way.len() - 1;
                way[last].1 += 1;
                match next(edge) {
                    Some(next) if index[next as usize] == NOWHERE => {
                        way.push((next, edges(next).start));
                    }
                    Some(next) if of[next as usize] == NOWHERE => {
                        low[at] = low[at].min(index[next as usize]);
                    }
                    _ => {}
                }
                continue;
            }
            way.pop();
            if let Some(&(before, _)) = way.last() {
                low[before as usize] = low[before as usize].min(low[at]);
            }
            if low[at] == index[at] {
                let begin = open.iter().rposition(|&other| other == node);
                let begin = begin.unwrap_or_default();
                for &member in &open[begin..] {
                    of[member as usize] = number;
                }
                found(&open[begin..], number, &of);
                open.truncate(begin);
                number += 1;
            }
        }
    }
    of
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Components by their definition: two nodes are in one if each is reached from the other.
    #[test]
    fn components_are_those_of_their_definition() {
        let mut random = 1u64;
        let mut below = |end: usize| {
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (random >> 33) as usize % end
        };
        let mut largest = 0;
        for round in 0..500 {
            let nodes = 1 + below(12);
            let out = 1 + round % 3;
            let to: Vec<usize> = (0..nodes * out).map(|_| below(nodes)).collect();
            let cut: Vec<bool> = to.iter().map(|_| below(4) == 0).collect();
            let mut reached = vec![vec![false; nodes]; nodes];
            for (node, reached) in reached.iter_mut().enumerate() {
                let mut todo = vec![node];
                while let Some(at) = todo.pop() {
                    if !core::mem::replace(&mut reached[at], true) {
                        let edges = (at * out..(at + 1) * out).filter(|&edge| !cut[edge]);
                        todo.extend(edges.map(|edge| to[edge]));
                    }
                }
            }
            let roots: Vec<u32> = (0..nodes as u32).collect();
            let mut given = 0;
            let of = components(
                nodes,
                &roots,
                &|node| node as usize * out..(node as usize + 1) * out,
                &|edge| (!cut[edge]).then(|| to[edge] as u32),
                &mut |members, number, of| {
                    given += members.len();
                    largest = largest.max(members.len());
                    assert!(members.iter().all(|&member| of[member as usize] == number));
                },
            );
            assert_eq!(given, nodes);
            for a in 0..nodes {
                for b in 0..nodes {
                    let one = reached[a][b] && reached[b][a];
                    assert_eq!(of[a] == of[b], one, "{a} and {b} of {to:?} without {cut:?}");
                }
            }
        }
        assert!(largest > 5);
    }
}
