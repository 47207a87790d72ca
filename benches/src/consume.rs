//! How fast messages come when nothing is done with them: no job that reads them can be faster.

use std::time::Instant;

use crate::reference::{Input, Share, Taken};

/// Takes all messages and lets go of them. Gives back their number and the seconds.
///
/// # Errors
/// When they can't be read.
pub(crate) fn run(input: &Input, threads: usize) -> anyhow::Result<(u64, f64)> {
    let shares = input.shares(threads)?;
    let started = Instant::now();
    let rows = std::thread::scope(|scope| {
        let threads: Vec<_> = shares.into_iter().map(|share| scope.spawn(|| count(share))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).sum::<anyhow::Result<u64>>()
    })?;
    Ok((rows, started.elapsed().as_secs_f64()))
}

fn count(share: Share) -> anyhow::Result<u64> {
    let (mut rows, mut bytes) = (0, 0);
    share.take(|taken| {
        if let Taken::Value(_, value) = taken {
            rows += 1;
            bytes += value.len();
        }
    })?;
    std::hint::black_box(bytes);
    Ok(rows)
}
