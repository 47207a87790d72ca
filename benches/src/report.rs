//! The table, and the results as JSON.

use std::io::Write;
use std::path::PathBuf;

use serde::Serialize;

use crate::measure::{Measured, What};
use crate::micro::Part;
use crate::reference::Job;

/// Everything that a run found.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    /// UTC, to the second.
    date: String,
    events: u64,
    runs: usize,
    /// Whole jobs.
    pub figures: Vec<Figure>,
    /// Parts of jobs.
    pub parts: Vec<Part>,
}

#[derive(Debug, Clone, Serialize)]
struct Machine {
    host: String,
    cpu: String,
    cores: usize,
    memory_bytes: u64,
    kernel: String,
    /// The load of the last minute when the run began: above a few tenths, others were at work too.
    load: String,
}

/// One thing's figures: the run of median time.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    /// What ran.
    pub what: What,
    /// Its job.
    pub job: Job,
    /// From Kafka, not the archive.
    pub kafka: bool,
    /// Workers or threads.
    pub workers: usize,
    /// What it cost.
    pub measured: Measured,
    /// Its rows a second against the reference's.
    pub ratio: Option<f64>,
    /// What it is held to.
    pub marks: Vec<Mark>,
}

/// A bound, and whether it is kept.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Mark {
    unit: &'static str,
    bound: f64,
    found: f64,
    at_least: bool,
    passes: bool,
}

impl Mark {
    /// A lower bound.
    pub(crate) fn at_least(unit: &'static str, bound: f64, found: f64) -> Mark {
        Mark { unit, bound, found, at_least: true, passes: found >= bound }
    }

    /// An upper bound.
    pub(crate) fn at_most(unit: &'static str, bound: f64, found: f64) -> Mark {
        Mark { unit, bound, found, at_least: false, passes: found <= bound }
    }

    fn text(&self) -> String {
        let sign = if self.at_least { "≥" } else { "≤" };
        format!("{} {} ({sign} {} {})", verdict(self.passes), digits(self.found), self.bound, self.unit)
    }
}

fn verdict(passes: bool) -> &'static str {
    if passes { "pass" } else { "MISS" }
}

fn digits(number: f64) -> String {
    if number >= 100.0 { format!("{number:.0}") } else { format!("{number:.2}") }
}

impl Report {
    /// An empty report of this machine, now.
    pub(crate) fn new(events: u64, runs: usize) -> Report {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let value = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once(':').map_or("", |(_, value)| value).trim().to_owned()
        };
        let memory = value(&read("/proc/meminfo"), "MemTotal").trim_end_matches("kB").trim().parse::<u64>();
        let machine = Machine {
            host: read("/proc/sys/kernel/hostname").trim().to_owned(),
            cpu: value(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: memory.unwrap_or(0) * 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
        };
        let date = chrono::Utc::now().format("%Y-%m-%dT%H:%M:%SZ").to_string();
        Report { machine, date, events, runs, figures: Vec::new(), parts: Vec::new() }
    }

    /// Writes it to `bench-results/<date>-<host>.json` of the repository, and gives back the path.
    ///
    /// # Errors
    /// When it can't be written.
    pub(crate) fn save(&self) -> anyhow::Result<PathBuf> {
        let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../bench-results"));
        std::fs::create_dir_all(&folder)?;
        let day = self.date.split('T').next().unwrap_or_default();
        let path = folder.canonicalize()?.join(format!("{day}-{}.json", self.machine.host));
        std::fs::write(&path, serde_json::to_string_pretty(self)? + "\n")?;
        Ok(path)
    }
}

/// Prints the whole report.
///
/// # Errors
/// When `out` can't be written to.
pub(crate) fn print(out: &mut impl Write, report: &Report) -> std::io::Result<()> {
    let Machine { host, cpu, cores, memory_bytes, kernel, load } = &report.machine;
    writeln!(out, "{cpu}, {cores} cores, {} GB; Linux {kernel}; {host}; load {load}", memory_bytes >> 30)?;
    writeln!(out, "{}; {} events; medians of {} runs", report.date, report.events, report.runs)?;
    let mut last = None;
    for figure in &report.figures {
        let is_decoded = matches!(figure.what, What::Replay | What::Datafusion | What::Duckdb);
        let from = match (figure.kafka, is_decoded) {
            (true, _) => "Kafka",
            (false, true) => "decoded columns",
            (false, false) => "an archive",
        };
        let group = (from, (figure.what != What::Consume).then(|| figure.job.name()));
        if last.replace(group) != Some(group) {
            let title = match group.1 {
                Some(job) => format!("{job} from {from}"),
                None => "Kafka alone".to_owned(),
            };
            writeln!(
                out,
                "\n{title:32} {:>10} {:>9} {:>8} {:>8}   marks",
                "rows/s", "CPU s/M", "MB", "× ref."
            )?;
        }
        let name = match figure.what {
            What::Thalweg | What::Replay => "Thalweg",
            What::Reference => "hand-written reference",
            What::Consume => "librdkafka, nothing done",
            What::Datafusion => "DataFusion, batch SQL",
            What::Duckdb => "DuckDB, batch SQL",
        };
        let ratio = figure.ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"));
        let marks: Vec<String> = figure.marks.iter().map(Mark::text).collect();
        writeln!(
            out,
            "  {name:24} × {}   {:>10.0} {:>9.2} {:>8.0} {ratio:>8}   {}",
            figure.workers,
            figure.measured.rows_per_second(),
            figure.measured.cpu_per_million(),
            figure.measured.peak_bytes as f64 / 1e6,
            marks.join(", ")
        )?;
    }
    writeln!(out)?;
    parts(out, &report.parts)?;
    let missed = report.figures.iter().flat_map(|figure| &figure.marks).filter(|mark| !mark.passes).count()
        + report.parts.iter().filter(|part| !part.passes()).count();
    writeln!(
        out,
        "\n{}",
        if missed == 0 { "all marks reached".to_owned() } else { format!("{missed} marks missed") }
    )
}

/// Prints the parts.
///
/// # Errors
/// When `out` can't be written to.
pub(crate) fn parts(out: &mut impl Write, parts: &[Part]) -> std::io::Result<()> {
    writeln!(out, "{:36} {:>8} {:>13}   marks", "parts, one thread", "ns", "M/s and core")?;
    for part in parts {
        let mark =
            part.mark.map_or(String::new(), |mark| format!("{} (≤ {mark:.0} ns)", verdict(part.passes())));
        writeln!(
            out,
            "  {:34} {:>8.1} {:>13.2}   {mark}",
            part.name,
            part.nanoseconds,
            1e3 / part.nanoseconds
        )?;
    }
    Ok(())
}
