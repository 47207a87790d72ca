//! `thalweg generate`: realistic telemetry, into archives or Kafka.

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget};
use thalweg_telemetry::{Incident, IncidentKind, KafkaOutput, Planted, TelemetryConfig, Topic, Volume};

use super::{table, terminal};
use crate::evaluate::known::{self, KnownIncident};

/// Generate the telemetry of an AI platform: the same events for the same options, on every machine.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  thalweg generate --to archives                                two million events of an hour, as recorded topics
  thalweg generate --to archives --events 100000 --seed 7 --topics provider-requests,user-interactions
  thalweg generate --kafka localhost:9092 --create-topics --rate 5000   into Kafka, 5,000 events a second")]
pub(super) struct GenerateArgs {
    /// Write archives: a folder a topic.
    #[arg(long, value_name = "DIR", required_unless_present = "kafka", conflicts_with = "kafka")]
    to: Option<PathBuf>,
    /// Write to Kafka.
    #[arg(long, value_name = "BROKERS")]
    kafka: Option<String>,
    /// Create the topics first; fails where one exists.
    #[arg(long, requires = "kafka")]
    create_topics: bool,
    /// A property of librdkafka, such as security.protocol=ssl; may be given several times.
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = property, requires = "kafka")]
    properties: Vec<(String, String)>,
    /// Events in all.
    #[arg(long, default_value_t = 2_000_000, value_name = "N")]
    events: u64,
    /// Events a second of event time instead; into Kafka, at that pace.
    #[arg(long, value_name = "N", conflicts_with = "events")]
    rate: Option<u64>,
    /// Minutes of event time.
    #[arg(long, default_value_t = 60, value_name = "N")]
    minutes: u64,
    /// Everything follows from it.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// The topics, with commas between; by default all.
    #[arg(long, value_delimiter = ',', value_parser = topic)]
    topics: Vec<Topic>,
    /// Partitions of every topic; by default 4 to 8.
    #[arg(long, value_name = "N")]
    partitions: Option<i32>,
    /// The share of events that are spoilt: broken JSON, wrong types, missing fields, absurd times.
    #[arg(long, default_value_t = 0.001, value_name = "SHARE")]
    dirty: f64,
    /// Plant nothing that goes wrong.
    #[arg(long)]
    calm: bool,
    /// Write what was planted, for `thalweg evaluate --incidents`.
    #[arg(long, value_name = "FILE")]
    incidents_file: Option<PathBuf>,
}

fn topic(name: &str) -> Result<Topic, String> {
    Topic::from_name(name).ok_or_else(|| {
        let names: Vec<&str> = Topic::ALL.iter().map(|topic| topic.name()).collect();
        format!("choose from {}", names.join(", "))
    })
}

pub(super) fn property(text: &str) -> Result<(String, String), String> {
    let split = text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    split.ok_or_else(|| "write name=value".to_owned())
}

impl GenerateArgs {
    fn config(&self) -> TelemetryConfig {
        let duration_s = self.minutes.saturating_mul(60);
        TelemetryConfig {
            seed: self.seed,
            duration_s,
            volume: self.rate.map_or(Volume::Events(self.events), Volume::PerSecond),
            topics: if self.topics.is_empty() { Topic::ALL.to_vec() } else { self.topics.clone() },
            partitions: self.partitions,
            dirty: self.dirty,
            incidents: if self.calm { Vec::new() } else { Incident::defaults(duration_s) },
            ..TelemetryConfig::default()
        }
    }
}

pub(super) fn generate(args: &GenerateArgs) -> Result<ExitCode> {
    let config = args.config();
    let mut out = std::io::stdout().lock();
    if let Some(folder) = &args.to {
        let summary = with_bar("writing archives", config.events_total(), |advance| {
            thalweg_telemetry::write_archives(&config, folder, advance)
        })?;
        let note = if summary.reused { "were there already" } else { "written" };
        writeln!(
            out,
            "{} events {note} in {} ({})",
            table::count(summary.events()),
            folder.display(),
            table::bytes(summary.file_bytes())
        )?;
    }
    if let Some(brokers) = &args.kafka {
        let written = with_bar("writing to Kafka", config.events_total(), |advance| {
            let properties = args.properties.iter().cloned().collect();
            let output =
                KafkaOutput { brokers: brokers.clone(), properties, create_topics: args.create_topics };
            thalweg_telemetry::write_kafka(&config, &output, &mut |events| advance(events))
        })?;
        writeln!(out, "{} events written to {brokers}", table::count(written))?;
    }
    let planted = config.describe();
    if let Some(path) = &args.incidents_file {
        let incidents: Vec<KnownIncident> = planted.iter().map(as_known).collect();
        let file = File::create(path).map(BufWriter::new);
        file.and_then(|file| known::write(&incidents, file))
            .with_context(|| format!("can't write {}", path.display()))?;
    }
    for planted in planted {
        writeln!(out, "planted {planted}")?;
    }
    Ok(ExitCode::SUCCESS)
}

// Where it shows: the columns of the topic's rows, and their values.
fn as_known(planted: &Planted) -> KnownIncident {
    let target = || planted.target.clone();
    let of = match planted.kind {
        IncidentKind::ProviderOutage | IncidentKind::LatencyCreep | IncidentKind::CostSpike => {
            let columns = ["provider", "model"].map(str::to_owned);
            columns.into_iter().zip(planted.target.splitn(2, '/').map(str::to_owned)).collect()
        }
        IncidentKind::StalledPopulation => vec![("population".to_owned(), target())],
        IncidentKind::GpuMemoryLeak => vec![("node".to_owned(), target())],
        IncidentKind::BounceWave => vec![("agent_type".to_owned(), target())],
    };
    KnownIncident {
        name: planted.name.clone(),
        from_us: planted.start_ms * 1000,
        to_us: planted.end_ms * 1000,
        of,
    }
}

/// A bar on a terminal, nothing elsewhere.
pub(super) fn with_bar<T>(what: &str, events: u64, work: impl FnOnce(&(dyn Fn(u64) + Sync)) -> T) -> T {
    let bar = ProgressBar::new(events);
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let template = "{prefix} [{bar:32}] {percent} % {human_pos}/{human_len} events, {per_sec}, {eta} left";
    bar.set_style(terminal::style(template));
    let bar = bar.with_prefix(what.to_owned());
    let done = work(&|events| bar.inc(events));
    bar.finish_and_clear();
    done
}
