//! `thalweg models ls`: which models a registry holds, or which versions of one.

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use thalweg_models::registry::compare::Better;
use thalweg_models::registry::{Card, Reference, Registry, RegistryError, Version};

use super::with::{champion, number};
use crate::cli::table;

/// Metrics of a version that a table shows; `show` has all.
const METRICS_SHOWN: usize = 3;

/// List the models of a registry, or the versions of one.
///
/// Metrics are those of the champion, or of the newest version where there is none. Numbers that were taken by writers who were stopped
/// are listed as unfinished: they stay unused.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  thalweg models ls
  thalweg models ls churn
  thalweg models ls --registry s3://bucket/models --output json")]
pub(super) struct LsArgs {
    /// A model, to list its versions.
    name: Option<String>,
}

/// A model with all its versions.
#[derive(Debug, Serialize)]
pub(super) struct Listed {
    name: String,
    champion: Option<Version>,
    bytes: u64,
    versions: Vec<ListedVersion>,
}

#[derive(Debug, Serialize)]
struct ListedVersion {
    version: Version,
    bytes: u64,
    is_champion: bool,
    /// None of a version that doesn't exist, or whose card can't be read.
    card: Option<Card>,
    /// What is wrong with it.
    problem: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Listing {
    Models(Vec<Listed>),
    Model(Listed),
}

pub(super) fn ls(registry: &Registry, args: &LsArgs) -> Result<Listing> {
    if let Some(name) = &args.name {
        let model = listed(registry, name)?;
        if model.versions.is_empty() {
            // Says what there is instead.
            registry.resolve(&format!("{name}@latest").parse::<Reference>()?)?;
        }
        return Ok(Listing::Model(model));
    }
    let names = registry.names()?;
    if names.is_empty() {
        anyhow::bail!(
            "there are no models in {}; `thalweg models add` registers a file",
            registry.location()
        );
    }
    Ok(Listing::Models(names.iter().map(|name| listed(registry, name)).collect::<Result<_, _>>()?))
}

fn listed(registry: &Registry, name: &str) -> Result<Listed, RegistryError> {
    let listing = registry.listing(name)?;
    let champion = champion(registry, name)?;
    let version = |listed: &thalweg_models::registry::listing::Listed| {
        let (card, problem) = match registry.card(&Reference::to(name, listed.version)) {
            _ if !listed.is_finished => (None, Some("unfinished".to_owned())),
            Ok(card) => (Some(card), None),
            Err(error @ RegistryError::Storage { .. }) => return Err(error),
            Err(error) => (None, Some(error.to_string())),
        };
        let is_champion = champion == Some(listed.version);
        Ok(ListedVersion { version: listed.version, bytes: listed.bytes, is_champion, card, problem })
    };
    let versions = listing.versions.iter().map(version).collect::<Result<Vec<_>, _>>()?;
    let bytes = versions.iter().map(|version| version.bytes).sum();
    Ok(Listed { name: name.to_owned(), champion, bytes, versions })
}

pub(super) fn shown(listing: &Listing) -> String {
    match listing {
        Listing::Models(models) => shown_models(models),
        Listing::Model(model) => shown_versions(model),
    }
}

fn shown_models(models: &[Listed]) -> String {
    let mut table =
        table::numbers(&["model", "champion", "versions", "newest", "created", "size", "metrics"]);
    for model in models {
        let cards: Vec<&Card> = model.versions.iter().filter_map(|version| version.card.as_ref()).collect();
        let newest = cards.last();
        let champion = cards.iter().find(|card| Some(card.version) == model.champion);
        table.add_row([
            model.name.clone(),
            model.champion.map_or_else(|| "none yet".to_owned(), |version| version.to_string()),
            cards.len().to_string(),
            newest.map_or_else(String::new, |card| card.version.to_string()),
            newest.map_or_else(String::new, |card| card.created_at.to_string()),
            table::bytes(model.bytes),
            champion.or(newest).map_or_else(String::new, |card| metrics(card)),
        ]);
    }
    table.to_string()
}

fn shown_versions(model: &Listed) -> String {
    let mut table = table::numbers(&["version", "is", "created", "by", "model", "size", "metrics"]);
    for version in &model.versions {
        let is = if version.is_champion { "champion" } else { "" };
        let mut row = vec![version.version.to_string(), is.to_owned()];
        match (&version.card, &version.problem) {
            (Some(card), _) => row.extend([
                card.created_at.to_string(),
                card.created_by.clone(),
                kind(card),
                table::bytes(version.bytes),
                metrics(card),
            ]),
            (None, problem) => row.extend([
                String::new(),
                String::new(),
                String::new(),
                table::bytes(version.bytes),
                problem.clone().unwrap_or_default(),
            ]),
        }
        table.add_row(row);
    }
    format!("{}\n{table}", model.name)
}

/// What a model is, in a word.
pub(super) fn kind(card: &Card) -> String {
    let architecture = card.architecture.as_ref().map(|architecture| architecture.name());
    architecture.unwrap_or_else(|| card.file.kind.extension()).to_owned()
}

// Those that say how good it is come first.
fn metrics(card: &Card) -> String {
    let (judged, others): (Vec<_>, Vec<_>) =
        card.metrics.iter().partition(|(name, _)| Better::of(name).is_some());
    let shown = judged.into_iter().chain(others).take(METRICS_SHOWN);
    let mut texts: Vec<String> = shown.map(|(name, value)| format!("{name} {}", number(*value))).collect();
    if card.metrics.len() > METRICS_SHOWN {
        texts.push("…".to_owned());
    }
    texts.join(", ")
}
