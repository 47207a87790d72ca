//! The platform's topics.

use serde::{Deserialize, Serialize};

/// A topic of the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Topic {
    /// Something a user did.
    #[serde(rename = "user-interactions")]
    UserInteractions,
    /// Something a component did.
    #[serde(rename = "system-events")]
    SystemEvents,
    /// One call to a model.
    #[serde(rename = "provider-requests")]
    ProviderRequests,
    /// What was thought of an answer, later.
    #[serde(rename = "provider-feedback")]
    ProviderFeedback,
    /// A health check of a backend.
    #[serde(rename = "backend-health")]
    BackendHealth,
    /// One training agent, one generation.
    #[serde(rename = "agent_metrics")]
    AgentMetrics,
    /// One machine, every few seconds.
    #[serde(rename = "node-metrics")]
    NodeMetrics,
    /// A block of processed samples.
    #[serde(rename = "signal-blocks")]
    SignalBlocks,
    /// Spans.
    #[serde(rename = "traces")]
    Traces,
    /// One execution of a prompt under test.
    #[serde(rename = "test-runs")]
    TestRuns,
}

impl Topic {
    /// All topics.
    pub const ALL: [Topic; 10] = [
        Topic::UserInteractions,
        Topic::SystemEvents,
        Topic::ProviderRequests,
        Topic::ProviderFeedback,
        Topic::BackendHealth,
        Topic::AgentMetrics,
        Topic::NodeMetrics,
        Topic::SignalBlocks,
        Topic::Traces,
        Topic::TestRuns,
    ];

    /// The topic's name in Kafka, and its archive's folder.
    pub fn name(self) -> &'static str {
        match self {
            Topic::UserInteractions => "user-interactions",
            Topic::SystemEvents => "system-events",
            Topic::ProviderRequests => "provider-requests",
            Topic::ProviderFeedback => "provider-feedback",
            Topic::BackendHealth => "backend-health",
            Topic::AgentMetrics => "agent_metrics",
            Topic::NodeMetrics => "node-metrics",
            Topic::SignalBlocks => "signal-blocks",
            Topic::Traces => "traces",
            Topic::TestRuns => "test-runs",
        }
    }

    /// The topic of a name.
    pub fn from_name(name: &str) -> Option<Topic> {
        Topic::ALL.into_iter().find(|topic| topic.name() == name)
    }

    /// The built-in schema that reads its records.
    pub fn schema(self) -> &'static str {
        match self {
            Topic::UserInteractions => "user_interaction",
            Topic::SystemEvents => "system_event",
            Topic::ProviderRequests => "provider_request",
            Topic::ProviderFeedback => "provider_feedback",
            Topic::BackendHealth => "backend_health",
            Topic::AgentMetrics => "agent_metric",
            Topic::NodeMetrics => "node_metric",
            Topic::SignalBlocks => "signal_block",
            Topic::Traces => "trace_span",
            Topic::TestRuns => "test_run",
        }
    }

    /// Its share of all events, in percent. The ten add up to 100.
    pub fn percent(self) -> u64 {
        match self {
            Topic::ProviderRequests => 32,
            Topic::UserInteractions => 24,
            Topic::Traces => 18,
            Topic::ProviderFeedback | Topic::AgentMetrics => 6,
            Topic::SignalBlocks => 5,
            Topic::BackendHealth => 4,
            Topic::TestRuns => 3,
            Topic::NodeMetrics | Topic::SystemEvents => 1,
        }
    }

    /// Its number of partitions, unless the configuration says otherwise.
    pub fn partitions(self) -> i32 {
        match self {
            Topic::ProviderRequests | Topic::UserInteractions => 8,
            Topic::Traces => 6,
            _ => 4,
        }
    }

    /// The field that holds its event time.
    pub fn time_field(self) -> &'static str {
        match self {
            Topic::ProviderRequests => "started_at",
            Topic::Traces => "start",
            _ => "timestamp",
        }
    }

    /// A field that its schema requires, besides the event time.
    pub(crate) fn id_field(self) -> &'static str {
        match self {
            Topic::UserInteractions => "user_id",
            Topic::SystemEvents => "event_type",
            Topic::ProviderRequests | Topic::ProviderFeedback => "request_id",
            Topic::BackendHealth => "backend_id",
            Topic::AgentMetrics => "agent_id",
            Topic::NodeMetrics => "node",
            Topic::SignalBlocks => "stream_id",
            Topic::Traces => "trace_id",
            Topic::TestRuns => "test_id",
        }
    }

    /// Whether people cause its events, so that they come and go with the hour.
    pub(crate) fn diurnal(self) -> bool {
        matches!(
            self,
            Topic::UserInteractions
                | Topic::ProviderRequests
                | Topic::ProviderFeedback
                | Topic::Traces
                | Topic::TestRuns
        )
    }
}

impl std::fmt::Display for Topic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
