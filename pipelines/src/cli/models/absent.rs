//! What is said of models by a program that was built without them.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

/// List, show, compare and promote versions of models: not in this program, which was built without the feature models.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(in crate::cli) struct ModelsArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _arguments: Vec<String>,
}

pub(in crate::cli) fn models(_: &ModelsArgs) -> Result<ExitCode> {
    anyhow::bail!(
        "this program was built without models; build it with them: cargo build --release -p thalweg --features models"
    )
}
