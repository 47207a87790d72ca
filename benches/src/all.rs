//! Everything in one run: the jobs from archive and Kafka, each beside its reference, then the parts.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::Context;
use thalweg_kafka::broker::Broker;

use crate::check::{self, Outcome};
use crate::data::{Data, EVENTS, TOPIC};
use crate::folder;
use crate::measure::{MeasureArgs, Measured, What};
use crate::micro::Part;
use crate::reference::Job;
use crate::report::{self, Figure, Mark, Report};

/// Kafka, two workers: rows a second against the reference's, and CPU seconds for a million rows.
const KAFKA_RATIO_MIN: f64 = 0.45;
const KAFKA_CPU_MAX: f64 = 1.4;
/// Archive: rows a second and core, which is to say for a second of CPU time.
const ARCHIVE_ROWS_MIN: f64 = 0.8e6;
/// Decoded columns, two workers: rows a second against DataFusion's (J1) and DuckDB's (J2).
const DECODED_RATIO_MIN: [f64; 2] = [0.5, 1.0];
/// Memory of a job of sessions, bytes.
const SESSIONS_BYTES_MAX: f64 = 700e6;

/// What to measure, and how often.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct AllArgs {
    /// How many events.
    #[arg(long, default_value_t = EVENTS)]
    events: u64,
    /// How often each figure is measured; the median counts.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Leave Kafka out: no broker is started.
    #[arg(long)]
    no_kafka: bool,
    /// Keep the results as bench-results/<date>-<host>.json.
    #[arg(long)]
    save: bool,
}

/// Measures everything and prints it.
///
/// # Errors
/// When something can't be run, or a job's result is wrong.
pub(crate) fn run(arguments: &AllArgs) -> anyhow::Result<()> {
    let data = Data::new(&folder()?, arguments.events);
    let mut bench =
        Bench { data, runs: arguments.runs.max(1), report: Report::new(arguments.events, arguments.runs) };
    bench.say("the archive, and its events decoded")?;
    bench.data.make_archive()?;
    bench.data.make_decoded()?;
    for job in [Job::J1, Job::J2] {
        for workers in [1, 2] {
            bench.decoded(job, workers)?;
        }
    }
    for job in [Job::J1, Job::J2] {
        for workers in [1, 2] {
            bench.pair(job, workers, None)?;
        }
    }
    if !arguments.no_kafka {
        bench.say("a broker, and the topic")?;
        let broker = Broker::start()?;
        bench.data.make_topic(broker.brokers(), TOPIC)?;
        for workers in [1, 2] {
            bench.figure(What::Consume, Job::J1, workers, Some(broker.brokers()), None)?;
        }
        for job in [Job::J1, Job::J2] {
            for workers in [1, 2] {
                bench.pair(job, workers, Some(broker.brokers()))?;
            }
        }
    }
    bench.say("parts")?;
    bench.report.parts = parts(arguments.events)?;
    let mut out = std::io::stdout();
    report::print(&mut out, &bench.report)?;
    if arguments.save {
        writeln!(out, "\nkept as {}", bench.report.save()?.display())?;
    }
    Ok(())
}

struct Bench {
    data: Data,
    runs: usize,
    report: Report,
}

impl Bench {
    fn say(&self, what: &str) -> anyhow::Result<()> {
        Ok(writeln!(std::io::stderr(), "… {what}")?)
    }

    /// The reference, and Thalweg against it.
    fn pair(&mut self, job: Job, workers: usize, brokers: Option<&str>) -> anyhow::Result<()> {
        let (reference, expected) = self.figure(What::Reference, job, workers, brokers, None)?;
        let (_, found) = self.figure(What::Thalweg, job, workers, brokers, Some(reference))?;
        let off = expected.zip(found).is_none_or(|(expected, found)| {
            expected.windows != found.windows
                || expected.requests != found.requests
                || (expected.cents - found.cents).abs() > 1
        });
        anyhow::ensure!(!off, "{}: the reference found {expected:?}, Thalweg {found:?}", job.name());
        Ok(())
    }

    /// Batch SQL over decoded columns, and Thalweg against it.
    fn decoded(&mut self, job: Job, workers: usize) -> anyhow::Result<()> {
        let (of_datafusion, expected) = self.figure(What::Datafusion, job, workers, None, None)?;
        let reference = match job {
            Job::J1 => of_datafusion,
            Job::J2 => self.figure(What::Duckdb, job, workers, None, None)?.0,
        };
        let (_, found) = self.figure(What::Replay, job, workers, None, Some(reference))?;
        anyhow::ensure!(expected == found, "{}: SQL found {expected:?}, Thalweg {found:?}", job.name());
        Ok(())
    }

    fn figure(
        &mut self,
        what: What,
        job: Job,
        workers: usize,
        brokers: Option<&str>,
        reference: Option<Measured>,
    ) -> anyhow::Result<(Measured, Option<Outcome>)> {
        let arguments = MeasureArgs {
            what,
            job,
            workers,
            brokers: brokers.map(str::to_owned),
            events: self.data.events(),
        };
        let from = if brokers.is_some() { "Kafka" } else { "archive" };
        self.say(&format!("{} {} from {from}, {workers} workers", what.name(), job.name()))?;
        let mut measured =
            (0..self.runs).map(|_| arguments.in_child()).collect::<anyhow::Result<Vec<_>>>()?;
        measured.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        let median = measured[measured.len() / 2];
        let outcome = match what {
            What::Consume => None,
            What::Thalweg | What::Replay => Some(check::read(&arguments.output()?.join("result"))?),
            What::Reference | What::Datafusion | What::Duckdb => Some(check::read(&arguments.output()?)?),
        };
        if let Some(outcome) = outcome {
            let all = u64::try_from(outcome.requests) == Ok(self.data.events());
            anyhow::ensure!(
                all,
                "{} {}: {outcome:?} of {} events",
                what.name(),
                job.name(),
                self.data.events()
            );
        }
        let ratio = reference.map(|reference| median.rows_per_second() / reference.rows_per_second());
        let marks = match what {
            What::Thalweg => marks(job, workers, brokers.is_some(), &median, ratio),
            What::Replay if workers == 2 => decoded_marks(job, ratio),
            _ => Vec::new(),
        };
        self.report.figures.push(Figure {
            what,
            job,
            kafka: brokers.is_some(),
            workers,
            measured: median,
            ratio,
            marks,
        });
        Ok((median, outcome))
    }
}

fn marks(job: Job, workers: usize, kafka: bool, measured: &Measured, ratio: Option<f64>) -> Vec<Mark> {
    let mut marks = Vec::new();
    if kafka && workers == 2 {
        marks.extend(ratio.map(|ratio| Mark::at_least("× reference", KAFKA_RATIO_MIN, ratio)));
        marks.push(Mark::at_most("CPU s/M", KAFKA_CPU_MAX, measured.cpu_per_million()));
    }
    if !kafka {
        let per_core = measured.rows as f64 / measured.cpu_seconds;
        marks.push(Mark::at_least("M rows/s and core", ARCHIVE_ROWS_MIN / 1e6, per_core / 1e6));
    }
    if job == Job::J2 {
        marks.push(Mark::at_most("MB", SESSIONS_BYTES_MAX / 1e6, measured.peak_bytes as f64 / 1e6));
    }
    marks
}

fn decoded_marks(job: Job, ratio: Option<f64>) -> Vec<Mark> {
    let (unit, bound) = match job {
        Job::J1 => ("× DataFusion", DECODED_RATIO_MIN[0]),
        Job::J2 => ("× DuckDB", DECODED_RATIO_MIN[1]),
    };
    ratio.map(|ratio| Mark::at_least(unit, bound, ratio)).into_iter().collect()
}

fn parts(events: u64) -> anyhow::Result<Vec<Part>> {
    let mut command = Command::new(std::env::current_exe()?);
    let output = command
        .args(["micro", "--json", "--events", &events.to_string()])
        .stderr(Stdio::inherit())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().filter(|_| output.status.success()).context("the parts failed")?;
    Ok(serde_json::from_str(last)?)
}
