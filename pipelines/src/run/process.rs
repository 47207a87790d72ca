//! What the system says of this process, as Linux tells it in /proc; nothing elsewhere.

use std::fs;
use std::time::Duration;

/// What the process holds and has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProcessUse {
    /// Memory that it holds, bytes.
    pub(crate) resident_bytes: Option<u64>,
    /// The most that it has held, bytes.
    pub(crate) peak_bytes: Option<u64>,
    pub(crate) threads: Option<u64>,
    pub(crate) open_files: Option<u64>,
    /// User and system, of all its threads.
    pub(crate) cpu: Duration,
}

impl ProcessUse {
    pub(crate) fn now() -> Self {
        let status = status();
        ProcessUse {
            resident_bytes: kib(&status, "VmRSS:").map(|kib| kib * 1024),
            peak_bytes: kib(&status, "VmHWM:").map(|kib| kib * 1024),
            threads: kib(&status, "Threads:"),
            open_files: fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as u64),
            cpu: cpu_time(),
        }
    }
}

/// CPU time of this process so far, user and system, of all its threads. Zero where the system does not say.
pub(crate) fn cpu_time() -> Duration {
    // /proc/self/stat: the fields after the command's closing parenthesis; utime and stime are the 12th and 13th of them, in
    // ticks of 1/100 s (USER_HZ, fixed on Linux).
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis(10 * (ticks(11) + ticks(12)))
}

/// The most memory that this process has held, bytes.
pub(crate) fn peak_memory_bytes() -> Option<u64> {
    kib(&status(), "VmHWM:").map(|kib| kib * 1024)
}

fn status() -> String {
    fs::read_to_string("/proc/self/status").unwrap_or_default()
}

// A number of /proc/self/status; memory is in KiB.
fn kib(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_holds_something_of_everything() {
        let now = ProcessUse::now();
        assert!(now.resident_bytes > Some(1 << 20) && now.peak_bytes >= now.resident_bytes, "{now:?}");
        assert!(now.threads > Some(0) && now.open_files > Some(2), "{now:?}");
        assert_eq!(kib("VmRSS:\t  12 kB\nThreads:\t3\n", "Threads:"), Some(3));
        assert_eq!(kib("VmRSS:\t  12 kB\n", "VmHWM:"), None);
    }
}
