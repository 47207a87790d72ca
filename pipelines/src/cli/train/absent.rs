//! What is said of training by a program that was built without models.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

/// Train a step's model: not in this program, which was built without the feature models.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(in crate::cli) struct TrainArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _arguments: Vec<String>,
}

pub(in crate::cli) fn train(_: &TrainArgs) -> Result<ExitCode> {
    anyhow::bail!("this program was built without trained models; build it with them: make models")
}
