//! Counts that are known.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokentide_prompts::{Tokenizer, TokenizerError};

fn words() -> Tokenizer {
    Tokenizer::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/words.json")).unwrap()
}

fn count(tokenizer: &Tokenizer, text: &str) -> u64 {
    tokenizer.count(text).unwrap()
}

#[test]
fn encodings_give_known_counts() {
    // OpenAI's cookbook, "How to count tokens with tiktoken": the counts of its three strings by encoding.
    let published = [("antidisestablishmentarianism", [5, 6, 6]), ("2 + 2 = 4", [5, 7, 7]), ("お誕生日おめでとう", [14, 9, 8])];
    for (text, counts) in published {
        for (encoding, expected) in ["r50k_base", "cl100k_base", "o200k_base"].into_iter().zip(counts) {
            assert_eq!(count(&Tokenizer::encoding(encoding).unwrap(), text), expected, "{text} in {encoding}");
        }
    }
    let cl100k = Tokenizer::encoding("cl100k_base").unwrap();
    assert_eq!((count(&cl100k, "hello world"), count(&cl100k, "tiktoken is great!"), count(&cl100k, "")), (2, 6, 0));
    // Special tokens are text here.
    assert_eq!(count(&cl100k, "<|endoftext|>"), 7);
    assert_eq!((cl100k.id(), cl100k.approximate()), ("cl100k_base", false));
}

#[test]
fn every_encoding_that_is_named_is_there() {
    for name in tokentide_prompts::tokenizer::ENCODINGS {
        assert_eq!(Tokenizer::encoding(name).unwrap().id(), name);
    }
    let error = Tokenizer::encoding("o200k").err().unwrap();
    assert!(error.to_string().starts_with("there is no encoding \"o200k\": there are o200k_base, "), "{error}");
}

#[test]
fn a_tokenizer_file_counts_text_as_it_is() {
    let words = words();
    // Longer than the file's truncation, and without the token that its post-processor puts first.
    assert_eq!(count(&words, "You are helpful and brief."), 6);
    assert_eq!(count(&words, "you are unheard-of"), 5);
    assert_eq!(count(&words, "you<|end|>are"), 3);
    assert_eq!(count(&words, ""), 0);
    assert!(words.id().starts_with("tokenizer.json:") && words.id().len() == "tokenizer.json:".len() + 16 && !words.approximate());
}

#[test]
fn the_identity_of_a_file_is_its_content() {
    let text = include_str!("data/words.json");
    let same = Tokenizer::from_json(text.as_bytes()).unwrap();
    let other = Tokenizer::from_json(text.replace("brief", "short").as_bytes()).unwrap();
    assert_eq!(same.id(), words().id());
    assert_ne!(other.id(), same.id());
    assert_eq!((count(&same, "brief"), count(&other, "short")), (1, 1));
}

#[test]
fn characters_are_an_approximation() {
    let four = Tokenizer::per_characters(4.0).unwrap();
    assert_eq!((four.id(), four.approximate()), ("4 characters per token", true));
    // Characters, not bytes; rounded; at least one.
    assert_eq!(["", "a", "äöüß", "äöüßä", "äöüßäö"].map(|text| count(&four, text)), [0, 1, 1, 1, 2]);
    assert_eq!(Tokenizer::per_characters(3.5).unwrap().id(), "3.5 characters per token");
    for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(Tokenizer::per_characters(wrong), Err(TokenizerError::Ratio(_))), "{wrong}");
    }
}

#[test]
fn files_that_are_no_tokenizers_are_refused() {
    let missing = Tokenizer::open(Path::new("no/such/tokenizer.json")).err().unwrap();
    assert!(matches!(missing, TokenizerError::Unreadable(_)), "{missing}");
    let other = Tokenizer::from_json(b"{\"vocab_size\": 32000}").err().unwrap();
    assert!(other.to_string().starts_with("no Hugging Face tokenizer.json: "), "{other}");
}

/// The tokenizer of a model that was measured, which is not part of the repository.
fn real_tokenizer() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let shared = std::env::var_os("TOKENTIDE_SHARED").map_or(beside, PathBuf::from);
    let path = shared.join("servers/h200/model-8b/tokenizer.json");
    let found = path.exists().then_some(path);
    if found.is_none() {
        println!("skipped: no recorded data ($TOKENTIDE_SHARED is not set and there is no ../shared)");
    }
    found
}

#[test]
fn a_tokenizer_of_a_real_model_counts() {
    let Some(path) = real_tokenizer() else { return };
    let tokenizer = Tokenizer::open(&path).unwrap();
    let words = count(&tokenizer, "The capital of France is Paris.");
    assert!((6..=12).contains(&words), "{words}");
    let (one, ten) = (count(&tokenizer, "A tide comes in.\n"), count(&tokenizer, &"A tide comes in.\n".repeat(10)));
    assert!(ten.abs_diff(10 * one) <= 10, "{one} {ten}");
}

#[test]
fn a_long_prompt_is_counted_in_milliseconds() {
    let text = "The quick brown fox jumps over 1234 lazy dogs; ÄÖÜ!\n".repeat(400);
    let mut all = vec![Tokenizer::encoding("o200k_base").unwrap(), Tokenizer::encoding("r50k_base").unwrap(), words()];
    all.extend(real_tokenizer().map(|path| Tokenizer::open(&path).unwrap()));
    for tokenizer in all {
        let time = |_| {
            let start = Instant::now();
            assert!(count(&tokenizer, &text) > 1000);
            start.elapsed()
        };
        // The best of some: the machine may be busy.
        let best = (0..5).map(time).min().unwrap();
        println!("{}: {best:?} for {} kB", tokenizer.id(), text.len() / 1000);
        assert!(best < Duration::from_millis(50), "{}: {best:?}", tokenizer.id());
    }
}
