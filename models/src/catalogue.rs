//! Looking up names in the catalogues, with a useful answer where a name is not there.

use thiserror::Error;

/// Why a name gives no catalogue entry.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CatalogueError {
    /// No such entry.
    #[error("unknown {kind} `{name}`{}; known: {}", hint(.nearest), .known.join(", "))]
    Unknown {
        /// `GPU` or `model`.
        kind: &'static str,
        /// What was asked for.
        name: String,
        /// The entry most likely meant.
        nearest: Option<String>,
        /// All names of the catalogue, in its order.
        known: Vec<String>,
    },
    /// An entry's number makes no sense.
    #[error("{name}: `{field}` must be {must}, not {value}")]
    Invalid {
        /// The entry.
        name: String,
        /// Its field.
        field: &'static str,
        /// What the field must be.
        must: &'static str,
        /// What it is.
        value: String,
    },
}

fn hint(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|name| format!(", did you mean `{name}`?")).unwrap_or_default()
}

impl CatalogueError {
    /// The error for `name`, which is none of `known`. `aliases`, pairs of another spelling and its name, only help to guess.
    pub(crate) fn unknown<'a>(
        kind: &'static str,
        name: &str,
        known: impl Iterator<Item = &'a str>,
        aliases: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> CatalogueError {
        let known: Vec<&str> = known.collect();
        let spellings = known.iter().map(|name| (*name, *name)).chain(aliases);
        let nearest = by_distance(name, spellings).into_iter().next();
        // Further away than half of what was typed, it is no typing error but another thing.
        let meant = nearest.filter(|(distance, _)| *distance * 2 <= key(name).chars().count());
        let nearest = meant.map(|(_, name)| name.to_owned());
        let known = known.into_iter().map(str::to_owned).collect();
        CatalogueError::Unknown { kind, name: name.to_owned(), nearest, known }
    }
}

/// The `count` names that are nearest to what was asked for, the nearest first.
pub(crate) fn nearest<'a>(asked: &str, known: impl Iterator<Item = &'a str>, count: usize) -> Vec<&'a str> {
    by_distance(asked, known.map(|name| (name, name))).into_iter().take(count).map(|(_, name)| name).collect()
}

/// Names by the distance of a spelling from what was asked for, the nearest first; of two as near, the one that came first.
///
/// The distance is the number of edits, but none if letters are only left out, however many: `qwen3-30b` is rather `qwen3-30b-a3b`
/// than `qwen3-32b`, and `h100_llama-3.1-8b` no profile of another GPU.
fn by_distance<'a>(asked: &str, spellings: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<(usize, &'a str)> {
    let asked = key(asked);
    let distances = |spelling: &str| {
        let spelling = key(spelling);
        let edits = strsim::damerau_levenshtein(&asked, &spelling);
        (if asked.len() >= ABBREVIATION && lacks_letters(&asked, &spelling) { 0 } else { edits }, edits)
    };
    let mut names: Vec<_> = spellings.map(|(spelling, name)| (distances(spelling), name)).collect();
    names.sort_by_key(|(distances, _)| *distances);
    names.into_iter().map(|((distance, _), name)| (distance, name)).collect()
}

/// Letters from which on what was asked for can be short for a name.
const ABBREVIATION: usize = 4;

/// Whether `asked` is `name` with letters left out.
fn lacks_letters(asked: &str, name: &str) -> bool {
    let mut letters = name.chars();
    asked.chars().all(|letter| letters.any(|other| other == letter))
}

/// The spelling under which names are compared: lower case, no organisation (`meta-llama/`), `-` for `_` and blanks.
pub(crate) fn key(name: &str) -> String {
    let name = name.trim();
    let name = name.rsplit('/').find(|part| !part.is_empty()).unwrap_or(name);
    name.chars().map(|c| if c == '_' || c.is_whitespace() { '-' } else { c.to_ascii_lowercase() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_without_organisation_and_case() {
        assert_eq!(key(" Meta-Llama/Llama-3.1_8B "), "llama-3.1-8b");
        assert_eq!(key("H100 SXM"), "h100-sxm");
        assert_eq!(key("/"), "/");
        assert_eq!(key(""), "");
    }

    #[test]
    fn a_near_name_is_offered_and_a_far_one_is_not() {
        let known = || ["h100-sxm", "rtx-4090"].into_iter();
        let near = CatalogueError::unknown("GPU", "h10-sxm", known(), [("h100", "h100-sxm")].into_iter());
        assert_eq!(near.to_string(), "unknown GPU `h10-sxm`, did you mean `h100-sxm`?; known: h100-sxm, rtx-4090");
        let far = CatalogueError::unknown("GPU", "tpu-v5e", known(), std::iter::empty());
        assert_eq!(far.to_string(), "unknown GPU `tpu-v5e`; known: h100-sxm, rtx-4090");
        let start = CatalogueError::unknown("GPU", "rtx-", known(), std::iter::empty());
        assert!(start.to_string().contains("did you mean `rtx-4090`"), "{start}");
    }

    #[test]
    fn letters_left_out_are_nearer_than_wrong_ones() {
        let models = ["qwen3-32b", "qwen3-30b-a3b", "llama-3.1-8b"];
        assert_eq!(nearest("qwen3-30b", models.into_iter(), 2), ["qwen3-30b-a3b", "qwen3-32b"]);
        assert_eq!(nearest("llama-8b", models.into_iter(), 1), ["llama-3.1-8b"]);
        let profiles = ["b200_llama-3.1-8b_bf16_tp1", "h100-sxm_llama-3.1-8b_bf16_tp1", "h100-sxm_llama-3.1-8b_bf16_tp2"];
        assert_eq!(nearest("h100_llama-3.1-8b", profiles.into_iter(), 2), profiles[1..]);
    }
}
