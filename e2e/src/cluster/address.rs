//! Which addresses a cluster uses: all from the range that networks keep for benchmarks, which
//! no real peer has (RFC 2544), and none shared by two clusters on one machine.

use serde::{Deserialize, Serialize};

/// How many clusters fit on one machine.
pub const CLUSTER_COUNT_MAX: u8 = 16;
/// All addresses of all clusters.
pub(crate) const EVERYTHING: &str = "198.18.0.0/15";

/// The addresses of one cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Addresses {
    /// The node, as pods and the host reach it.
    pub(crate) node: String,
    /// The host, as pods and the node reach it.
    pub(crate) host: String,
    pub(crate) pods: String,
    pub(crate) services: String,
    /// The first service address, which the API server takes for itself.
    pub(crate) api_service: String,
}

impl Addresses {
    /// The addresses of the cluster with this index, from 0.
    pub(crate) fn of(index: u8) -> Self {
        let block = index * 15;
        Self {
            node: format!("198.18.255.{}", index * 4 + 2),
            host: format!("198.18.255.{}", index * 4 + 1),
            pods: format!("198.18.{block}.0/24"),
            services: format!("198.19.{block}.0/24"),
            api_service: format!("198.19.{block}.1"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn clusters_share_no_address() {
        let all = (0..CLUSTER_COUNT_MAX).map(Addresses::of);
        let used: BTreeSet<String> = all
            .flat_map(|a| [a.node, a.host, a.pods, a.services, a.api_service])
            .collect();
        assert_eq!(used.len(), usize::from(CLUSTER_COUNT_MAX) * 5);
    }

    #[test]
    fn the_first_cluster_has_the_addresses_that_the_docs_name() {
        let first = Addresses::of(0);
        assert_eq!(first.node, "198.18.255.2");
        assert_eq!(first.pods, "198.18.0.0/24");
        assert_eq!(first.api_service, "198.19.0.1");
    }
}
