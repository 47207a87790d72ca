//! `thalweg models add`, `promote` and `rollback`: what changes a registry.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use thalweg_models::registry::{Card, Changed, Draft, FileKind, Reference, Registry, Version, Which};

use super::show::ports;
use super::with::ByArgs;
use crate::cli::table;

/// Register a model: an ONNX file, or a safetensors file that Thalweg wrote.
///
/// The file is read, and has to be one that can be run; its inputs and outputs stand on its card. It becomes the next version, and is used
/// by those who name it; by all others once it is promoted.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  thalweg models add churn.onnx --name churn
  thalweg models add churn.onnx --name churn --parent 2 --metric recall=0.93 --note 'with the figures of May'")]
pub(super) struct AddArgs {
    /// The file: .onnx or .safetensors.
    file: PathBuf,
    /// The model's name.
    #[arg(long)]
    name: String,
    /// How good it is, such as recall=0.93; may be given several times.
    #[arg(long = "metric", value_name = "NAME=NUMBER", value_parser = metric)]
    metrics: Vec<(String, f64)>,
    /// The version that it is to replace, or was trained from.
    #[arg(long, value_name = "NUMBER", value_parser = version)]
    parent: Option<Version>,
    #[command(flatten)]
    by: ByArgs,
}

/// Make a version the champion: the one that is used where none is named.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  thalweg models promote churn@3
  thalweg models promote churn@latest --note 'finds more, see compare'")]
pub(super) struct PromoteArgs {
    /// The version.
    #[arg(value_name = "NAME@VERSION")]
    model: Reference,
    #[command(flatten)]
    by: ByArgs,
}

/// Make that version the champion again which was before the one that is. Nothing is asked.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  thalweg models rollback churn
  thalweg models rollback churn --note 'false alarms'")]
pub(super) struct RollbackArgs {
    /// The model.
    name: String,
    #[command(flatten)]
    by: ByArgs,
}

pub(super) fn draft(args: &AddArgs) -> Result<Draft> {
    let file = args.file.display();
    let kind = FileKind::of(&args.file.to_string_lossy())
        .with_context(|| format!("{file} is neither .onnx nor .safetensors: export the model as ONNX"))?;
    let bytes = std::fs::read(&args.file).with_context(|| format!("can't read {file}"))?;
    let metrics = args.metrics.iter().cloned().collect();
    Ok(Draft { parent: args.parent, metrics, notes: args.by.note.clone(), ..Draft::new(kind, bytes) })
}

pub(super) fn add(registry: &Registry, args: &AddArgs, draft: &Draft) -> Result<Card> {
    let added = registry.add(&args.name, draft, &args.by.author());
    added.with_context(|| format!("can't register {}", args.file.display()))
}

pub(super) fn added(card: &Card) -> String {
    format!(
        "{} is registered: {}, {}\n  inputs   {}\n  outputs  {}",
        card.reference(),
        card.file.kind.extension(),
        table::bytes(card.file.bytes),
        ports(&card.inputs),
        ports(&card.outputs)
    )
}

pub(super) fn promote(registry: &Registry, args: &PromoteArgs) -> Result<Changed> {
    if args.model.which == Which::Champion {
        let name = &args.model.name;
        anyhow::bail!(
            "say which version to promote, such as {name}@latest; `thalweg models ls {name}` lists them"
        );
    }
    Ok(registry.promote(&args.model, &args.by.author(), &args.by.note)?)
}

pub(super) fn promoted(changed: &Changed) -> String {
    let Changed { name, before, now } = changed;
    match before {
        Some(before) if before == now => format!("{name}@{now} is the champion already"),
        Some(before) => format!("{name}@{now} is the champion now; {name}@{before} was"),
        None => format!("{name}@{now} is the champion now; there was none"),
    }
}

pub(super) fn rollback(registry: &Registry, args: &RollbackArgs) -> Result<Changed> {
    Ok(registry.rollback(&args.name, &args.by.author(), &args.by.note)?)
}

pub(super) fn rolled_back(changed: &Changed) -> String {
    let Changed { name, before, now } = changed;
    let was = before.map_or_else(String::new, |before| format!("; {name}@{before} was"));
    format!("{name}@{now} is the champion again{was}")
}

fn metric(text: &str) -> Result<(String, f64), String> {
    let read =
        text.split_once('=').and_then(|(name, value)| Some((name.trim(), value.trim().parse::<f64>().ok()?)));
    match read {
        Some((name, value)) if !name.is_empty() && value.is_finite() => Ok((name.to_owned(), value)),
        _ => Err("write a name and a number: recall=0.93".to_owned()),
    }
}

fn version(text: &str) -> Result<Version, String> {
    text.parse().ok().and_then(Version::new).ok_or_else(|| "versions are numbers from 1".to_owned())
}
