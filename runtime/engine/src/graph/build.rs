//! Collecting nodes while user code describes them, and cutting chains at the end.

use std::collections::HashSet;

use tidegate_protocol::{ChainId, IdError, MaxParallelism, OperatorId, OperatorKind, StateSchema};

use super::{Chain, Edge, Exchange, JobGraph, Node, NodeBody, NodeIndex};

/// Why a description is no job.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// Two operators have the same id, so their state could be mixed up.
    #[error("operator id `{id}` is used twice; give one of the two operators another id")]
    DuplicateId {
        /// The id.
        id: OperatorId,
    },
    /// An id has characters that ids cannot have.
    #[error("an operator's id is not valid")]
    InvalidId(#[source] IdError),
    /// A name was given to an operator whose id is part of checkpoints.
    #[error(
        "operator `{id}` has an id of its own, by which checkpoints know it, and cannot be named \
         `{name}`; give the id where it is made, and leave `.named` to operators without one"
    )]
    HasOwnId {
        /// The operator.
        id: OperatorId,
        /// The name that was to replace its id.
        name: String,
    },
    /// There is nothing to run.
    #[error("the job has no source; begin with `pipeline.source(id, source)`")]
    NoSource,
    /// An operator's output goes nowhere.
    #[error("operator `{id}` has no consumer; end its stream with `.sink(id, sink)`")]
    NoSink {
        /// The operator whose output is dropped.
        id: OperatorId,
    },
}

/// Collects nodes. The first error is kept for the end, so that descriptions read as chains.
#[derive(Default)]
pub(crate) struct GraphBuilder {
    nodes: Vec<Node>,
    error: Option<GraphError>,
}

impl GraphBuilder {
    /// Adds a node with an id of the user's.
    pub(crate) fn add(
        &mut self,
        id: &str,
        body: NodeBody,
        state: Option<StateSchema>,
        inputs: Vec<Edge>,
    ) -> NodeIndex {
        let id = match OperatorId::new(id) {
            Ok(id) => id,
            Err(error) => {
                self.error.get_or_insert(GraphError::InvalidId(error));
                self.free_id("invalid")
            }
        };
        self.nodes.push(Node {
            id,
            body,
            state,
            inputs,
        });
        self.nodes.len() - 1
    }

    /// Adds a node without state, whose id matters to nobody.
    pub(crate) fn add_unnamed(
        &mut self,
        kind: &str,
        body: NodeBody,
        inputs: Vec<Edge>,
    ) -> NodeIndex {
        let id = self.free_id(kind);
        self.nodes.push(Node {
            id,
            body,
            state: None,
            inputs,
        });
        self.nodes.len() - 1
    }

    fn free_id(&self, kind: &str) -> OperatorId {
        let is_taken = |id: &str| self.nodes.iter().any(|node| node.id.as_str() == id);
        let numbered = (1..).map(|number| format!("{kind}-{number}"));
        let id = numbered
            .into_iter()
            .find(|id| !is_taken(id))
            .unwrap_or_default();
        OperatorId::new(id).expect("a kind with a number is a valid id")
    }

    /// Renames a node without state: the id of any other is the user's, and part of checkpoints.
    pub(crate) fn rename(&mut self, node: NodeIndex, id: &str) {
        let node = &mut self.nodes[node];
        if node.kind() != OperatorKind::Stateless {
            self.error.get_or_insert_with(|| GraphError::HasOwnId {
                id: node.id.clone(),
                name: id.to_owned(),
            });
            return;
        }
        match OperatorId::new(id) {
            Ok(id) => node.id = id,
            Err(error) => {
                self.error.get_or_insert(GraphError::InvalidId(error));
            }
        }
    }

    /// Checks the graph and cuts it into chains.
    pub(crate) fn build(self, max: MaxParallelism) -> Result<JobGraph, GraphError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let mut seen = HashSet::new();
        if let Some(twice) = self.nodes.iter().find(|node| !seen.insert(&node.id)) {
            return Err(GraphError::DuplicateId {
                id: twice.id.clone(),
            });
        }
        if !self
            .nodes
            .iter()
            .any(|node| matches!(node.body, NodeBody::Source(_)))
        {
            return Err(GraphError::NoSource);
        }
        let consumers = consumer_counts(&self.nodes);
        let is_unused = |(node, count): &(&Node, &usize)| {
            **count == 0 && !matches!(node.body, NodeBody::Sink(_))
        };
        if let Some((node, _)) = self.nodes.iter().zip(&consumers).find(is_unused) {
            return Err(GraphError::NoSink {
                id: node.id.clone(),
            });
        }
        let chains = cut_chains(&self.nodes, &consumers);
        Ok(JobGraph {
            nodes: self.nodes,
            chains,
            max,
        })
    }
}

fn consumer_counts(nodes: &[Node]) -> Vec<usize> {
    let mut counts = vec![0; nodes.len()];
    for edge in nodes.iter().flat_map(|node| &node.inputs) {
        counts[edge.from] += 1;
    }
    counts
}

/// A node goes on with its input's chain if it is that input's only consumer and takes its records
/// from nowhere else and unchanged; else it begins a chain.
fn cut_chains(nodes: &[Node], consumers: &[usize]) -> Vec<Chain> {
    let mut chains: Vec<Chain> = Vec::new();
    let mut chain_of: Vec<usize> = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        let joins = match node.inputs.as_slice() {
            [
                Edge {
                    from,
                    exchange: Exchange::Forward,
                },
            ] if consumers[*from] == 1 => Some(*from),
            _ => None,
        };
        if let Some(from) = joins {
            chain_of.push(chain_of[from]);
            chains[chain_of[from]].nodes.push(index);
            continue;
        }
        let chain = ChainId(u32::try_from(chains.len()).expect("a job has below 2^32 chains"));
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for edge in &node.inputs {
            let from = chain_of[edge.from];
            chains[from].outputs.push((chain, edge.exchange.clone()));
            let from = ChainId(u32::try_from(from).expect("a job has below 2^32 chains"));
            inputs.push((from, matches!(edge.exchange, Exchange::Hash(_))));
        }
        chain_of.push(chains.len());
        chains.push(Chain {
            nodes: vec![index],
            outputs: Vec::new(),
            inputs,
        });
    }
    chains
}
