//! Whether a split of which nothing comes has nothing, or can't be heard.
//!
//! Both look alike to a consumer: its queue is empty. But one that has nothing may be left out of the watermark, and what a broker
//! holds while it is away would come late then. So its broker is asked where the split ends, on a thread: an answer may take its time.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use thalweg_operators::source::reader::SplitInfo;

use crate::context::SourceContext;

/// How long a broker may take to answer.
const LIMIT: Duration = Duration::from_secs(5);
/// How long an answer counts: records may come the moment after.
const COUNTS: Duration = Duration::from_secs(5);

/// What brokers were asked, and what they have said.
#[derive(Default)]
pub(crate) struct Silence {
    asked: HashMap<usize, Question>,
}

struct Question {
    /// Where the split was when it was asked of.
    next: i64,
    asked_at: Instant,
    answer: Answer,
}

enum Answer {
    Awaited(Receiver<Option<i64>>),
    /// `None`: the broker can't be heard.
    Given(Option<i64>),
}

impl Silence {
    /// The end of split `index`, which has been read up to `next`, as its broker has said just now. `None`: it has not said anything; ask
    /// again.
    pub(crate) fn end(
        &mut self,
        index: usize,
        next: i64,
        split: &SplitInfo,
        consumer: &Arc<BaseConsumer<SourceContext>>,
    ) -> Option<i64> {
        if let Some(question) = self.asked.get_mut(&index).filter(|question| question.next == next) {
            if let Answer::Awaited(answer) = &question.answer {
                match answer.try_recv() {
                    Err(TryRecvError::Empty) => return None,
                    answered => question.answer = Answer::Given(answered.ok().flatten()),
                }
            }
            if let Answer::Given(end) = question.answer
                && question.asked_at.elapsed() < COUNTS
            {
                return end;
            }
        }
        let (sender, answer) = channel();
        let (consumer, topic, partition) = (Arc::clone(consumer), Arc::clone(&split.topic), split.partition);
        std::thread::spawn(move || {
            let range = consumer.fetch_watermarks(&topic, partition, LIMIT);
            // Nobody listens when the split was read on meanwhile.
            let _ = sender.send(range.ok().map(|(_, end)| end));
        });
        self.asked
            .insert(index, Question { next, asked_at: Instant::now(), answer: Answer::Awaited(answer) });
        None
    }
}
