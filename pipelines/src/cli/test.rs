//! `thalweg test`: rows in, rows out, and what is not as it should be.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use clap::Args;
use thalweg_engine::control::Control;

use super::validate::Format;
use super::{load, logging, terminal};
use crate::catalogue;
use crate::spec::suggest;
use crate::testing::{self, Loaded, Painter, TestOptions, TestReport, junit};

/// Test pipelines: give them rows, let time go by, and compare what comes out with what should.
///
/// A test file (my_pipeline.test.yaml) names a pipeline, input rows by source and partition, and the rows that sinks or steps have to
/// give, at the end or when the watermark has come to some point in time. The real engine runs; nothing is connected to, and
/// nothing waits. `thalweg test --example` prints a file to start from.
///
/// Exit status: 0 all tests passed, 1 some failed, 2 a file is missing or has problems, or no test was found.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  thalweg test my_pipeline.test.yaml
  thalweg test pipelines/                                 all *.test.yaml in and below a folder
  thalweg test provider_health                            the tests of a pipeline of the catalogue
  thalweg test my_pipeline.test.yaml --filter 'late rows' --workers 3
  thalweg test --example > my_pipeline.test.yaml          a file to start from
  thalweg test my_pipeline.test.yaml --watch              again whenever it or its pipeline changes
  thalweg test pipelines/ --junit report.xml              for CI")]
pub(super) struct TestArgs {
    /// Test files, folders of them, or names of the catalogue.
    #[arg(required_unless_present = "example", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Only tests whose names contain this.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Worker threads of each job. They change nothing but the time it takes.
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: u16,
    /// Write the results as JUnit XML, too.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// How to say it: text for people, json for scripts.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Run again whenever a test file, its pipeline or a schema changes, until Ctrl-C.
    #[arg(long)]
    watch: bool,
    /// Print a test file to start from: that of provider_health.
    #[arg(long)]
    example: bool,
}

/// Exit status where a file can't be read or has problems, or no test was found.
const BAD_INPUT: u8 = 2;
/// How often files are looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(300);

/// What a test file gave.
struct Tested {
    file: PathBuf,
    reports: Vec<TestReport>,
    problems: Vec<crate::spec::Problem>,
    warnings: Vec<crate::spec::Problem>,
}

pub(super) fn test(args: &TestArgs) -> Result<ExitCode> {
    if args.example {
        let example = catalogue::ENTRIES[0];
        write!(std::io::stdout(), "{}", example.tests)?;
        return Ok(ExitCode::SUCCESS);
    }
    let control = Control::new();
    if args.watch {
        terminal::stop_on_signal(control.clone(), "stopping")?;
    }
    loop {
        let mut watched = Watched::new();
        let code = match run(args, &mut watched) {
            // A file may be gone for a moment while an editor writes it.
            Err(error) if args.watch => {
                logging::error(format_args!("{error:#}"));
                1
            }
            ran => ran?,
        };
        if !args.watch {
            return Ok(ExitCode::from(code));
        }
        logging::notice(format_args!("waiting for changes; Ctrl-C ends"));
        while !watched.changed() {
            if control.wait(LOOK_AGAIN) {
                return Ok(ExitCode::from(code));
            }
        }
    }
}

fn run(args: &TestArgs, watched: &mut Watched) -> Result<u8> {
    let painter = Painter { colour: std::io::stdout().is_terminal() };
    let mut all = Vec::new();
    let mut out = std::io::stdout().lock();
    let loaded = files(&args.files, watched).and_then(|files| files.into_iter().map(read).collect());
    let loaded: Vec<(PathBuf, Loaded)> = match loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            logging::error(format_args!("{error:#}"));
            return Ok(BAD_INPUT);
        }
    };
    for (file, loaded) in loaded {
        watched.add(&loaded.files);
        let Loaded { problems, warnings, .. } = loaded;
        let mut tested = Tested { file, reports: Vec::new(), problems, warnings };
        if args.format == Format::Text {
            load::report(&load::Loaded {
                plan: None,
                problems: tested.problems.clone(),
                warnings: tested.warnings.clone(),
            })?;
        }
        let tests = loaded.tests.map_or_else(Vec::new, |file| file.tests);
        let is_meant = |name: &str| args.filter.as_ref().is_none_or(|filter| name.contains(filter.as_str()));
        for test in tests.iter().filter(|test| is_meant(&test.name)) {
            let options = TestOptions { workers: args.workers.into(), ..TestOptions::default() };
            let report = testing::run(test, &options);
            if args.format == Format::Text {
                write!(out, "{}", testing::write_report(&report, &tested.file, painter))?;
                out.flush()?;
            }
            tested.reports.push(report);
        }
        all.push(tested);
    }
    if let Some(path) = &args.junit {
        let xml = junit::to_xml(
            all.iter().map(|tested| (tested.file.as_path(), &tested.reports[..], &tested.problems[..])),
        );
        let xml = xml.map_err(anyhow::Error::msg)?;
        std::fs::write(path, xml).with_context(|| format!("can't write {}", path.display()))?;
    }
    let reports = || all.iter().flat_map(|tested| &tested.reports);
    let (count, passed) = (reports().count(), reports().filter(|report| report.passed()).count());
    let bad_files = all.iter().filter(|tested| !tested.problems.is_empty()).count();
    match args.format {
        Format::Json => {
            let files: Vec<serde_json::Value> = all.iter().map(as_json).collect();
            writeln!(out, "{}", serde_json::to_string_pretty(&files)?)?;
        }
        Format::Text => {
            let seconds = reports().fold(0.0, |seconds, report| seconds + report.seconds);
            let mut said = vec![format!("{passed} passed")];
            if passed < count {
                said.push(format!("{} failed", count - passed));
            }
            if bad_files > 0 {
                said.push(format!("{bad_files} with problems could not be run"));
            }
            writeln!(out, "{}; {seconds:.2} s", said.join(", "))?;
        }
    }
    if count == 0 && bad_files == 0 {
        let why = match &args.filter {
            Some(filter) => format!("no test's name contains \"{filter}\""),
            None => "there are no tests".to_owned(),
        };
        logging::error(format_args!("{why}"));
        return Ok(BAD_INPUT);
    }
    Ok(if bad_files > 0 { BAD_INPUT } else { u8::from(passed < count) })
}

fn read((file, embedded): (PathBuf, Option<&'static str>)) -> Result<(PathBuf, Loaded)> {
    let loaded = match embedded {
        Some(text) => testing::load_text(text, &file),
        None => testing::load(&file)?,
    };
    Ok((file, loaded))
}

fn as_json(tested: &Tested) -> serde_json::Value {
    let tests: Vec<serde_json::Value> = tested
        .reports
        .iter()
        .map(|report| {
            let mut test = serde_json::json!(report);
            test["passed"] = report.passed().into();
            test
        })
        .collect();
    let Tested { file, problems, warnings, .. } = tested;
    serde_json::json!({ "file": file, "problems": problems, "warnings": warnings, "tests": tests })
}

// Files as named; those of a folder; the text of tests that ship.
fn files(named: &[PathBuf], watched: &mut Watched) -> Result<Vec<(PathBuf, Option<&'static str>)>> {
    let mut all = Vec::new();
    for path in named {
        // One that is not there may come.
        watched.add(std::slice::from_ref(path));
        if path.exists() {
            let found = testing::files(path).with_context(|| format!("can't read {}", path.display()))?;
            if found.is_empty() {
                anyhow::bail!("{} holds no file whose name ends in {}", path.display(), testing::ENDING);
            }
            all.extend(found.into_iter().map(|file| (file, None)));
            continue;
        }
        let Some(entry) = catalogue::find(&path.to_string_lossy()) else {
            let names: Vec<&str> = catalogue::ENTRIES.iter().map(|entry| entry.name).collect();
            let meant = suggest::nearest(&path.to_string_lossy(), names.iter().copied());
            anyhow::bail!(
                "there is no file {}, and no pipeline of that name in the catalogue ({}){}",
                path.display(),
                names.join(", "),
                meant.map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"))
            );
        };
        all.push((PathBuf::from(format!("{}{}", entry.name, testing::ENDING)), Some(entry.tests)));
    }
    Ok(all)
}

/// Files and folders, and when they changed. They are looked at again and again: no dependency on what each system calls a change.
struct Watched {
    since: SystemTime,
    files: BTreeMap<PathBuf, Option<(SystemTime, u64)>>,
}

impl Watched {
    // What changes from now on is seen, also while the tests run.
    fn new() -> Self {
        Watched { since: SystemTime::now(), files: BTreeMap::new() }
    }

    fn add(&mut self, files: &[PathBuf]) {
        // Some file systems' clocks are ahead: what they call a change of the future is none.
        let meanwhile = |at: SystemTime| at > self.since && at <= SystemTime::now();
        for file in files {
            let stamp = stamp(file).filter(|(modified, _)| !meanwhile(*modified));
            self.files.entry(file.clone()).or_insert(stamp);
        }
    }

    fn changed(&self) -> bool {
        self.files.iter().any(|(file, before)| stamp(file) != *before)
    }
}

fn stamp(file: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.test.yaml");
        std::fs::write(&file, "tests: []").unwrap();
        let old = SystemTime::now() - Duration::from_secs(60);
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(old).unwrap();
        let mut watched = Watched::new();
        watched.add(&[file.clone(), folder.path().join("not there yet")]);
        assert!(!watched.changed());
        std::fs::write(&file, "tests: [ ]").unwrap();
        assert!(watched.changed());
        let mut watched = Watched::new();
        watched.add(std::slice::from_ref(&file));
        std::fs::remove_file(&file).unwrap();
        assert!(watched.changed());
    }
}
