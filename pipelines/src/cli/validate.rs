//! `thalweg validate`: everything that is wrong with a pipeline, at once.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};

use super::{load, table};
use crate::spec::in_file_order;

/// Check a pipeline: say everything that is wrong with it, with its place and what to write instead.
///
/// Nothing is connected to and nothing is written. Exit status 2 if there are problems.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  thalweg validate my_pipeline.yaml\n  thalweg validate --format json *.yaml"
)]
pub(super) struct ValidateArgs {
    /// Files, or names of the catalogue.
    #[arg(required = true, value_name = "PIPELINE")]
    pipelines: Vec<PathBuf>,
    /// How to say it: text for people, json for scripts.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Text,
    Json,
}

pub(super) fn validate(args: &ValidateArgs) -> Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    let mut reports = Vec::new();
    let mut good = true;
    for pipeline in &args.pipelines {
        let (mut loaded, spec) = load::load_spec(pipeline, &[])?;
        loaded.warnings.extend(spec.iter().flat_map(load::missing_archives));
        in_file_order(&mut loaded.warnings);
        good &= loaded.problems.is_empty();
        match args.format {
            Format::Text => {
                load::report(&loaded)?;
                match (&loaded.plan, loaded.problems.len()) {
                    (Some(plan), _) => writeln!(
                        out,
                        "{}: good; {}, {}, {}",
                        pipeline.display(),
                        table::things(plan.sources.len(), "source"),
                        table::things(plan.steps.len(), "step"),
                        table::things(plan.sinks.len(), "sink")
                    )?,
                    (None, problems) => {
                        writeln!(out, "{}: {}", pipeline.display(), table::things(problems, "problem"))?;
                    }
                }
            }
            Format::Json => reports.push(serde_json::json!({
                "pipeline": pipeline,
                "good": loaded.problems.is_empty(),
                "problems": loaded.problems,
                "warnings": loaded.warnings,
            })),
        }
    }
    if args.format == Format::Json {
        writeln!(out, "{}", serde_json::to_string_pretty(&reports)?)?;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(2) })
}
