//! Tables at the edge.
