//! Batch SQL over the same events, from the archive's decoded columns: what is possible when there is neither JSON, nor a stream, nor an
//! order of arrival.
//!
//! DataFusion's sums of decimals are exact too; its percentile is a t-digest. Sessions are found with window functions.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::Context;
use datafusion::dataframe::DataFrameWriteOptions;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};

use crate::data::Data;
use crate::measure::Measured;
use crate::reference::Job;

const J1: &str = "
    select date_trunc('minute', started_at) as window_start, provider, model,
        count(*) as requests, count(*) filter (where status = 'error') as errors, sum(cost_usd) as cost_usd,
        avg(latency_ms) as latency_ms_avg, max(latency_ms) as latency_ms_max,
        approx_percentile_cont(0.95) within group (order by latency_ms) as latency_ms_p95,
        sum(prompt_tokens) as prompt_tokens, sum(completion_tokens) as completion_tokens
    from calls group by 1, 2, 3";

const J2: &str = "
    with steps as (
        select *, started_at - lag(started_at) over (partition by session_id order by started_at) as since from calls
    ), numbered as (
        select *, sum(case when since < interval '5 minutes' then 0 else 1 end)
            over (partition by session_id order by started_at rows unbounded preceding) as visit from steps
    )
    select session_id, min(started_at) as window_start, max(started_at) + interval '5 minutes' as window_end,
        count(*) as requests, sum(cost_usd) as cost_usd, max(latency_ms) as latency_ms_max,
        sum(prompt_tokens) as prompt_tokens, sum(completion_tokens) as completion_tokens
    from numbered group by session_id, visit";

/// The same for DuckDB, which is twice as fast with numbers in place of intervals.
const J2_DUCKDB: &str = "
    with steps as (
        select session_id, started_at, cost_usd, latency_ms, prompt_tokens, completion_tokens,
            epoch_us(started_at) - lag(epoch_us(started_at)) over (partition by session_id order by started_at) as since
        from calls
    ), numbered as (
        select *, sum(case when since < 300000000 then 0 else 1 end)
            over (partition by session_id order by started_at rows unbounded preceding) as visit from steps
    )
    select session_id, min(started_at) as window_start, max(started_at) + interval '5 minutes' as window_end,
        count(*) as requests, sum(cost_usd) as cost_usd, max(latency_ms) as latency_ms_max,
        sum(prompt_tokens) as prompt_tokens, sum(completion_tokens) as completion_tokens
    from numbered group by session_id, visit";

/// A question, a pattern of files, a file to write to, threads, events. Says what the query cost.
const DUCKDB: &str = "
import duckdb, json, resource, sys, time
sql, files, output, threads, events = sys.argv[1:]
duckdb.sql(f\"set threads = {threads}; set enable_progress_bar = false\")
duckdb.sql(f\"create view calls as select * from read_parquet('{files}')\")
used = lambda: sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
began, cpu = time.monotonic(), used()
duckdb.sql(f\"copy ({sql}) to '{output}' (format parquet)\")
seconds, cpu = time.monotonic() - began, used() - cpu
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({'rows': int(events), 'seconds': seconds, 'cpu_seconds': cpu, 'peak_bytes': peak}))
";

/// Runs a job's query on `threads` threads of DataFusion and writes its result. Gives back the events and the seconds.
///
/// # Errors
/// When the decoded events can't be read or the result not be written.
pub(crate) fn datafusion(job: Job, data: &Data, threads: usize, output: &Path) -> anyhow::Result<(u64, f64)> {
    let sql = match job {
        Job::J1 => J1,
        Job::J2 => J2,
    };
    let (decoded, output) = (text(&data.decoded_columns()?)?, text(output)?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        // Planning is deeply recursive, and built without optimisation.
        .thread_stack_size(8 << 20)
        .enable_all()
        .build()?;
    let config = SessionConfig::new().with_target_partitions(threads);
    let query = async move {
        let context = SessionContext::new_with_config(config);
        context.register_parquet("calls", &decoded, ParquetReadOptions::default()).await?;
        let started = Instant::now();
        let rows = context.sql(sql).await?;
        rows.write_parquet(&output, DataFrameWriteOptions::new(), None).await?;
        anyhow::Ok(started.elapsed().as_secs_f64())
    };
    let seconds = runtime.block_on(async { tokio::spawn(query).await })??;
    Ok((data.events(), seconds))
}

/// Runs a job's query on `threads` threads of DuckDB, in a process of its own.
///
/// # Errors
/// When there is no DuckDB, or the query fails.
pub(crate) fn duckdb(job: Job, data: &Data, threads: usize, output: &Path) -> anyhow::Result<Measured> {
    std::fs::create_dir_all(output)?;
    let sql = match job {
        Job::J1 => J1,
        Job::J2 => J2_DUCKDB,
    };
    let files = text(&data.decoded_columns()?.join("*.parquet"))?;
    let mut command = Command::new(python());
    command.args(["-c", DUCKDB, sql, &files, &text(&output.join("result.parquet"))?]);
    command.args([threads.to_string(), data.events().to_string()]);
    let ran = command.stderr(Stdio::inherit()).output();
    let ran = ran.context("DuckDB does not start; scripts/setup.sh test installs it")?;
    anyhow::ensure!(ran.status.success(), "DuckDB failed; scripts/setup.sh test installs it");
    Ok(serde_json::from_slice(&ran.stdout)?)
}

/// Python with DuckDB, where the set-up installs it.
fn python() -> PathBuf {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    root.join(target).join("python/bin/python")
}

fn text(path: &Path) -> anyhow::Result<String> {
    path.to_str().map(str::to_owned).context("the folder's name is not UTF-8")
}
