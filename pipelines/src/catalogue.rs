//! The catalogue: pipelines that ship with the product and run as they are, by name.
//!
//! A pipeline of the catalogue is a file like any other: `thalweg run provider_health` runs it, `thalweg catalogue provider_health`
//! prints it, to be copied and changed, and `thalweg test provider_health` runs its tests, which
//! say by example what comes out of it.

/// A pipeline of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// Its spec.
    pub text: &'static str,
    /// Its tests.
    pub tests: &'static str,
}

/// All of them.
pub const ENTRIES: [Entry; 4] = [
    Entry {
        name: "provider_health",
        text: include_str!("catalogue/provider_health.yaml"),
        tests: include_str!("catalogue/provider_health.test.yaml"),
    },
    Entry {
        name: "user_sessions",
        text: include_str!("catalogue/user_sessions.yaml"),
        tests: include_str!("catalogue/user_sessions.test.yaml"),
    },
    Entry {
        name: "population",
        text: include_str!("catalogue/population.yaml"),
        tests: include_str!("catalogue/population.test.yaml"),
    },
    Entry {
        name: "capacity",
        text: include_str!("catalogue/capacity.yaml"),
        tests: include_str!("catalogue/capacity.test.yaml"),
    },
];

/// The pipeline of a name.
pub fn find(name: &str) -> Option<Entry> {
    ENTRIES.into_iter().find(|entry| entry.name == name)
}
