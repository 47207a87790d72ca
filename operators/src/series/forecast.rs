//! Forecasts, as columns: a row for each row and horizon.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field};
use thalweg_engine::control::JobError;
use thalweg_schemas::time::{TIME_ZONE, timestamp_type};
use thalweg_series::Observation;
use thalweg_series::bytes::StateError;
use thalweg_series::detect::Siblings;
use thalweg_series::forecast::{Forecast, Forecaster, ForecasterConfig, ForecasterState};

use super::SeriesModel;
use super::columns::Numbers;

/// A forecaster, and what it has said of rows that have not left yet.
pub struct ForecastModel {
    forecaster: Forecaster,
    version: String,
    horizons_us: Vec<i64>,
    quantile_names: Vec<String>,
    warns: bool,
    forecast: Forecast,
    forecast_for: Vec<i64>,
    horizon_s: Numbers,
    expected: Numbers,
    quantiles: Vec<Numbers>,
    p_crossing: Numbers,
    crossing: Vec<Option<i64>>,
    n_seen: Vec<i64>,
    status: Vec<&'static str>,
}

impl ForecastModel {
    /// Of a forecaster that was made of `config`.
    pub fn new(forecaster: Forecaster, config: &ForecasterConfig) -> Self {
        ForecastModel {
            version: forecaster.version(),
            forecaster,
            horizons_us: config.horizons_us.clone(),
            quantile_names: config.quantiles.iter().map(|quantile| quantile_name(*quantile)).collect(),
            warns: config.threshold.is_some(),
            forecast: Forecast::default(),
            forecast_for: Vec::new(),
            horizon_s: Numbers::default(),
            expected: Numbers::default(),
            quantiles: config.quantiles.iter().map(|_| Numbers::default()).collect(),
            p_crossing: Numbers::default(),
            crossing: Vec::new(),
            n_seen: Vec::new(),
            status: Vec::new(),
        }
    }
}

/// The column of a quantile: `q05` for 0.05, `q5` for 0.5, `q995` for 0.995.
pub fn quantile_name(quantile: f64) -> String {
    let text = quantile.to_string();
    let digits = text.strip_prefix("0.").unwrap_or(&text);
    // Two digits at least, so that 0.5 is q50.
    format!("q{digits:0<2}")
}

impl SeriesModel for ForecastModel {
    type State = ForecasterState;

    fn columns(&self) -> Vec<Field> {
        let mut fields = vec![
            Field::new("forecast_for", timestamp_type(), false),
            Field::new("horizon_s", DataType::Float64, false),
            Field::new("expected", DataType::Float64, true),
        ];
        fields.extend(self.quantile_names.iter().map(|name| Field::new(name, DataType::Float64, true)));
        if self.warns {
            fields.push(Field::new("p_crossing", DataType::Float64, true));
            fields.push(Field::new("crossing_at", timestamp_type(), true));
        }
        fields.push(Field::new("n_seen", DataType::Int64, false));
        fields.push(Field::new("status", DataType::Utf8, false));
        fields.push(Field::new("model_version", DataType::Utf8, false));
        fields
    }

    fn rows_each(&self) -> usize {
        self.horizons_us.len()
    }

    fn begin(&self, _siblings: Option<&Siblings>) -> ForecasterState {
        self.forecaster.begin()
    }

    fn observe(&mut self, state: &mut ForecasterState, row: Observation<'_>) {
        self.forecaster.observe(state, row, &mut self.forecast);
        for (at, horizon_us) in self.horizons_us.iter().enumerate() {
            let outlook = self.forecast.outlooks.get(at);
            let number = |of: fn(&thalweg_series::forecast::Outlook) -> f64| outlook.map_or(f64::NAN, of);
            self.forecast_for.push(row.time_us.saturating_add(*horizon_us));
            self.horizon_s.push(*horizon_us as f64 / 1e6);
            self.expected.push(number(|outlook| outlook.expected));
            for (number, numbers) in self.quantiles.iter_mut().enumerate() {
                let value = outlook.and_then(|outlook| outlook.quantiles.get(number));
                numbers.push(value.copied().unwrap_or(f64::NAN));
            }
            if self.warns {
                self.p_crossing.push(number(|outlook| outlook.p_crossing));
                self.crossing.push(outlook.and_then(|outlook| outlook.crossing_us));
            }
            self.n_seen.push(self.forecast.n_seen as i64);
            self.status.push(self.forecast.status.name());
        }
    }

    fn finish(&mut self) -> Result<Vec<ArrayRef>, JobError> {
        let rows = self.status.len();
        let forecast_for = TimestampMicrosecondArray::from(std::mem::take(&mut self.forecast_for));
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(forecast_for.with_timezone(TIME_ZONE)),
            self.horizon_s.finish(),
            self.expected.finish(),
        ];
        columns.extend(self.quantiles.iter_mut().map(Numbers::finish));
        if self.warns {
            let crossing = TimestampMicrosecondArray::from(std::mem::take(&mut self.crossing));
            columns.extend([self.p_crossing.finish(), Arc::new(crossing.with_timezone(TIME_ZONE))]);
        }
        columns.push(Arc::new(Int64Array::from(std::mem::take(&mut self.n_seen))));
        columns.push(Arc::new(StringArray::from(std::mem::take(&mut self.status))));
        columns.push(Arc::new(StringArray::from_iter_values(std::iter::repeat_n(&self.version, rows))));
        Ok(columns)
    }

    fn encode(&self, state: &ForecasterState, bytes: &mut Vec<u8>) {
        self.forecaster.encode(state, bytes);
    }

    fn decode(&self, bytes: &[u8]) -> Result<ForecasterState, StateError> {
        self.forecaster.decode(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_have_names_of_two_digits_at_least() {
        let names = [0.05, 0.5, 0.95, 0.995, 0.1, 0.001].map(quantile_name);
        assert_eq!(names, ["q05", "q50", "q95", "q995", "q10", "q001"]);
    }
}
