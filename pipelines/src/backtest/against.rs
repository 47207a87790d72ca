//! A variant against its reference: which sinks can be compared, and which rows of them are meant.
//!
//! Of another variant it is all of them. A live job has written more than a period, and windows that are still open are not there yet.

use std::path::{Path, PathBuf};

use super::report::{Comparison, SinkComparison};
use super::shape::{self, Shape};
use super::{BacktestError, BacktestOptions, LIVE, LiveOutput, Reference, Variant, compare};
use crate::lower::sinks::{LATE, REJECTED};
use crate::plan::{Plan, PlannedSink, SinkKind};

/// Compares all sinks.
///
/// # Errors
/// Outputs that can't be read.
pub(super) fn compare_with(
    options: &BacktestOptions,
    reference: &Reference,
    variant: &Variant,
) -> Result<Comparison, BacktestError> {
    let against = Against::new(options, reference, variant);
    let mut sinks = Vec::new();
    for sink in &variant.plan.sinks {
        sinks.push(match against.plan.sinks.iter().find(|other| other.name == sink.name) {
            Some(other) => against.sink(sink, other)?,
            None => SinkComparison::missing(&sink.name, against.name),
        });
    }
    let is_there = |other: &&PlannedSink| variant.plan.sinks.iter().any(|sink| sink.name == other.name);
    for other in against.plan.sinks.iter().filter(|other| !is_there(other)) {
        sinks.push(SinkComparison::missing(&other.name, &variant.name));
    }
    for name in [LATE, REJECTED] {
        sinks.push(against.refused(name)?);
    }
    Ok(Comparison {
        reference: against.name.to_owned(),
        variant: variant.name.clone(),
        about: variant.about.clone(),
        sinks,
    })
}

struct Against<'a> {
    options: &'a BacktestOptions,
    variant: &'a Variant,
    name: &'a str,
    plan: &'a Plan,
    /// Where the reference has written, and the variant.
    folders: [PathBuf; 2],
    /// Of a live job's output: where the rows that are meant begin; and the watermark up to which its windows have fired.
    live: Option<(Option<i64>, Option<i64>)>,
    /// Where its Delta tables are.
    table: Option<&'a LiveOutput>,
}

impl<'a> Against<'a> {
    fn new(options: &'a BacktestOptions, reference: &'a Reference, variant: &'a Variant) -> Self {
        let (name, folder, plan, live) = match reference {
            Reference::Variant(other) => {
                (other.name.as_str(), options.output.join(&other.name), &other.plan, None)
            }
            Reference::Live(live) => {
                // Windows that had fired before a checkpoint do not fire a second time.
                let fired = options.state.as_ref().map(|state| state.manifest.watermark);
                let folder = options.output.join(LIVE);
                (LIVE, folder, &live.plan, Some((fired.or(options.from_us), live.watermark)))
            }
        };
        let folders = [folder, options.output.join(&variant.name)];
        let table = match reference {
            Reference::Live(live) => Some(live.as_ref()),
            Reference::Variant(_) => None,
        };
        Against { options, variant, name, plan, folders, live, table }
    }

    fn sink(&self, own: &PlannedSink, other: &PlannedSink) -> Result<SinkComparison, BacktestError> {
        let of = |plan, sink| shape::of(plan, sink).without(&self.options.ignore);
        let shape = of(self.plan, other).common(&of(&self.variant.plan, own));
        if let Some(why) = self.hindrance(&shape, other) {
            return Ok(SinkComparison::not_comparable(&own.name, why));
        }
        let range = self.live.map(|(from_us, watermark)| compare::Range {
            from_us,
            to_us: self.options.to_us,
            fired: watermark.filter(|_| shape.is_windowed),
        });
        match (self.table, &other.kind) {
            (Some(live), SinkKind::Delta { .. }) => {
                let found = self.compare(live.table(), &own.name, &shape, range.as_ref())?;
                // Its table can't be held still.
                if live.has_gone_on()? {
                    let why =
                        "the live job has added to the Delta table meanwhile; stop it, or compare once more";
                    return Ok(SinkComparison::not_comparable(&own.name, why));
                }
                Ok(found)
            }
            _ => self.compare(&self.folders[0], &own.name, &shape, range.as_ref()),
        }
    }

    fn hindrance(&self, shape: &Shape, other: &PlannedSink) -> Option<&'static str> {
        let (from_us, watermark) = self.live?;
        match other.kind {
            SinkKind::Parquet { .. } | SinkKind::Delta { .. } => {}
            _ => {
                return Some(
                    "only what a live job has written as Parquet or into a Delta table can be compared",
                );
            }
        }
        let is_cut = from_us.is_some() || self.options.to_us.is_some();
        (shape.window_end.is_none() && (is_cut || shape.is_windowed && watermark.is_some())).then_some(
            "its rows do not say where they lie in time; keep window_end in select, or compare without a period",
        )
    }

    fn refused(&self, name: &str) -> Result<SinkComparison, BacktestError> {
        if self.live.is_some() && self.options.state.is_some() {
            let why = "which of them the live job had seen before the checkpoint is not known";
            return Ok(SinkComparison::not_comparable(name, why));
        }
        let range = self.live.map(|_| compare::Range {
            from_us: self.options.from_us,
            to_us: self.options.to_us,
            fired: None,
        });
        self.compare(&self.folders[0], name, &shape::of_refused(), range.as_ref())
    }

    fn compare(
        &self,
        reference: &Path,
        sink: &str,
        shape: &Shape,
        range: Option<&compare::Range>,
    ) -> Result<SinkComparison, BacktestError> {
        let variant = &self.folders[1];
        let differing = self.options.output.join(format!("{}_differences", self.variant.name)).join(sink);
        compare::sink([reference, variant], sink, shape, range, &differing)
    }
}
