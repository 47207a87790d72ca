//! Whether a split of which nothing comes has nothing, or can't be heard.
//!
//! Both look alike to a consumer: its queue is empty. But one that has nothing may be left out of the watermark, and what a broker
//! holds while it is away would come late then. So its broker is asked where the split ends, on a thread: an answer may take its time.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use thalweg_operators::source::reader::SplitInfo;

use crate::context::SourceContext;

/// How long a broker may take to answer.
const LIMIT: Duration = Duration::from_secs(5);

/// Questions to brokers that were not answered yet.
#[derive(Default)]
pub(crate) struct Silence {
    asked: HashMap<usize, Question>,
}

struct Question {
    /// Where the split was when it was asked of.
    next: i64,
    answer: Receiver<Option<i64>>,
}

impl Silence {
    /// The end of split `index`, which has been read up to `next`, as its broker says since then. `None`: it has not said anything yet;
    /// ask again.
    pub(crate) fn end(
        &mut self,
        index: usize,
        next: i64,
        split: &SplitInfo,
        consumer: &Arc<BaseConsumer<SourceContext>>,
    ) -> Option<i64> {
        match self.asked.get(&index).filter(|question| question.next == next) {
            Some(question) => match question.answer.try_recv() {
                Err(TryRecvError::Empty) => None,
                answered => {
                    self.asked.remove(&index);
                    answered.ok().flatten()
                }
            },
            None => {
                let (sender, answer) = channel();
                let (consumer, topic, partition) =
                    (Arc::clone(consumer), Arc::clone(&split.topic), split.partition);
                std::thread::spawn(move || {
                    let range = consumer.fetch_watermarks(&topic, partition, LIMIT);
                    // Nobody listens when the split was read on meanwhile.
                    let _ = sender.send(range.ok().map(|(_, end)| end));
                });
                self.asked.insert(index, Question { next, answer });
                None
            }
        }
    }
}
