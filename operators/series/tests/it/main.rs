//! Tests of models and measures on real series.

mod data;
mod methods;
mod reference;
