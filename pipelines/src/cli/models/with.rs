//! The commands, and what they have in common.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use thalweg_models::registry::{Author, Registry, RegistryError, Time, Version};

use super::{change, compare, list, show};
use crate::cli::logging;
use crate::registry;

/// List, show, compare and promote versions of models, and register them.
///
/// A registry is a folder or a bucket. Versions are numbered, and never change. One of a model's is its champion: the one that
/// `churn` means where no number is given. A version is named churn@3, churn@champion or churn@latest.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  thalweg models add churn.onnx --name churn --note 'of the spring'
  thalweg models ls
  thalweg models compare churn@2 churn@3
  thalweg models promote churn@3
  thalweg models rollback churn                   the champion before is the champion again
  thalweg models ls --registry s3://bucket/models --output json")]
pub(in crate::cli) struct ModelsArgs {
    #[command(subcommand)]
    command: ModelsCommand,
    /// The registry: a folder, or a URL such as s3://bucket/models.
    #[arg(long, global = true, default_value = "models", value_name = "DIR_OR_URL")]
    registry: String,
    /// How to print the result: a table for people, json for scripts.
    #[arg(long, global = true, value_enum, default_value = "table")]
    output: Output,
}

/// How a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Output {
    /// For people.
    Table,
    /// For scripts.
    Json,
}

#[derive(Debug, Subcommand)]
enum ModelsCommand {
    Ls(list::LsArgs),
    Show(show::ShowArgs),
    Compare(compare::CompareArgs),
    Promote(change::PromoteArgs),
    Rollback(change::RollbackArgs),
    Add(change::AddArgs),
}

pub(in crate::cli) fn models(args: &ModelsArgs) -> Result<ExitCode> {
    let open = || registry::open(&args.registry);
    let printed = match &args.command {
        ModelsCommand::Ls(command) => print(args, &list::ls(&open()?, command)?, list::shown),
        ModelsCommand::Show(command) => print(args, &show::show(&open()?, command)?, show::shown),
        ModelsCommand::Compare(command) => print(args, &compare::compare(&open()?, command)?, compare::shown),
        ModelsCommand::Promote(command) => {
            print(args, &change::promote(&open()?, command)?, change::promoted)
        }
        ModelsCommand::Rollback(command) => {
            print(args, &change::rollback(&open()?, command)?, change::rolled_back)
        }
        ModelsCommand::Add(command) => {
            // The folder is made when there is something to be put into it.
            let draft = change::draft(command)?;
            let added = change::add(&registry::create(&args.registry)?, command, &draft)?;
            print(args, &added, change::added)
        }
    };
    printed.map(|()| ExitCode::SUCCESS)
}

fn print<T: Serialize>(args: &ModelsArgs, result: &T, text: impl FnOnce(&T) -> String) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match args.output {
        Output::Json => writeln!(out, "{}", serde_json::to_string_pretty(result)?)?,
        Output::Table => writeln!(out, "{}", text(result))?,
    }
    Ok(())
}

/// Who changes a registry, and why.
#[derive(Debug, Args)]
pub(in crate::cli) struct ByArgs {
    /// Who does it.
    #[arg(long, env = "USER", hide_env = true, default_value = "unknown", value_name = "WHO")]
    by: String,
    /// Why; kept with it.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    pub(in crate::cli) note: String,
}

impl ByArgs {
    pub(in crate::cli) fn author(&self) -> Author {
        // To the second: that is what people read.
        Author { by: self.by.clone(), at: Time::from_us(chrono::Utc::now().timestamp() * 1_000_000) }
    }
}

/// That the champion can't be told is no reason to show nothing else.
pub(super) fn champion(registry: &Registry, name: &str) -> Result<Option<Version>, RegistryError> {
    match registry.champion(name) {
        Err(error @ (RegistryError::Damaged { .. } | RegistryError::Format { .. })) => {
            logging::warning(format_args!("{error}"));
            Ok(None)
        }
        champion => champion,
    }
}

/// A number as people read it: six digits that count.
pub(in crate::cli) fn number(value: f64) -> String {
    const DIGITS: i32 = 6;
    let magnitude = if value == 0.0 { 0 } else { value.abs().log10().floor() as i32 };
    if !(-5..15).contains(&magnitude) {
        return format!("{value:.3e}");
    }
    let decimals = (DIGITS - 1 - magnitude).max(0) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 5.0, 0.25, 1.0 / 3.0, 1234.5678, 120_000.0, 9_999_999.0, 1.5e-9, -0.002];
        assert_eq!(
            shown.map(number),
            ["0", "5", "0.25", "0.333333", "1234.57", "120000", "9999999", "1.500e-9", "-0.002"]
        );
    }
}
