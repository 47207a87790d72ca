//! One thing, run once in a process of its own, and what it cost.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::data::{Data, EVENTS, TOPIC};
use crate::engine::From;
use crate::reference::{Input, Job};
use crate::{batch, consume, engine, folder, reference};

/// What runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum What {
    /// A pipeline, as `thalweg run` runs it.
    Thalweg,
    /// The hand-written program.
    Reference,
    /// librdkafka alone: messages taken and let go of.
    Consume,
    /// A pipeline, as `thalweg run` runs it, over an archive that was decoded beforehand.
    Replay,
    /// DataFusion's SQL over the same decoded columns.
    Datafusion,
    /// DuckDB's.
    Duckdb,
}

impl What {
    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            What::Thalweg => "thalweg",
            What::Reference => "reference",
            What::Consume => "consume",
            What::Replay => "replay",
            What::Datafusion => "datafusion",
            What::Duckdb => "duckdb",
        }
    }
}

/// What to measure.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct MeasureArgs {
    /// What runs.
    pub what: What,
    /// Which job.
    pub job: Job,
    /// Workers, or threads.
    #[arg(long, default_value_t = 1)]
    pub workers: usize,
    /// Read from the topic of these brokers; without, from the archive.
    #[arg(long)]
    pub brokers: Option<String>,
    /// How many events there are.
    #[arg(long, default_value_t = EVENTS)]
    pub events: u64,
}

/// What it cost.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Events read.
    pub rows: u64,
    /// Seconds from the first to the end of the last output file; start of the process and topic resolution left out.
    pub seconds: f64,
    /// CPU seconds of the whole process, user and system, all threads.
    pub cpu_seconds: f64,
    /// The most memory that the process held, bytes.
    pub peak_bytes: u64,
}

impl Measured {
    /// Events a second.
    pub(crate) fn rows_per_second(&self) -> f64 {
        self.rows as f64 / self.seconds
    }

    /// CPU seconds for a million events.
    pub(crate) fn cpu_per_million(&self) -> f64 {
        self.cpu_seconds * 1e6 / self.rows as f64
    }
}

impl MeasureArgs {
    /// The folder that the result is written to.
    pub(crate) fn output(&self) -> anyhow::Result<PathBuf> {
        Ok(folder()?.join("output").join(self.what.name()))
    }

    /// Runs it in a child process.
    ///
    /// # Errors
    /// When the child fails.
    pub(crate) fn in_child(&self) -> anyhow::Result<Measured> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["measure", self.what.name(), &self.job.name().to_lowercase()]);
        command.args(["--workers", &self.workers.to_string(), "--events", &self.events.to_string()]);
        if let Some(brokers) = &self.brokers {
            command.args(["--brokers", brokers]);
        }
        let output = command.stderr(Stdio::inherit()).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let last = text.lines().last().filter(|_| output.status.success());
        let last = last.with_context(|| format!("{command:?} failed"))?;
        Ok(serde_json::from_str(last)?)
    }
}

/// Runs it here.
///
/// # Errors
/// When its input can't be read or its output not be written.
pub(crate) fn measure(arguments: &MeasureArgs) -> anyhow::Result<Measured> {
    let MeasureArgs { what, job, workers, .. } = *arguments;
    let data = Data::new(&folder()?, arguments.events);
    let output = arguments.output()?;
    if output.exists() {
        std::fs::remove_dir_all(&output)?;
    }
    let input = match &arguments.brokers {
        Some(brokers) => Input::Kafka { brokers: brokers.clone(), topic: TOPIC.to_owned() },
        None => Input::Archive(data.archive()),
    };
    let (rows, seconds) = match what {
        What::Thalweg => {
            let from = arguments.brokers.as_deref().map_or(From::Archive, From::Kafka);
            engine::run_job(job, &data, from, workers, &output)?
        }
        What::Replay => engine::run_job(job, &data, From::Decoded, workers, &output)?,
        What::Reference => reference::run(job, &input, workers, &output)?,
        What::Consume => consume::run(&input, workers)?,
        What::Datafusion => batch::datafusion(job, &data, workers, &output)?,
        What::Duckdb => return batch::duckdb(job, &data, workers, &output),
    };
    Ok(Measured { rows, seconds, cpu_seconds: cpu_seconds()?, peak_bytes: peak_bytes()? })
}

/// CPU time of this process so far, of all its threads.
fn cpu_seconds() -> anyhow::Result<f64> {
    // proc(5): utime and stime are the 12th and 13th field after the command's parenthesis, in ticks of 1/100 s.
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| -> anyhow::Result<u64> { Ok(fields.get(at).context("too few fields")?.parse()?) };
    Ok((ticks(11)? + ticks(12)?) as f64 / 100.0)
}

fn peak_bytes() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("the system doesn't say")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024)
}
