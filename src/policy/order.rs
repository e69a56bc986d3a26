//! Members before the policies that name them; and the circles that keep that from being.

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Order {
    /// Every node, those that it names before it (but for circles).
    pub(super) nodes: Vec<usize>,
    /// Each circle: its nodes from the first one on, each with the place of the edge that goes on from it.
    pub(super) circles: Vec<Vec<(usize, usize)>>,
}

/// Walks the graph in which node `n` names `edges[n]`. Without recursion: a person may write a chain of any length.
pub(super) fn order(edges: &[Vec<usize>]) -> Order {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        New,
        Open,
        Done,
    }
    let mut found = Order::default();
    let mut states = vec![State::New; edges.len()];
    for start in 0..edges.len() {
        if states[start] != State::New {
            continue;
        }
        // The way here: each node, and the edge that is tried next.
        let mut way = vec![(start, 0)];
        states[start] = State::Open;
        while let Some((node, edge)) = way.last_mut() {
            let Some(&target) = edges[*node].get(*edge) else {
                states[*node] = State::Done;
                found.nodes.push(*node);
                way.pop();
                continue;
            };
            *edge += 1;
            match states[target] {
                State::Done => {}
                State::New => {
                    states[target] = State::Open;
                    way.push((target, 0));
                }
                State::Open => {
                    let circle = way.iter().skip_while(|(node, _)| *node != target);
                    found
                        .circles
                        .push(circle.map(|(node, next)| (*node, next - 1)).collect());
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_first() {
        let found = order(&[vec![1, 2], vec![2], vec![]]);
        assert_eq!(
            found,
            Order {
                nodes: vec![2, 1, 0],
                circles: vec![]
            }
        );
    }

    #[test]
    fn a_circle_is_told_once_and_whole() {
        let found = order(&[vec![1], vec![2], vec![3, 1], vec![]]);
        assert_eq!(found.circles, [[(1, 0), (2, 1)]]);
        assert_eq!(order(&[vec![0]]).circles, [[(0, 0)]]);
    }

    #[test]
    fn a_long_chain_is_no_harm() {
        let edges: Vec<_> = (1..=200_000)
            .map(|next| if next < 200_000 { vec![next] } else { vec![] })
            .collect();
        assert_eq!(order(&edges).nodes.len(), 200_000);
    }
}
