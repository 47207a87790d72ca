//! `thalweg models`: the registry of models.

#[cfg(not(feature = "models"))]
mod absent;
#[cfg(feature = "models")]
mod change;
#[cfg(feature = "models")]
mod compare;
#[cfg(feature = "models")]
mod list;
#[cfg(feature = "models")]
mod show;
#[cfg(feature = "models")]
mod with;

#[cfg(not(feature = "models"))]
pub(super) use absent::{ModelsArgs, models};
#[cfg(feature = "models")]
pub(super) use with::{ByArgs, ModelsArgs, Output, models, number};
