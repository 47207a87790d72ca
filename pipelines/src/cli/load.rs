//! From what the user named to a plan: a file, or a pipeline of the catalogue; and how its problems are shown.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::logging;
use crate::catalogue;
use crate::plan::{self, Plan};
use crate::spec::{self, ArchiveSpec, Override, Problem, SourceSpec, Spec, in_file_order, suggest};
use crate::testing;

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
    load_spec(pipeline, overrides).map(|(loaded, _)| loaded)
}

/// As [`load_with`], with the spec as far as it could be read.
pub(super) fn load_spec(pipeline: &Path, overrides: &[Override]) -> Result<(Loaded, Option<Spec>)> {
    let (text, origin) = text_of(pipeline)?;
    let (spec, mut problems) = spec::read(&text, &origin, &|name| std::env::var(name).ok(), overrides);
    let mut loaded = Loaded { plan: None, problems: Vec::new(), warnings: Vec::new() };
    if let Some(spec) = &spec {
        match plan::check(spec) {
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
    Ok((loaded, spec))
}

/// Reads and checks a pipeline, says what is wrong with it, and gives its plan if nothing is.
pub(super) fn load_or_report(pipeline: &Path) -> Result<Option<Plan>> {
    let loaded = load(pipeline)?;
    report(&loaded)?;
    Ok(loaded.plan)
}

/// Reads a pipeline and says what is wrong with its grammar; what it means is not looked at.
#[cfg(feature = "models")]
pub(super) fn read_or_report(pipeline: &Path) -> Result<Option<Spec>> {
    let (text, origin) = text_of(pipeline)?;
    let (spec, problems) = spec::read(&text, &origin, &|name| std::env::var(name).ok(), &[]);
    let is_right = problems.is_empty();
    report_problems(&problems)?;
    Ok(spec.filter(|_| is_right))
}

/// Shows problems on standard error.
#[cfg(feature = "models")]
pub(super) fn report_problems(problems: &[Problem]) -> Result<()> {
    report(&Loaded { plan: None, problems: problems.to_vec(), warnings: Vec::new() })
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

/// A time as an option has it: RFC 3339.
pub(super) fn time(text: &str) -> Result<spec::Instant, String> {
    spec::Instant::parse(text).map_err(|(message, hint)| format!("{message}; {hint}"))
}

/// A length of time as an option has it.
pub(super) fn duration(text: &str) -> Result<spec::Duration, String> {
    spec::Duration::parse(text).map_err(|(message, hint)| format!("{message}; {hint}"))
}

/// The names of the catalogue.
pub(super) fn catalogue_names() -> Vec<&'static str> {
    catalogue::ENTRIES.iter().map(|entry| entry.name).collect()
}

/// `; did you mean …?`, where a pipeline of the catalogue or a spec in the same folder has nearly the name that was given.
fn meant(pipeline: &Path) -> String {
    let given = pipeline.file_name().unwrap_or_default().to_string_lossy();
    let folder = pipeline.parent().filter(|folder| !folder.as_os_str().is_empty());
    let entries = std::fs::read_dir(folder.unwrap_or(Path::new("."))).into_iter().flatten().flatten();
    let mut files: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| [".yaml", ".yml"].iter().any(|ending| name.ends_with(ending)))
        .filter(|name| !name.ends_with(testing::ENDING))
        .collect();
    files.sort();
    let without_ending = |name: &str| name.trim_end_matches(".yml").trim_end_matches(".yaml").to_owned();
    let file = files.iter().find(|name| without_ending(name) == given);
    let file =
        file.map(String::as_str).or_else(|| suggest::nearest(&given, files.iter().map(String::as_str)));
    let near = match (file, folder) {
        (Some(file), Some(folder)) => Some(folder.join(file).display().to_string()),
        (Some(file), None) => Some(file.to_owned()),
        (None, _) => suggest::nearest(&without_ending(&given), catalogue_names()).map(str::to_owned),
    };
    near.map_or_else(String::new, |near| format!("; did you mean {near}?"))
}

/// A warning for each source whose recorded topic is not there: a job would not start.
pub(super) fn missing_archives(spec: &Spec) -> Vec<Problem> {
    let archives = spec.sources.iter().filter_map(|source| Some((source, source.archive.as_ref()?)));
    let missing = archives.filter(|(_, archive)| !Path::new(archive.path.as_str()).exists());
    let warning = |(source, archive): (&SourceSpec, &ArchiveSpec)| {
        let path = format!("sources.{}.archive.path", source.name.value);
        let message = format!("there is no folder {}", archive.path.value);
        let hint = "record the topic there before the job is started, or name another folder; a relative path starts where the job is started";
        spec.source.problem(archive.path.at, path, message, Some(hint.to_owned()))
    };
    missing.map(warning).collect()
}

/// The text of a file or of a pipeline of the catalogue, and what problems call it.
pub(super) fn text_of(pipeline: &Path) -> Result<(String, PathBuf)> {
    if !pipeline.exists() {
        let name = pipeline.to_string_lossy();
        if let Some(entry) = catalogue::find(&name) {
            return Ok((entry.text.to_owned(), PathBuf::from(format!("{name}.yaml"))));
        }
        anyhow::bail!(
            "there is no file {name}, and no pipeline of that name in the catalogue ({}){}",
            suggest::list(&catalogue_names()),
            meant(pipeline)
        );
    }
    let text =
        std::fs::read_to_string(pipeline).with_context(|| format!("can't read {}", pipeline.display()))?;
    Ok((text, pipeline.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_pipeline_is_told_with_what_was_probably_meant() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("clicks.yaml"), "").expect("a file");
        std::fs::write(folder.path().join("clicks.test.yaml"), "").expect("a file");
        let told = |name: &Path| text_of(name).expect_err("there is none").to_string();
        let told_in = |name: &str| told(&folder.path().join(name));
        let near = format!("; did you mean {}?", folder.path().join("clicks.yaml").display());
        for name in ["click.yaml", "clicks", "clicks.yml"] {
            assert!(told_in(name).ends_with(&near), "{}", told_in(name));
        }
        assert!(told(Path::new("provider_helth")).ends_with("; did you mean provider_health?"));
        assert!(told(Path::new("provider-health.yaml")).ends_with("; did you mean provider_health?"));
        let nothing = told_in("something_else");
        assert!(nothing.ends_with("(provider_health, user_sessions, population, capacity)"), "{nothing}");
    }

    #[test]
    fn archives_that_are_not_there_are_warned_of_where_they_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let there = folder.path().display();
        let text = format!(
            "pipeline: p\nsources:\n  a: {{ archive: {{ path: {there} }}, format: raw }}\n  b:\n    archive: {{ path: {there}/nowhere }}\n"
        );
        let (spec, _) = spec::read(&text, Path::new("p.yaml"), &|_| None, &[]);
        let warnings: Vec<String> =
            missing_archives(&spec.expect("a spec")).iter().map(ToString::to_string).collect();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        let told = format!("p.yaml:5:22: sources.b.archive.path: there is no folder {there}/nowhere; record");
        assert!(warnings[0].starts_with(&told), "{warnings:?}");
    }
}
