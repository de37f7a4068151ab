//! Tokens per prefix hash, which files do not say.

use crate::error::{Fault, FaultKind};
use crate::number::count;
use crate::record::{Picker, Record};
use crate::row::{BLOCK_SIZES, Cover};

/// Rows of 100 that a size has to fit, at least.
const FITS_PERCENT: usize = 99;

/// A size, and what it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks {
    /// Tokens per hash.
    pub tokens: u32,
    /// Whether the last, partial block has one.
    pub cover: Cover,
}

/// Finds the size that fits the numbers of hashes on `lines`, by prompt length: of the known sizes, or `given`.
///
/// # Errors
/// If not exactly one fits on more than 99 % of the rows.
pub fn infer(lines: &[String], length: &str, hashes: &str, given: Option<u32>) -> Result<Blocks, Fault> {
    let picker = Picker::new([length, hashes]);
    let pair = |line: &String| {
        let record = Record::Object(picker.pick(line).ok()?);
        let ids = record.identities(1).ok()?;
        Some((count(&record.text(0).ok()??).ok()?, ids.len() as u32)).filter(|pair| pair.1 > 0)
    };
    let pairs: Vec<(u32, u32)> = lines.iter().filter_map(pair).collect();
    let fit = |tokens: u32, of: fn(u32, u32) -> u32| {
        let fitting = pairs.iter().filter(|(length, ids)| of(*length, tokens) == *ids).count();
        fitting * 100 > pairs.len() * FITS_PERCENT
    };
    let sizes: &[u32] = given.as_ref().map_or(&BLOCK_SIZES, std::slice::from_ref);
    let cover = |tokens: u32| match (fit(tokens, u32::div_ceil), fit(tokens, |a, b| a / b)) {
        (true, _) => Some(Blocks { tokens, cover: Cover::Ceil }),
        (_, true) => Some(Blocks { tokens, cover: Cover::Floor }),
        _ => None,
    };
    let found: Vec<Blocks> = sizes.iter().filter_map(|&tokens| cover(tokens)).collect();
    match (&found[..], given) {
        (&[blocks], _) => Ok(blocks),
        // Each row is then told by itself what does not fit.
        ([], Some(tokens)) => Ok(Blocks { tokens, cover: Cover::Ceil }),
        _ => {
            let fitting: Vec<String> = found.iter().map(|blocks| blocks.tokens.to_string()).collect();
            let fitting = if fitting.is_empty() { "none".to_owned() } else { fitting.join(", ") };
            let expected = format!(
                "of 16, 32, 64, 128, 256 and 512 tokens per hash exactly one should fit more than {FITS_PERCENT} % of the rows, \
                 and {fitting} do: say it (`--block-tokens N`, or block_tokens in a scenario)"
            );
            Err(Fault::new(FaultKind::BadBlocks, expected).column(hashes))
        }
    }
}
