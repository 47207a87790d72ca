//! Steps with a model: detect, forecast, converge, score.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use thalweg_series::detect::Method;

use super::entries::read_columns;
use super::reader::{Entry, Fields, Reader};
use super::units::{Duration, check_column_name};
use super::yaml::{Kind, Node};
use super::{ColumnSpec, Columns, Spanned};

/// A model that a step asks: of series, or of single rows.
#[derive(Debug, Clone)]
pub enum ModelSpec {
    /// What goes wrong in them.
    Detect(DetectSpec),
    /// What comes next.
    Forecast(ForecastSpec),
    /// Where they end.
    Converge(ConvergeSpec),
    /// What a trained model says of each row.
    Score(ScoreSpec),
}

/// What all models of series ask for: which rows are one series.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(inline)]
pub struct SeriesSpec {
    /// The keys: rows that agree in all of them are one series. [] if all rows are.
    #[schemars(with = "Columns", required)]
    pub by: Option<Vec<ColumnSpec>>,
    /// How far apart the rows of a series are; by default as the window says that they come from, or learnt from them.
    pub every: Option<Spanned<Duration>>,
    /// The time zone by whose clock a season is told, such as Europe/Berlin; by default UTC.
    pub time_zone: Option<Spanned<String>>,
    /// A series without rows for longer than this begins anew; by default 30d.
    pub forget_after: Option<Spanned<Duration>>,
}

/// Anomalies: how strange each row is, given the rows of its series before it. Adds the columns score, p_value, is_anomaly, class,
/// severity, expected, lower, upper, attribution, n_seen, status and model_version.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(rename = "Detect", deny_unknown_fields)]
pub struct DetectSpec {
    /// The columns to watch: numbers.
    #[schemars(with = "Columns")]
    pub on: Vec<ColumnSpec>,
    /// Which rows are one series.
    #[schemars(flatten)]
    pub series: SeriesSpec,
    /// How strangeness is measured; by default auto, which combines several ways. A series that is new among others it judges from its fifth row on, by
    /// how far those scatter; one alone from its nineteenth.
    #[schemars(with = "Option<MethodName>")]
    pub method: Option<Spanned<Method>>,
    /// After how long the series may repeat itself; by default a day. Whether it does is learnt from it.
    pub season: Option<Spanned<Duration>>,
    /// How many false alarms of a series are bearable; by default 1/day.
    pub false_alarms: Option<Spanned<Rate>>,
    /// How long a new level must last to be the normal one; by default 1h, or 30 rows where that is longer.
    pub settle: Option<Spanned<Duration>>,
    /// With the methods autoencoder, tcn and patch: the trained model, by its registry and version, such as models/watched@3. `thalweg train`
    /// makes one. A version without a number (the champion, @latest) is looked up each time the job starts.
    pub model: Option<Spanned<String>>,
    /// Another version of that model, such as models/watched@latest, in its shadow: it is asked as well, and what it says stands in the columns
    /// shadow_score, shadow_p_value, shadow_is_anomaly and shadow_version. `thalweg models compare --data` says which of them is better.
    pub shadow: Option<Spanned<String>>,
    /// When the job trains new versions of that model: every so often, over so much of what lies before. They are candidates: `thalweg models
    /// promote` makes one the model.
    pub retrain: Option<Spanned<RetrainSpec>>,
    /// How long that model may take for some thousand rows; by default any time. With a limit, what comes out depends on the machine.
    pub time_limit: Option<Spanned<Duration>>,
}

/// When a job trains new versions of a model.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(rename = "Retrain", deny_unknown_fields)]
pub struct RetrainSpec {
    /// How much event time lies from one training to the next; they are at whole multiples of it.
    #[schemars(required)]
    pub every: Option<Spanned<Duration>>,
    /// How much of what lies before is learnt from; by default seven times `every`.
    pub over: Option<Spanned<Duration>>,
}

/// Forecasts: for each row one row a horizon, with the columns forecast_for, horizon_s, expected, a column for each quantile (q05),
/// n_seen, status and model_version; with a threshold also p_crossing and crossing_at.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(rename = "Forecast", deny_unknown_fields)]
pub struct ForecastSpec {
    /// The column to forecast: a number.
    #[schemars(with = "Columns")]
    pub of: Option<ColumnSpec>,
    /// Which rows are one series.
    #[schemars(flatten)]
    pub series: SeriesSpec,
    /// How far ahead; a list for several.
    #[schemars(with = "OneOrMany<Duration>")]
    pub horizon: Vec<Spanned<Duration>>,
    /// Which quantiles, between 0 and 1; by default [0.05, 0.5, 0.95].
    #[schemars(with = "Option<Vec<f64>>")]
    pub quantiles: Option<Vec<Spanned<f64>>>,
    /// After how long the series repeats itself; by default found in it.
    pub season: Option<Spanned<Duration>>,
    /// A value whose crossing is to be warned of.
    pub threshold: Option<Spanned<f64>>,
}

/// Learning curves: where each ends and what is left until its target. Adds the columns final_value, steps_left and hours_left, each with
/// _lower_80, _upper_80, _lower_95 and _upper_95; p_target, is_stalled, steps_without_improvement, stall_p_value, basis, n_seen,
/// status and model_version.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(rename = "Converge", deny_unknown_fields)]
pub struct ConvergeSpec {
    /// The curve's value: a number.
    #[schemars(with = "Columns")]
    pub of: Option<ColumnSpec>,
    /// The curve's step, such as a generation: a number that grows.
    #[schemars(with = "Columns")]
    pub over: Option<ColumnSpec>,
    /// Which rows are one curve.
    #[schemars(flatten, with = "CurveShape")]
    pub series: SeriesSpec,
    /// The value to be reached.
    pub target: Option<Spanned<f64>>,
    /// Whether more is better (rising, the default) or less (falling).
    #[schemars(with = "Option<DirectionName>")]
    pub direction: Option<Spanned<bool>>,
    /// The last step, where it is known.
    pub end: Option<Spanned<f64>>,
    /// Steps without improvement that make a stall; by default 20.
    pub stall_after: Option<Spanned<u64>>,
}

/// Asks a trained model of each row. Adds the columns that outputs names, status (ok, missing, failed, timed_out) and model_version.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(rename = "Score", deny_unknown_fields)]
pub struct ScoreSpec {
    /// The model: its registry and its version, such as models/churn@3, or a file.onnx or file.safetensors.
    pub model: Option<Spanned<String>>,
    /// The columns that make each of the model's inputs, by the inputs' names.
    #[schemars(with = "BTreeMap<String, Columns>")]
    pub inputs: Vec<PortSpec<ColumnSpec>>,
    /// What the values of each of the model's outputs are to be called, by the outputs' names. Others are left out.
    #[schemars(with = "BTreeMap<String, Names>")]
    pub outputs: Vec<PortSpec<Spanned<String>>>,
    /// How long the model may take for some thousand rows; by default any time. With a limit, what comes out depends on the machine.
    pub time_limit: Option<Spanned<Duration>>,
}

/// What belongs to an input or output of a model.
#[derive(Debug, Clone)]
pub struct PortSpec<T> {
    /// Its path, for problems.
    pub path: String,
    /// The model's name for it.
    pub name: Spanned<String>,
    /// The columns.
    pub columns: Vec<T>,
}

/// One name, or a list of them.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
#[allow(dead_code, reason = "a shape for the JSON Schema, never built")]
enum Names {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

/// What of [`SeriesSpec`] curves have: neither distances nor seasons.
#[derive(JsonSchema)]
#[schemars(inline)]
#[allow(dead_code, reason = "a shape for the JSON Schema, never built")]
struct CurveShape {
    /// The keys: rows that agree in all of them are one curve. [] if all rows are.
    #[schemars(with = "Columns", required)]
    by: Option<Vec<ColumnSpec>>,
    /// A curve without rows for longer than this begins anew; by default 30d.
    forget_after: Option<Spanned<Duration>>,
}

/// A number of events in a time, such as `1/day`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// So many …
    pub count: f64,
    /// … in so long.
    pub per: Duration,
}

const RATE_UNITS: [(&str, &str); 5] =
    [("minute", "1m"), ("hour", "1h"), ("day", "1d"), ("week", "7d"), ("month", "30d")];

impl Rate {
    pub(crate) fn parse(text: &str) -> Result<Rate, (String, String)> {
        let hint = || "write a number, a slash and a time: 1/day, 3/week, 1/12h".to_owned();
        let wrong = || (format!("\"{text}\" is not a rate"), hint());
        let (count, per) = text.split_once('/').ok_or_else(wrong)?;
        let count: f64 = count.trim().parse().map_err(|_| wrong())?;
        let per = per.trim();
        let unit = RATE_UNITS.iter().find(|(name, _)| *name == per);
        let per = Duration::parse(unit.map_or(per, |(_, length)| length)).map_err(|_| wrong())?;
        if !count.is_finite() || count <= 0.0 || per.us <= 0 {
            return Err((format!("\"{text}\" is never"), hint()));
        }
        Ok(Rate { count, per })
    }
}

impl JsonSchema for Rate {
    fn schema_name() -> Cow<'static, str> {
        "Rate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A number of events in a time: 1/day, 3/week, 1/12h.",
            "pattern": r"^[0-9.]+ ?/ ?(minute|hour|day|week|month|([0-9]+(us|ms|s|m|h|d|w))+)$|\$\{",
            "examples": ["1/day", "3/week"],
        })
    }
}

/// The names of methods, for the JSON Schema.
struct MethodName;

impl JsonSchema for MethodName {
    fn schema_name() -> Cow<'static, str> {
        "Method".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<&str> = Method::ALL.into_iter().map(Method::name).collect();
        json_schema!({ "type": "string", "anyOf": [{ "enum": names }, { "pattern": r"\$\{" }] })
    }
}

/// The names of directions, for the JSON Schema.
struct DirectionName;

impl JsonSchema for DirectionName {
    fn schema_name() -> Cow<'static, str> {
        "Direction".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "anyOf": [{ "enum": ["rising", "falling"] }, { "pattern": r"\$\{" }] })
    }
}

/// One value, or a list of them.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
#[allow(dead_code, reason = "a shape for the JSON Schema, never built")]
enum OneOrMany<T> {
    /// One.
    One(T),
    /// Several.
    Many(Vec<T>),
}

/// The fields of a step that ask a model.
pub(super) const MODELS: [&str; 4] = ["detect", "forecast", "converge", "score"];

const DETECT_FIELDS: [&str; 13] = [
    "on",
    "by",
    "method",
    "season",
    "false_alarms",
    "settle",
    "every",
    "time_zone",
    "forget_after",
    "model",
    "shadow",
    "retrain",
    "time_limit",
];
const RETRAIN_FIELDS: [&str; 2] = ["every", "over"];
const FORECAST_FIELDS: [&str; 9] =
    ["of", "by", "horizon", "quantiles", "season", "threshold", "every", "time_zone", "forget_after"];
const CONVERGE_FIELDS: [&str; 8] =
    ["of", "over", "by", "target", "direction", "end", "stall_after", "forget_after"];
const SCORE_FIELDS: [&str; 4] = ["model", "inputs", "outputs", "time_limit"];

/// Reads what stands under a field of [`MODELS`].
pub(super) fn read(reader: &mut Reader, entry: &Entry<'_>) -> Option<Spanned<ModelSpec>> {
    let model = match entry.key.value {
        "detect" => ModelSpec::Detect(read_detect(reader, entry)?),
        "forecast" => ModelSpec::Forecast(read_forecast(reader, entry)?),
        "converge" => ModelSpec::Converge(read_converge(reader, entry)?),
        _ => ModelSpec::Score(read_score(reader, entry)?),
    };
    Some(Spanned::new(model, entry.key.at))
}

fn read_detect(reader: &mut Reader, entry: &Entry<'_>) -> Option<DetectSpec> {
    let fields = reader.fields(entry.value, &entry.path, &DETECT_FIELDS)?;
    let hint = "say which columns to watch: on: [p95_ms, error_rate]";
    let on = reader.required(&fields, "on", hint).cloned();
    if let Some(entry) =
        on.as_ref().filter(|entry| matches!(&entry.value.kind, Kind::Sequence(items) if items.is_empty()))
    {
        reader.problem(entry.value.at, &entry.path, "no columns", Some(hint.to_owned()));
    }
    let methods = Method::ALL.map(|method| (method.name(), method));
    Some(DetectSpec {
        on: on.map(|entry| read_columns(reader, &entry)).unwrap_or_default(),
        series: read_series(reader, &fields),
        method: fields.get("method").and_then(|entry| reader.choice(entry, &methods)),
        season: duration(reader, &fields, "season"),
        false_alarms: fields
            .get("false_alarms")
            .and_then(|entry| reader.parsed(entry, "a rate, such as 1/day", Rate::parse)),
        settle: duration(reader, &fields, "settle"),
        model: reference(reader, &fields, "model"),
        shadow: reference(reader, &fields, "shadow"),
        retrain: fields.get("retrain").and_then(|entry| read_retrain(reader, entry)),
        time_limit: duration(reader, &fields, "time_limit"),
    })
}

fn read_retrain(reader: &mut Reader, entry: &Entry<'_>) -> Option<Spanned<RetrainSpec>> {
    let fields = reader.fields(entry.value, &entry.path, &RETRAIN_FIELDS)?;
    reader.required(&fields, "every", "say how often: every: 1d");
    let retrain =
        RetrainSpec { every: duration(reader, &fields, "every"), over: duration(reader, &fields, "over") };
    Some(Spanned::new(retrain, entry.key.at))
}

fn read_forecast(reader: &mut Reader, entry: &Entry<'_>) -> Option<ForecastSpec> {
    let fields = reader.fields(entry.value, &entry.path, &FORECAST_FIELDS)?;
    let of = one_column(reader, &fields, "of", "say which column to forecast: of: requests");
    let series = read_series(reader, &fields);
    let horizon = reader.required(&fields, "horizon", "say how far ahead: horizon: 1h").cloned();
    let horizon = horizon.map(|entry| several(reader, &entry, "a duration", Duration::parse));
    let quantiles = fields.get("quantiles").map(|entry| several(reader, entry, "a number", number));
    let season = duration(reader, &fields, "season");
    let threshold = fields.get("threshold").and_then(|entry| reader.parsed(entry, "a number", number));
    Some(ForecastSpec { of, series, horizon: horizon.unwrap_or_default(), quantiles, season, threshold })
}

fn read_converge(reader: &mut Reader, entry: &Entry<'_>) -> Option<ConvergeSpec> {
    let fields = reader.fields(entry.value, &entry.path, &CONVERGE_FIELDS)?;
    let of = one_column(reader, &fields, "of", "say which column is the curve's value: of: best_score");
    let over = one_column(reader, &fields, "over", "say which column counts its steps: over: generation");
    let series = read_series(reader, &fields);
    let mut of_number =
        |key: &str| fields.get(key).and_then(|entry| reader.parsed(entry, "a number", number));
    let (target, end) = (of_number("target"), of_number("end"));
    let directions = [("rising", false), ("falling", true)];
    let direction = fields.get("direction").and_then(|entry| reader.choice(entry, &directions));
    let stall_after = fields.get("stall_after").and_then(|entry| {
        reader.parsed(entry, "a whole number", |text| {
            let steps = text.parse::<u64>().ok().filter(|steps| (1..=1_000_000).contains(steps));
            let hint = "write a whole number of steps, such as 20".to_owned();
            steps.ok_or_else(|| (format!("\"{text}\" is not a number of steps"), hint))
        })
    });
    Some(ConvergeSpec { of, over, series, target, direction, end, stall_after })
}

fn read_score(reader: &mut Reader, entry: &Entry<'_>) -> Option<ScoreSpec> {
    let fields = reader.fields(entry.value, &entry.path, &SCORE_FIELDS)?;
    let model = reader.required(&fields, "model", "say which model: model: models/churn@3").cloned();
    let model = model.and_then(|entry| reader.text(entry.value, &entry.path, "a model"));
    let inputs =
        reader.required(&fields, "inputs", "say what the model reads: inputs: { x: [requests, p95_ms] }");
    let inputs = inputs.cloned().map(|entry| ports(reader, &entry, read_columns)).unwrap_or_default();
    let outputs = reader.required(&fields, "outputs", "name what the model says: outputs: { y: [risk] }");
    let outputs = outputs.cloned().map(|entry| ports(reader, &entry, read_names)).unwrap_or_default();
    Some(ScoreSpec { model, inputs, outputs, time_limit: duration(reader, &fields, "time_limit") })
}

fn ports<T>(
    reader: &mut Reader,
    entry: &Entry<'_>,
    mut read: impl FnMut(&mut Reader, &Entry<'_>) -> Vec<T>,
) -> Vec<PortSpec<T>> {
    let Some(fields) = reader.mapping(entry.value, &entry.path) else { return Vec::new() };
    fields
        .entries
        .iter()
        .map(|entry| PortSpec {
            path: entry.path.clone(),
            name: Spanned::new(entry.key.value.to_owned(), entry.key.at),
            columns: read(reader, entry),
        })
        .collect()
}

fn read_names(reader: &mut Reader, entry: &Entry<'_>) -> Vec<Spanned<String>> {
    several(reader, entry, "a column's name", |text| check_column_name(text).map(|()| text.to_owned()))
}

fn read_series(reader: &mut Reader, fields: &Fields<'_>) -> SeriesSpec {
    SeriesSpec {
        by: fields.get("by").map(|entry| match &entry.value.kind {
            Kind::Sequence(items) if items.is_empty() => Vec::new(),
            _ => read_columns(reader, entry),
        }),
        every: duration(reader, fields, "every"),
        time_zone: fields
            .get("time_zone")
            .and_then(|entry| reader.text(entry.value, &entry.path, "a time zone's name")),
        forget_after: duration(reader, fields, "forget_after"),
    }
}

fn one_column(reader: &mut Reader, fields: &Fields<'_>, key: &str, hint: &str) -> Option<ColumnSpec> {
    let entry = reader.required(fields, key, hint).cloned()?;
    let mut columns = read_columns(reader, &entry);
    if columns.len() > 1 {
        let hint = "for several columns write a step each".to_owned();
        reader.problem(
            entry.value.at,
            &entry.path,
            format!("{} columns, where one is meant", columns.len()),
            Some(hint),
        );
    }
    (columns.len() == 1).then(|| columns.remove(0))
}

fn reference(reader: &mut Reader, fields: &Fields<'_>, key: &str) -> Option<Spanned<String>> {
    let entry = fields.get(key)?;
    reader.text(entry.value, &entry.path, "a model, such as models/watched@3")
}

fn duration(reader: &mut Reader, fields: &Fields<'_>, key: &str) -> Option<Spanned<Duration>> {
    fields.get(key).and_then(|entry| {
        reader.parsed(entry, "a duration", |text| match Duration::parse(text)? {
            Duration { us: 0 } => {
                Err((format!("{key} must be longer than nothing"), "write a length such as 1h".into()))
            }
            duration => Ok(duration),
        })
    })
}

fn number(text: &str) -> Result<f64, (String, String)> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
    number.ok_or_else(|| (format!("\"{text}\" is not a number"), "write a number, such as 0.95".to_owned()))
}

// One value, or a list of them.
fn several<T>(
    reader: &mut Reader,
    entry: &Entry<'_>,
    what: &str,
    parse: fn(&str) -> Result<T, (String, String)>,
) -> Vec<Spanned<T>> {
    let mut one = |path: &str, node: &Node| {
        reader.parsed(&Entry { key: entry.key.clone(), value: node, path: path.to_owned() }, what, parse)
    };
    match &entry.value.kind {
        Kind::Sequence(items) if !items.is_empty() => items
            .iter()
            .enumerate()
            .filter_map(|(index, item)| one(&format!("{}[{index}]", entry.path), item))
            .collect(),
        _ => one(&entry.path, entry.value).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        for (text, count, us) in [
            ("1/day", 1.0, 86_400_000_000),
            ("0.5 / 12h", 0.5, 43_200_000_000),
            ("3/week", 3.0, 604_800_000_000),
        ] {
            let rate = Rate::parse(text).unwrap();
            assert_eq!((rate.count, rate.per.us), (count, us), "{text}");
        }
        for text in ["", "1", "1/", "/day", "x/day", "1/fortnight", "0/day", "-1/day", "1/0s", "inf/day"] {
            assert!(Rate::parse(text).is_err(), "{text}");
        }
    }
}
