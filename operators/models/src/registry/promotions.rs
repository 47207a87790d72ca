//! Which version is champion: a log of promotions, of which the newest counts.
//!
//! ```text
//!   promotions/1.json  promote  @1                 1 ◀─┐
//!   promotions/2.json  promote  @3, replaces 1     2   │ back to what entry 2 replaced
//!   promotions/3.json  rollback @1 ────────────────────┘
//! ```
//!
//! An entry is written only where there is none of its number, so of two who promote at once both are in the log, one after the other.

use serde::{Deserialize, Serialize};

use super::card::{Author, FORMAT, from_json, to_json};
use super::reference::{Reference, Version};
use super::{Registry, RegistryError};

/// The folder of the log, beside those of the versions.
pub(super) const FOLDER: &str = "promotions";

/// How a version became champion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Somebody chose it.
    Promote,
    /// It was champion before the one that was.
    Rollback,
}

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promotion {
    /// Of the entry.
    pub format: u64,
    /// Its place in the log, from 1.
    pub number: u64,
    /// The version that is champion from here on.
    pub version: Version,
    /// How it became so.
    pub action: Action,
    /// The entry to whose version a rollback goes back.
    pub replaces: Option<u64>,
    /// Who did it, and when.
    #[serde(flatten)]
    pub author: Author,
    /// Why.
    pub notes: String,
}

/// What a promotion or a rollback changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// The model.
    pub name: String,
    /// Its champion before; none before the first.
    pub before: Option<Version>,
    /// Its champion now. The same as before where nothing was to be done.
    pub now: Version,
}

impl Registry {
    /// Makes a version the champion, after a look whether it is whole. Where it is the champion already, nothing is written.
    ///
    /// # Errors
    /// If there is no such version, or its file is damaged; if the storage fails.
    pub fn promote(&self, model: &Reference, author: &Author, notes: &str) -> Result<Changed, RegistryError> {
        let version = self.load(model)?.card.version;
        let name = &model.name;
        loop {
            let numbers = self.promotion_numbers(name)?;
            let (newest, is_whole) = self.newest_readable(name, &numbers)?;
            let before = newest.as_ref().map(|newest| newest.version);
            let changed = Changed { name: name.clone(), before, now: version };
            let entry = Promotion {
                format: FORMAT,
                number: numbers.last().map_or(1, |last| last + 1),
                version,
                action: Action::Promote,
                replaces: newest.map(|newest| newest.number),
                author: author.clone(),
                notes: notes.to_owned(),
            };
            if (is_whole && before == Some(version)) || self.enter(name, &entry)? {
                return Ok(changed);
            }
        }
    }

    /// Makes the version the champion that was so before the one that is; again, and it is the one before that.
    ///
    /// # Errors
    /// If there is none before, or it is damaged; if the storage fails.
    pub fn rollback(&self, name: &str, author: &Author, notes: &str) -> Result<Changed, RegistryError> {
        loop {
            let newest = self.newest_promotion(name)?;
            let Some(replaced) = newest.replaces else {
                return Err(RegistryError::NothingBefore { name: name.to_owned(), champion: newest.version });
            };
            let target = self.promotion(name, replaced)?;
            self.load(&Reference::to(name, target.version))?;
            let entry = Promotion {
                format: FORMAT,
                number: newest.number + 1,
                version: target.version,
                action: Action::Rollback,
                replaces: target.replaces,
                author: author.clone(),
                notes: notes.to_owned(),
            };
            if self.enter(name, &entry)? {
                let before = Some(newest.version);
                return Ok(Changed { name: name.to_owned(), before, now: entry.version });
            }
        }
    }

    /// The champion of a model, if something was promoted.
    ///
    /// # Errors
    /// If the newest entry of the log can't be read.
    pub fn champion(&self, name: &str) -> Result<Option<Version>, RegistryError> {
        let newest = self.promotion_numbers(name)?.last().copied();
        newest.map(|number| Ok(self.promotion(name, number)?.version)).transpose()
    }

    /// All entries of the log, the oldest first.
    ///
    /// # Errors
    /// If the log can't be listed; of each entry, if it can't be read.
    pub fn promotions(&self, name: &str) -> Result<Vec<Result<Promotion, RegistryError>>, RegistryError> {
        let numbers = self.promotion_numbers(name)?;
        Ok(numbers.into_iter().map(|number| self.promotion(name, number)).collect())
    }

    fn newest_promotion(&self, name: &str) -> Result<Promotion, RegistryError> {
        match self.promotion_numbers(name)?.last() {
            Some(number) => self.promotion(name, *number),
            None => Err(self.no_champion(name)?),
        }
    }

    // The newest entry that can be read, and whether it is the newest of all: a promotion mends a damaged log.
    fn newest_readable(
        &self,
        name: &str,
        numbers: &[u64],
    ) -> Result<(Option<Promotion>, bool), RegistryError> {
        let mut is_whole = true;
        for number in numbers.iter().rev() {
            match self.promotion(name, *number) {
                Err(RegistryError::Damaged { .. }) => is_whole = false,
                newest => return Ok((Some(newest?), is_whole)),
            }
        }
        Ok((None, is_whole))
    }

    pub(super) fn no_champion(&self, name: &str) -> Result<RegistryError, RegistryError> {
        let listing = self.listing(name)?;
        if listing.versions.is_empty() {
            return self.missing(name, None);
        }
        let mut hint = listing.told();
        if let Some(latest) = listing.latest() {
            hint =
                format!("{hint}; name one of them, or promote one: `thalweg models promote {name}@{latest}`");
        }
        Ok(RegistryError::NoChampion { location: self.location().to_owned(), name: name.to_owned(), hint })
    }

    fn enter(&self, name: &str, entry: &Promotion) -> Result<bool, RegistryError> {
        let object = format!("{name}/{FOLDER}/{}.json", entry.number);
        self.objects().create(&object, to_json(entry, &object)?)
    }

    fn promotion(&self, name: &str, number: u64) -> Result<Promotion, RegistryError> {
        let object = format!("{name}/{FOLDER}/{number}.json");
        let path = self.objects().called(&object);
        let hint = || format!("promote a version again: `thalweg models promote {name}@N`");
        let damaged = |detail: &str| RegistryError::Damaged {
            path: path.clone(),
            detail: detail.to_owned(),
            hint: hint(),
        };
        let bytes = self.objects().get(&object)?.ok_or_else(|| damaged("it is missing"))?;
        let entry: Promotion = from_json(&bytes, &path, hint)?;
        if entry.number != number || entry.replaces.is_some_and(|replaced| replaced >= number) {
            return Err(damaged("it is another entry's"));
        }
        Ok(entry)
    }

    fn promotion_numbers(&self, name: &str) -> Result<Vec<u64>, RegistryError> {
        let objects = self.objects().list(&format!("{name}/{FOLDER}"))?;
        let number = |object: &str| Version::read(object.strip_suffix(".json")?).map(Version::number);
        let mut numbers: Vec<u64> = objects.iter().filter_map(|(object, _)| number(object)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }
}
