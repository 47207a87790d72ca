mod properties;
mod real;
mod stalls;

use super::*;

fn converger(config: ConvergerConfig) -> Converger {
    Converger::new(config).unwrap()
}

/// A falling curve with a known end and no target.
fn falling(end: Option<f64>) -> ConvergerConfig {
    ConvergerConfig { target: None, falling: true, end, stall_after: 20 }
}

/// What is said after each value, of steps 0, 1, … that take a minute each.
fn watch(config: ConvergerConfig, values: &[f64]) -> Vec<Convergence> {
    let mut converger = converger(config);
    let mut state = converger.begin();
    let said = values.iter().enumerate().map(|(step, value)| {
        let time_us = step as i64 * 60_000_000;
        let row = Observation { time_us, local_us: time_us, values: &[step as f64, *value] };
        let mut said = Convergence::default();
        converger.observe(&mut state, row, &mut said);
        said
    });
    said.collect()
}
