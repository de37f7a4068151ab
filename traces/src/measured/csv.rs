//! Requests of a run as a CSV: `arrival_s, input_tokens, output_tokens, ttft_ms, tpot_ms, e2e_ms`, one row a request.

use std::collections::HashMap;
use std::path::Path;

use super::by_arrival;
use super::run::{MeasuredRequest, Pacing, Run};
use crate::error::TraceError;
use crate::error::{Fault, FaultKind};
use crate::row::identity;
use crate::table::{Row, Table};

/// Tokens per block of a file of blocks.
const BLOCK_TOKENS: u32 = 16;

/// Reads the CSV. Optional columns: `request_id`, `itl_ms` (a list with semicolons), `cold_start` (0 or 1).
///
/// # Errors
/// With file, line, column, value and reason.
pub fn read(path: &Path, blocks: Option<&Path>) -> Result<Run, TraceError> {
    let table = Table::read(path)?;
    for column in ["arrival_s", "input_tokens", "output_tokens", "ttft_ms"] {
        table.one_of(&[column])?;
    }
    let mut blocks = blocks.map(read_blocks).transpose()?.unwrap_or_default();
    let mut requests = Vec::new();
    for (index, row) in table.rows().enumerate() {
        let mut request = request(&row, index)?;
        let whole = request.input_tokens / BLOCK_TOKENS;
        if let Some(mut ids) = blocks.remove(&request.id) {
            // The file goes on with the blocks of the answer.
            ids.truncate(whole as usize);
            request.blocks = ids;
        }
        requests.push(request);
    }
    by_arrival(&mut requests);
    Ok(Run { requests, block_tokens: BLOCK_TOKENS, ..Run::new("requests CSV", Pacing::Recorded) })
}

fn request(row: &Row<'_>, index: usize) -> Result<MeasuredRequest, TraceError> {
    let missing = |column| row.error(column, Fault::new(FaultKind::MissingValue, "expected a number"));
    let itl = row.text("itl_ms").unwrap_or_default();
    let gaps: Result<Vec<f64>, _> = itl.split(';').filter(|t| !t.is_empty()).map(|t| t.trim().parse::<f64>()).collect();
    let request = MeasuredRequest {
        id: row.text("request_id").map_or_else(|| format!("row {}", index + 1), str::to_owned),
        arrival_s: Some(row.number("arrival_s")?.ok_or_else(|| missing("arrival_s"))?),
        input_tokens: row.count("input_tokens", 1)?,
        output_tokens: row.count("output_tokens", 1)?,
        ttft_ms: row.number("ttft_ms")?,
        tpot_ms: row.number("tpot_ms")?,
        e2e_ms: row.number("e2e_ms")?,
        itl_ms: gaps
            .map_err(|_| row.error("itl_ms", Fault::new(FaultKind::NotANumber, "expected gaps with `;` between").text(itl)))?,
        cold: row.text("cold_start") == Some("1"),
        blocks: Vec::new(),
    };
    if let (Some(ttft), Some(e2e)) = (request.ttft_ms, request.e2e_ms)
        && ttft > e2e
    {
        let expected = format!("the first token comes {ttft} ms after submission, so the last cannot come after {e2e} ms");
        return Err(row.error("e2e_ms", Fault::new(FaultKind::TooSmall, expected).text(&e2e.to_string())));
    }
    Ok(request)
}

/// Columns `request_id`, `block_ids` (a list with semicolons: every full block of prompt and answer; equal id = equal block with
/// equal history).
fn read_blocks(path: &Path) -> Result<HashMap<String, Vec<u64>>, TraceError> {
    let table = Table::read(path)?;
    let (id, ids) = (table.one_of(&["request_id"])?, table.one_of(&["block_ids"])?);
    let of = |row: Row<'_>| {
        let list = row.text(ids).unwrap_or_default();
        (row.text(id).unwrap_or_default().to_owned(), list.split(';').filter(|t| !t.is_empty()).map(identity).collect())
    };
    Ok(table.rows().map(of).collect())
}
