//! A stream of server-sent events, read as it came: what was received when, taken apart when all of it is there.
//!
//! The format is that of OpenAI's completions: lines `data: {json}`, an empty line after each, `data: [DONE]` at the end. With
//! `stream_options.continuous_usage_stats`, which vLLM and SGLang know, each event counts the output tokens so far.

use serde::Deserialize;

/// What was received of an answer.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// All bytes.
    pub bytes: Vec<u8>,
    /// Per read: when it returned [ns], and the bytes received by then.
    pub reads: Vec<(u64, usize)>,
}

/// The tokens of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// When [ns], and the output tokens by then.
    pub chunks: Vec<(u64, u32)>,
    /// Whether the numbers are the server's.
    pub counted: bool,
    /// Output tokens in all: the server's last word, else one per chunk.
    pub total: u32,
    /// Prompt tokens found in the prefix cache, if the server said.
    pub cached: Option<u32>,
    /// Events of any kind.
    pub events: usize,
    /// Whether the answer came to its end.
    pub done: bool,
    /// What the server said went wrong in the middle of it.
    pub error: Option<String>,
}

#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    choices: Vec<serde::de::IgnoredAny>,
    usage: Option<Usage>,
    error: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Usage {
    completion_tokens: Option<u32>,
    prompt_tokens_details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    cached_tokens: Option<u32>,
}

impl Received {
    /// Takes the events apart. An event was there when its line ended.
    pub fn tokens(&self) -> Tokens {
        let mut tokens = Tokens { counted: true, ..Tokens::default() };
        let (mut begin, mut read) = (0, 0);
        while let Some(length) = self.bytes[begin..].iter().position(|&byte| byte == b'\n') {
            let end = begin + length + 1;
            while self.reads[read].1 < end {
                read += 1;
            }
            tokens.take(self.bytes[begin..end].trim_ascii(), self.reads[read].0);
            begin = end;
        }
        tokens.take(self.bytes[begin..].trim_ascii(), self.reads.last().map_or(0, |read| read.0));
        let counted = tokens.chunks.last().map_or(0, |chunk| chunk.1);
        // One token to a chunk is right where it gives the server's total.
        tokens.counted |= tokens.total == counted && tokens.total > 0;
        tokens.total = tokens.total.max(counted);
        tokens
    }
}

impl Tokens {
    /// One line that was complete at `at`.
    fn take(&mut self, line: &[u8], at: u64) {
        let Some(data) = line.strip_prefix(b"data:").map(<[u8]>::trim_ascii) else { return };
        self.events += 1;
        if data == b"[DONE]" {
            self.done = true;
            return;
        }
        let Ok(event) = serde_json::from_slice::<Event>(data) else { return };
        if let Some(error) = event.error {
            self.error = Some(error["message"].as_str().map_or_else(|| error.to_string(), str::to_owned));
            return;
        }
        let said = event.usage.as_ref().and_then(|usage| usage.completion_tokens);
        self.cached = event.usage.and_then(|usage| usage.prompt_tokens_details?.cached_tokens).or(self.cached);
        let before = self.chunks.last().map_or(0, |chunk| chunk.1);
        if event.choices.is_empty() {
            self.total = said.unwrap_or(self.total);
            return;
        }
        self.counted &= said.is_some();
        let tokens = said.unwrap_or(before + 1);
        if tokens > before {
            self.chunks.push((at, tokens));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(pieces: &[(u64, &str)]) -> Received {
        let mut all = Received::default();
        for (at, piece) in pieces {
            all.bytes.extend_from_slice(piece.as_bytes());
            all.reads.push((*at, all.bytes.len()));
        }
        all
    }

    #[test]
    fn tokens_are_counted_by_the_server_and_timed_by_their_last_byte() {
        let tokens = received(&[
            (10, "data: {\"choices\":[{\"text\":\"a\"}],\"usage\":{\"completion_tokens\":1}}\n\ndata: {\"cho"),
            (20, "ices\":[{\"text\":\"b\"}],\"usage\":{\"completion_tokens\":3}}\n\n"),
            (30, "data: {\"choices\":[],\"usage\":{\"completion_tokens\":3,\"prompt_tokens_details\":{\"cached_tokens\":16}}}\n\n"),
            (31, "data: [DONE]\n\n"),
        ])
        .tokens();
        assert_eq!(tokens.chunks, [(10, 1), (20, 3)]);
        assert!(tokens.counted && tokens.done);
        assert_eq!((tokens.total, tokens.cached, tokens.events), (3, Some(16), 4));
    }

    #[test]
    fn without_the_servers_count_a_chunk_is_a_token() {
        let chunk = "data: {\"choices\":[{\"text\":\"a\"}],\"usage\":null}\n\n";
        let last = |n: u32| format!("data: {{\"choices\":[],\"usage\":{{\"completion_tokens\":{n}}}}}\n\n");
        let tokens = received(&[(1, chunk), (2, chunk), (3, &last(2))]).tokens();
        assert_eq!((tokens.chunks.as_slice(), tokens.counted, tokens.total), ([(1, 1), (2, 2)].as_slice(), true, 2));
        let fewer = received(&[(1, chunk), (2, chunk), (3, &last(4))]).tokens();
        assert_eq!((fewer.counted, fewer.total, fewer.done), (false, 4, false));
    }

    #[test]
    fn errors_in_the_middle_and_what_is_no_event_are_seen() {
        let tokens = received(&[(1, ": ping\n\n"), (2, "data: {\"error\":{\"message\":\"engine died\"}}\n\n")]).tokens();
        assert_eq!((tokens.error.as_deref(), tokens.events, tokens.done), (Some("engine died"), 1, false));
        let whole = received(&[(1, "{\"choices\":[{\"text\":\"a\"}]}")]).tokens();
        assert_eq!((whole.events, whole.chunks.len()), (0, 0));
    }
}
