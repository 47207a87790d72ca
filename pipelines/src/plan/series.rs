//! Steps that ask a model of series: which rows are one, what the model reads, and the columns that it adds.

use arrow::datatypes::{DataType, Field};
use datafusion::logical_expr::{Expr, cast};
use thalweg_operators::series::DetectModel;
use thalweg_series::converge::ConvergerConfig;
use thalweg_series::detect::{DetectorConfig, Method};
use thalweg_series::forecast::ForecasterConfig;

use super::check::{CheckedExpr, CheckedKind, CheckedSeries, Checker, Columns, Scope};
use super::expression::Place;
use super::messages::Finding;
use super::model::{SeriesModelKind, StreamId, WindowKind};
use super::types::type_name;
use super::windowed::WINDOW_START;
use crate::spec::{
    ColumnSpec, ConvergeSpec, DetectSpec, Duration, ForecastSpec, ModelSpec, SeriesSpec, Span, Spanned,
    StepSpec,
};

const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 24 * HOUR_US;
/// Rows for which a new level lasts, at least, before it is the normal one.
const SETTLE_ROWS_MIN: i64 = 30;
const FORGET_AFTER_US: i64 = 30 * DAY_US;
const QUANTILES: [f64; 3] = [0.05, 0.5, 0.95];
/// Forecasts of a row, at most.
const HORIZONS_MAX: usize = 32;
const QUANTILES_MAX: usize = 32;

impl Checker<'_> {
    /// Checks a step with a model; `None` where something is wrong with it. Its columns are known where the model is.
    pub(super) fn series(
        &mut self,
        step: &StepSpec,
        inputs: &[StreamId],
        columns: Columns,
        path: &str,
    ) -> (Option<CheckedKind>, Columns) {
        let visible = columns.visible();
        let Some(model) = &step.model else { return (None, self.of_lost_model(step, columns)) };
        let at = match inputs {
            [only] => self.window_start_of(*only, &visible),
            _ => None,
        };
        let every_us = match inputs {
            [only] => self.every_us(*only),
            _ => None,
        };
        let (kind, specs, series) = match &model.value {
            ModelSpec::Detect(spec) => {
                let kind = self.detect(spec, every_us, path).map(SeriesModelKind::Detect);
                (kind, spec.on.iter().collect::<Vec<_>>(), &spec.series)
            }
            ModelSpec::Forecast(spec) => {
                let kind = self.forecast(spec, every_us, path).map(SeriesModelKind::Forecast);
                (kind, spec.of.iter().collect(), &spec.series)
            }
            ModelSpec::Converge(spec) => {
                let kind = Some(SeriesModelKind::Converge(converge(spec)));
                (kind, spec.over.iter().chain(&spec.of).collect(), &spec.series)
            }
            // It is no model of series, and is checked elsewhere.
            ModelSpec::Score(_) => return (None, columns),
        };
        let network = match &model.value {
            ModelSpec::Detect(spec) => self.network(spec, every_us, model.at, step),
            _ => Ok(None),
        };
        let path = format!("{path}.{}", model.value.name());
        let keys = self.series_keys(series, inputs, &visible, model.at, &path, step.incomplete);
        let read: Vec<Option<CheckedExpr>> = specs.iter().map(|spec| self.number(spec, &visible)).collect();
        let names: Vec<String> = specs.iter().map(|spec| spec.name.value.clone()).collect();
        let time_zone = series.time_zone.as_ref().map(|name| self.zone(name, &format!("{path}.time_zone")));
        let forget_after_us = series.forget_after.as_ref().map_or(FORGET_AFTER_US, |after| after.us);

        if let (Some(after), Some(every)) = (&series.forget_after, every_us)
            && after.us < every
        {
            let message = format!(
                "forget_after ({}) is shorter than rows are apart ({})",
                after.value,
                duration(every)
            );
            let hint = "each row would begin a series of its own; write some days".to_owned();
            self.problem(after.at, &format!("{path}.forget_after"), message, Some(hint));
        }
        let described = kind.as_ref().map(|kind| kind.describe(&names));
        let added = match described {
            Some(Ok((mut added, _))) => {
                if matches!(&model.value, ModelSpec::Detect(spec) if spec.shadow.is_some()) {
                    added.extend(DetectModel::shadow_columns());
                }
                Some(added)
            }
            Some(Err(error)) => {
                // Its inputs are what `on` lists.
                let field = if error.field == "inputs" { "on" } else { error.field };
                self.problem(model.at, &format!("{path}.{field}"), error.message, None);
                None
            }
            None => None,
        };
        let clashes = added.as_ref().is_some_and(|added| self.clashes(added, &columns.own, model.at, &path));
        // Rows that waited at a checkpoint may lack columns that are asked for since.
        let passed = columns.own.iter().map(|column| column.clone().with_nullable(true));
        let own: Vec<Field> = passed.chain(added.iter().flatten().cloned()).collect();
        let is_open = columns.is_open || added.is_none() || step.columns_unknown;
        let having = step.having.as_ref().map(|sql| {
            let scope = Scope { columns: own.clone(), is_open };
            self.condition(sql, &scope, Place::Having, &format!("steps.{}.having", step.name.value))
        });
        let checked = || {
            (!clashes).then_some(())?;
            Some(CheckedSeries {
                model: kind?,
                keys: keys?,
                inputs: read.into_iter().collect::<Option<_>>()?,
                network: network.ok()?,
                at,
                time_zone: match time_zone {
                    Some(zone) => Some(zone?),
                    None => None,
                },
                forget_after_us,
                added: added?,
                having: match having {
                    Some(having) => Some(having?),
                    None => None,
                },
            })
        };
        let checked = checked().map(|series| CheckedKind::Series(Box::new(series)));
        (checked, Columns { own, metadata: columns.metadata, is_open })
    }

    /// The columns of a step with a model that could not be read: what it adds is not known.
    fn of_lost_model(&mut self, step: &StepSpec, columns: Columns) -> Columns {
        if let Some(sql) = &step.having {
            let scope = Scope { columns: columns.own.clone(), is_open: true };
            self.condition(sql, &scope, Place::Having, &format!("steps.{}.having", step.name.value));
        }
        Columns { is_open: true, ..columns }
    }

    fn detect(&mut self, spec: &DetectSpec, every_us: Option<i64>, path: &str) -> Option<DetectorConfig> {
        let interval_us = spec.series.every.as_ref().map(|every| every.us).or(every_us);
        let before = self.problems.len();
        self.longer(spec.season.as_ref(), interval_us, &format!("{path}.detect.season"));
        let rate = spec.false_alarms.as_ref().map(|rate| rate.value);
        let settle_us = spec.settle.as_ref().map(|settle| settle.us);
        if spec.on.is_empty() || self.problems.len() != before {
            return None;
        }
        Some(DetectorConfig {
            method: spec.method.as_ref().map_or(Method::Auto, |method| method.value),
            inputs: spec.on.len(),
            interval_us,
            season_us: spec.season.as_ref().map(|season| season.us),
            false_alarms: rate.map_or(1.0, |rate| rate.count),
            false_alarms_per_us: rate.map_or(DAY_US, |rate| rate.per.us),
            settle_us: settle_us
                .unwrap_or_else(|| HOUR_US.max(interval_us.unwrap_or(0).saturating_mul(SETTLE_ROWS_MIN))),
        })
    }

    fn forecast(
        &mut self,
        spec: &ForecastSpec,
        every_us: Option<i64>,
        path: &str,
    ) -> Option<ForecasterConfig> {
        let path = format!("{path}.forecast");
        let before = self.problems.len();
        let interval_us = spec.series.every.as_ref().map(|every| every.us).or(every_us);
        self.longer(spec.season.as_ref(), interval_us, &format!("{path}.season"));
        let quantiles = spec.quantiles.as_deref().unwrap_or_default();
        for quantile in quantiles.iter().filter(|quantile| !(quantile.value > 0.0 && quantile.value < 1.0)) {
            let message = format!("{} is no quantile", quantile.value);
            let hint = "a quantile lies between 0 and 1: 0.95".to_owned();
            self.problem(quantile.at, &format!("{path}.quantiles"), message, Some(hint));
        }
        if let Some(horizon) = &spec.horizon.first().filter(|_| spec.horizon.len() > HORIZONS_MAX) {
            let message = format!("{} horizons", spec.horizon.len());
            let hint = format!("a step forecasts {HORIZONS_MAX} at most");
            self.problem(horizon.at, &format!("{path}.horizon"), message, Some(hint));
        }
        if let Some(quantile) = quantiles.first().filter(|_| quantiles.len() > QUANTILES_MAX) {
            let message = format!("{} quantiles", quantiles.len());
            self.problem(
                quantile.at,
                &format!("{path}.quantiles"),
                message,
                Some(format!("{QUANTILES_MAX} at most")),
            );
        }
        if let Some(interval) = interval_us {
            for horizon in spec.horizon.iter().filter(|horizon| horizon.us < interval) {
                let message =
                    format!("a horizon of {}, where rows are {} apart", horizon.value, duration(interval));
                let hint = format!("look ahead by a row at least: {}", duration(interval));
                self.problem(horizon.at, &format!("{path}.horizon"), message, Some(hint));
            }
        }
        if spec.horizon.is_empty() || self.problems.len() != before {
            return None;
        }
        let mut horizons_us: Vec<i64> = spec.horizon.iter().map(|horizon| horizon.us).collect();
        let mut quantiles: Vec<f64> = match &spec.quantiles {
            Some(quantiles) => quantiles.iter().map(|quantile| quantile.value).collect(),
            None => QUANTILES.to_vec(),
        };
        horizons_us.sort_unstable();
        horizons_us.dedup();
        quantiles.sort_by(f64::total_cmp);
        quantiles.dedup();
        Some(ForecasterConfig {
            interval_us,
            horizons_us,
            quantiles,
            season_us: spec.season.as_ref().map(|season| season.us),
            threshold: spec.threshold.as_ref().map(|threshold| threshold.value),
        })
    }

    fn longer(&mut self, season: Option<&Spanned<Duration>>, interval_us: Option<i64>, path: &str) {
        let (Some(season), Some(interval_us)) = (season, interval_us) else { return };
        if season.us < 2 * interval_us {
            let message =
                format!("a season of {}, where rows are {} apart", season.value, duration(interval_us));
            let hint =
                "a season is as long as two rows at least; leave it out, or make windows shorter".to_owned();
            self.problem(season.at, path, message, Some(hint));
        }
    }

    fn series_keys(
        &mut self,
        series: &SeriesSpec,
        inputs: &[StreamId],
        visible: &Scope,
        at: Span,
        path: &str,
        incomplete: bool,
    ) -> Option<Vec<CheckedExpr>> {
        let Some(by) = &series.by else {
            if !incomplete {
                let keys = match inputs {
                    [only] => self.window_keys(*only),
                    _ => Vec::new(),
                };
                let hint = match keys.is_empty() {
                    true => "say which rows are one series: by: [provider]; or by: [] if all are".to_owned(),
                    false => {
                        let keys = keys.join(", ");
                        format!("say which rows are one series: by: [{keys}]; or by: [] if all are")
                    }
                };
                self.problem(at, path, "the field \"by\" is missing", Some(hint));
            }
            return None;
        };
        let keys: Vec<Option<CheckedExpr>> = by.iter().map(|key| self.key(key, visible)).collect();
        keys.into_iter().collect()
    }

    /// A column that a model reads: a number, as a double.
    pub(super) fn number(&mut self, column: &ColumnSpec, visible: &Scope) -> Option<CheckedExpr> {
        let CheckedExpr { name, sql, expr, compiled } = self.column(column, visible)?;
        if !(compiled.data_type.is_numeric() || compiled.data_type == DataType::Boolean) {
            let message = format!("a model reads numbers, not {}", type_name(&compiled.data_type));
            let hint =
                "write a column of numbers, or an expression with a name: { name: expression }".to_owned();
            self.of_column(column, vec![Finding::new(message, hint)]);
            return None;
        }
        let expr: Expr = match compiled.data_type {
            DataType::Float64 => expr,
            // Arrow has no way from a Boolean to a double but by whole numbers.
            DataType::Boolean => cast(cast(expr, DataType::Int64), DataType::Float64),
            _ => cast(expr, DataType::Float64),
        };
        let compiled = self.expressions.compile_column(&expr, &visible.columns);
        let compiled = compiled.map_err(|findings| self.of_column(column, findings)).ok()?;
        Some(CheckedExpr { name, sql, expr, compiled })
    }

    // Columns of the model under names that the rows have already.
    pub(super) fn clashes(&mut self, added: &[Field], own: &[Field], at: Span, path: &str) -> bool {
        let has = |field: &&Field| own.iter().any(|column| column.name() == field.name());
        let names: Vec<&str> = added.iter().filter(has).map(|field| field.name().as_str()).collect();
        if names.is_empty() {
            return false;
        }
        let name = path.rsplit('.').next().unwrap_or(path);
        let message = format!("{name} adds {}, which the rows have already", names.join(", "));
        let hint = "give the rows' own another name with select in a step before, or leave them out there"
            .to_owned();
        self.problem(at, path, message, Some(hint));
        true
    }

    /// How far apart a stream's rows of one key are, where a window says it.
    fn every_us(&self, stream: StreamId) -> Option<i64> {
        let StreamId::Step(index) = stream else { return None };
        let step = self.steps[index].as_ref()?;
        match &step.kind {
            CheckedKind::Window(window) => match window.window {
                WindowKind::Tumbling { size_us, .. } => Some(size_us),
                WindowKind::Hopping { every_us, .. } => Some(every_us),
                WindowKind::Session { .. } => None,
            },
            CheckedKind::Pass | CheckedKind::Project(_) | CheckedKind::Series(_) | CheckedKind::Score(_) => {
                match step.inputs[..] {
                    [only] => self.every_us(only),
                    _ => None,
                }
            }
        }
    }

    /// The column of window starts of a stream whose windows lie on a grid.
    fn window_start_of(&self, stream: StreamId, visible: &Scope) -> Option<String> {
        self.every_us(stream)?;
        (visible.has(WINDOW_START) && self.is_window_start(stream, WINDOW_START))
            .then(|| WINDOW_START.to_owned())
    }

    // Whether a column is the start of the window that its row came of, handed on as it was.
    fn is_window_start(&self, stream: StreamId, name: &str) -> bool {
        let StreamId::Step(index) = stream else { return false };
        let Some(step) = &self.steps[index] else { return false };
        let [only] = step.inputs[..] else { return false };
        match &step.kind {
            CheckedKind::Window(_) => name == WINDOW_START,
            CheckedKind::Pass | CheckedKind::Series(_) | CheckedKind::Score(_) => {
                self.is_window_start(only, name)
            }
            CheckedKind::Project(columns) => {
                let column = columns.iter().find(|column| column.name == name);
                match column.map(|column| &column.expr) {
                    Some(Expr::Column(of)) => self.is_window_start(only, &of.name),
                    _ => false,
                }
            }
        }
    }

    fn window_keys(&self, stream: StreamId) -> Vec<String> {
        let StreamId::Step(index) = stream else { return Vec::new() };
        match self.steps[index].as_ref().map(|step| (&step.kind, &step.inputs[..])) {
            Some((CheckedKind::Window(window), _)) => {
                window.keys.iter().map(|key| key.name.clone()).collect()
            }
            Some((_, [only])) => self.window_keys(*only),
            _ => Vec::new(),
        }
    }
}

impl ModelSpec {
    /// As in a spec.
    pub(super) fn name(&self) -> &'static str {
        match self {
            ModelSpec::Detect(_) => "detect",
            ModelSpec::Forecast(_) => "forecast",
            ModelSpec::Converge(_) => "converge",
            ModelSpec::Score(_) => "score",
        }
    }
}

fn converge(spec: &ConvergeSpec) -> ConvergerConfig {
    ConvergerConfig {
        target: spec.target.as_ref().map(|target| target.value),
        falling: spec.direction.as_ref().is_some_and(|falling| falling.value),
        end: spec.end.as_ref().map(|end| end.value),
        stall_after: spec.stall_after.as_ref().map_or(20, |steps| steps.value as u32),
    }
}

fn duration(us: i64) -> Duration {
    Duration { us }
}
