//! From what the user named to a plan: a file, or a pipeline of the catalogue; and how its problems are shown.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::logging;
use crate::catalogue;
use crate::plan::{self, Plan};
use crate::spec::{self, Override, Problem, in_file_order};

/// A plan, or everything that is wrong with its spec.
pub(super) struct Loaded {
    pub(super) plan: Option<Plan>,
    /// Errors; empty where there is a plan.
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
}

/// Reads and checks a pipeline.
pub(super) fn load(pipeline: &Path) -> Result<Loaded> {
    load_with(pipeline, &[])
}

/// Reads and checks a pipeline, some of whose values are given beside it.
pub(super) fn load_with(pipeline: &Path, overrides: &[Override]) -> Result<Loaded> {
    let (text, origin) = text_of(pipeline)?;
    let (spec, mut problems) = spec::read(&text, &origin, &|name| std::env::var(name).ok(), overrides);
    let mut loaded = Loaded { plan: None, problems: Vec::new(), warnings: Vec::new() };
    if let Some(spec) = spec {
        match plan::check(&spec) {
            Ok(plan) if problems.is_empty() => {
                loaded.warnings = plan.warnings.clone();
                loaded.plan = Some(plan);
            }
            Ok(_) => {}
            Err(more) => problems.extend(more),
        }
    }
    in_file_order(&mut problems);
    loaded.problems = problems;
    Ok(loaded)
}

/// Reads and checks a pipeline, says what is wrong with it, and gives its plan if nothing is.
pub(super) fn load_or_report(pipeline: &Path) -> Result<Option<Plan>> {
    let loaded = load(pipeline)?;
    report(&loaded)?;
    Ok(loaded.plan)
}

/// Shows problems and warnings on standard error.
pub(super) fn report(loaded: &Loaded) -> Result<()> {
    if logging::is_json() {
        loaded.problems.iter().for_each(|problem| logging::error(format_args!("{problem}")));
        loaded.warnings.iter().for_each(|problem| logging::warning(format_args!("{problem}")));
        return Ok(());
    }
    let mut out = std::io::stderr().lock();
    let terminal = out.is_terminal();
    let paint = |colour: &str, text: &str| {
        if terminal { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    };
    let kinds = [("error", "31;1", &loaded.problems), ("warning", "33;1", &loaded.warnings)];
    for (kind, colour, problems) in kinds {
        for problem in problems {
            writeln!(out, "{}: {problem}", paint(colour, kind))?;
            if let Some(excerpt) = problem.excerpt().filter(|_| terminal) {
                writeln!(out, "{excerpt}")?;
            }
        }
    }
    Ok(())
}

/// The text of a file or of a pipeline of the catalogue, and what problems call it.
pub(super) fn text_of(pipeline: &Path) -> Result<(String, PathBuf)> {
    if !pipeline.exists() {
        let name = pipeline.to_string_lossy();
        if let Some(entry) = catalogue::find(&name) {
            return Ok((entry.text.to_owned(), PathBuf::from(format!("{name}.yaml"))));
        }
        let names: Vec<&str> = catalogue::ENTRIES.iter().map(|entry| entry.name).collect();
        anyhow::bail!(
            "there is no file {name}, and no pipeline of that name in the catalogue ({})",
            names.join(", ")
        );
    }
    let text =
        std::fs::read_to_string(pipeline).with_context(|| format!("can't read {}", pipeline.display()))?;
    Ok((text, pipeline.to_owned()))
}
