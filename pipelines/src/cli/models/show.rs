//! `thalweg models show`: all that is known of a version.

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use thalweg_models::infer::Port;
use thalweg_models::registry::promotions::Action;
use thalweg_models::registry::{Card, Promotion, Reference, Registry};

use super::list::kind;
use super::with::{champion, number};
use crate::cli::{logging, table};

/// Show what is known of a version: its file, inputs and outputs, what it was trained on, how good it is; and its model's promotions.
///
/// The file is read, and its hash compared.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  thalweg models show churn@3
  thalweg models show churn                       its champion
  thalweg models show churn@latest --output json")]
pub(super) struct ShowArgs {
    /// The version; without one, the champion.
    #[arg(value_name = "NAME[@VERSION]")]
    model: Reference,
}

#[derive(Debug, Serialize)]
pub(super) struct Shown {
    path: String,
    is_champion: bool,
    card: Card,
    promotions: Vec<Promotion>,
}

pub(super) fn show(registry: &Registry, args: &ShowArgs) -> Result<Shown> {
    let loaded = registry.load(&args.model)?;
    let name = &args.model.name;
    let is_champion = champion(registry, name)? == Some(loaded.card.version);
    let mut promotions = Vec::new();
    for promotion in registry.promotions(name)? {
        match promotion {
            Ok(promotion) => promotions.push(promotion),
            Err(error) => logging::warning(format_args!("{error}")),
        }
    }
    Ok(Shown { path: loaded.path().to_owned(), is_champion, card: loaded.card, promotions })
}

pub(super) fn shown(shown: &Shown) -> String {
    let card = &shown.card;
    let champion = if shown.is_champion { ", the champion" } else { "" };
    let mut lines = vec![format!("{}{champion}", card.reference())];
    let mut line = |name: &str, text: String| {
        if !text.is_empty() {
            lines.push(format!("  {name:<12} {text}"));
        }
    };
    line("created", format!("{} by {}", card.created_at, card.created_by));
    line("model", kind(card));
    line("file", format!("{}, {}, xxh3 {}", shown.path, table::bytes(card.file.bytes), card.file.xxh3));
    line("inputs", ports(&card.inputs));
    line("outputs", ports(&card.outputs));
    if let Some(trained) = &card.trained_on {
        line("trained on", format!("step {} of {}", trained.step, trained.pipeline));
        line("", format!("{} to {}", trained.from, trained.to));
        line("", format!("{} rows, seed {}", table::count(trained.rows), trained.seed));
    }
    line("parent", card.parent.map_or_else(String::new, |parent| format!("{}@{parent}", card.name)));
    for (at, (name, value)) in card.metrics.iter().enumerate() {
        line(if at == 0 { "metrics" } else { "" }, format!("{name} {}", number(*value)));
    }
    let quantile = |quantile: &thalweg_models::model::ScoreQuantile| {
        format!("{}: {}", number(quantile.quantile), number(f64::from(quantile.score)))
    };
    line("quantiles", card.quantiles.iter().map(quantile).collect::<Vec<_>>().join(", "));
    line("notes", card.notes.clone());
    for (at, promotion) in shown.promotions.iter().enumerate() {
        line(if at == 0 { "promotions" } else { "" }, told(promotion));
    }
    lines.join("\n")
}

fn told(promotion: &Promotion) -> String {
    let action = match promotion.action {
        Action::Promote => "to",
        Action::Rollback => "back to",
    };
    let notes = if promotion.notes.is_empty() { String::new() } else { format!(": {}", promotion.notes) };
    format!("{} {action} {} by {}{notes}", promotion.author.at, promotion.version, promotion.author.by)
}

/// Names, types and shapes, as `x f32[2]`.
pub(super) fn ports(ports: &[Port]) -> String {
    let shown = |port: &Port| {
        let element = format!("{:?}", port.element).to_lowercase();
        if port.shape.is_empty() {
            format!("{} {element}", port.name)
        } else {
            format!("{} {element}{:?}", port.name, port.shape)
        }
    };
    ports.iter().map(shown).collect::<Vec<_>>().join(", ")
}
