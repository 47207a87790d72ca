//! `thalweg run --processes P`: starts the processes of a job on this machine, and starts them again when one is lost.
//!
//! ```text
//!   supervisor ─┬─▶ process 0 ─┐ their own pipes     SIGTERM, Ctrl-C ─▶ passed on; the second kills
//!               └─▶ process 1 ─┘ and process groups  one ends badly  ─▶ the others end, all start again
//! ```
//!
//! A job that loses a process ends as a whole and goes on from its newest checkpoint: all that is left to do here is to end what
//! is still there and to start it again, later and later, a limited number of times in a row. This holds no part of the job: killed, it
//! costs nothing but the restarts, and the processes stop by themselves.

use std::ffi::{OsStr, OsString};
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Exit status of a process with a pipeline that can't run: it would not run better a second time.
const BAD_PIPELINE: i32 = 2;
/// Exit status of a process whose job a newer run has taken over.
pub(super) const FENCED: u8 = 4;
/// Exit status of a job that was stopped twice.
const STOPPED_TWICE: u8 = 130;

/// Tells a process that it has a supervisor at the other end of its standard input.
use crate::run::SUPERVISED as VARIABLE;

/// What to supervise.
pub(super) struct SuperviseOptions {
    /// How many processes.
    pub(super) processes: usize,
    /// How often in a row they are started again.
    pub(super) restarts: usize,
    /// The program.
    pub(super) program: PathBuf,
    /// Its arguments; each process gets `--process I --hosts FILE` after them.
    pub(super) arguments: Vec<OsString>,
}

impl SuperviseOptions {
    /// This program with its own arguments, without those that are for the supervisor alone.
    pub(super) fn own(processes: usize, restarts: usize, for_supervisor: &[&str]) -> Result<Self> {
        let program = std::env::current_exe().context("can't find out which program this is")?;
        let arguments = without(std::env::args_os().skip(1), for_supervisor);
        Ok(SuperviseOptions { processes, restarts, program, arguments })
    }
}

/// Runs a job over several processes to its end; its exit status. Takes the signals of this process.
///
/// # Errors
/// When a process can't be started at all.
pub(super) fn supervise(options: &SuperviseOptions) -> Result<ExitCode> {
    let (sender, signals) = channel();
    // Held until the end of the program.
    ctrlc::set_handler(move || {
        // Nobody listens any more when the job is over.
        let _ = sender.send(());
    })?;
    supervise_until(options, &Timing::default(), &signals).map(ExitCode::from)
}

/// Whether this process was started by a supervisor.
pub(super) fn is_supervised() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// In a process that has a supervisor: does something when the supervisor is gone.
pub(super) fn when_supervisor_ends(then: impl FnOnce() + Send + 'static) {
    if is_supervised() {
        std::thread::spawn(move || {
            // Nothing ever comes: it ends when the last process that could write has ended.
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            then();
        });
    }
}

/// Reads a list of processes: a line `host:port` for each; empty lines and those that begin with # say nothing.
///
/// # Errors
/// When the file can't be read, or has no line.
pub(super) fn read_hosts(file: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("can't read the list of processes {}", file.display()))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let addresses: Vec<String> = lines.map(str::to_owned).collect();
    anyhow::ensure!(
        !addresses.is_empty(),
        "{} lists no process; write a line host:port for each",
        file.display()
    );
    Ok(addresses)
}

// `--name value` and `--name=value`.
fn without(arguments: impl Iterator<Item = OsString>, names: &[&str]) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let bytes = argument.as_encoded_bytes();
        let name = bytes.split(|byte| *byte == b'=').next().unwrap_or(bytes);
        if names.iter().any(|named| named.as_bytes() == name) {
            if name.len() == bytes.len() {
                arguments.next();
            }
        } else {
            kept.push(argument);
        }
    }
    kept
}

/// How long things take.
struct Timing {
    /// From the first loss to the restart; it doubles each time.
    pause: Duration,
    /// But is never longer.
    pause_max: Duration,
    /// A job that has run so long counts as one that runs.
    steady: Duration,
    /// For processes to notice themselves that one is gone.
    notice: Duration,
    /// For processes to end that were asked to.
    end: Duration,
    /// For processes to end after one has ended well.
    finish: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            pause: Duration::from_secs(1),
            pause_max: Duration::from_secs(30),
            steady: Duration::from_secs(60),
            notice: Duration::from_secs(1),
            end: Duration::from_secs(5),
            finish: Duration::from_secs(60),
        }
    }
}

/// How often, and how soon, a job is started again.
struct Restarts {
    most: usize,
    in_a_row: usize,
}

impl Restarts {
    /// How long to wait for the next start after a run; `None`: no more.
    fn after(&mut self, ran: Duration, timing: &Timing) -> Option<Duration> {
        if ran >= timing.steady {
            self.in_a_row = 0;
        }
        if self.in_a_row == self.most {
            return None;
        }
        let doubled = u32::try_from(self.in_a_row).ok().and_then(|times| 2u32.checked_pow(times));
        self.in_a_row += 1;
        let pause = doubled.and_then(|times| timing.pause.checked_mul(times));
        Some(pause.map_or(timing.pause_max, |pause| pause.min(timing.pause_max)))
    }
}

/// What follows from how the processes ended.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// The job has ended, with this exit status.
    Over(u8),
    /// It is worth another try.
    Again {
        /// The exit status, where there is none.
        status: u8,
        /// What has happened.
        cause: String,
    },
}

/// Each process with how it ended, in this order.
type Ends = Vec<(usize, ExitStatus)>;

fn verdict(ends: &Ends) -> Verdict {
    for final_status in [BAD_PIPELINE, i32::from(FENCED)] {
        if let Some((_, status)) = ends.iter().find(|(_, status)| status.code() == Some(final_status)) {
            return Verdict::Over(exit_status(*status));
        }
    }
    // What came later is mostly its consequence.
    match ends.iter().find(|(_, status)| !status.success()) {
        None => Verdict::Over(0),
        Some((process, status)) => {
            let cause = match (status.code(), status.signal()) {
                (Some(code), _) => format!("process {process} ended with status {code}"),
                (None, signal) => {
                    format!("process {process} was killed by signal {}", signal.unwrap_or_default())
                }
            };
            Verdict::Again { status: exit_status(*status), cause }
        }
    }
}

fn exit_status(status: ExitStatus) -> u8 {
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

// Of `signals` somebody must hold the other end all the time.
fn supervise_until(options: &SuperviseOptions, timing: &Timing, signals: &Receiver<()>) -> Result<u8> {
    let mut restarts = Restarts { most: options.restarts, in_a_row: 0 };
    loop {
        let started = Instant::now();
        let mut processes = Processes::start(options)?;
        let (ends, stops) = processes.wait(timing, signals)?;
        drop(processes);
        let (status, cause) = match (verdict(&ends), stops) {
            (_, 2..) => return Ok(STOPPED_TWICE),
            (Verdict::Over(status), _) | (Verdict::Again { status, .. }, 1) => return Ok(status),
            (Verdict::Again { status, cause }, 0) => (status, cause),
        };
        let Some(pause) = restarts.after(started.elapsed(), timing) else {
            tracing::error!(
                "{cause}; the job was started again {} times in a row (--restarts), and ends here",
                options.restarts
            );
            return Ok(status);
        };
        tracing::warn!(
            "{cause}; the job goes on from its newest checkpoint in {pause:?} (restart {} of {})",
            restarts.in_a_row,
            restarts.most
        );
        if wait_for(signals, pause) {
            return Ok(status);
        }
    }
}

// Whether a signal came before the time was over.
fn wait_for(signals: &Receiver<()>, time: Duration) -> bool {
    signals.recv_timeout(time).is_ok()
}

/// The processes of one run.
struct Processes {
    running: Vec<(usize, Child)>,
    // Removed when the run is over.
    _hosts: Hosts,
}

impl Processes {
    fn start(options: &SuperviseOptions) -> Result<Processes> {
        let hosts = Hosts::write(options.processes)?;
        let mut processes = Processes { running: Vec::new(), _hosts: hosts };
        for process in 0..options.processes {
            let child = Command::new(&options.program)
                .args(&options.arguments)
                .args([OsStr::new("--process"), OsStr::new(&process.to_string())])
                .args([OsStr::new("--hosts"), processes._hosts.0.as_os_str()])
                .env(VARIABLE, "1")
                // Held open as long as this process lives.
                .stdin(Stdio::piped())
                // A terminal's Ctrl-C would reach every process, and again through this one.
                .process_group(0)
                .spawn()
                .with_context(|| format!("can't start {}", options.program.display()))?;
            processes.running.push((process, child));
        }
        Ok(processes)
    }

    /// Waits until all have ended; also how often the job was asked to stop.
    fn wait(&mut self, timing: &Timing, signals: &Receiver<()>) -> Result<(Ends, usize)> {
        let (mut ends, mut stops) = (Vec::new(), 0);
        let mut ending = Ending::None;
        loop {
            self.collect(&mut ends)?;
            if self.running.is_empty() {
                return Ok((ends, stops));
            }
            if wait_for(signals, Duration::from_millis(20)) {
                stops += 1;
                // The second time there is nobody to be polite to.
                self.signal(if stops == 1 { Signal::SIGTERM } else { Signal::SIGKILL });
            }
            let failed = ends.iter().any(|(_, status)| !status.success());
            ending = match ending {
                Ending::None if failed => Ending::Noticing(Instant::now() + timing.notice),
                Ending::None if !ends.is_empty() => Ending::Finishing(Instant::now() + timing.finish),
                Ending::Finishing(_) if failed => Ending::Noticing(Instant::now() + timing.notice),
                Ending::Noticing(until) | Ending::Finishing(until) if Instant::now() >= until => {
                    // A second request would cut short what the first one asked for.
                    if stops == 0 {
                        self.signal(Signal::SIGTERM);
                    }
                    Ending::Asked(Instant::now() + timing.end)
                }
                Ending::Asked(until) if Instant::now() >= until => {
                    // Also where it is stopped, and can't hear anything else.
                    self.signal(Signal::SIGKILL);
                    Ending::Asked(Instant::now() + timing.end)
                }
                other => other,
            };
        }
    }

    fn collect(&mut self, ends: &mut Ends) -> Result<()> {
        let mut failure = None;
        self.running.retain_mut(|(process, child)| match child.try_wait() {
            Ok(None) => true,
            Ok(Some(status)) => {
                ends.push((*process, status));
                false
            }
            Err(error) => {
                failure = Some(error);
                true
            }
        });
        failure.map_or(Ok(()), |error| Err(error).context("can't wait for a process of the job"))
    }

    fn signal(&self, signal: Signal) {
        for (_, child) in &self.running {
            // One that is not waited for yet keeps its number.
            if let Ok(id) = i32::try_from(child.id()) {
                let _ = kill(Pid::from_raw(id), signal);
            }
        }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
        self.running.iter_mut().for_each(|(_, child)| drop(child.wait()));
    }
}

/// Where a run is on its way to its end: until when what comes next may come by itself.
enum Ending {
    None,
    /// One has ended well, and the others are about to.
    Finishing(Instant),
    /// One has not, and the others are about to notice.
    Noticing(Instant),
    /// They were asked to end.
    Asked(Instant),
}

/// The file with the addresses of a run's processes.
struct Hosts(PathBuf);

impl Hosts {
    fn write(processes: usize) -> Result<Hosts> {
        // Free while all of them are held; the processes take them at once.
        let held: Vec<TcpListener> = (0..processes)
            .map(|_| TcpListener::bind("127.0.0.1:0"))
            .collect::<Result<_, _>>()
            .context("can't find a free port")?;
        let mut text = String::new();
        for listener in &held {
            text.push_str(&format!("{}\n", listener.local_addr().context("can't find a free port")?));
        }
        let mut number = 0;
        loop {
            let name = format!("thalweg-{}-{number}.hosts", std::process::id());
            let path = std::env::temp_dir().join(name);
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(mut file) => {
                    let hosts = Hosts(path);
                    file.write_all(text.as_bytes())
                        .with_context(|| format!("can't write {}", hosts.0.display()))?;
                    return Ok(hosts);
                }
                // Another job's of this process, or left by an earlier one with its number.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error).with_context(|| format!("can't write {}", path.display())),
            }
        }
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        // In the system's temporary folder it is in nobody's way.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::Sender;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    /// As fast as it goes.
    fn timing() -> Timing {
        Timing {
            pause: Duration::from_millis(1),
            notice: Duration::from_millis(20),
            end: Duration::from_secs(2),
            ..Timing::default()
        }
    }

    fn ended(statuses: &[i32]) -> Ends {
        statuses.iter().enumerate().map(|(process, raw)| (process, ExitStatus::from_raw(*raw))).collect()
    }

    #[test]
    fn a_job_is_started_again_later_and_later() {
        let timing = Timing::default();
        let mut restarts = Restarts { most: 8, in_a_row: 0 };
        let short = Duration::from_secs(59);
        let pauses: Vec<Option<u64>> =
            (0..9).map(|_| restarts.after(short, &timing).map(|pause| pause.as_secs())).collect();
        assert_eq!(
            pauses,
            [Some(1), Some(2), Some(4), Some(8), Some(16), Some(30), Some(30), Some(30), None]
        );
        // One that ran for a while may fail as often again.
        assert_eq!(restarts.after(Duration::from_secs(60), &timing), Some(Duration::from_secs(1)));
        assert_eq!(restarts.after(short, &timing), Some(Duration::from_secs(2)));
        let mut often = Restarts { most: 100, in_a_row: 0 };
        let last = (0..100).map(|_| often.after(short, &timing)).last();
        assert_eq!(last, Some(Some(Duration::from_secs(30))));
        assert_eq!(Restarts { most: 0, in_a_row: 0 }.after(short, &timing), None);
    }

    #[test]
    fn what_follows_from_how_processes_end() {
        let exit = |code: i32| code << 8;
        assert_eq!(verdict(&ended(&[exit(0), exit(0)])), Verdict::Over(0));
        // Nobody's second attempt is better, whoever else ended before.
        assert_eq!(verdict(&ended(&[exit(3), exit(2)])), Verdict::Over(2));
        assert_eq!(verdict(&ended(&[9, exit(3), exit(4)])), Verdict::Over(4));
        let again = |status: u8, cause: &str| Verdict::Again { status, cause: cause.to_owned() };
        assert_eq!(verdict(&ended(&[exit(0), exit(3), 9])), again(3, "process 1 ended with status 3"));
        assert_eq!(verdict(&ended(&[9, exit(3)])), again(1, "process 0 was killed by signal 9"));
    }

    #[test]
    fn arguments_for_the_supervisor_are_its_own() {
        let arguments = ["run", "--processes", "3", "a.yaml", "--restarts=5", "--workers", "2", "--fresh"];
        let kept = without(arguments.iter().map(OsString::from), &["--processes", "--restarts"]);
        assert_eq!(kept, ["run", "a.yaml", "--workers", "2", "--fresh"]);
    }

    /// Two processes that run a shell script, with the folder that they write to.
    fn scripts(script: &str, folder: &Path) -> SuperviseOptions {
        // The script's $2 is the process, $4 the list of processes.
        let script = format!("cd '{}'; echo \"$4\" >> starts-$2; {script}", folder.display());
        SuperviseOptions {
            processes: 2,
            restarts: 3,
            program: PathBuf::from("sh"),
            arguments: ["-c", &script, "sh"].map(OsString::from).to_vec(),
        }
    }

    fn lines(file: PathBuf) -> Vec<String> {
        fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// Sends signals when the processes have written `ready`.
    fn signals_when_ready(folder: &Path, signals: Sender<()>, count: usize) -> std::thread::JoinHandle<()> {
        let ready = folder.join("ready");
        std::thread::spawn(move || {
            let deadline = Instant::now() + LIMIT;
            while lines(ready.clone()).len() < 2 {
                assert!(Instant::now() < deadline, "the processes are not ready");
                std::thread::park_timeout(Duration::from_millis(5));
            }
            (0..count).for_each(|_| signals.send(()).unwrap());
        })
    }

    #[test]
    fn a_job_that_loses_a_process_starts_again_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        // First process 1 dies while process 0 is stopped and hears nothing; then process 0 does, and process 1 hears it; then all
        // goes well.
        let options = scripts(
            "cp \"$4\" hosts
            case $2-$(wc -l < starts-$2) in
                0-1) echo > stopping; kill -STOP $$;;
                1-1) while [ ! -e stopping ]; do sleep 0.02; done; exit 3;;
                0-2) while [ ! -e waiting ]; do sleep 0.02; done; exit 1;;
                1-2) trap 'echo asked >> asked; exit 3' TERM; echo > waiting; while :; do sleep 0.02; done;;
            esac",
            folder.path(),
        );
        let (_sender, signals) = channel();
        assert_eq!(supervise_until(&options, &timing(), &signals).unwrap(), 0);
        let starts = lines(folder.path().join("starts-0"));
        assert_eq!((starts.len(), lines(folder.path().join("starts-1")).len()), (3, 3));
        assert_eq!(lines(folder.path().join("asked")), ["asked"]);
        assert!(starts.iter().all(|hosts| !Path::new(hosts).exists()), "{starts:?}");
        let hosts = read_hosts(&folder.path().join("hosts")).unwrap();
        assert!(hosts.len() == 2 && hosts[0] != hosts[1], "{hosts:?}");

        // One that never gets anywhere is given up.
        let folder = tempfile::tempdir().unwrap();
        let status = supervise_until(&scripts("exit 3", folder.path()), &timing(), &signals).unwrap();
        assert_eq!((status, lines(folder.path().join("starts-1")).len()), (3, 4));
        // One with a bad pipeline is not even tried again.
        let folder = tempfile::tempdir().unwrap();
        let status = supervise_until(&scripts("exit 2", folder.path()), &timing(), &signals).unwrap();
        assert_eq!((status, lines(folder.path().join("starts-1")).len()), (2, 1));
    }

    #[test]
    fn the_first_signal_asks_and_the_second_kills() {
        let stop = |script: &str, count: usize| {
            let folder = tempfile::tempdir().unwrap();
            let (sender, signals) = channel();
            let asking = signals_when_ready(folder.path(), sender.clone(), count);
            let status =
                supervise_until(&scripts(script, folder.path()), &Timing::default(), &signals).unwrap();
            asking.join().unwrap();
            assert_eq!(lines(folder.path().join("starts-0")).len(), 1, "it was started again");
            status
        };
        let polite = "trap 'exit 0' TERM; echo >> ready; while :; do sleep 0.02; done";
        assert_eq!(stop(polite, 1), 0);
        let stubborn = "trap '' TERM; echo >> ready; while :; do sleep 0.02; done";
        assert_eq!(stop(stubborn, 2), STOPPED_TWICE);
    }

    #[test]
    fn a_list_of_processes_may_have_comments() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hosts");
        fs::write(&file, "# both\n a:1 \n\nb:2\n").unwrap();
        assert_eq!(read_hosts(&file).unwrap(), ["a:1", "b:2"]);
        fs::write(&file, "# nobody\n").unwrap();
        assert!(read_hosts(&file).unwrap_err().to_string().contains("lists no process"));
        let missing = read_hosts(&folder.path().join("none")).unwrap_err().to_string();
        assert!(missing.contains("can't read the list of processes"), "{missing}");
    }
}
