//! Which of the planted incidents the models found, how soon, and what they took for incidents that were none: as SQL over what the
//! demo's pipelines wrote.

use chrono::{DateTime, SecondsFormat};
use thalweg_telemetry::{IncidentKind, Planted};

/// Models learn an incident, too, and are surprised when it is over: alarms for so long after it are no false ones.
const GRACE_MS: i64 = 600_000;

/// A row an incident: when it began, when a model first said something of it, and which output says so.
///
/// A table that is not among `tables` has no rows yet.
pub(super) fn incidents(planted: &[Planted], tables: &[String]) -> String {
    let one = |incident: &Planted| {
        let (table, found) = first_said(incident);
        let found = if has(tables, table) { found } else { "cast(null as timestamp)".to_owned() };
        let (name, target, began) = (&incident.name, &incident.target, timestamp(incident.start_ms));
        format!(
            "select '{name}' as incident, '{target}' as target, {began} as began, ({found}) as found, '{table}' as said_by"
        )
    };
    let all: Vec<String> = planted.iter().map(one).collect();
    format!(
        "select incident, target, began, found, round((date_part('epoch', found) - date_part('epoch', began)) / 60, 1) as \
         minutes_later, said_by from ({}) order by began",
        all.join("\nunion all\n")
    )
}

// The table in which an incident should show, and a query for the first time that it does.
fn first_said(incident: &Planted) -> (&'static str, String) {
    let (start, end) = (timestamp(incident.start_ms), timestamp(incident.end_ms));
    let (table, of) = match incident.kind {
        IncidentKind::ProviderOutage | IncidentKind::LatencyCreep | IncidentKind::CostSpike => {
            ("provider_anomalies", of_model(&incident.target))
        }
        IncidentKind::StalledPopulation => {
            ("population_outlook", format!("population = '{}' and is_stalled", incident.target))
        }
        IncidentKind::GpuMemoryLeak => {
            ("gpu_memory_ahead", format!("node = '{}' and p_crossing > 0.5", incident.target))
        }
        IncidentKind::BounceWave => ("activity_anomalies", format!("agent_type = '{}'", incident.target)),
    };
    let query = format!(
        "select min(window_end) from {table} where {of} and window_end > {start} and window_start < {end}"
    );
    (table, query)
}

fn has(tables: &[String], table: &str) -> bool {
    tables.iter().any(|name| name.rsplit('.').next() == Some(table))
}

/// Alarms of models and agent types outside of all incidents; windows one after the other are one alarm. `None`: there are none.
pub(super) fn false_alarms(planted: &[Planted], tables: &[String]) -> Option<String> {
    let part = |table: &str, series: &str, is_of: &dyn Fn(&Planted) -> Option<String>| {
        let incidents: Vec<String> = planted
            .iter()
            .filter_map(|incident| {
                let (start, end) = (timestamp(incident.start_ms), timestamp(incident.end_ms + GRACE_MS));
                is_of(incident).map(|of| format!("({of} and window_end > {start} and window_start < {end})"))
            })
            .collect();
        let outside = if incidents.is_empty() {
            String::new()
        } else {
            format!("where not ({})", incidents.join(" or "))
        };
        format!(
            "select '{table}' as said_by, {series} as series, window_start, \
             lag(window_end) over (partition by {series} order by window_start) as before from {table} {outside}"
        )
    };
    let of_models = part("provider_anomalies", "provider || '/' || model", &|incident| {
        let is_of_model = matches!(
            incident.kind,
            IncidentKind::ProviderOutage | IncidentKind::LatencyCreep | IncidentKind::CostSpike
        );
        is_of_model.then(|| of_model(&incident.target))
    });
    let of_agents = part("activity_anomalies", "agent_type", &|incident| {
        // There are only so many events: those of other agents become fewer.
        (incident.kind == IncidentKind::BounceWave).then(|| "true".to_owned())
    });
    let parts = [("provider_anomalies", of_models), ("activity_anomalies", of_agents)];
    let parts: Vec<String> =
        parts.into_iter().filter(|(table, _)| has(tables, table)).map(|(_, part)| part).collect();
    (!parts.is_empty()).then(|| {
        format!(
            "select said_by, count(*) filter (where before is null or before < window_start) as false_alarms, \
             count(distinct series) as of_series from ({}) group by said_by order by said_by",
            parts.join(" union all ")
        )
    })
}

fn of_model(target: &str) -> String {
    match target.split_once('/') {
        Some((provider, model)) => format!("provider = '{provider}' and model = '{model}'"),
        None => format!("provider = '{target}'"),
    }
}

fn timestamp(ms: i64) -> String {
    let text =
        DateTime::from_timestamp_millis(ms).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true);
    format!("timestamp '{text}'")
}
