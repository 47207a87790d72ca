//! `thalweg explain`: the plan of a pipeline.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};

use super::load;

/// Show what a pipeline will do: its plan as a tree, with types, keys, shards and where rows are exchanged.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  thalweg explain provider_health\n  thalweg explain my_pipeline.yaml --format mermaid"
)]
pub(super) struct ExplainArgs {
    /// A file, or a name of the catalogue.
    pipeline: PathBuf,
    /// How to show it.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// A tree.
    Text,
    /// A diagram for Markdown.
    Mermaid,
    /// For scripts.
    Json,
}

pub(super) fn explain(args: &ExplainArgs) -> Result<ExitCode> {
    let Some(plan) = load::load_or_report(&args.pipeline)? else { return Ok(ExitCode::from(2)) };
    let tree = plan.explain();
    let text = match args.format {
        Format::Text => tree.to_string(),
        Format::Mermaid => tree.mermaid(),
        Format::Json => serde_json::to_string_pretty(&tree)?,
    };
    writeln!(std::io::stdout(), "{}", text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}
