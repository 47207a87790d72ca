//! Several topics at once, each into an archive of its own.
//!
//! ```text
//!   topic a ──▶ a thread: record ──▶ <archives>/a      the first that fails stops the others in good order:
//!   topic b ──▶ a thread: record ──▶ <archives>/b      what they have read is kept, and the next run goes on behind it
//! ```

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use thalweg_engine::control::Control;

use super::{Place, RecordOptions, RecordSummary, record};
use crate::archive::ArchiveError;

/// Topics of one recording: each takes a thread, a consumer and its share of the memory.
const TOPICS_MAX: usize = 100;

/// Records several topics, each to its end, or all until `control` is told to stop. `advance` hears of records as they come, and of about
/// how many there are in all (more, in all) once that is known of every topic; `None`: it is not, or there is no end.
///
/// # Errors
/// Topics that can't be recorded together; the first that fails. What was read before is in the archives.
pub fn record_all(
    all: &[RecordOptions],
    control: &Control,
    advance: &(dyn Fn(u64, Option<u64>) + Sync),
) -> Result<Vec<RecordSummary>, ArchiveError> {
    check(all)?;
    side_by_side(all, control, advance, record)
}

/// A thread a topic, in which `record_one` records it.
fn side_by_side<R>(
    all: &[RecordOptions],
    control: &Control,
    advance: &(dyn Fn(u64, Option<u64>) + Sync),
    record_one: R,
) -> Result<Vec<RecordSummary>, ArchiveError>
where
    R: Fn(&RecordOptions, &Control, &dyn Fn(u64, Option<u64>)) -> Result<RecordSummary, ArchiveError> + Sync,
{
    let of_all: Mutex<Vec<Option<u64>>> = Mutex::new(vec![None; all.len()]);
    let first_error: Mutex<Option<ArchiveError>> = Mutex::default();
    let ended: Vec<Option<RecordSummary>> = std::thread::scope(|scope| {
        let (of_all, first_error, record_one) = (&of_all, &first_error, &record_one);
        let start = |(number, options): (usize, &RecordOptions)| {
            let options = RecordOptions { topics: all.len(), ..options.clone() };
            let heard = move |more: u64, ahead: Option<u64>| {
                // A poisoned lock is another thread's panic, which the scope passes on.
                let mut of_all = of_all.lock().unwrap_or_else(PoisonError::into_inner);
                of_all[number] = ahead;
                advance(more, of_all.iter().copied().sum());
            };
            let stop_others = StopOthers(control);
            scope.spawn(move || match record_one(&options, control, &heard) {
                Ok(summary) => {
                    stop_others.no_more();
                    // A topic that holds nothing has told nothing.
                    let mut of_all = of_all.lock().unwrap_or_else(PoisonError::into_inner);
                    of_all[number].get_or_insert(summary.records);
                    Some(summary)
                }
                Err(error) => {
                    tracing::info!(topic = options.topic, "can't be recorded: {error}");
                    first_error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    drop(stop_others);
                    None
                }
            })
        };
        let threads: Vec<_> = all.iter().enumerate().map(start).collect();
        let end = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(end).collect()
    });
    match first_error.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(ended.into_iter().flatten().collect()),
    }
}

/// Stops the other topics when it is dropped: by an error, by a panic, by a thread that can't be started. Their threads are waited for,
/// and with no end to come to they would go on for ever.
struct StopOthers<'c>(&'c Control);

impl StopOthers<'_> {
    fn no_more(self) {
        std::mem::forget(self);
    }
}

impl Drop for StopOthers<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

fn check(all: &[RecordOptions]) -> Result<(), ArchiveError> {
    let refused = |option, detail: String, hint: &str| {
        Err(ArchiveError::Option { option, detail, hint: hint.to_owned() })
    };
    let mut topics = BTreeSet::new();
    if let Some(twice) = all.iter().find(|options| !topics.insert(&options.topic)) {
        return refused("--topic", format!("{} is given twice", twice.topic), "name each topic once");
    }
    if all.len() > TOPICS_MAX {
        let detail =
            format!("is given {} times, and {TOPICS_MAX} topics at most are recorded at once", all.len());
        return refused("--topic", detail, "record some of them by a command of their own");
    }
    let by_partition = |place: &Place| matches!(place, Place::Offsets(_));
    for options in all.iter().filter(|_| all.len() > 1) {
        let of = [("--from", Some(&options.from)), ("--to", options.to.as_ref())];
        if let Some((option, _)) = of.into_iter().find(|(_, place)| place.is_some_and(by_partition)) {
            let detail = "names offsets, which are those of one topic".to_owned();
            return refused(option, detail, "give a time, or record each topic by a command of its own");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    fn options(topic: &str, from: Place) -> RecordOptions {
        RecordOptions {
            topic: topic.to_owned(),
            brokers: "localhost:1".to_owned(),
            properties: Default::default(),
            folder: topic.into(),
            from,
            to: None,
            file_bytes_max: 1,
            file_interval: Duration::ZERO,
            skip_lost: false,
            look_for_partitions: Duration::ZERO,
            topics: 1,
        }
    }

    /// Records a topic that ends as told, between two that end only when they are stopped; how many of the two were.
    fn beside_two_without_end(
        end: fn() -> Result<RecordSummary, ArchiveError>,
    ) -> (std::thread::Result<Result<Vec<RecordSummary>, ArchiveError>>, usize) {
        const LIMIT: Duration = Duration::from_secs(30);
        let all = ["a", "ends", "b"].map(|topic| options(topic, Place::Earliest));
        let stopped = AtomicUsize::new(0);
        let ended = catch_unwind(AssertUnwindSafe(|| {
            side_by_side(&all, &Control::new(), &|_, _| {}, |options, control, _| {
                if options.topic == "ends" {
                    return end();
                }
                stopped.fetch_add(control.wait(LIMIT).into(), Ordering::Relaxed);
                Ok(RecordSummary::default())
            })
        }));
        (ended, stopped.into_inner())
    }

    #[test]
    fn one_that_fails_or_panics_stops_the_others() {
        let (ended, stopped) = beside_two_without_end(|| {
            Err(ArchiveError::Option { option: "--topic", detail: "is wrong".into(), hint: "mend it".into() })
        });
        assert!(ended.expect("no panic").unwrap_err().to_string().contains("--topic is wrong"));
        assert_eq!(stopped, 2);
        let (ended, stopped) = beside_two_without_end(|| panic!("a bug"));
        assert_eq!(ended.unwrap_err().downcast_ref::<&str>(), Some(&"a bug"));
        assert_eq!(stopped, 2);
    }

    #[test]
    fn what_can_not_be_recorded_together_is_told() {
        let told = |all: &[RecordOptions]| check(all).unwrap_err().to_string();
        let offsets = || Place::Offsets([(0, 5)].into());
        assert!(check(&[options("a", Place::Earliest), options("b", Place::Time(5))]).is_ok());
        assert!(check(&[options("a", offsets())]).is_ok());
        assert!(
            told(&[options("a", Place::Latest), options("a", Place::Latest)]).contains("a is given twice")
        );
        assert!(
            told(&[options("a", Place::Latest), options("b", offsets())]).starts_with("--from names offsets")
        );
        let to = RecordOptions { to: Some(offsets()), ..options("a", Place::Latest) };
        assert!(told(&[to, options("b", Place::Latest)]).starts_with("--to names offsets"));
        let many: Vec<_> = (0..=TOPICS_MAX).map(|at| options(&at.to_string(), Place::Latest)).collect();
        assert!(told(&many).contains("101 times"));
    }
}
