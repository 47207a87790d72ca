//! From events in the order in which they happen to records in the order in which a broker appends them.
//!
//! An event waits in a heap for the time of its arrival. A generator promises with every event how early anything later may
//! still happen, so an event leaves as soon as nothing can come before it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::dirt::Dirt;
use crate::random::{Draw, For};
use crate::topic::Topic;

/// A record of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// The topic.
    pub topic: Topic,
    /// The partition, by Kafka's own hash of the key.
    pub partition: i32,
    /// Position in the partition, from 0 without gaps.
    pub offset: i64,
    /// When it was appended, milliseconds since the epoch. Ascends in a topic.
    pub timestamp_ms: i64,
    /// The key.
    pub key: &'a [u8],
    /// The payload: JSON, unless it was spoilt.
    pub value: &'a [u8],
    /// How it was spoilt; `None`: it is clean.
    pub dirt: Option<Dirt>,
}

/// When an event happens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// No later event of the generator happens before this.
    pub(crate) floor_ms: i64,
    pub(crate) event_ms: i64,
}

/// Makes a topic's events.
pub(crate) trait Generator: Send {
    /// Writes the next event's key and value into empty buffers; `None` when there is none.
    fn next(&mut self, key: &mut Vec<u8>, value: &mut Vec<u8>) -> Option<Times>;
}

/// How long events are on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delays {
    /// Most below 2 s, 2 % up to 20 s, one in a thousand 1 to 8 minutes.
    Realistic,
    /// Evenly below a number of milliseconds.
    Below(u64),
}

/// A topic's records in append order.
pub(crate) struct TopicStream {
    pub(crate) topic: Topic,
    generator: Box<dyn Generator>,
    seed: u64,
    delays: Delays,
    dirty: f64,
    /// Events on their way, by arrival, then by number.
    waiting: BinaryHeap<Reverse<(i64, u64, usize)>>,
    buffers: Vec<Buffer>,
    free: Vec<usize>,
    current: Option<(i64, usize)>,
    floor_ms: Option<i64>,
    drawn: u64,
    offsets: Vec<i64>,
}

#[derive(Default)]
struct Buffer {
    key: Vec<u8>,
    value: Vec<u8>,
    dirt: Option<Dirt>,
    partition: usize,
}

impl TopicStream {
    pub(crate) fn new(
        topic: Topic,
        partitions: i32,
        seed: u64,
        dirty: f64,
        delays: Delays,
        generator: Box<dyn Generator>,
    ) -> TopicStream {
        TopicStream {
            topic,
            generator,
            seed,
            delays,
            dirty,
            waiting: BinaryHeap::new(),
            buffers: Vec::new(),
            free: Vec::new(),
            current: None,
            floor_ms: Some(i64::MIN),
            drawn: 0,
            offsets: vec![-1; partitions.max(1) as usize],
        }
    }

    /// Goes on to the next record; its append time, or `None` after the last.
    pub(crate) fn advance(&mut self) -> Option<i64> {
        if let Some((_, buffer)) = self.current.take() {
            self.free.push(buffer);
        }
        while let Some(floor_ms) = self.floor_ms {
            if self.waiting.peek().is_some_and(|Reverse((append_ms, ..))| *append_ms <= floor_ms) {
                break;
            }
            self.draw_next();
        }
        let Reverse((append_ms, _, buffer)) = self.waiting.pop()?;
        self.offsets[self.buffers[buffer].partition] += 1;
        self.current = Some((append_ms, buffer));
        Some(append_ms)
    }

    /// The record that [`Self::advance`] went on to.
    pub(crate) fn current(&self) -> Option<Event<'_>> {
        let (timestamp_ms, index) = self.current?;
        let buffer = &self.buffers[index];
        Some(Event {
            topic: self.topic,
            partition: buffer.partition as i32,
            offset: self.offsets[buffer.partition],
            timestamp_ms,
            key: &buffer.key,
            value: &buffer.value,
            dirt: buffer.dirt,
        })
    }

    fn draw_next(&mut self) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.buffers.push(Buffer::default());
            self.buffers.len() - 1
        });
        let buffer = &mut self.buffers[index];
        buffer.key.clear();
        buffer.value.clear();
        let Some(times) = self.generator.next(&mut buffer.key, &mut buffer.value) else {
            self.floor_ms = None;
            self.free.push(index);
            return;
        };
        let mut draw = Draw::new(self.seed, For::Delay, self.drawn ^ (self.topic as u64) << 48);
        buffer.dirt = (self.dirty > 0.0 && draw.chance(self.dirty)).then(|| Dirt::draw(&mut draw));
        if let Some(dirt) = buffer.dirt {
            dirt.spoil(self.topic, &mut buffer.value);
        }
        buffer.partition = partition_of(&buffer.key, self.offsets.len());
        let append_ms = times.event_ms + self.delays.draw(&mut draw);
        self.waiting.push(Reverse((append_ms, self.drawn, index)));
        self.floor_ms = Some(times.floor_ms);
        self.drawn += 1;
    }
}

impl Delays {
    fn draw(self, draw: &mut Draw) -> i64 {
        match self {
            Delays::Below(limit) => draw.below(limit) as i64,
            Delays::Realistic => match draw.below(1000) {
                0 => draw.between(60_000, 480_000),
                1..=20 => draw.between(2_000, 20_000),
                _ => {
                    let x = draw.unit();
                    5 + (1_900.0 * x * x * x) as i64
                }
            },
        }
    }
}

/// The partition that Kafka's default partitioner gives a key: murmur2, its sign bit cleared.
pub(crate) fn partition_of(key: &[u8], partitions: usize) -> usize {
    (murmur2(key) & 0x7fff_ffff) as usize % partitions
}

/// MurmurHash2, 32 bit, seed 0x9747b28c: `org.apache.kafka.common.utils.Utils.murmur2`.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut h = 0x9747_b28c ^ data.len() as u32;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        h = h.wrapping_mul(M) ^ k;
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (at, &byte) in rest.iter().enumerate() {
            h ^= u32::from(byte) << (8 * at);
        }
        h = h.wrapping_mul(M);
    }
    h = (h ^ (h >> 13)).wrapping_mul(M);
    h ^ (h >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_hashed_as_kafka_does() {
        // From Apache Kafka's UtilsTest.testMurmur2.
        let cases: [(&[u8], i32); 5] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ];
        for (key, hash) in cases {
            assert_eq!(murmur2(key) as i32, hash);
        }
    }
}
