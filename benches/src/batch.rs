//! DataFusion's batch SQL over the same events, decoded beforehand into a Parquet column a field: what is possible when there
//! is neither JSON, nor a stream, nor an order of arrival.
//!
//! Its sums of decimals are exact too; its percentile is a t-digest. Sessions are found with window functions.

use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use datafusion::dataframe::DataFrameWriteOptions;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};

use crate::data::Data;
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

/// Runs a job's query on `threads` threads and writes its result. Gives back the events and the seconds.
///
/// # Errors
/// When the decoded events can't be read or the result not be written.
pub(crate) fn run(job: Job, data: &Data, threads: usize, output: &Path) -> anyhow::Result<(u64, f64)> {
    let sql = match job {
        Job::J1 => J1,
        Job::J2 => J2,
    };
    let text = |path: &Path| path.to_str().map(str::to_owned).context("the folder's name is not UTF-8");
    let (typed, output) = (text(&data.typed())?, text(output)?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        // Planning is deeply recursive, and built without optimisation.
        .thread_stack_size(8 << 20)
        .enable_all()
        .build()?;
    let config = SessionConfig::new().with_target_partitions(threads);
    let query = async move {
        let context = SessionContext::new_with_config(config);
        context.register_parquet("calls", &typed, ParquetReadOptions::default()).await?;
        let started = Instant::now();
        let rows = context.sql(sql).await?;
        rows.write_parquet(&output, DataFrameWriteOptions::new(), None).await?;
        anyhow::Ok(started.elapsed().as_secs_f64())
    };
    let seconds = runtime.block_on(async { tokio::spawn(query).await })??;
    Ok((data.events(), seconds))
}
