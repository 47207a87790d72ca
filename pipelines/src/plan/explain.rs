//! The plan, explained: as a tree for people, as mermaid for pages, as JSON for programs.
//!
//! ```text
//!   Plan ──▶ ExplainTree: nodes and what they read ──▶ Display │ mermaid │ Serialize
//! ```

use std::fmt;

use serde::Serialize;
use thalweg_engine::shard::SHARDS;
use thalweg_schemas::Format;

use super::model::{
    AggregateCall, Connector, NamedExpr, PartitionColumn, Plan, PlannedInput, PlannedScore, PlannedSeries,
    PlannedSource, PlannedStep, PlannedWindow, Position, SeriesModelKind, SinkKind, StepKind, StreamId,
    WindowKind,
};
use super::types::column_name;
use crate::spec::{Duration, Instant, Size};

/// A plan in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExplainTree {
    /// The pipeline's name.
    pub pipeline: String,
    /// Sources, then steps, then sinks, each after all that it reads.
    pub nodes: Vec<ExplainNode>,
}

/// A source, step or sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExplainNode {
    /// What it is.
    pub kind: NodeKind,
    /// Its name.
    pub name: String,
    /// What it does, in a few words: `tumbling window of 1m`.
    pub title: String,
    /// Indexes of the nodes that it reads.
    pub inputs: Vec<usize>,
    /// How rows come to the worker that needs them, where they don't stay where they are.
    pub exchange: Option<String>,
    /// Further properties, as (name, value).
    pub details: Vec<(String, String)>,
    /// Its columns with their types; `?` marks those that may be null.
    pub columns: Vec<String>,
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeKind {
    /// Where rows come from.
    Source,
    /// What is done with them.
    Step,
    /// Where they go.
    Sink,
}

impl Plan {
    /// The plan in words.
    pub fn explain(&self) -> ExplainTree {
        let index = |input: &PlannedInput| match input.stream {
            StreamId::Source(index) => index,
            StreamId::Step(index) => self.sources.len() + index,
        };
        let mut nodes: Vec<ExplainNode> = self.sources.iter().map(source).collect();
        for planned in &self.steps {
            nodes.push(step(planned, planned.inputs.iter().map(index).collect()));
        }
        for planned in &self.sinks {
            let mut details = Vec::new();
            let title = match &planned.kind {
                SinkKind::Parquet { partition_by, target_file_bytes }
                | SinkKind::Delta { partition_by, target_file_bytes } => {
                    details.push(("file size".into(), Size { bytes: *target_file_bytes }.to_string()));
                    let names: Vec<&str> =
                        partition_by.iter().map(|each| each.name(&planned.columns)).collect();
                    if !names.is_empty() {
                        details.push(("folders".into(), names.join(", ")));
                    }
                    match planned.kind {
                        SinkKind::Delta { .. } => "a Delta table".to_owned(),
                        _ => "Parquet files".to_owned(),
                    }
                }
                SinkKind::Kafka { brokers, topic, key, properties: _ } => {
                    details.push(("brokers".into(), brokers.clone()));
                    let names: Vec<&str> =
                        key.iter().map(|each| planned.columns.field(*each).name().as_str()).collect();
                    if !names.is_empty() {
                        details.push(("key".into(), names.join(", ")));
                    }
                    format!("Kafka {topic}")
                }
                SinkKind::Jsonl => "a file of JSON lines".to_owned(),
                SinkKind::Stdout => "standard output".to_owned(),
                SinkKind::Handed(_) => "whoever looks on".to_owned(),
            };
            let is_folder = |index: usize| match &planned.kind {
                SinkKind::Parquet { partition_by, .. } | SinkKind::Delta { partition_by, .. } => {
                    partition_by.contains(&PartitionColumn::Column(index))
                }
                SinkKind::Kafka { .. } | SinkKind::Jsonl | SinkKind::Stdout | SinkKind::Handed(_) => false,
            };
            let columns = planned.columns.fields().iter().enumerate();
            nodes.push(ExplainNode {
                kind: NodeKind::Sink,
                name: planned.name.clone(),
                title,
                inputs: vec![index(&planned.input)],
                exchange: None,
                details,
                columns: columns
                    .filter(|(index, _)| !is_folder(*index))
                    .map(|(_, column)| column_name(column))
                    .collect(),
            });
        }
        ExplainTree { pipeline: self.name.clone(), nodes }
    }
}

fn source(source: &PlannedSource) -> ExplainNode {
    let mut details = Vec::new();
    let title = match &source.connector {
        Connector::Kafka(kafka) => {
            details.push(("brokers".to_owned(), kafka.brokers.clone()));
            details.push(("start".to_owned(), position(&kafka.start)));
            details.push(("end".to_owned(), kafka.end.as_ref().map_or_else(|| "never".to_owned(), position)));
            format!("Kafka {}", kafka.topics.join(", "))
        }
        Connector::Archive { path } => format!("archive {}", path.display()),
        Connector::Given(_) => "given records".to_owned(),
    };
    let format = match source.format {
        Format::Json => format!(
            "json, schema {} ({} of {} fields)",
            source.schema.name,
            source.fields.len(),
            source.schema.fields.len()
        ),
        Format::Raw => "raw".to_owned(),
    };
    details.push(("format".into(), format));
    let time = &source.event_time;
    let field =
        time.field.map_or("the record's timestamp", |index| source.schema.fields[index].name.as_str());
    let mut event_time = format!(
        "{field}, lateness {}, max_ahead {}",
        duration(time.lateness_us),
        duration(time.max_ahead_us)
    );
    if let Some(idle_after_us) = time.idle_after_us {
        event_time.push_str(&format!(", idle_after {}", duration(idle_after_us)));
    }
    details.push(("event time".into(), event_time));
    ExplainNode {
        kind: NodeKind::Source,
        name: source.name.clone(),
        title,
        inputs: Vec::new(),
        exchange: None,
        details,
        columns: source.columns.fields().iter().map(|column| column_name(column)).collect(),
    }
}

fn step(step: &PlannedStep, inputs: Vec<usize>) -> ExplainNode {
    let mut details = Vec::new();
    let mut exchange = None;
    if let Some(filter) = &step.filter {
        details.push(("where".to_owned(), filter.sql.clone()));
    }
    let union = if inputs.len() > 1 { format!("union of {}, ", inputs.len()) } else { String::new() };
    let title = match &step.kind {
        StepKind::Pass if inputs.len() > 1 => format!("union of {}", inputs.len()),
        StepKind::Pass if step.filter.is_some() => "filter".to_owned(),
        StepKind::Pass => "all rows".to_owned(),
        StepKind::Project(exprs) => {
            details.extend(
                exprs
                    .iter()
                    .filter(|expr| expr.name != expr.sql)
                    .map(|expr| (expr.name.clone(), expr.sql.clone())),
            );
            format!("{union}select")
        }
        StepKind::Window(window) => {
            exchange = Some(how_rows_are_exchanged(window));
            window_details(window, &mut details);
            format!("{union}{}", window_title(&window.window))
        }
        StepKind::Series(series) => {
            exchange = Some(by_keys("rows", &series.keys));
            series_details(series, &mut details);
            format!("{union}{}", series_title(&series.model))
        }
        StepKind::Score(score) => {
            score_details(score, &mut details);
            format!("{union}scores of {}", score.file.version)
        }
    };
    ExplainNode {
        kind: NodeKind::Step,
        name: step.name.clone(),
        title,
        inputs,
        exchange,
        details,
        columns: step.columns.fields().iter().map(|column| column_name(column)).collect(),
    }
}

fn how_rows_are_exchanged(window: &PlannedWindow) -> String {
    let what = match window.window {
        WindowKind::Session { .. } => "rows",
        WindowKind::Tumbling { .. } | WindowKind::Hopping { .. } => "partial aggregates",
    };
    by_keys(what, &window.keys)
}

fn by_keys(what: &str, keys: &[NamedExpr]) -> String {
    let keys: Vec<&str> = keys.iter().map(|key| key.name.as_str()).collect();
    match keys.as_slice() {
        [] => format!("{what}, to one of {SHARDS} shards"),
        keys => format!("{what} by {}, to {SHARDS} shards", keys.join(", ")),
    }
}

fn series_title(model: &SeriesModelKind) -> String {
    match model {
        SeriesModelKind::Detect(config) => format!("anomalies ({})", config.method.name()),
        SeriesModelKind::Forecast(config) => {
            let horizons: Vec<String> = config.horizons_us.iter().map(|us| duration(*us)).collect();
            format!("forecast, {} ahead", horizons.join(", "))
        }
        SeriesModelKind::Converge(_) => "convergence".to_owned(),
        SeriesModelKind::Windows(config) => format!("windows of {} rows", config.rows),
    }
}

fn series_details(series: &PlannedSeries, details: &mut Vec<(String, String)>) {
    let mut detail = |name: &str, value: String| details.push((name.to_owned(), value));
    for key in &series.keys {
        detail("key", with_sql(key));
    }
    for input in &series.inputs {
        let sql = if input.sql == input.name { String::new() } else { format!(" = {}", input.sql) };
        detail("reads", format!("{}{sql}", input.name));
    }
    let season =
        |season_us: Option<i64>| season_us.map_or_else(|| "found in the series".to_owned(), duration);
    let every = |us: Option<i64>| us.map_or_else(|| "learnt from the rows".to_owned(), duration);
    match &series.model {
        SeriesModelKind::Detect(config) => {
            detail("every", every(config.interval_us));
            detail("season", season(config.season_us));
            let per = duration(config.false_alarms_per_us);
            detail("alarms", format!("{} false in {per} of a series", config.false_alarms));
            detail("settle", duration(config.settle_us));
            if let Some(while_us) = series.siblings_while_us() {
                detail(
                    "siblings",
                    format!("tell new series how values scatter, every {}", duration(while_us)),
                );
            }
            if let Some(network) = &series.network {
                detail("model", format!("{}, of {} rows", network.file.version, network.windows.rows));
                if let Some(shadow) = &network.shadow {
                    detail("shadow", shadow.version.clone());
                }
                if let Some(retrain) = &network.retrain {
                    let (every, over) = (duration(retrain.every_us), duration(retrain.over_us));
                    detail("trained", format!("every {every}, over {over}"));
                }
                if let Some(limit) = network.time_limit_us {
                    detail("time limit", duration(limit));
                }
            }
        }
        SeriesModelKind::Windows(config) => detail("every", every(config.interval_us)),
        SeriesModelKind::Forecast(config) => {
            detail("every", every(config.interval_us));
            detail("season", season(config.season_us));
            if let Some(threshold) = config.threshold {
                detail("threshold", threshold.to_string());
            }
        }
        SeriesModelKind::Converge(config) => {
            let direction = if config.falling { "falling" } else { "rising" };
            detail("direction", direction.to_owned());
            if let Some(target) = config.target {
                detail("target", target.to_string());
            }
            if let Some(end) = config.end {
                detail("end", end.to_string());
            }
            detail("stalls", format!("after {} steps", config.stall_after));
        }
    }
    if let Some(zone) = series.time_zone {
        detail("time zone", zone.name().to_owned());
    }
    detail("forgotten", format!("after {} without rows", duration(series.forget_after_us)));
    if let Some(having) = &series.having {
        detail("having", having.sql.clone());
    }
}

fn score_details(score: &PlannedScore, details: &mut Vec<(String, String)>) {
    for input in &score.inputs {
        let sql = if input.sql == input.name { String::new() } else { format!(" = {}", input.sql) };
        details.push(("reads".to_owned(), format!("{}{sql}", input.name)));
    }
    if let Some(limit) = score.time_limit_us {
        details.push(("time limit".to_owned(), duration(limit)));
    }
    if let Some(having) = &score.having {
        details.push(("having".to_owned(), having.sql.clone()));
    }
}

fn with_sql(key: &NamedExpr) -> String {
    let sql = if key.sql == key.name { String::new() } else { format!(" = {}", key.sql) };
    format!("{}{sql}", column_name(&key.field()))
}

fn window_title(window: &WindowKind) -> String {
    match window {
        WindowKind::Tumbling { size_us, offset_us, time_zone } => {
            let zone = time_zone.map_or_else(String::new, |zone| format!(" in {}", zone.name()));
            format!("tumbling window of {}{}{zone}", duration(*size_us), offset(*offset_us))
        }
        WindowKind::Hopping { size_us, every_us, offset_us } => {
            format!(
                "hopping window of {} every {}{}",
                duration(*size_us),
                duration(*every_us),
                offset(*offset_us)
            )
        }
        WindowKind::Session { gap_us, max_us } => {
            let max = max_us.map_or_else(String::new, |max| format!(", {} at most", duration(max)));
            format!("session with a gap of {}{max}", duration(*gap_us))
        }
    }
}

fn window_details(window: &PlannedWindow, details: &mut Vec<(String, String)>) {
    for key in &window.keys {
        details.push(("key".into(), with_sql(key)));
    }
    for call in &window.aggregates {
        details.push(("aggregate".into(), aggregate(call, &window.inputs)));
    }
    if let Some(having) = &window.having {
        details.push(("having".into(), having.sql.clone()));
    }
}

/// A call as SQL.
fn aggregate(call: &AggregateCall, inputs: &[NamedExpr]) -> String {
    use thalweg_operators::aggregate::Function;
    let mut arguments: Vec<String> = call.arguments.iter().map(|index| inputs[*index].sql.clone()).collect();
    let mut name = call.aggregate.function().name();
    match call.aggregate.function() {
        Function::Quantile(p) => arguments.push(p.to_string()),
        Function::TopK(kept) | Function::Collect(kept) => arguments.push(kept.to_string()),
        Function::Count if arguments.is_empty() => arguments.push("*".into()),
        Function::CountDistinct => {
            name = "count";
            arguments = vec![format!("distinct {}", arguments.join(", "))];
        }
        _ => {}
    }
    let filter =
        call.filter.map_or_else(String::new, |index| format!(" filter (where {})", inputs[index].sql));
    format!("{name}({}){filter}", arguments.join(", "))
}

fn position(position: &Position) -> String {
    match position {
        Position::Earliest => "earliest".into(),
        Position::Latest => "latest".into(),
        Position::Timestamp(us) => Instant { us: *us }.to_string(),
        Position::Offsets(topics) => {
            let partition = |(partition, offset): &(i32, i64)| format!("{partition}: {offset}");
            let topic = |(topic, partitions): &(String, Vec<(i32, i64)>)| {
                format!("{topic} {{ {} }}", partitions.iter().map(partition).collect::<Vec<_>>().join(", "))
            };
            format!("offsets {}", topics.iter().map(topic).collect::<Vec<_>>().join(", "))
        }
    }
}

fn duration(us: i64) -> String {
    Duration { us }.to_string()
}

fn offset(us: i64) -> String {
    if us == 0 { String::new() } else { format!(" offset {}", duration(us)) }
}

impl NodeKind {
    fn word(self) -> &'static str {
        match self {
            NodeKind::Source => "source",
            NodeKind::Step => "step",
            NodeKind::Sink => "sink",
        }
    }
}

impl ExplainTree {
    fn branches(&self, children: &[usize], indent: &str, shown: &mut [bool], text: &mut String) {
        for (position, child) in children.iter().enumerate() {
            let is_last = position + 1 == children.len();
            let node = &self.nodes[*child];
            let fork = if is_last { "└─" } else { "├─" };
            text.push_str(&format!("{indent}{fork} {} {}: {}", node.kind.word(), node.name, node.title));
            if shown[*child] {
                text.push_str(" (as above)\n");
                continue;
            }
            shown[*child] = true;
            text.push('\n');
            let indent = format!("{indent}{}", if is_last { "   " } else { "│  " });
            let bar = if node.inputs.is_empty() { ' ' } else { '│' };
            for (name, value) in self.lines(node) {
                text.push_str(&format!("{indent}{bar}  {name:<11}{value}\n"));
            }
            self.branches(&node.inputs, &indent, shown, text);
        }
    }

    fn lines(&self, node: &ExplainNode) -> Vec<(String, String)> {
        let mut lines = node.details.clone();
        lines.extend(node.exchange.iter().map(|exchange| ("exchange".to_owned(), exchange.clone())));
        let columns = if node.columns.is_empty() { "none".to_owned() } else { node.columns.join(", ") };
        lines.push(("columns".to_owned(), columns));
        lines.into_iter().map(|(name, value)| (name, value.replace('\n', " "))).collect()
    }

    /// A mermaid flowchart, from sources to sinks; an exchange is a thick arrow.
    pub fn mermaid(&self) -> String {
        let mut text = String::from("flowchart LR\n");
        for (index, node) in self.nodes.iter().enumerate() {
            let label = escaped(&format!("{}\n{}", node.name, node.title));
            let shape = match node.kind {
                NodeKind::Source => format!("[(\"{label}\")]"),
                NodeKind::Step => format!("[\"{label}\"]"),
                NodeKind::Sink => format!("[/\"{label}\"/]"),
            };
            text.push_str(&format!("    n{index}{shape}\n"));
        }
        for (index, node) in self.nodes.iter().enumerate() {
            for input in &node.inputs {
                let arrow = match &node.exchange {
                    Some(exchange) => format!("==>|\"{}\"|", escaped(exchange)),
                    None => "-->".to_owned(),
                };
                text.push_str(&format!("    n{input} {arrow} n{index}\n"));
            }
        }
        text
    }
}

/// A tree from the sinks down to the sources. What several nodes read is shown in full at the first of them.
impl fmt::Display for ExplainTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = format!("pipeline {}\n", self.pipeline);
        let mut shown = vec![false; self.nodes.len()];
        let is_sink = |index: &usize| self.nodes[*index].kind == NodeKind::Sink;
        let roots: Vec<usize> = (0..self.nodes.len()).filter(is_sink).collect();
        self.branches(&roots, "", &mut shown, &mut text);
        f.write_str(&text)
    }
}

/// Text inside mermaid's double quotes.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('"', "&quot;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('\n', "<br/>")
}
