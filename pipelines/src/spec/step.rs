//! Steps: filter, compute, window, ask a model.

use schemars::JsonSchema;

use super::entries::read_columns;
use super::model::{self, ConvergeSpec, DetectSpec, ForecastSpec, MODELS, ModelSpec, ScoreSpec};
use super::reader::{Entry, Fields, Reader};
use super::units::Duration;
use super::yaml::{Kind, Node};
use super::{Columns, Expression, Spanned};

/// A step: rows in, rows out. In this order: where, then window, by and select, or a model; then having.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(rename = "Step", deny_unknown_fields)]
pub struct StepSpec {
    /// The step's name.
    #[schemars(skip)]
    pub name: Spanned<String>,
    /// The source or step whose rows come in. A list is the union of streams with equal columns.
    #[schemars(with = "FromShape")]
    pub from: Vec<Spanned<String>>,
    /// Rows for which this is not true are left out, before anything else.
    #[schemars(rename = "where", with = "Option<Expression>")]
    pub filter: Option<Spanned<String>>,
    /// Cuts the rows into windows of event time.
    pub window: Option<Spanned<WindowSpec>>,
    /// The keys: a row of results for each of their combinations and each window.
    #[schemars(with = "Option<Columns>")]
    pub by: Option<Vec<ColumnSpec>>,
    /// With a window: aggregates (window_start, window_end and the keys come first by themselves). Without: the columns.
    #[schemars(with = "Option<Columns>")]
    pub select: Option<Vec<ColumnSpec>>,
    /// Asks a model.
    #[schemars(with = "ModelShape", flatten)]
    pub model: Option<Spanned<ModelSpec>>,
    /// Results for which this is not true are left out.
    #[schemars(with = "Option<Expression>")]
    pub having: Option<Spanned<String>>,
    /// Whether there is a model at all, be it a wrong one.
    #[schemars(skip)]
    pub has_model: bool,
    /// Whether there is a `window` at all, be it a wrong one.
    #[schemars(skip)]
    pub is_windowed: bool,
    /// Something in it was wrong, and has been said.
    #[schemars(skip)]
    pub incomplete: bool,
    /// So wrong that it can't be said which columns it has.
    #[schemars(skip)]
    pub columns_unknown: bool,
    /// So wrong that it can't be said which keys it has.
    #[schemars(skip)]
    pub keys_unknown: bool,
    /// So wrong that it can't be said whether it has a window.
    #[schemars(skip)]
    pub window_unknown: bool,
}

/// How a model is written: at most one of these.
#[derive(JsonSchema)]
#[schemars(inline)]
#[allow(dead_code, reason = "a shape for the JSON Schema, never built")]
struct ModelShape {
    /// Finds anomalies.
    detect: Option<DetectSpec>,
    /// Forecasts.
    forecast: Option<ForecastSpec>,
    /// Says where learning curves end.
    converge: Option<ConvergeSpec>,
    /// Asks a trained model of each row.
    score: Option<ScoreSpec>,
}

/// How `from` is written.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
#[allow(dead_code, reason = "a shape for the JSON Schema, never built")]
enum FromShape {
    /// A source or a step.
    One(String),
    /// Sources and steps with equal columns.
    Many(Vec<String>),
}

/// A column of `by` or `select`.
#[derive(Debug, Clone)]
pub struct ColumnSpec {
    /// The column's path, for problems.
    pub path: String,
    /// Its name.
    pub name: Spanned<String>,
    /// What it is; the input's column of that name by default.
    pub sql: Option<Spanned<String>>,
    /// What it is could not be read, and that has been said.
    pub is_broken: bool,
}

/// How rows are cut into windows of event time. A length that could not be read is none, which has been said.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(rename = "Window", untagged, deny_unknown_fields)]
pub enum WindowSpec {
    /// One window after the other, all of the same length.
    Tumbling {
        /// The length.
        #[schemars(rename = "tumbling", with = "Spanned<Duration>")]
        size: Option<Spanned<Duration>>,
        /// How long after midnight UTC (or of the time zone) windows begin; by default 0s.
        offset: Option<Spanned<Duration>>,
        /// The time zone whose days are meant, such as Europe/Berlin; by default UTC. For whole days only.
        time_zone: Option<Spanned<String>>,
    },
    /// Windows that overlap: one begins every so often.
    Hopping {
        /// The length.
        #[schemars(rename = "hopping", with = "Spanned<Duration>")]
        size: Option<Spanned<Duration>>,
        /// From one window's start to the next.
        #[schemars(with = "Spanned<Duration>")]
        every: Option<Spanned<Duration>>,
        /// How long after midnight UTC windows begin; by default 0s.
        offset: Option<Spanned<Duration>>,
    },
    /// Rows of a key that lie close together.
    Session {
        /// The gap that ends a session: rows less than this apart belong together.
        #[schemars(rename = "session", with = "Spanned<Duration>")]
        gap: Option<Spanned<Duration>>,
        /// The longest that a session may last; by default for ever.
        max: Option<Spanned<Duration>>,
    },
    /// Nobody knows which kind is meant, which has been said.
    #[schemars(skip)]
    Unknown {
        /// The time zone, whatever it is for.
        time_zone: Option<Spanned<String>>,
    },
}

const STEP_FIELDS: [&str; 10] =
    ["from", "where", "window", "by", "select", "having", MODELS[0], MODELS[1], MODELS[2], MODELS[3]];
const WINDOW_FIELDS: [&str; 7] = ["tumbling", "hopping", "session", "offset", "every", "time_zone", "max"];

pub(super) fn read(reader: &mut Reader, name: Spanned<String>, node: &Node, path: &str) -> StepSpec {
    let before = reader.failures();
    let mut step = StepSpec {
        name,
        from: Vec::new(),
        filter: None,
        window: None,
        by: None,
        select: None,
        having: None,
        model: None,
        has_model: false,
        is_windowed: false,
        incomplete: true,
        columns_unknown: true,
        keys_unknown: true,
        window_unknown: true,
    };
    let Some(fields) = reader.fields(node, path, &STEP_FIELDS) else { return step };
    let from =
        reader.required(&fields, "from", "name the source or step whose rows come in: \"from: calls\"");
    step.from = from.cloned().map(|entry| read_from(reader, &entry)).unwrap_or_default();
    // A name that is no field of a step may be a misspelt one that says columns.
    let is_strange = fields.has_strange || fields.incomplete;
    let mut columns = |key: &str| {
        let before = reader.lost_names();
        let columns = fields.get(key).map(|entry| read_columns(reader, entry));
        let is_unknown = columns.is_none() && (is_strange || fields.has_misspelt(key));
        (columns, is_unknown || reader.lost_names() != before)
    };
    (step.by, step.keys_unknown) = columns("by");
    (step.select, step.columns_unknown) = columns("select");
    step.columns_unknown |= step.keys_unknown;
    let mut expression = |key: &str| {
        fields.get(key).and_then(|entry| reader.text(entry.value, &entry.path, "an SQL expression"))
    };
    (step.filter, step.having) = (expression("where"), expression("having"));
    step.is_windowed = fields.get("window").is_some() || fields.has_misspelt("window");
    step.window_unknown = !step.is_windowed && fields.incomplete;
    step.window = fields.get("window").and_then(|entry| read_window(reader, entry));
    read_model(reader, &fields, &mut step);
    if !step.is_windowed && !step.window_unknown {
        for key in ["by", "having"] {
            if let Some(entry) = fields.get(key) {
                if step.has_model {
                    continue;
                }
                let hint = match key {
                    "by" => "add a window, such as window: { tumbling: 1m }",
                    _ => "use where, or add a window",
                };
                reader.problem(
                    entry.key.at,
                    &entry.path,
                    format!("{key} without a window"),
                    Some(hint.into()),
                );
            }
        }
    }
    step.incomplete = reader.failures() != before;
    step
}

// At most one model, and nothing beside it that says columns.
fn read_model(reader: &mut Reader, fields: &Fields<'_>, step: &mut StepSpec) {
    let models: Vec<&Entry<'_>> = MODELS.iter().filter_map(|key| fields.get(key)).collect();
    step.has_model = !models.is_empty() || MODELS.iter().any(|key| fields.has_misspelt(key));
    let Some((first, others)) = models.split_first() else { return };
    step.model = model::read(reader, first);
    for other in others {
        let message = format!("{} beside {}", other.key.value, first.key.value);
        let hint = "a step asks one model; write a second step from this one".to_owned();
        reader.problem(other.key.at, &other.path, message, Some(hint));
    }
    for key in ["window", "by", "select"] {
        if let Some(entry) = fields.get(key) {
            let model = first.key.value;
            let hint = match key {
                "by" => format!("put it into {model}: {{ …, by: […] }}"),
                _ => format!("write a step with the {key}, and one with {model} from it"),
            };
            reader.problem(entry.key.at, &entry.path, format!("{key} beside {model}"), Some(hint));
        }
    }
}

fn read_from(reader: &mut Reader, entry: &Entry<'_>) -> Vec<Spanned<String>> {
    if !matches!(entry.value.kind, Kind::Sequence(_)) {
        return reader.text(entry.value, &entry.path, "a source or a step").into_iter().collect();
    }
    let items = reader.items(entry.value, &entry.path).unwrap_or_default();
    if items.is_empty() {
        reader.problem(
            entry.value.at,
            &entry.path,
            "an empty list",
            Some("name at least one source or step".into()),
        );
    }
    items.into_iter().filter_map(|(path, item)| reader.text(item, &path, "a source or a step")).collect()
}

const WINDOW_KINDS: [&str; 3] = ["tumbling", "hopping", "session"];

fn read_window(reader: &mut Reader, entry: &Entry<'_>) -> Option<Spanned<WindowSpec>> {
    let fields = reader.fields(entry.value, &entry.path, &WINDOW_FIELDS)?;
    let mut duration =
        |key: &str| fields.get(key).and_then(|entry| reader.parsed(entry, "a duration", Duration::parse));
    let [tumbling, hopping, session] = WINDOW_KINDS.map(&mut duration);
    let [offset, every, max] = ["offset", "every", "max"].map(&mut duration);
    let time_zone =
        fields.get("time_zone").and_then(|entry| reader.text(entry.value, &entry.path, "a time zone's name"));
    let kinds: Vec<&str> = WINDOW_KINDS.into_iter().filter(|kind| fields.get(kind).is_some()).collect();
    let (allowed, window) = match kinds[..] {
        ["tumbling"] => {
            (["offset", "time_zone"].as_slice(), WindowSpec::Tumbling { size: tumbling, offset, time_zone })
        }
        ["hopping"] => {
            reader.required(&fields, "every", "say how often a window begins: { hopping: 5m, every: 1m }");
            (["every", "offset"].as_slice(), WindowSpec::Hopping { size: hopping, every, offset })
        }
        ["session"] => (["max"].as_slice(), WindowSpec::Session { gap: session, max }),
        _ => {
            let is_said = kinds.is_empty() && WINDOW_KINDS.iter().any(|kind| fields.seems_to_have(kind));
            let message = match kinds.len() {
                0 => "no kind of window".to_owned(),
                _ => format!("several kinds of windows ({})", kinds.join(", ")),
            };
            let hint =
                "write one of { tumbling: 1m }, { hopping: 5m, every: 1m }, { session: 30m }".to_owned();
            if !is_said {
                reader.problem(entry.value.at, &entry.path, message, Some(hint));
            }
            (WINDOW_FIELDS.as_slice(), WindowSpec::Unknown { time_zone })
        }
    };
    for entry in &fields.entries {
        let key = entry.key.value;
        if !kinds.contains(&key) && !allowed.contains(&key) {
            let (kind, allowed) = (kinds.join(", "), allowed.join(" and "));
            let hint = format!("a {kind} window takes {allowed}");
            reader.problem(entry.key.at, &entry.path, format!("{key} does not go with {kind}"), Some(hint));
        }
    }
    Some(Spanned::new(window, entry.value.at))
}
