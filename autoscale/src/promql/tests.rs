//! Queries worked out by hand.
