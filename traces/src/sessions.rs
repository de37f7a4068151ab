//! Formats of conversations and of agents: Bailian's chats, LLMServingSim's calls, AIPerf's turns, Weka's sessions.
//!
//! A turn that waits for the one before has a *delay* instead of an arrival. A session's turns come out one after another, its
//! first one ahead, all with the session's arrival.

use std::collections::HashMap;

use tokentide_models::hash::{FNV_OFFSET, fnv1a, mix};

use crate::document::Node;
use crate::entry::Entry;
use crate::error::{Fault, FaultKind, TraceError};
use crate::number::{Unit, count};
use crate::record::{Picker, Record};
use crate::row::{Ended, TraceRow, identity};
use crate::schema::span;

/// Chats whose parents are remembered, at least: two generations of so many.
const CHATS: usize = 1 << 20;

/// Chats of Bailian: whole prompts, each with the number of the chat that it goes on from.
#[derive(Debug)]
pub struct Bailian {
    picker: Picker,
    /// Root and turn of a chat.
    young: HashMap<u64, (u64, u32)>,
    old: HashMap<u64, (u64, u32)>,
}

impl Default for Bailian {
    fn default() -> Bailian {
        let paths = ["timestamp", "input_length", "output_length", "hash_ids", "chat_id", "parent_chat_id", "type"];
        Bailian { picker: Picker::new(paths), young: HashMap::new(), old: HashMap::new() }
    }
}

impl Bailian {
    /// The record on a line. A chat whose parent is not known (it came before the file, or too long ago) begins a session.
    ///
    /// # Errors
    /// If a value is not what it should be.
    pub fn read(&mut self, line: &str) -> Result<Entry, Fault> {
        let record = Record::Object(self.picker.pick(line)?);
        let need = |index: usize, name: &str| {
            let text = record.text(index).map_err(|f| f.column(name))?;
            text.ok_or_else(|| Fault::new(FaultKind::MissingValue, "expected a number").column(name))
        };
        let chat = identity(&need(4, "chat_id")?);
        let parent = record.text(5)?.filter(|parent| parent != "-1").map(|parent| identity(&parent));
        let known = parent.filter(|p| *p != chat).and_then(|p| self.young.get(&p).or_else(|| self.old.get(&p)).copied());
        let (root, turn) = known.map_or((chat, 0), |(root, turn)| (root, turn + 1));
        if self.young.len() >= CHATS {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(chat, (root, turn));
        let row = TraceRow {
            arrival_ps: Unit::Seconds.parse(&need(0, "timestamp")?).map_err(|f| f.column("timestamp"))?,
            input_tokens: count(&need(1, "input_length")?).map_err(|f| f.column("input_length"))?,
            output_tokens: count(&need(2, "output_length")?).map_err(|f| f.column("output_length"))?,
            prefix_hashes: record.identities(3).map_err(|f| f.column("hash_ids"))?,
            route: record.text(6)?.map(|kind| kind.into_owned()),
            session: Some(root.to_string()),
            turn: Some(turn),
            ..TraceRow::default()
        };
        Ok(Entry { id: Some(chat), ..Entry::of(row) })
    }
}

/// Tokens per block into which token ids of LLMServingSim are hashed.
const HASHED_BLOCK: usize = 16;

/// Requests of LLMServingSim, and sessions whose calls wait for the call before and its tool.
#[derive(Debug)]
pub struct SimSessions {
    picker: Picker,
}

impl Default for SimSessions {
    fn default() -> SimSessions {
        let paths = ["arrival_time_ns", "input_toks", "output_toks", "input_tok_ids", "session_id", "sub_requests"];
        SimSessions { picker: Picker::new(paths) }
    }
}

#[derive(serde::Deserialize)]
struct Call {
    input_toks: u32,
    output_toks: u32,
    #[serde(default)]
    tool_duration_ns: u64,
    #[serde(default)]
    input_tok_ids: Vec<u64>,
}

impl SimSessions {
    /// The requests on a line.
    ///
    /// # Errors
    /// If a value is not what it should be.
    pub fn read(&self, line: &str, out: &mut Vec<Entry>) -> Result<(), Fault> {
        let record = Record::Object(self.picker.pick(line)?);
        let need = |index: usize, name: &str| {
            let text = record.text(index).map_err(|f| f.column(name))?;
            text.ok_or_else(|| Fault::new(FaultKind::MissingValue, "expected a number").column(name))
        };
        let arrival = Unit::Nanoseconds.parse(&need(0, "arrival_time_ns")?).map_err(|f| f.column("arrival_time_ns"))?;
        let Record::Object(values) = &record else { return Ok(()) };
        let Some(calls) = values[5] else {
            let ids = record.identities(3).map_err(|f| f.column("input_tok_ids"))?;
            out.push(Entry::of(TraceRow {
                arrival_ps: arrival,
                input_tokens: count(&need(1, "input_toks")?).map_err(|f| f.column("input_toks"))?,
                output_tokens: count(&need(2, "output_toks")?).map_err(|f| f.column("output_toks"))?,
                prefix_block_tokens: (!ids.is_empty()).then_some(HASHED_BLOCK as u32),
                prefix_hashes: chained(&ids),
                ..TraceRow::default()
            }));
            return Ok(());
        };
        let bad = |e: serde_json::Error| Fault::new(FaultKind::BadJson, e.to_string()).column("sub_requests");
        let calls: Vec<Call> = serde_json::from_str(calls).map_err(bad)?;
        let session = need(4, "session_id")?.into_owned();
        let mut tool_ps = None;
        for (turn, call) in (0..).zip(calls) {
            out.push(Entry::of(TraceRow {
                arrival_ps: arrival,
                delay_ps: tool_ps,
                input_tokens: call.input_toks,
                output_tokens: call.output_toks,
                session: Some(session.clone()),
                turn: Some(turn),
                prefix_block_tokens: (!call.input_tok_ids.is_empty()).then_some(HASHED_BLOCK as u32),
                prefix_hashes: chained(&call.input_tok_ids),
                ..TraceRow::default()
            }));
            tool_ps = Some(call.tool_duration_ns.saturating_mul(1000));
        }
        Ok(())
    }
}

/// Identities of full blocks of token ids, each of all text before it too.
fn chained(ids: &[u64]) -> Vec<u64> {
    let mut chain = 0;
    let blocks = ids.chunks_exact(HASHED_BLOCK);
    blocks
        .map(|block| {
            chain = block.iter().fold(mix(chain), |hash, id| mix(hash ^ mix(*id)));
            chain
        })
        .collect()
}

/// AIPerf's sessions: each turn gives what it adds to the conversation, and the delay after the answer before.
#[derive(Debug)]
pub struct AiperfSessions {
    picker: Picker,
    block_tokens: Option<u32>,
    /// By session, in order of appearance.
    order: Vec<String>,
    turns: HashMap<String, Vec<TraceRow>>,
}

impl AiperfSessions {
    /// Hashes of `block_tokens` each.
    pub fn new(block_tokens: Option<u32>) -> AiperfSessions {
        let paths = ["session_id", "timestamp", "delay", "input_length", "output_length", "hash_ids", "group_id"];
        AiperfSessions { picker: Picker::new(paths), block_tokens, order: Vec::new(), turns: HashMap::new() }
    }

    /// Takes a turn. The whole prompt is what the session has said and heard so far, and what the turn adds.
    ///
    /// # Errors
    /// If a value is not what it should be.
    pub fn read(&mut self, line: &str) -> Result<(), Fault> {
        let record = Record::Object(self.picker.pick(line)?);
        let text = |index: usize, name: &str| record.text(index).map_err(|f| f.column(name));
        let need = |index: usize, name: &str| {
            text(index, name)?.ok_or_else(|| Fault::new(FaultKind::MissingValue, "expected a number").column(name))
        };
        let no_length = |fault: Fault| match fault.kind {
            FaultKind::MissingValue => {
                let advice = "turns of text have no lengths: count their tokens, with the model's tokenizer, into input_length";
                Fault::new(FaultKind::NoTokens, advice).column("input_length")
            }
            _ => fault,
        };
        let added = count(&need(3, "input_length").map_err(no_length)?).map_err(|f| f.column("input_length"))?;
        let output_tokens = count(&need(4, "output_length")?).map_err(|f| f.column("output_length"))?;
        let session = need(0, "session_id")?.into_owned();
        let turns = self.turns.entry(session.clone()).or_insert_with(|| {
            self.order.push(session.clone());
            Vec::new()
        });
        let ms = |text: &str, name: &str| span(text, Unit::Milliseconds).map_err(|f| f.column(name));
        let mut row = TraceRow {
            output_tokens,
            session: Some(session),
            turn: Some(turns.len() as u32),
            route: text(6, "group_id")?.map(|group| group.into_owned()),
            ..TraceRow::default()
        };
        match turns.last() {
            None => {
                let stamp = text(1, "timestamp")?;
                row.arrival_ps = stamp.map_or(Ok(0), |t| Unit::Milliseconds.parse(&t)).map_err(|f| f.column("timestamp"))?;
                row.input_tokens = added;
                row.prefix_hashes = record.identities(5).map_err(|f| f.column("hash_ids"))?;
                row.prefix_block_tokens = self.block_tokens;
            }
            Some(before) => {
                let history = before.input_tokens.saturating_add(before.output_tokens);
                row.arrival_ps = turns[0].arrival_ps;
                row.delay_ps = Some(text(2, "delay")?.map_or(Ok(0), |d| ms(&d, "delay"))?);
                row.input_tokens = history.saturating_add(added);
                row.history_tokens = Some(history);
            }
        }
        turns.push(row);
        Ok(())
    }

    /// All turns, session by session in the order in which they were met.
    pub fn finish(&mut self) -> Vec<Entry> {
        let order = std::mem::take(&mut self.order);
        let rows = order.into_iter().flat_map(|session| self.turns.remove(&session).unwrap_or_default());
        rows.map(Entry::of).collect()
    }
}

/// A session of Weka's: whole prompts, hashes that mean something within the session only, turns that wait for the one before and
/// for the subagents before them. A subagent that runs beside its parent (`async_launched`) is a session of its own.
///
/// # Errors
/// If a value is not what it should be.
pub fn weka(root: &Node<'_>, out: &mut Vec<Entry>) -> Result<(), TraceError> {
    let id = root.need("id")?.text().unwrap_or_default().to_owned();
    let mut session = WekaSession {
        scope: if root.get("hash_id_scope").and_then(|s| s.text()) == Some("global") {
            0
        } else {
            fnv1a(FNV_OFFSET, id.as_bytes())
        },
        block_tokens: root.need("block_size")?.count(1)?,
        id,
        turn: 0,
        apart: Vec::new(),
    };
    session.requests(root, out)?;
    out.append(&mut session.apart);
    Ok(())
}

struct WekaSession {
    id: String,
    scope: u64,
    block_tokens: u32,
    turn: u32,
    /// Requests of sessions that run beside this one.
    apart: Vec<Entry>,
}

impl WekaSession {
    fn requests(&mut self, node: &Node<'_>, out: &mut Vec<Entry>) -> Result<(), TraceError> {
        for request in node.need("requests")?.items() {
            if request.get("type").and_then(|t| t.text()) != Some("subagent") {
                let entry = self.request(&request)?;
                out.push(entry);
                continue;
            }
            if request.get("status").and_then(|s| s.text()) != Some("async_launched") {
                self.requests(&request, out)?;
            } else if request.get("requests").is_some() {
                let agent = request.get("agent_id").and_then(|a| a.text()).unwrap_or("agent");
                let id = format!("{}/{agent}", self.id);
                let mut beside = WekaSession { id, turn: 0, apart: Vec::new(), ..*self };
                let mut entries = Vec::new();
                beside.requests(&request, &mut entries)?;
                self.apart.append(&mut entries);
                self.apart.append(&mut beside.apart);
            }
        }
        Ok(())
    }

    fn request(&mut self, node: &Node<'_>) -> Result<Entry, TraceError> {
        let ps = |key: &str| Ok(node.get(key).map(|n| n.number()).transpose()?.map(|s| (s * 1e12).round() as u64));
        let ids: Result<Vec<u64>, TraceError> = match node.get("hash_ids") {
            Some(ids) => ids.items().map(|id| Ok(mix(self.scope ^ mix(id.number()? as u64)))).collect(),
            None => Ok(Vec::new()),
        };
        let turn = self.turn;
        self.turn += 1;
        let mut row = TraceRow {
            input_tokens: node.need("in")?.count(0)?,
            output_tokens: node.need("out")?.count(0)?,
            model: node.get("model").and_then(|m| m.text()).map(str::to_owned),
            session: Some(self.id.clone()),
            turn: Some(turn),
            prefix_hashes: ids?,
            prefix_block_tokens: Some(self.block_tokens),
            ..TraceRow::default()
        };
        if turn > 0 {
            row.delay_ps = Some(ps("think_time")?.unwrap_or(0));
        } else if self.id.contains('/') {
            row.arrival_ps = ps("t")?.unwrap_or(0).into();
        }
        row.observed.ttft_ps = ps("ttft")?;
        row.observed.e2e_ps = ps("api_time")?;
        row.observed.finish = node.get("stop").and_then(|stop| stop.text()).and_then(Ended::named);
        Ok(Entry::of(row))
    }
}
