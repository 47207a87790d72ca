//! `thalweg train`: a new version of a step's model, from a piece of the past.

#[cfg(not(feature = "models"))]
mod absent;
#[cfg(feature = "models")]
mod with;

#[cfg(not(feature = "models"))]
pub(super) use absent::{TrainArgs, train};
#[cfg(feature = "models")]
pub(super) use with::{TrainArgs, train};
