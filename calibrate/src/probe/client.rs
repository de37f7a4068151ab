//! HTTP to the server: small questions, and answers in streams whose bytes are timed as they come.

use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use super::clock::Clock;
use super::error::ProbeError;
use super::events::Received;

/// Connections kept for later requests. A server closes idle ones after some seconds (uvicorn: 5), so they are not kept for longer.
const IDLE_CONNECTIONS: usize = 2048;
const IDLE_AGE: Duration = Duration::from_secs(3);
/// Bytes of an error's text that are worth keeping.
const ERROR_LENGTH: usize = 300;

/// Talks to one server, directly: no proxy of the environment is used, which would be measured as well.
#[derive(Clone)]
pub struct Client {
    agent: ureq::Agent,
    base: String,
    key: Option<String>,
    clock: Clock,
}

/// A short answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Its text.
    pub body: String,
}

/// A streamed answer, or how far it came.
#[derive(Clone, Debug, Default)]
pub struct Answered {
    /// When sending began [ns].
    pub sent_ns: u64,
    /// What came.
    pub received: Received,
    /// The status if it is not 200, or why there is none or no end: status first.
    pub error: Option<String>,
    /// HTTP status, 0 without an answer.
    pub status: u16,
}

/// How far a request is, for those who wait.
#[derive(Debug, Default)]
pub struct Live {
    /// Events so far.
    pub events: AtomicU32,
    /// Whether it has ended.
    pub ended: AtomicBool,
}

impl Client {
    /// For the server at `base`, with a bearer key if there is one. A read of nothing for `patience` is an error.
    ///
    /// # Errors
    /// If the URL is none, or has credentials in it.
    pub fn new(base: &str, key: Option<String>, clock: Clock, patience: Duration) -> Result<Client, ProbeError> {
        let base = clean(base)?;
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .no_delay(true)
            .timeout_connect(Some(Duration::from_secs(10).min(patience)))
            .timeout_per_read(Some(patience))
            .timeout_per_write(Some(patience))
            .max_idle_connections(IDLE_CONNECTIONS)
            .max_idle_connections_per_host(IDLE_CONNECTIONS)
            .max_idle_age(IDLE_AGE)
            .build();
        Ok(Client { agent: config.new_agent(), base, key: key.filter(|key| !key.is_empty()), clock })
    }

    /// The server's address, without credentials, query or fragment.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Whether requests carry a key.
    pub fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// Asks for a path such as `/v1/models`.
    ///
    /// # Errors
    /// Why there was no answer.
    pub fn get(&self, path: &str) -> Result<Answer, String> {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        self.answer(request.call())
    }

    /// Sends JSON to a path.
    ///
    /// # Errors
    /// Why there was no answer.
    pub fn post(&self, path: &str, json: &str) -> Result<Answer, String> {
        self.answer(self.request(path).send(json))
    }

    fn request(&self, path: &str) -> ureq::RequestBuilder<ureq::typestate::WithBody> {
        let request = self.agent.post(format!("{}{path}", self.base)).header("content-type", "application/json");
        match &self.key {
            Some(key) => request.header("authorization", format!("Bearer {key}")),
            None => request,
        }
    }

    fn answer(&self, response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Answer, String> {
        let mut response = response.map_err(|error| self.hide(&error.to_string()))?;
        let body = response.body_mut().read_to_string().map_err(|error| self.hide(&error.to_string()))?;
        Ok(Answer { status: response.status().as_u16(), body: self.hide(&body) })
    }

    /// Sends a request for a completion, and times what comes.
    pub fn stream(&self, json: &str, live: &Live) -> Answered {
        let mut all = Answered::default();
        let request = self.request("/v1/completions");
        all.sent_ns = self.clock.now();
        let sent = request.send(json);
        let mut response = match sent {
            Ok(response) => response,
            Err(error) => {
                all.error = Some(self.hide(&error.to_string()));
                return all;
            }
        };
        all.status = response.status().as_u16();
        if all.status != 200 {
            let text = response.body_mut().read_to_string().unwrap_or_default();
            all.error = Some(format!("{} {}", all.status, self.hide(&message(&text))));
            return all;
        }
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; 16 << 10];
        loop {
            let read = body.read(&mut buffer);
            let at = self.clock.now();
            match read {
                Ok(0) => return all,
                Ok(length) => {
                    let new = &buffer[..length];
                    all.received.bytes.extend_from_slice(new);
                    all.received.reads.push((at, all.received.bytes.len()));
                    live.events.fetch_add(new.windows(5).filter(|w| w == b"data:").count() as u32, Ordering::Release);
                }
                Err(error) => {
                    all.error =
                        Some(format!("the connection ended in the middle of the answer: {}", self.hide(&error.to_string())));
                    return all;
                }
            }
        }
    }

    /// Without the key, whoever wrote it.
    fn hide(&self, text: &str) -> String {
        match &self.key {
            Some(key) => text.replace(key.as_str(), "***"),
            None => text.to_owned(),
        }
    }
}

/// The message of an error's JSON, else the text, shortened.
pub fn message(text: &str) -> String {
    let json: Option<serde_json::Value> = serde_json::from_str(text).ok();
    let said = json.as_ref().and_then(|json| {
        let places = [&json["error"]["message"], &json["message"], &json["detail"], &json["error"]];
        places.into_iter().find_map(|place| place.as_str()).map(str::to_owned)
    });
    said.unwrap_or_else(|| text.trim().to_owned()).chars().take(ERROR_LENGTH).collect()
}

/// `http://host:port` or with a path before `/v1`, without what does not belong to it.
fn clean(url: &str) -> Result<String, ProbeError> {
    let shape = "write it as http://HOST:PORT, such as http://localhost:8000";
    let bare = url.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    let (scheme, rest) = bare.split_once("://").ok_or_else(|| ProbeError::new("the URL has no scheme", shape))?;
    if !matches!(scheme, "http" | "https") {
        return Err(ProbeError::new(format!("the URL's scheme is `{scheme}`"), shape));
    }
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.contains('@') {
        let help = "leave them out; an API key is read from the environment: TOKENTIDE_API_KEY or OPENAI_API_KEY";
        return Err(ProbeError::new("the URL has credentials in it", help));
    }
    let bare = ["/v1/completions", "/v1/chat/completions", "/v1"].iter().find_map(|end| bare.strip_suffix(end)).unwrap_or(bare);
    let valid = bare.parse::<ureq::http::Uri>().is_ok_and(|uri| uri.host().is_some_and(|host| !host.is_empty()));
    if valid { Ok(bare.to_owned()) } else { Err(ProbeError::new(format!("`{bare}` is no URL of a server"), shape)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_cleaned_or_refused() {
        for url in ["http://h:8000", "http://h:8000/", "http://h:8000/v1", "http://h:8000/v1/completions?key=1#x"] {
            assert_eq!(clean(url).as_deref(), Ok("http://h:8000"));
        }
        assert_eq!(clean("https://h/engine/v1/").as_deref(), Ok("https://h/engine"));
        for (url, part) in
            [("h:8000", "scheme"), ("ftp://h", "ftp"), ("http://:80", "no URL"), ("http://u:secret@h", "credentials")]
        {
            let error = clean(url).expect_err(url);
            assert!(error.message.contains(part) && !error.to_string().contains("secret"), "{url}: {error}");
        }
    }

    #[test]
    fn messages_are_taken_from_json_and_keys_are_hidden() {
        assert_eq!(message(r#"{"error":{"message":"no such model","code":404}}"#), "no such model");
        assert_eq!(message(r#"{"detail":"Not Found"}"#), "Not Found");
        assert_eq!(message(" plain \n"), "plain");
        let client = Client::new("http://h", Some("sk-1".into()), Clock::start(), IDLE_AGE).expect("a URL");
        assert_eq!(client.hide("wrong key sk-1"), "wrong key ***");
    }
}
