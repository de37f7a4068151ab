//! Weights, KV bytes per token, and the KV blocks of a deployment.
