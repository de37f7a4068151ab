//! Prompts as they lie in a repository: plain text, Jinja or Handlebars, counted with the tokenizer of the model.
//!
//! A template ([`file`]) has variables: texts, which are put in as they are, and texts that the request brings, of which only a
//! number of tokens is assumed. Rendering leaves a mark for each of those, and the text is cut there ([`rendered`]); each piece of
//! text is counted on its own ([`tokenizer`]), so that a count may be off by about one token at each cut.

pub mod error;
pub mod file;
mod handlebars;
mod jinja;
mod marks;
pub mod rendered;
mod scan;
pub mod tokenizer;
pub mod variable;

pub use error::PromptError;
pub use file::{Kind, PromptFile};
pub use rendered::{Rendered, Segment};
pub use tokenizer::{Tokenizer, TokenizerError};
pub use variable::{Variable, Variables};
