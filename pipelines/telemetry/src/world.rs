//! The platform behind the events: its models and what they cost, its users and their sessions, its day, and the calls to
//! models, which several topics speak of.

use std::sync::Arc;

use crate::config::TelemetryConfig;
use crate::incident::{IncidentKind, Planted};
use crate::random::{Draw, For, mix};
use crate::topic::Topic;

/// A model that can be called.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) provider: &'static str,
    pub(crate) name: &'static str,
    /// Its share of the platform's calls, in percent; 0: only the benchmark calls it.
    pub(crate) share: u64,
    latency_ms_median: f64,
    latency_sigma: f64,
    /// Time to the first token, as a share of the latency.
    ttft_share: f64,
    failure_rate: f64,
    /// Hundredths of a millionth of a dollar a token; of the prompt, of the completion.
    prices: (u64, u64),
    completion_tokens_median: f64,
    /// How good its answers are, 0 to 1.
    pub(crate) quality: f64,
}

#[rustfmt::skip]
#[allow(clippy::too_many_arguments, reason = "a row of the table below")]
const fn model(
    provider: &'static str, name: &'static str, share: u64, latency_ms_median: f64, latency_sigma: f64, ttft_share: f64,
    failure_rate: f64, prices: (u64, u64), completion_tokens_median: f64, quality: f64,
) -> Model {
    Model { provider, name, share, latency_ms_median, latency_sigma, ttft_share, failure_rate, prices, completion_tokens_median, quality }
}

/// Four of each provider, of which the platform calls three. Prices as published for models of their class.
#[rustfmt::skip]
pub(crate) const MODELS: [Model; 20] = [
    model("openai",    "gpt-5",              9, 2600.0, 0.55, 0.22, 0.008, (125, 1000), 420.0, 0.90),
    model("openai",    "gpt-5-mini",        14, 1100.0, 0.45, 0.25, 0.006, (25, 200),   310.0, 0.80),
    model("openai",    "gpt-4.1",            5, 1700.0, 0.50, 0.24, 0.009, (200, 800),  360.0, 0.82),
    model("openai",    "gpt-5-nano",         0,  600.0, 0.40, 0.30, 0.005, (5, 40),     240.0, 0.68),
    model("anthropic", "claude-opus-4",      5, 3400.0, 0.55, 0.20, 0.007, (1500, 7500), 520.0, 0.93),
    model("anthropic", "claude-sonnet-4",   13, 1900.0, 0.50, 0.22, 0.006, (300, 1500), 430.0, 0.89),
    model("anthropic", "claude-haiku-4",     8,  800.0, 0.40, 0.28, 0.005, (80, 400),   300.0, 0.78),
    model("anthropic", "claude-instant",     0,  500.0, 0.40, 0.30, 0.006, (25, 125),   250.0, 0.66),
    model("google",    "gemini-2.5-pro",     6, 2300.0, 0.55, 0.24, 0.009, (125, 1000), 450.0, 0.88),
    model("google",    "gemini-2.5-flash",  12,  700.0, 0.45, 0.30, 0.007, (30, 250),   320.0, 0.79),
    model("google",    "gemini-flash-lite",  4,  450.0, 0.40, 0.32, 0.006, (10, 40),    220.0, 0.68),
    model("google",    "gemma-3-27b",        0,  900.0, 0.45, 0.28, 0.010, (10, 20),    260.0, 0.70),
    model("mistral",   "mistral-large",      4, 1800.0, 0.50, 0.23, 0.010, (200, 600),  380.0, 0.81),
    model("mistral",   "mistral-medium",     4, 1200.0, 0.45, 0.25, 0.009, (40, 200),   330.0, 0.76),
    model("mistral",   "codestral",          4,  900.0, 0.45, 0.26, 0.008, (30, 90),    350.0, 0.77),
    model("mistral",   "ministral-8b",       0,  400.0, 0.40, 0.30, 0.008, (10, 10),    220.0, 0.62),
    model("local",     "llama-4-70b",        5, 2900.0, 0.65, 0.18, 0.015, (8, 8),      340.0, 0.74),
    model("local",     "qwen-3-32b",         4, 1600.0, 0.60, 0.20, 0.013, (5, 5),      330.0, 0.73),
    model("local",     "phi-5",              3,  600.0, 0.50, 0.25, 0.012, (2, 2),      210.0, 0.64),
    model("local",     "mixtral-8x7b",       0, 1300.0, 0.55, 0.22, 0.014, (4, 4),      300.0, 0.69),
];

/// Backends of each provider.
pub(crate) const BACKENDS: u64 = 4;
pub(crate) const AGENT_TYPES: [&str; 4] = ["research", "code", "data", "content"];
pub(crate) const POPULATIONS: [&str; 8] =
    ["atlas", "boreal", "cirrus", "delta", "ember", "fjord", "gale", "helix"];
const ALGORITHMS: [&str; 5] = ["round_robin", "least_latency", "cost_aware", "weighted", "sticky"];

/// What weighs an hour of the day, UTC: people sleep.
const HOURS: [u64; 24] =
    [30, 22, 18, 15, 15, 20, 35, 60, 85, 100, 105, 102, 95, 98, 102, 100, 95, 88, 75, 62, 55, 50, 45, 38];

/// Events of a session, on average over the topics that speak of sessions.
const SESSION_EVENTS: u64 = 18;
/// A user comes back after 35 to 75 minutes, and stays for 4 to 20.
const RETURN_MS: (u64, u64) = (35 * 60_000, 40 * 60_000);
const STAY_MS: (u64, u64) = (4 * 60_000, 16 * 60_000);

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Success,
    Error,
    Timeout,
    Cancelled,
}

impl Status {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Status::Success => "success",
            Status::Error => "error",
            Status::Timeout => "timeout",
            Status::Cancelled => "cancelled",
        }
    }
}

/// A user's visit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Session {
    pub(crate) id: u64,
    pub(crate) user: u64,
}

impl Session {
    /// The kind of agent that the visit is about.
    pub(crate) fn agent_type(self) -> &'static str {
        const BY_SHARE: [usize; 10] = [0, 0, 0, 1, 1, 1, 1, 2, 2, 3];
        AGENT_TYPES[BY_SHARE[(self.id >> 8) as usize % BY_SHARE.len()]]
    }
}

/// One call to a model.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) id: u64,
    pub(crate) at_ms: i64,
    pub(crate) model: &'static Model,
    pub(crate) backend: u64,
    pub(crate) algorithm: &'static str,
    pub(crate) session: Session,
    pub(crate) status: Status,
    pub(crate) retries: i64,
    pub(crate) latency_ms: i64,
    /// None without an answer.
    pub(crate) ttft_ms: Option<i64>,
    pub(crate) prompt_tokens: i64,
    pub(crate) completion_tokens: i64,
    /// Millionths of a dollar.
    pub(crate) cost_micro_usd: i64,
    pub(crate) cache_hit: bool,
}

/// Everything that the topics share.
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    users: u64,
    pub(crate) planted: Vec<Planted>,
}

impl World {
    pub(crate) fn new(config: &TelemetryConfig) -> World {
        let of_sessions =
            config.events_of(Topic::UserInteractions) + config.events_of(Topic::ProviderRequests);
        let visits = config.duration_s * 1000 / (RETURN_MS.0 + RETURN_MS.1 / 2);
        World {
            seed: config.seed,
            start_ms: config.start_ms,
            end_ms: config.start_ms + config.duration_s as i64 * 1000,
            users: (of_sessions / SESSION_EVENTS / visits.max(1)).clamp(50, 10_000_000),
            planted: config.describe(),
        }
    }

    /// The incidents of a kind that befall a target at a time.
    pub(crate) fn befalls<'a>(
        &'a self,
        kind: IncidentKind,
        at_ms: i64,
        target: impl Fn(&str) -> bool + 'a,
    ) -> Option<f64> {
        let of_kind = self.planted.iter().filter(move |planted| planted.kind == kind);
        of_kind.filter_map(|planted| planted.progress(at_ms).filter(|_| target(&planted.target))).next()
    }

    /// A visit that is going on at a time. Half of all events are of users by a power law (the first of sixty thousand
    /// makes one event in five hundred), half of any.
    pub(crate) fn session(&self, at_ms: i64, draw: &mut Draw) -> Session {
        let mut tries = 0;
        loop {
            let x = draw.unit();
            let user = (self.users as f64 * if draw.bits() & 1 == 0 { x } else { x * x }) as u64;
            let habit = Draw::new(self.seed, For::User, user).bits();
            let comes_back = RETURN_MS.0 + (habit & 0xffff) * RETURN_MS.1 / 0xffff;
            let since = (at_ms - self.start_ms) as u64 + (((habit >> 16 & 0xffff) * comes_back) >> 16);
            let (visits, into) = (since / comes_back, since % comes_back);
            let visit = mix(habit ^ visits);
            let stays = STAY_MS.0 + (visit & 0xffff) * STAY_MS.1 / 0xffff;
            tries += 1;
            if into < stays || tries == 64 {
                return Session { id: mix(visit), user };
            }
        }
    }

    /// A visit of one event, of somebody who is seen once.
    pub(crate) fn passer_by(&self, draw: &mut Draw) -> Session {
        Session { id: draw.bits(), user: self.users + draw.below(1_000_000) }
    }

    /// The call of an index, which started at `at_ms`.
    pub(crate) fn request(&self, index: u64, at_ms: i64) -> Request {
        let mut draw = Draw::new(self.seed, For::Request, index);
        let id = draw.bits();
        let model = &MODELS[draw.weighted(&MODELS, |model| model.share, 100)];
        let session = self.session(at_ms, &mut draw);
        let mut failure_rate = model.failure_rate;
        let mut slower = 1.0;
        let mut prompt_factor = 1.0;
        for planted in self.planted.iter().filter(|planted| planted.kind.topic() == Topic::ProviderRequests) {
            let Some(progress) = planted.progress(at_ms).filter(|_| model.is(&planted.target)) else {
                continue;
            };
            match planted.kind {
                IncidentKind::ProviderOutage => {
                    failure_rate = 0.35;
                    slower *= 4.0;
                }
                IncidentKind::LatencyCreep => slower *= 1.0 + 1.5 * progress,
                _ => prompt_factor *= 8.0,
            }
        }
        model.call(id, at_ms, session, failure_rate, slower, prompt_factor, &mut draw)
    }
}

impl Model {
    /// Whether a target of the form `provider` or `provider/model` means it.
    pub(crate) fn is(&self, target: &str) -> bool {
        match target.split_once('/') {
            Some((provider, name)) => provider == self.provider && name == self.name,
            None => target == self.provider,
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the circumstances of one call, all of them numbers")]
    fn call(
        &'static self,
        id: u64,
        at_ms: i64,
        session: Session,
        failure_rate: f64,
        slower: f64,
        prompt_factor: f64,
        draw: &mut Draw,
    ) -> Request {
        let fate = draw.unit();
        let status = match fate {
            _ if fate < failure_rate * 0.7 => Status::Error,
            _ if fate < failure_rate => Status::Timeout,
            _ if fate > 0.985 => Status::Cancelled,
            _ => Status::Success,
        };
        let answered = status == Status::Success;
        let cache_hit = answered && draw.chance(0.12);
        let prompt_tokens = (draw.log_normal(600.0 * prompt_factor, 0.8) as i64).clamp(8, 400_000);
        let wordy = draw.log_normal(1.0, 0.6);
        let completion_tokens = if answered { (self.completion_tokens_median * wordy) as i64 + 1 } else { 0 };
        let mut latency =
            draw.log_normal(self.latency_ms_median * (0.6 + 0.4 * wordy) * slower, self.latency_sigma);
        match status {
            Status::Timeout => latency = 30_000.0,
            Status::Error => latency *= 0.4,
            _ if cache_hit => latency = 15.0 + latency * 0.01,
            _ => {}
        }
        let latency_ms = (latency as i64).clamp(3, 120_000);
        let retries = match status {
            Status::Success => i64::from(draw.chance(0.02)),
            Status::Cancelled => 0,
            Status::Error | Status::Timeout => draw.between(0, 4),
        };
        let (prompt, completion) = self.prices;
        let cost = prompt_tokens as u64 * prompt + completion_tokens as u64 * completion;
        Request {
            id,
            at_ms,
            model: self,
            backend: draw.below(BACKENDS),
            algorithm: ALGORITHMS[draw.below(5) as usize],
            session,
            status,
            retries,
            latency_ms,
            ttft_ms: answered.then(|| (latency_ms as f64 * self.ttft_share) as i64 + 1),
            prompt_tokens,
            completion_tokens,
            cost_micro_usd: if cache_hit || !answered { 0 } else { (cost as i64 + 50) / 100 },
            cache_hit,
        }
    }

    /// A call of the benchmark, in an uneventful world.
    pub(crate) fn plain_call(
        &'static self,
        id: u64,
        at_ms: i64,
        session: Session,
        draw: &mut Draw,
    ) -> Request {
        self.call(id, at_ms, session, self.failure_rate, 1.0, 1.0, draw)
    }
}

/// When a topic's events happen: event i of n at a time that ascends with i, more of them in busy hours.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    start_ms: i64,
    count: u64,
    segment_ms: u64,
    /// Running sum of the segments' weights, from 0.
    sums: Arc<[u64]>,
    segment: usize,
}

impl Schedule {
    pub(crate) fn new(seed: u64, topic: Topic, start_ms: i64, duration_s: u64, count: u64) -> Schedule {
        let segment_s = (duration_s / 1_000_000).max(1);
        let mut draw = Draw::new(seed, For::Rate, topic as u64);
        let mut sums = vec![0];
        let mut sum = 0;
        for segment in 0..duration_s.div_ceil(segment_s) {
            let weight = if topic.diurnal() {
                let second = (start_ms / 1000) as u64 + segment * segment_s;
                let (hour, into) = (second / 3600 % 24, second % 3600);
                let level = HOURS[hour as usize] * (3600 - into) + HOURS[(hour as usize + 1) % 24] * into;
                level / 36 * (85 + draw.below(31)) / 100
            } else {
                100
            };
            sum += weight.max(1);
            sums.push(sum);
        }
        Schedule { start_ms, count, segment_ms: segment_s * 1000, sums: sums.into(), segment: 0 }
    }

    pub(crate) fn of(config: &TelemetryConfig, topic: Topic) -> Schedule {
        Schedule::new(config.seed, topic, config.start_ms, config.duration_s, config.events_of(topic))
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// When event `index` happens. Indexes must not descend from call to call.
    pub(crate) fn at(&mut self, index: u64) -> i64 {
        let total = self.sums[self.sums.len() - 1];
        let target = match index.checked_mul(total) {
            Some(product) => product / self.count.max(1),
            None => (u128::from(index) * u128::from(total) / u128::from(self.count.max(1))) as u64,
        };
        while self.sums[self.segment + 1] <= target {
            self.segment += 1;
        }
        let (low, high) = (self.sums[self.segment], self.sums[self.segment + 1]);
        let into = (target - low) * self.segment_ms / (high - low);
        self.start_ms + (self.segment as u64 * self.segment_ms + into) as i64
    }
}
