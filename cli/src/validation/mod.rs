//! Predicted against measured, for people: tables, Markdown, plots.

pub mod markdown;
pub mod plot;
pub mod text;
