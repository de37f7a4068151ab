//! Replica arithmetic worked out by hand.
