//! What the fake server answers.

use std::io::{Error, Result, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use serde_json::Value;

use super::engine::Engine;
use super::exchange::{Request, begin_events, end_events, event, whole};
use super::faults::{Every, Faults};

const JSON: &str = "application/json";

/// The routes and what they need.
pub struct Routes {
    /// Does the work.
    pub engine: Arc<Engine>,
    /// What goes wrong.
    pub faults: Faults,
    /// Requests for completions so far.
    pub asked: AtomicU32,
    /// Starts of the profiler so far.
    pub profiled: AtomicU32,
}

/// A request for a completion that can be served.
struct Asked {
    /// Its number.
    number: u32,
    input: u32,
    output: u32,
}

impl Routes {
    /// Answers a request.
    ///
    /// # Errors
    /// If the connection has ended, or is to be ended.
    pub fn answer(&self, request: &Request, to: &mut impl Write) -> Result<()> {
        let arrival = Instant::now();
        if self.faults.api_key.is_some() && request.key != self.faults.api_key && request.path != "/metrics" {
            return whole(to, 401, JSON, r#"{"error":"Unauthorized"}"#);
        }
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/health") => whole(to, 200, JSON, ""),
            ("GET", "/version") => whole(to, 200, JSON, r#"{"version":"0.32.0"}"#),
            ("GET", "/v1/models") => {
                let length = self.engine.limits.max_model_len;
                let model = format!(r#"{{"id":"fake","object":"model","owned_by":"vllm","max_model_len":{length}}}"#);
                whole(to, 200, JSON, &format!(r#"{{"object":"list","data":[{model}]}}"#))
            }
            ("GET", "/metrics") if !self.faults.no_metrics => {
                let limits = &self.engine.limits;
                let blocks = self.faults.claimed_blocks.unwrap_or(limits.num_gpu_blocks);
                whole(to, 200, "text/plain; version=0.0.4", &self.engine.gauges().text(limits, blocks))
            }
            ("POST", "/start_profile") if self.faults.profiler => {
                self.profiled.fetch_add(1, Ordering::Relaxed);
                whole(to, 200, JSON, "")
            }
            ("POST", "/stop_profile") if self.faults.profiler => whole(to, 200, JSON, ""),
            ("POST", "/v1/chat/completions") => whole(to, 400, JSON, &error("messages is missing")),
            ("POST", "/v1/completions") if !self.faults.chat_only => match self.check(&request.body) {
                Ok(asked) => self.complete(&asked, arrival, to),
                Err((status, message)) => whole(to, status, JSON, &error(&message)),
            },
            _ => whole(to, 404, JSON, r#"{"detail":"Not Found"}"#),
        }
    }

    /// What is asked for, or status and message.
    fn check(&self, body: &[u8]) -> std::result::Result<Asked, (u16, String)> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let body: Value = serde_json::from_slice(body).map_err(|e| (400, e.to_string()))?;
        if body["model"] != "fake" {
            return Err((404, format!("The model {} does not exist.", body["model"])));
        }
        if let Some(status) = Every::of(self.faults.status, number) {
            return Err((status, "injected".into()));
        }
        let ids = body["prompt"].as_array().filter(|_| !self.faults.text_only);
        let ids = ids.ok_or((400, "prompt: Input should be a valid string".to_owned()))?;
        let largest = ids.iter().filter_map(Value::as_u64).max().unwrap_or_default();
        if let Some(vocab) = self.faults.vocab.filter(|&vocab| largest >= u64::from(vocab)) {
            return Err((400, format!("Token id {largest} is out of vocabulary ({vocab})")));
        }
        let (input, mut output) = (ids.len() as u32, body["max_tokens"].as_u64().unwrap_or(16) as u32);
        let limit = self.engine.limits.max_model_len;
        if input == 0 || output == 0 || input + output > limit {
            return Err((400, format!("This model's maximum context length is {limit} tokens.")));
        }
        output = self.faults.short_answers.map_or(output, |short| output.min(short));
        Ok(Asked { number, input, output })
    }

    fn complete(&self, asked: &Asked, arrival: Instant, to: &mut impl Write) -> Result<()> {
        let (told, tokens) = channel();
        self.engine.add(asked.input, asked.output, arrival, Some(told));
        if self.faults.not_streaming {
            tokens.iter().count();
            let usage = usage(asked, asked.output);
            return whole(to, 200, JSON, &format!(r#"{{"object":"text_completion","choices":[{{"text":"x"}}],"usage":{usage}}}"#));
        }
        begin_events(to)?;
        self.stream(asked, &tokens, to)?;
        event(to, &format!(r#"{{"object":"text_completion","choices":[],"usage":{}}}"#, usage(asked, asked.output)))?;
        event(to, "[DONE]")?;
        end_events(to)
    }

    fn stream(&self, asked: &Asked, tokens: &Receiver<u32>, to: &mut impl Write) -> Result<()> {
        let slow = Every::of(self.faults.slow_first_byte, asked.number);
        let dropped = Every::of(self.faults.drop_after, asked.number);
        let mut held = false;
        for token in tokens {
            if let Some(delay) = slow.filter(|_| token == 1) {
                std::thread::sleep(delay);
            }
            if let Some(jitter) = self.faults.jitter {
                std::thread::sleep(jitter.mul_f64(draw(asked.number, token)));
            }
            // A chunk that is held back comes with the next one, unless it is the last.
            held = !held && token < asked.output && self.faults.coalesce.is_some_and(|every| token.is_multiple_of(every));
            if !held {
                let usage = if self.faults.no_usage { "null".to_owned() } else { usage(asked, token) };
                let data =
                    r#"{"id":"cmpl-0","object":"text_completion","model":"fake","choices":[{"index":0,"text":" x"}],"usage":"#;
                event(to, &format!("{data}{usage}}}"))?;
            }
            if dropped.is_some_and(|after| token >= after) {
                return Err(Error::other("injected"));
            }
        }
        Ok(())
    }
}

fn usage(asked: &Asked, tokens: u32) -> String {
    let (input, total) = (asked.input, asked.input + tokens);
    format!(r#"{{"prompt_tokens":{input},"total_tokens":{total},"completion_tokens":{tokens}}}"#)
}

fn error(message: &str) -> String {
    let message = serde_json::to_string(message).expect("a string");
    format!(r#"{{"error":{{"message":{message},"type":"BadRequestError","code":400}}}}"#)
}

/// A number from 0 to 1, without a pattern that a probe could fall in step with.
fn draw(request: u32, token: u32) -> f64 {
    let mut z = (u64::from(request) << 32 | u64::from(token)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (z >> 11) as f64 / (1u64 << 53) as f64
}
