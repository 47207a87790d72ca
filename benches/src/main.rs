//! Benchmarks, each a claim's evidence: how fast Thalweg is, in the same run against what it is measured by.
//!
//! ```text
//!   thalweg-bench all ─▶ data (archive, topic, decoded) ─▶ a child process for each figure ─▶ median ─▶ one table, marks
//!                                                           thalweg · reference · consume · datafusion · micro
//! ```
//!
//! `cargo run --profile demo -p thalweg-benches -- all` (`make bench`) measures everything; `… -- measure thalweg j1` runs one
//! thing once, for a profiler. Figures are those of one machine: compare within a run, not between runs.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Parser, Subcommand};

mod all;
mod batch;
mod check;
mod checkpoints;
mod consume;
mod data;
mod day;
mod engine;
mod live;
mod measure;
mod micro;
mod month;
mod reference;
mod report;
#[cfg(test)]
mod tests;

use measure::MeasureArgs;

// What the thalweg binary runs with, and so its reference too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "thalweg-bench", about = "How fast Thalweg is, and against what")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure everything and print one table.
    All(all::AllArgs),
    /// Run one thing once, in this process, and print its figures as JSON.
    Measure(MeasureArgs),
    /// Measure parts of a job by themselves: decoding, windows, the exchange, exact sums, models, networks.
    Micro {
        /// Only parts whose name begins with this.
        #[arg(long, default_value = "")]
        only: String,
        /// Events of the archive that the rows are taken from.
        #[arg(long, default_value_t = data::EVENTS)]
        events: u64,
        /// Print JSON, for the process that asked.
        #[arg(long)]
        json: bool,
    },
    /// Measure what checkpoints cost, and how long a million open sessions take to come back.
    Checkpoints(checkpoints::CheckpointsArgs),
    /// A day in small: whether memory, file handles and checkpoints stay as they are from the first tenth to the last.
    Day(day::DayArgs),
    /// How long after a window's end its row is scored, live from Kafka at a steady rate.
    Live(live::LiveArgs),
    /// A month in small: a backtest of one day reads that day alone.
    Month(month::MonthArgs),
    /// Only make the archive, which everything else does by itself.
    Data {
        /// How many events.
        #[arg(long, default_value_t = data::EVENTS)]
        events: u64,
    },
    /// Start a broker, fill a topic, and keep it until this process ends.
    Broker {
        /// How many events.
        #[arg(long, default_value_t = data::EVENTS)]
        events: u64,
    },
}

/// Where archives and outputs lie: beside the build.
fn folder() -> anyhow::Result<PathBuf> {
    let target = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target"));
    std::fs::create_dir_all(&target).with_context(|| format!("can't make {}", target.display()))?;
    Ok(target.canonicalize()?.join("bench"))
}

fn main() -> anyhow::Result<()> {
    if std::env::var_os("RAYON_NUM_THREADS").is_none() {
        // SAFETY: no other thread runs yet that could read the environment. As in the thalweg binary: figures are those of one core.
        unsafe { std::env::set_var("RAYON_NUM_THREADS", "1") };
    }
    let mut out = std::io::stdout();
    match Arguments::parse().command {
        Command::All(arguments) => all::run(&arguments)?,
        Command::Measure(arguments) => {
            writeln!(out, "{}", serde_json::to_string(&measure::measure(&arguments)?)?)?
        }
        Command::Micro { only, events, json } => {
            let data = data::Data::new(&folder()?, events);
            data.make_archive()?;
            let parts = micro::all(&data, &only)?;
            if json {
                writeln!(out, "{}", serde_json::to_string(&parts)?)?;
            } else {
                report::parts(&mut out, &parts)?;
            }
        }
        Command::Checkpoints(arguments) => checkpoints::run(&arguments)?,
        Command::Day(arguments) => day::run(&arguments)?,
        Command::Live(arguments) => live::run(&arguments)?,
        Command::Month(arguments) => month::run_month(&arguments)?,
        Command::Data { events } => {
            let data = data::Data::new(&folder()?, events);
            data.make_archive()?;
            data.make_decoded()?;
        }
        Command::Broker { events } => {
            let data = data::Data::new(&folder()?, events);
            data.make_archive()?;
            let broker = thalweg_kafka::broker::Broker::start()?;
            data.make_topic(broker.brokers(), data::TOPIC)?;
            writeln!(out, "--brokers {} has the topic {}; Enter ends it", broker.brokers(), data::TOPIC)?;
            std::io::stdin().read_line(&mut String::new())?;
        }
    }
    Ok(())
}
