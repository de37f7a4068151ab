//! `[class.prompt]`

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::de::{Deserialize, Deserializer};
use serde::{Deserialize as DeriveDeserialize, Serialize};

use super::distribution::{DistributionFile, DistributionTable};
use super::union::{Either, scalar_or_table};
use super::variable::VariableFile;
use crate::scenario::Source;
use crate::scenario::at::At;

/// Where the input tokens come from, as the model receives them: system 700, developer 400, history 1,500, ... Each source is a
/// number of tokens, a distribution, or a file whose tokens are counted; `cacheable` says whether its text is the same in every
/// request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, DeriveDeserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PromptFile {
    /// System prompt [tokens]; shared text.
    pub system: Option<At<PartFile>>,
    /// Developer prompt [tokens]; shared text.
    pub developer: Option<At<PartFile>>,
    /// Conversation so far [tokens]; not shared.
    pub history: Option<At<PartFile>>,
    /// Retrieved text [tokens], such as { top_k = 4, chunk = 500 }; not shared.
    pub retrieved: Option<At<RetrievedFile>>,
    /// Tool definitions and results [tokens]; shared text.
    pub tools: Option<At<PartFile>>,
    /// What the user typed [tokens]; not shared.
    pub user: Option<At<PartFile>>,
    /// Citations and metadata [tokens]; not shared.
    pub metadata: Option<At<PartFile>>,
    /// Templates, separators, markup [tokens]; not shared.
    pub formatting: Option<At<PartFile>>,
    /// Order in the prompt, each source that is used once, such as ["system", "tools", "retrieved", "user"]; by default the order
    /// above. Only leading shared text can be cached.
    pub order: Option<At<Vec<Source>>>,
}

/// Tokens of one source: a number, or a table with a distribution.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum PartFile {
    /// Always this many [tokens].
    Fixed(f64),
    /// A distribution.
    Table(Box<PartTable>),
}

impl<'de> Deserialize<'de> for PartFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match scalar_or_table(deserializer, "a number of tokens, or a distribution such as { median = 900, p95 = 4000 }")? {
            Either::Scalar(value) => PartFile::Fixed(value),
            Either::Table(table) => PartFile::Table(Box::new(table)),
        })
    }
}

/// Tokens of retrieved text: a number, or a table with `top_k` and `chunk`.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum RetrievedFile {
    /// Always this many [tokens].
    Fixed(f64),
    /// Chunks, or a distribution of all of them.
    Table(Box<RetrievedTable>),
}

impl<'de> Deserialize<'de> for RetrievedFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match scalar_or_table(deserializer, "a number of tokens, or chunks such as { top_k = 4, chunk = 500 }")? {
            Either::Scalar(value) => RetrievedFile::Fixed(value),
            Either::Table(table) => RetrievedFile::Table(Box::new(table)),
        })
    }
}

/// Kind of a prompt file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, DeriveDeserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TemplateName {
    /// Jinja.
    Jinja,
    /// Handlebars.
    Handlebars,
    /// A plain text.
    None,
}

/// What a source's table says of a file.
#[derive(Clone, Copy)]
pub(crate) struct TextFile<'a> {
    /// Its path.
    pub file: Option<&'a At<PathBuf>>,
    /// Its kind.
    pub template: Option<&'a At<TemplateName>>,
    /// Values of its variables.
    pub variables: Option<&'a At<BTreeMap<String, At<VariableFile>>>>,
    /// Whether its text is shared.
    pub cacheable: Option<&'a At<bool>>,
}

/// Declares a table of a distribution's keys and some more. serde's `flatten` would lose both the check of unknown keys and the
/// place of errors.
macro_rules! part_table {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $extra:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, DeriveDeserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$doc])* pub $extra: Option<At<$type>>,)*
            /// Path of a prompt file, relative to the scenario, whose tokens are counted: a plain text, or a template with
            /// `variables`. Instead of a distribution.
            pub file: Option<At<PathBuf>>,
            /// What `file` is; by default what its name says: .j2, .jinja and .jinja2 are Jinja, .hbs and .handlebars Handlebars.
            pub template: Option<At<TemplateName>>,
            /// Values of the template's variables: a text, true or false, a number or a distribution for a text of assumed length
            /// [tokens], lists and tables of them.
            pub variables: Option<At<BTreeMap<String, At<VariableFile>>>>,
            /// Whether the text is the same in every request that draws the same length, so that the prefix cache can share it.
            pub cacheable: Option<At<bool>>,
            /// Always this many [tokens].
            pub fixed: Option<At<f64>>,
            /// Uniform between two values, both included [tokens].
            pub uniform: Option<At<(f64, f64)>>,
            /// Log-normal: its median, together with `p95` [tokens].
            pub median: Option<At<f64>>,
            /// Log-normal: its 95th percentile, at least the median [tokens].
            pub p95: Option<At<f64>>,
            /// Log-normal: draws below are raised to this [tokens].
            pub min: Option<At<f64>>,
            /// Log-normal: draws above are lowered to this [tokens].
            pub max: Option<At<f64>>,
            /// Exponential of this mean [tokens].
            pub mean: Option<At<f64>>,
            /// Inverse distribution function: [[probability, tokens], ...], ascending, the first probability 0, the last 1.
            pub quantiles: Option<At<Vec<(f64, f64)>>>,
            /// Values with weights: [[tokens, weight], ...].
            pub pmf: Option<At<Vec<(f64, f64)>>>,
        }

        impl $name {
            /// The distribution in it.
            pub(crate) fn distribution(&self) -> DistributionTable<f64> {
                DistributionTable {
                    fixed: self.fixed.clone(),
                    uniform: self.uniform.clone(),
                    median: self.median.clone(),
                    p95: self.p95.clone(),
                    min: self.min.clone(),
                    max: self.max.clone(),
                    mean: self.mean.clone(),
                    quantiles: self.quantiles.clone(),
                    pmf: self.pmf.clone(),
                }
            }

            /// What it says of a file.
            pub(crate) fn text(&self) -> TextFile<'_> {
                TextFile {
                    file: self.file.as_ref(),
                    template: self.template.as_ref(),
                    variables: self.variables.as_ref(),
                    cacheable: self.cacheable.as_ref(),
                }
            }
        }
    };
}

part_table! {
    /// A file whose tokens are counted, or a distribution of a source's tokens, by exactly one of: `fixed`; `uniform`; `median`
    /// with `p95` (log-normal); `mean` (exponential); `quantiles`; `pmf`.
    PartTable {}
}

part_table! {
    /// Retrieved text: `top_k` chunks, a distribution of all retrieved tokens, or a file.
    RetrievedTable {
        /// Chunks put into the prompt; 0 is none.
        top_k: u32,
        /// Tokens of one chunk: a number or a distribution [tokens].
        chunk: DistributionFile<f64>,
    }
}
