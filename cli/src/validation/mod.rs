//! Predicted against measured, for people: tables, Markdown, plots.

pub mod text;
