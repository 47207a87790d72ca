//! What a sink's rows look like, as far as two outputs of it are to be compared: which columns tell rows apart.

use arrow::datatypes::{DataType, Field, FieldRef};
use thalweg_operators::source::refused;

use crate::plan::{Plan, PlannedSink, StepKind, StreamId};

const WINDOW_START: &str = "window_start";
const WINDOW_END: &str = "window_end";

/// The columns of a sink.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) columns: Vec<Field>,
    /// Those of which no two rows have the same values; none: rows are told apart by all that they hold.
    pub(super) keys: Vec<String>,
    /// Whether rows are results of windows.
    pub(super) is_windowed: bool,
    pub(super) has_window_end: bool,
}

impl Shape {
    /// What both have.
    pub(super) fn common(&self, other: &Shape) -> Shape {
        let same = |column: &&Field| {
            other
                .columns
                .iter()
                .any(|each| each.name() == column.name() && comparable(each.data_type(), column.data_type()))
        };
        let columns: Vec<Field> = self.columns.iter().filter(same).cloned().collect();
        let keys = if self.keys == other.keys { self.keys.clone() } else { Vec::new() };
        Shape { columns, keys, ..self.clone() }
    }
}

fn comparable(one: &DataType, other: &DataType) -> bool {
    one == other || one.is_numeric() && other.is_numeric()
}

/// Of a planned sink.
pub(super) fn of(plan: &Plan, sink: &PlannedSink) -> Shape {
    let columns: Vec<Field> = sink.columns.fields().iter().map(|field| field.as_ref().clone()).collect();
    let windowed = window_columns(plan, sink.input.stream);
    let has = |name: &String| columns.iter().any(|column| column.name() == name);
    let keys = match &windowed {
        Some(names) if names.keys.iter().all(has) => names.keys.clone(),
        _ => Vec::new(),
    };
    let has_window_end = windowed.as_ref().and_then(|names| names.end.as_ref()).is_some_and(has);
    Shape { is_windowed: windowed.is_some(), has_window_end, columns, keys }
}

/// Of late and rejected rows.
pub(super) fn of_refused() -> Shape {
    // How far behind a row is depends on the lateness, and says no more than that it is late.
    let told = |field: &&FieldRef| field.name() != "detail";
    let columns =
        refused::schema().fields().iter().filter(told).map(|field| field.as_ref().clone()).collect();
    let keys = ["source", "topic", "partition", "offset"].map(str::to_owned).to_vec();
    Shape { columns, keys, is_windowed: false, has_window_end: false }
}

/// What a window's own columns are called in a stream that comes from it.
struct WindowNames {
    keys: Vec<String>,
    end: Option<String>,
}

// Followed through steps that compute columns, as long as the keys stay what they are.
fn window_columns(plan: &Plan, stream: StreamId) -> Option<WindowNames> {
    let StreamId::Step(at) = stream else { return None };
    let step = &plan.steps[at];
    if let StepKind::Window(window) = &step.kind {
        let keys =
            std::iter::once(WINDOW_START.to_owned()).chain(window.keys.iter().map(|key| key.name.clone()));
        return Some(WindowNames { keys: keys.collect(), end: Some(WINDOW_END.to_owned()) });
    }
    let inputs: Vec<Option<WindowNames>> =
        step.inputs.iter().map(|input| window_columns(plan, input.stream)).collect();
    let [Some(names)] = inputs.as_slice() else {
        // Streams of a union may hold the same keys.
        return inputs
            .iter()
            .any(Option::is_some)
            .then(|| WindowNames { keys: vec![String::new()], end: Some(WINDOW_END.to_owned()) });
    };
    let StepKind::Project(columns) = &step.kind else {
        return Some(WindowNames { keys: names.keys.clone(), end: names.end.clone() });
    };
    let called = |name: &String| {
        let is_same = |sql: &str| {
            sql == name || sql.strip_prefix('"').and_then(|sql| sql.strip_suffix('"')) == Some(name)
        };
        columns.iter().find(|column| is_same(&column.sql)).map(|column| column.name.clone())
    };
    let keys: Option<Vec<String>> = names.keys.iter().map(called).collect();
    Some(WindowNames {
        keys: keys.unwrap_or_else(|| vec![String::new()]),
        end: names.end.as_ref().and_then(called),
    })
}
