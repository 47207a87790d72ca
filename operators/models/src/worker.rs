//! Inference on a thread of its own, so that a dataflow's worker is never kept waiting by a model.
//!
//! ```text
//!   submit ─▶ queue, bounded ─▶ overseer ─▶ model's thread ─┐
//!   try_recv ◀── results, in order ◀── in time? panicked? ◀─┘     then the wake-up that was given
//! ```
//!
//! What goes wrong becomes a result: an error or a panic that of the rows it came of, found by halving the batch, since a row may not
//! depend on those that it shares a batch with; a batch that takes too long is one as a whole. A thread can't be
//! stopped from outside, so after a batch that took too long its model goes on, unheard, and the next batches wait for it within
//! their own time limit each. There is never more than one such thread to a worker.
//!
//! A time limit makes results depend on the machine: without one they are a function of the rows alone.

use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use crate::ModelError;
use crate::infer::{Infer, Outputs};

/// How a worker runs its model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerConfig {
    /// Batches that may be under way at once, those whose results nobody took yet among them.
    pub queue: usize,
    /// Time that a batch may take; `None`: any.
    pub time_limit: Option<Duration>,
}

impl Default for WorkerConfig {
    fn default() -> WorkerConfig {
        WorkerConfig { queue: 16, time_limit: None }
    }
}

/// Rows for the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// What the caller knows it by.
    pub id: u64,
    /// How many rows.
    pub rows: usize,
    /// A vector for each of the model's inputs, in their order: rows × width values.
    pub inputs: Vec<Vec<f32>>,
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// The batch's.
    pub id: u64,
    /// The batch's.
    pub rows: usize,
    /// What the model says, or why it says nothing of any row of the batch.
    pub result: Result<Outputs, Failure>,
    /// Rows of which it says nothing though it does of others: their outputs are NaN.
    pub failed: Vec<(usize, Failure)>,
}

/// A result, and the rows that failed by themselves.
type Answer = (Result<Outputs, Failure>, Vec<(usize, Failure)>);

/// Why a batch has no outputs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The model gave an error.
    #[error("{0}")]
    Failed(String),
    /// The model panicked.
    #[error("the model panicked: {0}")]
    Panicked(String),
    /// The batch took longer than the time limit, or waited that long for one before it.
    #[error("the model took longer than {} ms", .0.as_millis())]
    TimedOut(Duration),
}

impl Failure {
    /// As in the column `status`.
    pub fn status(&self) -> &'static str {
        match self {
            Failure::Failed(_) | Failure::Panicked(_) => "failed",
            Failure::TimedOut(_) => "timed_out",
        }
    }
}

/// Called after each result, from another thread.
pub type Wake = Box<dyn Fn() + Send>;

/// A model on a thread of its own. Dropping it gives up what is under way.
#[derive(Debug)]
pub struct Worker {
    batches: SyncSender<Batch>,
    results: Receiver<Done>,
    queue: usize,
    under_way: usize,
    closed: Arc<AtomicBool>,
}

impl Worker {
    /// Starts the threads. `wake` is called whenever there is something to receive.
    ///
    /// # Errors
    ///
    /// If the system has no more threads.
    pub fn start(model: Box<dyn Infer>, config: WorkerConfig, wake: Wake) -> Result<Worker, ModelError> {
        let no_thread = |error: std::io::Error| ModelError::Thread(error.to_string());
        let queue = config.queue.max(1);
        let (batches, to_oversee) = sync_channel(queue);
        let (results, to_receive) = channel();
        let (to_model, for_model) = channel();
        let (from_model, answers) = channel();
        let closed = Arc::new(AtomicBool::new(false));
        let overseer = Overseer { to_model, answers, time_limit: config.time_limit, busy: false };
        let is_closed = Arc::clone(&closed);
        thread::Builder::new()
            .name("model".to_owned())
            .spawn(move || run_model(&*model, &for_model, &from_model))
            .map_err(no_thread)?;
        thread::Builder::new()
            .name("model-overseer".to_owned())
            .spawn(move || overseer.run(&to_oversee, &results, &is_closed, &wake))
            .map_err(no_thread)?;
        Ok(Worker { batches, results: to_receive, queue, under_way: 0, closed })
    }

    /// Hands a batch over, without waiting.
    ///
    /// # Errors
    ///
    /// The batch, if as many are under way as may be: receive results first.
    pub fn submit(&mut self, batch: Batch) -> Result<(), Batch> {
        if self.under_way >= self.queue {
            return Err(batch);
        }
        match self.batches.try_send(batch) {
            Ok(()) => {
                self.under_way += 1;
                Ok(())
            }
            Err(error) => Err(match error {
                std::sync::mpsc::TrySendError::Full(batch)
                | std::sync::mpsc::TrySendError::Disconnected(batch) => batch,
            }),
        }
    }

    /// The result of the oldest batch whose result nobody took yet, if it is there.
    pub fn try_recv(&mut self) -> Option<Done> {
        let done = self.results.try_recv().ok()?;
        self.under_way -= 1;
        Some(done)
    }

    /// Waits for that result; `None` if no batch is under way.
    pub fn recv(&mut self) -> Option<Done> {
        if self.under_way == 0 {
            return None;
        }
        let done = self.results.recv().ok()?;
        self.under_way -= 1;
        Some(done)
    }

    /// Whether a batch may be submitted.
    pub fn has_room(&self) -> bool {
        self.under_way < self.queue
    }

    /// Batches that were submitted and whose results nobody took yet.
    pub fn under_way(&self) -> usize {
        self.under_way
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // The threads end by themselves: this one does not wait for a model that may never come back.
        self.closed.store(true, Ordering::Relaxed);
    }
}

fn run_model(model: &dyn Infer, batches: &Receiver<Batch>, answers: &Sender<Answer>) {
    for batch in batches {
        let inputs: Vec<&[f32]> = batch.inputs.iter().map(Vec::as_slice).collect();
        if answers.send(answer(model, batch.rows, &inputs)).is_err() {
            return;
        }
    }
}

fn answer(model: &dyn Infer, rows: usize, inputs: &[&[f32]]) -> Answer {
    match ask(model, rows, inputs) {
        Err(_) if rows > 1 => {
            let mut outputs = Outputs { rows, columns: vec![Vec::new(); model.outputs().len()] };
            let mut failed = Vec::new();
            ask_halves(model, 0..rows, inputs, &mut outputs.columns, &mut failed);
            (Ok(outputs), failed)
        }
        result => (result, Vec::new()),
    }
}

fn ask(model: &dyn Infer, rows: usize, inputs: &[&[f32]]) -> Result<Outputs, Failure> {
    // A model is not changed by inference, so there is nothing half-done for the next batch to see.
    match catch_unwind(AssertUnwindSafe(|| model.infer(rows, inputs))) {
        Ok(Ok(outputs)) => Ok(outputs),
        Ok(Err(error)) => Err(Failure::Failed(error.to_string())),
        Err(panic) => Err(Failure::Panicked(message_of(&*panic))),
    }
}

// Rows that failed together, by halves, down to those that fail by themselves.
fn ask_halves(
    model: &dyn Infer,
    rows: Range<usize>,
    inputs: &[&[f32]],
    columns: &mut [Vec<f32>],
    failed: &mut Vec<(usize, Failure)>,
) {
    let (count, half) = (rows.len(), rows.len() / 2);
    for (from, to) in [(0, half), (half, count)] {
        let part: Vec<&[f32]> = inputs
            .iter()
            .map(|values| &values[from * values.len() / count..to * values.len() / count])
            .collect();
        match ask(model, to - from, &part) {
            Ok(outputs) => {
                for (column, values) in columns.iter_mut().zip(outputs.columns) {
                    column.extend(values);
                }
            }
            Err(failure) if to - from == 1 => {
                failed.push((rows.start + from, failure));
                for (column, port) in columns.iter_mut().zip(model.outputs()) {
                    column.extend(std::iter::repeat_n(f32::NAN, port.width()));
                }
            }
            Err(_) => ask_halves(model, rows.start + from..rows.start + to, &part, columns, failed),
        }
    }
}

/// What a panic said.
pub(crate) fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

struct Overseer {
    to_model: Sender<Batch>,
    answers: Receiver<Answer>,
    time_limit: Option<Duration>,
    /// Whether the model is still at a batch that was given up.
    busy: bool,
}

impl Overseer {
    fn run(mut self, batches: &Receiver<Batch>, results: &Sender<Done>, closed: &AtomicBool, wake: &Wake) {
        for batch in batches {
            if closed.load(Ordering::Relaxed) {
                return;
            }
            let (id, rows) = (batch.id, batch.rows);
            let (result, failed) = self.infer(batch);
            if results.send(Done { id, rows, result, failed }).is_err() {
                return;
            }
            // Results go on to come where waking the caller fails: it may poll.
            let _ = catch_unwind(AssertUnwindSafe(wake));
        }
    }

    fn infer(&mut self, batch: Batch) -> Answer {
        if self.busy {
            // The answer to a batch that was given up: nobody waits for it.
            match self.answer() {
                (Err(Failure::TimedOut(limit)), _) => return (Err(Failure::TimedOut(limit)), Vec::new()),
                _ => self.busy = false,
            }
        }
        if self.to_model.send(batch).is_err() {
            return ended();
        }
        let answer = self.answer();
        self.busy = matches!(answer.0, Err(Failure::TimedOut(_)));
        answer
    }

    fn answer(&self) -> Answer {
        match self.time_limit {
            None => self.answers.recv().unwrap_or_else(|_| ended()),
            Some(limit) => match self.answers.recv_timeout(limit) {
                Ok(answer) => answer,
                Err(RecvTimeoutError::Timeout) => (Err(Failure::TimedOut(limit)), Vec::new()),
                Err(RecvTimeoutError::Disconnected) => ended(),
            },
        }
    }
}

fn ended() -> Answer {
    (Err(Failure::Panicked("its thread has ended".to_owned())), Vec::new())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Duration;

    use super::{Batch, Done, Failure, Worker, WorkerConfig};
    use crate::ModelError;
    use crate::infer::{Infer, Outputs, Port};

    /// Doubles its inputs; fails, panics or waits for a word where the first value says so.
    struct Moody {
        ports: Vec<Port>,
        word: Mutex<Receiver<()>>,
    }

    const FAIL: f32 = -1.0;
    const PANIC: f32 = -2.0;
    const WAIT: f32 = -3.0;

    impl Infer for Moody {
        fn inputs(&self) -> &[Port] {
            &self.ports
        }

        fn outputs(&self) -> &[Port] {
            &self.ports
        }

        fn infer(&self, rows: usize, inputs: &[&[f32]]) -> Result<Outputs, ModelError> {
            match inputs[0].iter().find(|value| **value < 0.0) {
                Some(&FAIL) => Err(ModelError::OnnxRun("no mood".to_owned())),
                Some(&PANIC) => panic!("a bad mood"),
                Some(&WAIT) => {
                    self.word.lock().unwrap().recv().unwrap();
                    Ok(Outputs { rows, columns: vec![vec![0.0]] })
                }
                _ => Ok(Outputs { rows, columns: vec![inputs[0].iter().map(|v| v * 2.0).collect()] }),
            }
        }
    }

    fn start(config: WorkerConfig) -> (Worker, Sender<()>, Receiver<()>) {
        let (word, for_model) = channel();
        let (woken, wakes) = channel();
        let ports = vec![Port::new("x", &[])];
        let model = Box::new(Moody { ports, word: Mutex::new(for_model) });
        let wake = Box::new(move || {
            let _ = woken.send(());
        });
        (Worker::start(model, config, wake).unwrap(), word, wakes)
    }

    fn batch(id: u64, value: f32) -> Batch {
        Batch { id, rows: 1, inputs: vec![vec![value]] }
    }

    #[test]
    fn results_come_in_order_and_wake_the_caller() {
        let (mut worker, _word, wakes) = start(WorkerConfig::default());
        assert!(worker.try_recv().is_none());
        (0..10).for_each(|id| worker.submit(batch(id, id as f32)).unwrap());
        for id in 0..10 {
            wakes.recv().unwrap();
            let done = worker.try_recv().expect("a wake-up means a result");
            let columns = vec![vec![id as f32 * 2.0]];
            assert_eq!(
                done,
                Done { id, rows: 1, result: Ok(Outputs { rows: 1, columns }), failed: Vec::new() }
            );
        }
        assert!(worker.recv().is_none());
    }

    #[test]
    fn a_failure_is_that_batch_s_alone() {
        let (mut worker, _word, _wakes) = start(WorkerConfig::default());
        for (id, value) in [FAIL, 1.0, PANIC, 2.0].into_iter().enumerate() {
            worker.submit(batch(id as u64, value)).unwrap();
        }
        let results: Vec<_> = std::iter::from_fn(|| worker.recv()).map(|done| done.result).collect();
        assert_eq!(results[0], Err(Failure::Failed("the ONNX model failed: no mood".to_owned())));
        assert_eq!(results[2], Err(Failure::Panicked("a bad mood".to_owned())));
        assert!(results[1].is_ok() && results[3].is_ok());
        assert_eq!(results[2].as_ref().unwrap_err().status(), "failed");
    }

    #[test]
    fn a_row_fails_by_itself_whatever_its_batch() {
        let (mut worker, _word, _wakes) = start(WorkerConfig::default());
        let mut values: Vec<f32> = (0..1000).map(|value| value as f32).collect();
        (values[7], values[8], values[999]) = (FAIL, PANIC, FAIL);
        worker.submit(Batch { id: 0, rows: values.len(), inputs: vec![values.clone()] }).unwrap();
        let done = worker.recv().unwrap();
        let rows: Vec<usize> = done.failed.iter().map(|(row, _)| *row).collect();
        assert_eq!(rows, [7, 8, 999]);
        assert_eq!(done.failed[1].1, Failure::Panicked("a bad mood".to_owned()));
        let said = &done.result.unwrap().columns[0];
        for (row, (said, value)) in said.iter().zip(&values).enumerate() {
            assert!(
                if rows.contains(&row) { said.is_nan() } else { *said == value * 2.0 },
                "row {row}: {said}"
            );
        }
    }

    #[test]
    fn the_queue_is_bounded_until_results_are_taken() {
        let (mut worker, word, wakes) = start(WorkerConfig { queue: 2, time_limit: None });
        worker.submit(batch(0, WAIT)).unwrap();
        worker.submit(batch(1, 1.0)).unwrap();
        assert_eq!(worker.submit(batch(2, 1.0)).unwrap_err().id, 2);
        word.send(()).unwrap();
        wakes.recv().unwrap();
        assert_eq!(worker.submit(batch(2, 1.0)).unwrap_err().id, 2, "a result that nobody took counts");
        assert_eq!(worker.try_recv().unwrap().id, 0);
        worker.submit(batch(2, 1.0)).unwrap();
        assert_eq!(worker.under_way(), 2);
        assert_eq!((worker.recv().unwrap().id, worker.recv().unwrap().id), (1, 2));
    }

    #[test]
    fn a_batch_that_takes_too_long_is_given_up() {
        let limit = Duration::from_millis(50);
        let (mut worker, word, _wakes) = start(WorkerConfig { queue: 8, time_limit: Some(limit) });
        worker.submit(batch(0, WAIT)).unwrap();
        assert_eq!(worker.recv().unwrap().result, Err(Failure::TimedOut(limit)));
        worker.submit(batch(1, 1.0)).unwrap();
        assert_eq!(worker.recv().unwrap().result, Err(Failure::TimedOut(limit)), "the model is still busy");
        // Once it comes back, its late answer is no one's, and later batches get theirs.
        word.send(()).unwrap();
        worker.submit(batch(2, 3.0)).unwrap();
        let done = worker.recv().unwrap();
        assert_eq!((done.id, done.result.unwrap().columns), (2, vec![vec![6.0]]));
    }

    #[test]
    fn a_wake_up_that_panics_ends_nothing() {
        let (_word, for_model) = channel();
        let model = Box::new(Moody { ports: vec![Port::new("x", &[])], word: Mutex::new(for_model) });
        let wake = Box::new(|| panic!("nobody to wake"));
        let mut worker = Worker::start(model, WorkerConfig::default(), wake).unwrap();
        for id in 0..3 {
            worker.submit(batch(id, 1.0)).unwrap();
            assert!(worker.recv().unwrap().result.is_ok());
        }
    }

    #[test]
    fn dropping_a_worker_does_not_wait_for_its_model() {
        let (mut worker, word, _wakes) = start(WorkerConfig::default());
        worker.submit(batch(0, WAIT)).unwrap();
        drop(worker);
        // Only now may the model go on: a drop that waited for it would never have come here.
        word.send(()).unwrap();
    }
}
