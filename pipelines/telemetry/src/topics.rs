//! The topics' generators.

mod calls;
mod cluster;
mod health;
mod population;
mod traces;
mod users;

use std::sync::Arc;

use crate::config::TelemetryConfig;
use crate::stream::Generator;
use crate::topic::Topic;
use crate::world::{Schedule, World};

pub(crate) use calls::backend;

/// The generator of a topic.
pub(crate) fn generator(config: &TelemetryConfig, world: &Arc<World>, topic: Topic) -> Box<dyn Generator> {
    let world = world.clone();
    let schedule = Schedule::of(config, topic);
    let requests = Schedule::of(config, Topic::ProviderRequests);
    match topic {
        Topic::ProviderRequests => Box::new(calls::Requests::new(world, schedule)),
        Topic::ProviderFeedback => Box::new(calls::Feedback::new(world, schedule.count(), requests)),
        Topic::Traces => Box::new(traces::Traces::new(world, schedule.count(), requests)),
        Topic::UserInteractions => Box::new(users::Interactions::new(world, schedule)),
        Topic::TestRuns => Box::new(users::TestRuns::new(world, schedule)),
        Topic::BackendHealth => Box::new(health::Health::new(world, schedule)),
        Topic::SystemEvents => Box::new(health::SystemEvents::new(world, schedule)),
        Topic::NodeMetrics => Box::new(cluster::Nodes::new(world, schedule, config.duration_s)),
        Topic::SignalBlocks => Box::new(cluster::Signals::new(world, schedule, config.duration_s)),
        Topic::AgentMetrics => Box::new(population::Populations::new(world, schedule, config.duration_s)),
    }
}
