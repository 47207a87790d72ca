//! Delta Lake.
