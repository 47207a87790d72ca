//! All topics together, in the order in which a broker would append them.

use std::sync::Arc;

use crate::config::{TelemetryConfig, TelemetryError};
use crate::stream::{Delays, Event, TopicStream};
use crate::topics;
use crate::world::World;

/// The events of a configuration, one after the other.
///
/// ```
/// use thalweg_telemetry::{Telemetry, TelemetryConfig, Volume};
///
/// let config = TelemetryConfig { volume: Volume::Events(1000), ..TelemetryConfig::default() };
/// let mut telemetry = Telemetry::new(&config)?;
/// let mut events = 0;
/// while let Some(event) = telemetry.next_event() {
///     assert!(!event.value.is_empty());
///     events += 1;
/// }
/// assert_eq!(events, 1000);
/// # Ok::<(), thalweg_telemetry::TelemetryError>(())
/// ```
pub struct Telemetry {
    streams: Vec<TopicStream>,
    /// Each stream's next append time; `None` after its last event.
    heads: Vec<Option<i64>>,
    /// The stream whose event was given out last.
    given: Option<usize>,
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Telemetry").field("heads", &self.heads).finish_non_exhaustive()
    }
}

impl Telemetry {
    /// The telemetry of a configuration.
    ///
    /// # Errors
    /// As [`TelemetryConfig::check`].
    pub fn new(config: &TelemetryConfig) -> Result<Telemetry, TelemetryError> {
        config.check()?;
        let world = Arc::new(World::new(config));
        let streams = config.topics.iter().map(|&topic| {
            let generator = topics::generator(config, &world, topic);
            let partitions = config.partitions_of(topic);
            TopicStream::new(topic, partitions, config.seed, config.dirty, Delays::Realistic, generator)
        });
        Ok(Telemetry::of(streams.collect()))
    }

    pub(crate) fn of(mut streams: Vec<TopicStream>) -> Telemetry {
        let heads = streams.iter_mut().map(TopicStream::advance).collect();
        Telemetry { streams, heads, given: None }
    }

    /// The next event, by append time, ties by the order of the topics asked for; `None` after the last.
    pub fn next_event(&mut self) -> Option<Event<'_>> {
        if let Some(given) = self.given.take() {
            self.heads[given] = self.streams[given].advance();
        }
        let heads = self.heads.iter().enumerate();
        let (_, next) = heads.filter_map(|(stream, head)| head.map(|at_ms| (at_ms, stream))).min()?;
        self.given = Some(next);
        self.streams[next].current()
    }
}
