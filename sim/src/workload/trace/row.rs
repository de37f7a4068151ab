//! One row of a trace, whatever the format.

use super::error::{Fault, FaultKind};
use super::number::{Decimal, Unit, count};
use super::record::Record;
use super::schema::{Column, Schema};
use crate::scenario::TraceFormat;
use crate::stream::mix;
use tokentide_models::hash::{FNV_OFFSET, fnv1a};

/// One request of a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceRow {
    /// Arrival [ps] from any origin: only differences count.
    pub arrival_ps: i128,
    /// Prompt length [tokens].
    pub input_tokens: u32,
    /// Realised length of the answer [tokens].
    pub output_tokens: u32,
    /// Requested maximum.
    pub max_tokens: Option<u32>,
    /// Name of a class of the scenario; the first one if there is none.
    pub class: Option<String>,
    /// Tenant label.
    pub tenant: Option<String>,
    /// Route label.
    pub route: Option<String>,
    /// Name of the session.
    pub session: Option<String>,
    /// Identities of the prompt's blocks, in order; empty if unknown.
    pub prefix_hashes: Vec<u64>,
    /// Tokens per identity; `None`: as the trace's configuration says.
    pub prefix_block_tokens: Option<u32>,
    /// Input tokens by source, in the order of [`crate::scenario::Source::ALL`]; all zero if unknown.
    pub sources: [u32; 8],
}

impl TraceRow {
    /// Reads a record.
    pub fn read(record: &Record<'_>, schema: &Schema) -> Result<TraceRow, Fault> {
        let mut row = TraceRow { prefix_block_tokens: schema.block_tokens, ..TraceRow::default() };
        for (column, name, index) in &schema.columns {
            row.read_column(*column, record, (*index, name), schema).map_err(|fault| fault.column(name))?;
        }
        Ok(row)
    }

    fn read_column(
        &mut self,
        column: Column,
        record: &Record<'_>,
        (index, name): (usize, &str),
        schema: &Schema,
    ) -> Result<(), Fault> {
        if column == Column::PrefixHashes {
            self.prefix_hashes = record.list(index, name)?.iter().map(|id| identity(id)).collect();
            return Ok(());
        }
        let text = record.text(index, name)?;
        let missing = || Fault::new(FaultKind::MissingValue, "expected a number");
        let owned = || text.as_deref().map(str::to_owned);
        let optional = || text.as_deref().map(count).transpose();
        match column {
            Column::Arrival => self.arrival_ps = arrival(text.as_deref().ok_or_else(missing)?, schema)?,
            Column::InputTokens => self.input_tokens = count(text.as_deref().ok_or_else(missing)?)?,
            Column::OutputTokens => self.output_tokens = count(text.as_deref().ok_or_else(missing)?)?,
            Column::MaxTokens => self.max_tokens = optional()?,
            Column::Class => self.class = owned(),
            Column::Tenant => self.tenant = owned(),
            Column::Route => self.route = owned(),
            Column::Session => self.session = owned(),
            Column::PrefixBlockTokens => self.prefix_block_tokens = optional()?.or(schema.block_tokens),
            Column::In(source) => self.sources[source as usize] = optional()?.unwrap_or(0),
            Column::PrefixHashes => {}
        }
        Ok(())
    }

    /// Checks what one row can be checked for. `exact_blocks`: the hashes must cover the whole prompt.
    pub fn check(&self, exact_blocks: bool) -> Result<(), Fault> {
        if self.arrival_ps.unsigned_abs() >= 10u128.pow(30) {
            return Err(Fault::new(FaultKind::TooLarge, "expected an arrival time below 1e18 s"));
        }
        if self.input_tokens == 0 {
            return Err(Fault::new(FaultKind::ZeroInput, "a prompt has at least 1 token"));
        }
        if self.output_tokens == 0 {
            return Err(Fault::new(FaultKind::ZeroOutput, "an answer has at least 1 token"));
        }
        if self.max_tokens == Some(0) {
            return Err(Fault::new(FaultKind::ZeroMaxTokens, "a maximum is at least 1 token"));
        }
        let by_source: u64 = self.sources.iter().map(|&tokens| u64::from(tokens)).sum();
        if by_source != 0 && by_source != u64::from(self.input_tokens) {
            let expected = format!("the in_* columns hold {by_source} tokens, input_tokens {}", self.input_tokens);
            return Err(Fault::new(FaultKind::BadSources, expected));
        }
        self.check_blocks(exact_blocks)
    }

    fn check_blocks(&self, exact: bool) -> Result<(), Fault> {
        let ids = self.prefix_hashes.len() as u64;
        if ids == 0 && !exact {
            return Ok(());
        }
        let input = u64::from(self.input_tokens);
        let Some(block) = self.prefix_block_tokens.filter(|b| *b > 0).map(u64::from) else {
            return Err(Fault::new(FaultKind::BadBlocks, "set block_tokens: how many tokens each prefix hash stands for"));
        };
        let whole = input.div_ceil(block);
        if ids > whole || (exact && ids < whole) {
            let fits = [16u64, 32, 64, 128, 256, 512].into_iter().find(|&b| input.div_ceil(b) == ids || input / b == ids);
            let hint = fits.map_or(String::new(), |b| format!("; {b} tokens per hash would fit: set block_tokens"));
            let expected = format!(
                "{ids} hashes of {block} tokens for {input} input tokens: expected ceil({input} / {block}) = {whole}{hint}"
            );
            return Err(Fault::new(FaultKind::BadBlocks, expected));
        }
        Ok(())
    }
}

fn arrival(text: &str, schema: &Schema) -> Result<i128, Fault> {
    if schema.format == TraceFormat::Mooncake && !Decimal::parse(text)?.is_whole() {
        let advice = "stamps of this format are whole milliseconds, and a fraction may mean seconds: map the columns and name \
                      the unit, such as arrival = \"timestamp:s\"";
        return Err(Fault::new(FaultKind::AmbiguousUnit, advice).text(text));
    }
    schema.unit.parse(text).map_err(|fault| match schema.unit {
        Unit::Calendar => fault,
        unit => Fault { expected: format!("expected a time in {}", unit.name()), ..fault },
    })
}

/// Identity of a prefix hash: a number as it is, other text by a hash.
pub fn identity(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| mix(fnv1a(FNV_OFFSET, text.as_bytes())))
}
