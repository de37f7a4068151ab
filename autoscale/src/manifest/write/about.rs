//! What a manifest says beside the configuration.

use std::collections::BTreeMap;

use serde_saphyr::Commented;

/// Names and comments of what is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// `metadata.name`.
    pub name: String,
    /// Name of the Deployment that is scaled.
    pub target: String,
    /// Address of the Prometheus, for KEDA.
    pub prometheus: String,
    /// Comment above the document, line by line.
    pub head: Vec<String>,
    /// Comment beside a field, by its path (`spec.triggers[0].metadata.threshold`); one line each.
    pub comments: BTreeMap<String, String>,
}

impl About {
    /// A workload of this name, without comments.
    pub fn new(name: &str) -> About {
        About {
            name: name.to_owned(),
            target: name.to_owned(),
            prometheus: "http://prometheus.monitoring:9090".to_owned(),
            head: Vec::new(),
            comments: BTreeMap::new(),
        }
    }

    /// A value with the comment of its path.
    pub fn at<T>(&self, path: &str, value: T) -> Commented<T> {
        Commented(value, self.comments.get(path).cloned().unwrap_or_default())
    }
}
