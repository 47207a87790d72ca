//! What a step has done, readable while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arrow::array::RecordBatch;

use crate::series::SeriesCounters;
use crate::stopwatch::{Stopwatch, Stopwatches};
use crate::window::WindowCounters;

/// Counts of one step, over all workers of a process.
#[derive(Debug, Default)]
pub struct StepCounters {
    rows_in: AtomicU64,
    rows_out: AtomicU64,
    busy: Stopwatches,
    /// What its windows have done, if it has any.
    pub windows: Arc<WindowCounters>,
    /// What its model has done, if it has one.
    pub series: Arc<SeriesCounters>,
}

impl StepCounters {
    /// Counts for one operator on one worker.
    pub fn meter(self: &Arc<Self>) -> StepMeter {
        StepMeter { stopwatch: self.busy.add(), step: Arc::clone(self) }
    }

    /// Rows that the step has taken.
    pub fn rows_in(&self) -> u64 {
        self.rows_in.load(Relaxed)
    }

    /// Rows that it has given out.
    pub fn rows_out(&self) -> u64 {
        self.rows_out.load(Relaxed)
    }

    /// How long it has been at work, summed over the workers.
    pub fn busy(&self) -> std::time::Duration {
        self.busy.total() + self.windows.busy.total() + self.series.busy.total()
    }
}

/// Counts the batches that pass one of a step's operators.
pub struct StepMeter {
    step: Arc<StepCounters>,
    stopwatch: Arc<Stopwatch>,
}

impl StepMeter {
    /// Takes the time of work on a batch.
    pub fn work<T>(&self, work: impl FnOnce() -> T) -> T {
        self.stopwatch.time(work)
    }

    /// Counts a batch that the step takes.
    pub fn takes(&self, batch: &RecordBatch) {
        self.step.rows_in.fetch_add(batch.num_rows() as u64, Relaxed);
    }

    /// Counts what the step gives out, if it does; hands it on.
    pub fn gives<E>(&self, out: Result<Option<RecordBatch>, E>) -> Result<Option<RecordBatch>, E> {
        if let Ok(Some(batch)) = &out {
            self.step.rows_out.fetch_add(batch.num_rows() as u64, Relaxed);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array};
    use std::time::Duration;

    #[test]
    fn meters_add_up() {
        let batch = |rows: i64| {
            let values: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
            RecordBatch::try_from_iter([("value", values)]).expect("a batch")
        };
        let step = Arc::new(StepCounters::default());
        let meters = [step.meter(), step.meter()];
        for (meter, rows) in meters.iter().zip([5, 7]) {
            meter.takes(&batch(rows));
            let kept = meter.work(|| Ok::<_, ()>(Some(batch(rows - 4))));
            assert!(meter.gives(kept).is_ok());
        }
        assert_eq!(meters[0].gives::<()>(Ok(None)), Ok(None));
        assert!(meters[0].gives(Err(())).is_err());
        assert_eq!((step.rows_in(), step.rows_out()), (12, 4));
        let own = step.busy();
        let windows = step.windows.busy.add();
        windows.start();
        while windows_busy(&step) == Duration::ZERO {}
        assert!(step.busy() > own, "its windows' time counts as the step's");
    }

    fn windows_busy(step: &StepCounters) -> Duration {
        step.windows.busy.total()
    }
}
