//! Request records as columns: one definition of each, its unit and when it is null.

use polars::prelude::{Column, DataFrame, NamedFrom, PlSmallStr, PolarsResult, Series};
use tokentide_models::units::Time;
use tokentide_sim::engine::{Finish, Outcome};
use tokentide_sim::scenario::{Scenario, Source};

/// A column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnInfo {
    /// Name in the file.
    pub name: &'static str,
    /// Unit; empty for labels.
    pub unit: &'static str,
    /// What it holds, and when it is null.
    pub definition: &'static str,
}

pub(crate) const fn column(name: &'static str, unit: &'static str, definition: &'static str) -> ColumnInfo {
    ColumnInfo { name, unit, definition }
}

/// Input tokens by source, in the order of [`Source::ALL`]: in records and in traces.
pub(crate) const SOURCE_COLUMNS: [ColumnInfo; 8] = [
    column("in_system", "tokens", "Input tokens of the system prompt; as all in_ columns, null where the sources are unknown."),
    column("in_developer", "tokens", "Input tokens of the developer prompt."),
    column("in_history", "tokens", "Input tokens of the conversation so far."),
    column("in_retrieved", "tokens", "Input tokens of retrieved text."),
    column("in_tools", "tokens", "Input tokens of tool definitions and results."),
    column("in_user", "tokens", "Input tokens of what the user typed."),
    column("in_metadata", "tokens", "Input tokens of citations and metadata."),
    column("in_formatting", "tokens", "Input tokens of templates, separators and markup."),
];

/// All columns, in the order of the file.
pub const RECORD_COLUMNS: &[ColumnInfo] = &[
    column("id", "", "Index of the request in arrival order, from 0."),
    column("arrival_s", "s", "When the front end receives it, since the start of the run."),
    column("class", "", "Workload class; null if the class has no name."),
    column("tenant", "", "Tenant label; null if none."),
    column("route", "", "Route or feature label; null if none."),
    column("session", "", "Conversation that it belongs to; null for single requests."),
    column("turn", "", "Turn of the conversation, from 0; null for single requests."),
    column("model", "", "Model that serves it."),
    column("model_version", "", "Its version, as the scenario names it; null if it does not."),
    column("deployment", "", "GPU and layout of the replica, such as h100-sxm tp4."),
    column(
        "replica",
        "",
        "Replica that it was routed to, from 0; null if rejected for the context limit, which comes before routing.",
    ),
    column("input_tokens", "tokens", "Length of the final assembled prompt."),
    column("output_tokens", "tokens", "Tokens given to the client."),
    column("total_tokens", "tokens", "input_tokens + output_tokens."),
    column("max_tokens", "tokens", "Requested maximum of output tokens; null if the client sets none."),
    column("cached_tokens", "tokens", "Of the input tokens, found in the prefix cache at the first admission."),
    SOURCE_COLUMNS[0],
    SOURCE_COLUMNS[1],
    SOURCE_COLUMNS[2],
    SOURCE_COLUMNS[3],
    SOURCE_COLUMNS[4],
    SOURCE_COLUMNS[5],
    SOURCE_COLUMNS[6],
    SOURCE_COLUMNS[7],
    column("queue_ms", "ms", "Arrival to first scheduling; null if it never ran."),
    column("ttft_ms", "ms", "Arrival to first token; null if no token was given."),
    column("tpot_ms", "ms", "(e2e - ttft) / (output_tokens - 1); null for one token and unless completed."),
    column("e2e_ms", "ms", "Arrival to last token; null unless completed."),
    column("finish_reason", "", "stop, length, truncated, rejected_context, rejected_queue or timed_out."),
    column("preemptions", "", "How often it was preempted (its KV cache recomputed)."),
];

/// Names behind the indices of requests.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    /// Model, the same for all.
    pub model: String,
    /// Its version, the same for all.
    pub model_version: Option<String>,
    /// GPU and layout of a replica, the same for all.
    pub deployment: String,
    /// Class names, by [`tokentide_sim::workload::Request::class`].
    pub classes: Vec<String>,
    /// The workload's string table, by [`tokentide_sim::workload::Request::tenant`] and `route`.
    pub strings: Vec<String>,
}

impl Labels {
    /// Those of a scenario's runs. The string table is only known once they run.
    pub fn of(scenario: &Scenario) -> Labels {
        Labels {
            model: scenario.deployment.model.name.clone(),
            model_version: scenario.model_version.clone(),
            deployment: scenario.deployment_name(),
            classes: scenario.classes.iter().map(|class| class.name.clone()).collect(),
            strings: Vec::new(),
        }
    }
}

/// Rows not yet written, as columns.
#[derive(Default)]
pub(crate) struct Columns {
    id: Vec<u64>,
    arrival_s: Vec<f64>,
    class: Vec<u16>,
    tenant: Vec<u16>,
    route: Vec<u16>,
    session: Vec<Option<u64>>,
    turn: Vec<Option<u32>>,
    replica: Vec<Option<u32>>,
    input_tokens: Vec<u32>,
    output_tokens: Vec<u32>,
    max_tokens: Vec<Option<u32>>,
    cached_tokens: Vec<u32>,
    sources: [Vec<Option<u32>>; 8],
    queue_ms: Vec<Option<f64>>,
    ttft_ms: Vec<Option<f64>>,
    tpot_ms: Vec<Option<f64>>,
    e2e_ms: Vec<Option<f64>>,
    finish: Vec<Finish>,
    preemptions: Vec<u32>,
}

impl Columns {
    pub(crate) fn len(&self) -> usize {
        self.id.len()
    }

    pub(crate) fn push(&mut self, outcome: &Outcome) {
        let request = &outcome.request;
        let ms = |time: Time| time.since(request.arrival).as_millis_f64();
        let completed = outcome.finish.completed();
        self.id.push(request.id);
        self.arrival_s.push(request.arrival.as_secs_f64());
        self.class.push(request.class);
        self.tenant.push(request.tenant);
        self.route.push(request.route);
        self.session.push(request.session.map(|(session, _)| session));
        self.turn.push(request.session.map(|(_, turn)| turn));
        self.replica.push((outcome.finish != Finish::RejectedContext).then_some(outcome.replica));
        self.input_tokens.push(request.input_tokens);
        self.output_tokens.push(outcome.output_tokens);
        self.max_tokens.push((request.max_tokens != u32::MAX).then_some(request.max_tokens));
        self.cached_tokens.push(outcome.cached_tokens);
        let known = request.sources.iter().any(|&t| t > 0);
        for (column, &tokens) in self.sources.iter_mut().zip(&request.sources) {
            column.push(known.then_some(tokens));
        }
        self.queue_ms.push(outcome.scheduled.map(ms));
        self.ttft_ms.push(outcome.first_token.map(ms));
        self.tpot_ms.push(
            outcome
                .first_token
                .filter(|_| completed && outcome.output_tokens > 1)
                .map(|first| outcome.ended.since(first).as_millis_f64() / f64::from(outcome.output_tokens - 1)),
        );
        self.e2e_ms.push(completed.then(|| ms(outcome.ended)));
        self.finish.push(outcome.finish);
        self.preemptions.push(outcome.preemptions);
    }

    /// Turns the rows into a frame.
    pub(crate) fn frame(self, labels: &Labels) -> PolarsResult<DataFrame> {
        let rows = self.len();
        let named = |table: &[String], index: &[u16]| -> Vec<Option<String>> {
            index.iter().map(|&i| table.get(usize::from(i)).cloned()).collect()
        };
        let total: Vec<u64> =
            self.input_tokens.iter().zip(&self.output_tokens).map(|(&i, &o)| u64::from(i) + u64::from(o)).collect();
        let finish: Vec<&str> = self.finish.iter().map(|f| f.name()).collect();
        let mut columns = vec![
            series("id", self.id),
            series("arrival_s", self.arrival_s),
            series("class", named(&labels.classes, &self.class)),
            series("tenant", named(&labels.strings, &self.tenant)),
            series("route", named(&labels.strings, &self.route)),
            series("session", self.session),
            series("turn", self.turn),
            series("model", vec![labels.model.as_str(); rows]),
            series("model_version", vec![labels.model_version.as_deref(); rows]),
            series("deployment", vec![labels.deployment.as_str(); rows]),
            series("replica", self.replica),
            series("input_tokens", self.input_tokens),
            series("output_tokens", self.output_tokens),
            series("total_tokens", total),
            series("max_tokens", self.max_tokens),
            series("cached_tokens", self.cached_tokens),
        ];
        for (source, tokens) in Source::ALL.into_iter().zip(self.sources) {
            columns.push(series(&format!("in_{}", source.name()), tokens));
        }
        columns.extend([
            series("queue_ms", self.queue_ms),
            series("ttft_ms", self.ttft_ms),
            series("tpot_ms", self.tpot_ms),
            series("e2e_ms", self.e2e_ms),
            series("finish_reason", finish),
            series("preemptions", self.preemptions),
        ]);
        DataFrame::new(rows, columns)
    }
}

fn series<T>(name: &str, values: Vec<T>) -> Column
where
    Series: NamedFrom<Vec<T>, [T]>,
    Vec<T>: AsRef<[T]>,
{
    Series::new(PlSmallStr::from_str(name), values).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_columns_are_those_of_the_frame() {
        let frame = Columns::default().frame(&Labels::default()).unwrap();
        let names: Vec<_> = frame.get_column_names().iter().map(|n| n.to_string()).collect();
        assert_eq!(names, RECORD_COLUMNS.iter().map(|c| c.name).collect::<Vec<_>>());
    }
}
