//! `thalweg demo`: an hour of an AI platform, the pipelines of the catalogue over it, and what they found.
//!
//! ```text
//!   generate ─▶ <folder>/archives ─▶ provider_health, user_sessions, … ─▶ <folder>/output ─▶ SQL ─▶ the story
//! ```

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use thalweg_engine::control::Control;
use thalweg_query::{Format, Session};
use thalweg_telemetry::{TelemetryConfig, Volume};

use super::{generate, progress, run as run_command, table};
use crate::run::{self, GoOn, RunOptions, Summary};
use crate::{catalogue, plan};

mod found;

/// Generate an hour of telemetry, run the pipelines of the catalogue over it, and tell what they found.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  thalweg demo\n  thalweg demo --folder /tmp/demo --events 200000")]
pub(super) struct DemoArgs {
    /// Where archives and outputs go. Archives that are there already are used again.
    #[arg(long, default_value = "demo", value_name = "DIR")]
    folder: PathBuf,
    /// Events to generate.
    #[arg(long, default_value_t = 2_000_000, value_name = "N")]
    events: u64,
    /// Worker threads; by default one a core.
    #[arg(short, long, value_name = "N")]
    workers: Option<usize>,
}

struct Chapter {
    title: &'static str,
    sql: &'static str,
}

const BAD_PROVIDER: Chapter = Chapter {
    title: "The model that went bad: minutes in which more than a fifth of its calls failed",
    sql: "\
select provider, model,
       min(window_start) as from_minute, max(window_end) as to_minute, count(*) as minutes,
       round(avg(error_rate), 3) as error_rate, round(avg(p95_ms)) as p95_ms,
       (select round(avg(usual.p95_ms)) from provider_health usual
         where usual.provider = bad.provider and usual.model = bad.model and usual.error_rate <= 0.2) as usual_p95_ms
from provider_health bad
where error_rate > 0.2 and requests >= 50
group by provider, model
order by minutes desc
limit 5",
};

const SESSIONS: Chapter = Chapter {
    title: "Sessions, by how much was done in them",
    sql: "\
select case when events = 1 then '1 event (bounced)' when events <= 5 then '2 to 5' when events <= 20 then '6 to 20'
            else 'more than 20' end as events_in_session,
       count(*) as sessions, count(distinct user_id) as users,
       round(avg(duration_s) / 60, 1) as mean_minutes, round(avg(response_mean_ms)) as response_mean_ms
from user_sessions
group by 1
order by min(events)",
};

const POPULATIONS: Chapter = Chapter {
    title: "Training populations: where each stands, and how much it has gained in its last hundred generations",
    sql: "\
select last.population, last.generation, last.agents,
       round(last.score_p50, 3) as score_p50, round(last.score_p50 - earlier.score_p50, 3) as gained,
       round(last.success_rate, 2) as success_rate, round(last.diversity_lr, 3) as diversity_lr
from population last
join (select population, max(generation) as generation from population group by population) newest
  on newest.population = last.population and newest.generation = last.generation
left join population earlier
  on earlier.population = last.population and earlier.generation = last.generation - 100
order by gained",
};

pub(super) fn demo(args: &DemoArgs) -> Result<ExitCode> {
    let mut out = std::io::stdout();
    let archives = args.folder.join("archives");
    let output = args.folder.join("output");
    let workers = args.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let config = TelemetryConfig { volume: Volume::Events(args.events), ..TelemetryConfig::default() };

    let written = generate::with_bar("generating an hour of telemetry", config.events_total(), |advance| {
        thalweg_telemetry::write_archives(&config, &archives, advance)
    })?;
    writeln!(
        out,
        "{} events of an AI platform's hour, as topic archives in {} ({}){}",
        table::count(written.events()),
        archives.display(),
        table::bytes(written.file_bytes()),
        if written.reused { ", generated before" } else { "" }
    )?;

    let control = Control::new();
    let _stopping = run_command::stop_on_signal(control.clone(), Duration::from_secs(30), true)?;
    let mut summaries = Vec::new();
    for entry in catalogue::ENTRIES {
        let options = RunOptions {
            go_on: GoOn::Fresh,
            archives: Some(archives.clone()),
            ..RunOptions::new(workers, output.join(entry.name))
        };
        let name = format!("{}.yaml", entry.name);
        let plan = plan::load(entry.text, name.as_ref(), &|name| std::env::var(name).ok())
            .map_err(|problems| {
                anyhow::anyhow!("{}", problems.first().map(ToString::to_string).unwrap_or_default())
            })
            .context("the catalogue is broken")?;
        let job = run::prepare(&plan, &options, &control)?;
        let watch = progress::Watch::start(entry.name, job.status(), true);
        let summary = job.run();
        watch.stop();
        summaries.push((entry.name, summary?));
        if control.stop_asked() {
            return Ok(ExitCode::from(130));
        }
    }
    account(&mut out, &summaries)?;

    let session = Session::open(&output)?;
    for chapter in [BAD_PROVIDER, SESSIONS, POPULATIONS] {
        heading(&mut out, chapter.title)?;
        let result = session.query(chapter.sql)?;
        thalweg_query::write(&result, Format::Table, thalweg_query::terminal_width(), &mut out)?;
    }
    heading(&mut out, "What had been planted")?;
    let planted = config.describe();
    for incident in &planted {
        writeln!(out, "  {incident}")?;
    }
    let tables: Vec<String> = session.tables()?.into_iter().map(|table| table.name).collect();
    let chapters = [
        ("And when the models found it", Some(found::incidents(&planted, &tables))),
        ("What they took for incidents, and was none", found::false_alarms(&planted, &tables)),
    ];
    for (title, sql) in chapters.into_iter().filter_map(|(title, sql)| Some((title, sql?))) {
        heading(&mut out, title)?;
        let result = session.query(&sql)?;
        if result.rows() == 0 {
            writeln!(out, "  nothing")?;
            continue;
        }
        thalweg_query::write(&result, Format::Table, thalweg_query::terminal_width(), &mut out)?;
    }
    heading(&mut out, "Ask further")?;
    let data = output.display();
    writeln!(out, "  thalweg sql --data {data}                        a prompt; \\d lists the tables")?;
    writeln!(out, "  thalweg sql --data {data} \"{BY_PROVIDER}\"")?;
    writeln!(out, "  thalweg sql --data {data} \"{REASONS}\"")?;
    writeln!(
        out,
        "(the binary is target/demo/thalweg; `thalweg catalogue provider_health` prints the first pipeline)"
    )?;
    Ok(ExitCode::SUCCESS)
}

const BY_PROVIDER: &str = "select provider, sum(requests) as requests, sum(cost_usd) as cost_usd from provider_health group by provider";
const REASONS: &str =
    "select reason, count(*) as rows from provider_health._rejected group by reason order by rows desc";

fn account(out: &mut dyn Write, summaries: &[(&str, Summary)]) -> Result<()> {
    heading(out, "What was read: every row is accepted, late or rejected")?;
    let sources: Vec<_> = summaries.iter().flat_map(|(_, summary)| summary.sources.clone()).collect();
    writeln!(out, "{}", table::sources(&sources))?;
    heading(out, "What was written")?;
    let sinks: Vec<_> = summaries
        .iter()
        .flat_map(|(pipeline, summary)| summary.sinks.iter().map(move |sink| (pipeline, sink)))
        .filter(|(_, sink)| sink.rows > 0)
        .map(|(pipeline, sink)| {
            let mut sink = sink.clone();
            if sink.name.starts_with('_') {
                sink.name = format!("{pipeline}.{}", sink.name);
            }
            sink
        })
        .collect();
    writeln!(out, "{}", table::sinks(&sinks))?;
    let (rows, seconds) = summaries.iter().fold((0, 0.0), |(rows, seconds), (_, summary)| {
        (rows + summary.sources.iter().map(|source| source.read).sum::<u64>(), seconds + summary.seconds)
    });
    writeln!(
        out,
        "{} rows in {seconds:.1} s: {} rows/s with {} workers",
        table::count(rows),
        table::count((rows as f64 / seconds) as u64),
        summaries.first().map_or(0, |(_, summary)| summary.workers)
    )?;
    Ok(())
}

fn heading(out: &mut dyn Write, title: &str) -> Result<()> {
    let (bold, plain) = if std::io::stdout().is_terminal() { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
    writeln!(out, "\n{bold}{title}{plain}")?;
    Ok(())
}
