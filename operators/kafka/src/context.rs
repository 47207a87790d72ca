//! What a client says on the side: its log, its errors, its statistics.
//!
//! librdkafka retries nearly everything by itself and reports each attempt that failed. So an error here is a warning,
//! except where trying again can't help: a refused login, a client that has given up. How long the trouble has lasted
//! is kept, so that the reader can tell a broker's restart from a broker that is gone.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};

/// A warning that is repeated sooner than this is one.
const WARNED_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// Keeps the errors of one source's client.
pub(crate) struct SourceContext {
    source_name: String,
    trouble: Mutex<Trouble>,
}

#[derive(Default)]
struct Trouble {
    /// The first error since things last went well.
    since: Option<Instant>,
    /// What was said last about the reason.
    reason: Option<String>,
    /// An error that no further attempt mends.
    lasting: Option<Lasting>,
    warned: Warned,
}

/// What a client was warned of lately, and when: librdkafka tells of each of its attempts, several times a second.
#[derive(Default)]
pub(crate) struct Warned(Vec<(String, Instant)>);

impl Warned {
    /// Logs why something is tried again; as a warning unless there was the same one just now.
    pub(crate) fn warn(&mut self, who: &str, reason: &str) {
        let what = reason.split(" (after ").next().unwrap_or(reason);
        self.0.retain(|(_, at)| at.elapsed() < WARNED_AGAIN_AFTER);
        if self.0.iter().any(|(warned, _)| warned == what) {
            tracing::debug!(target: "librdkafka", "{who}: {reason}; trying again");
        } else {
            tracing::warn!(target: "librdkafka", "{who}: {reason}; trying again");
            self.0.push((what.to_owned(), Instant::now()));
        }
    }
}

/// An error after which a client can't go on.
#[derive(Clone)]
pub(crate) struct Lasting {
    pub(crate) detail: String,
    pub(crate) hint: &'static str,
}

impl SourceContext {
    pub(crate) fn new(source_name: &str) -> SourceContext {
        SourceContext { source_name: source_name.to_owned(), trouble: Mutex::default() }
    }

    /// The error that ended this client, if one did.
    pub(crate) fn lasting(&self) -> Option<Lasting> {
        self.lock().lasting.clone()
    }

    /// Since when the client has been reporting errors.
    pub(crate) fn trouble_since(&self) -> Option<Instant> {
        self.lock().since
    }

    /// What the client said last about its trouble.
    pub(crate) fn reason(&self) -> Option<String> {
        self.lock().reason.clone()
    }

    /// Things go well again.
    pub(crate) fn clear(&self) {
        let mut trouble = self.lock();
        trouble.since = None;
        trouble.reason = None;
    }

    fn lock(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for SourceContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        tracing::debug!(target: "librdkafka", source = self.source_name, statistics = %String::from_utf8_lossy(statistics));
    }

    fn error(&self, error: ClientError, reason: &str) {
        let code = error.rdkafka_error_code();
        let mut trouble = self.lock();
        trouble.since.get_or_insert_with(Instant::now);
        match code {
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed) => {
                trouble.lasting = Some(Lasting {
                    detail: format!("the broker refuses the login: {reason}"),
                    hint: "check sasl.username, sasl.password, sasl.mechanism and security.protocol among the properties",
                });
            }
            Some(RDKafkaErrorCode::Fatal) => {
                trouble.lasting = Some(Lasting {
                    detail: reason.to_owned(),
                    hint: "the client has given up; run the job again",
                });
            }
            _ => {
                trouble.warned.warn(&self.source_name, reason);
                // That all are down says nothing of why; the reason came before.
                if code != Some(RDKafkaErrorCode::AllBrokersDown) || trouble.reason.is_none() {
                    trouble.reason = Some(reason.to_owned());
                }
            }
        }
    }
}

impl ConsumerContext for SourceContext {}

/// Passes a line of librdkafka's log on. What it logs as "FAIL" or "ERROR" it also reports as an error.
pub(crate) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error
        | RDKafkaLogLevel::Warning
            if facility != "FAIL" && facility != "ERROR" =>
        {
            tracing::warn!(target: "librdkafka", "{facility}: {message}");
        }
        _ => tracing::debug!(target: "librdkafka", "{facility}: {message}"),
    }
}

/// Whether the client gets over this by itself: connections that broke, leaders that moved, answers that took too long.
pub(crate) fn is_transient(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::Resolve
            | Code::OperationTimedOut
            | Code::TimedOutQueue
            | Code::WaitingForCoordinator
            | Code::WaitCache
            | Code::Interrupted
            | Code::Retry
            | Code::NodeUpdate
            | Code::RequestTimedOut
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::BrokerNotAvailable
            | Code::ReplicaNotAvailable
            | Code::NetworkException
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::KafkaStorageError
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::OffsetNotAvailable
            | Code::PreferredLeaderNotAvailable
            | Code::EligibleLeadersNotAvailable
            | Code::ThrottlingQuotaExceeded
    )
}
