//! Neural models.
