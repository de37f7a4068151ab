//! Cost profiles from measurements.
