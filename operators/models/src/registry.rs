//! The registry: versions of models in a folder or a bucket, never changed, and which of them is champion.
//!
//! ```text
//!   models/                          a registry: `ls` and `cat` show all there is to it
//!     churn/                         a model
//!       1/  claim.json               its first version: who took the number …
//!           model.onnx               … the file …
//!           card.json                … and what is known of it. Written last: with it the version exists
//!       2/  claim.json               the next: its writer was stopped, so it never exists, and its number isn't given again
//!       3/  claim.json model.safetensors card.json
//!       promotions/
//!         1.json                     @1 was promoted, by whom and when
//!         2.json                     @3 was: the newest entry says which version is champion
//! ```
//!
//! Every object is written if there is none of its name, and never again. So two who register at once get two numbers, a version is the
//! same for ever, and all that was champion can be again. Whoever reads a model gets bytes of which the hash is right, or an error.
//!
//! | file | what |
//! |---|---|
//! | [`card`] | what is known of a version |
//! | [`compare`] | which of two measures better |
//! | [`listing`] | which versions there are |
//! | [`promotions`] | which of them is champion |
//! | [`reference`](mod@reference) | `churn@3`, `models/churn@champion` |
//! | [`time`] | when something was |
//!
//! All calls block, on a thread of the registry's own: they are not for async code, nor for workers.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::path::Path;
use serde_json::json;

use crate::device::Device;
use crate::infer::Infer;

pub mod card;
pub mod compare;
mod error;
pub mod listing;
pub mod promotions;
pub mod reference;
mod store;
pub mod time;

pub use card::{Author, Card, Draft, FileKind, TrainedOn};
pub use error::RegistryError;
pub use promotions::{Changed, Promotion};
pub use reference::{Located, Reference, Version, Which};
pub use time::Time;

use card::{Contents, FORMAT, FileCard, from_json, to_json};
use listing::file_of;
use reference::check_name;
use store::{Objects, folder_of};

/// A version's card: with it the version exists.
const CARD: &str = "card.json";
/// Who took a version's number.
const CLAIM: &str = "claim.json";

/// A registry. Cheap to clone; clones may be used by several threads at once.
#[derive(Clone)]
pub struct Registry {
    objects: Objects,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Registry({})", self.location())
    }
}

impl Registry {
    /// Opens a folder that is there.
    ///
    /// # Errors
    /// [`RegistryError::Location`] if it isn't, or it is a URL: what stands behind one is to be handed in with [`Registry::over`].
    pub fn open(location: &str) -> Result<Registry, RegistryError> {
        Ok(Registry { objects: Objects::in_folder(location)? })
    }

    /// Opens a folder, which is made when it isn't there.
    ///
    /// # Errors
    /// [`RegistryError::Location`] if that can't be done, or it is a URL.
    pub fn create(location: &str) -> Result<Registry, RegistryError> {
        std::fs::create_dir_all(folder_of(location)?).map_err(|error| RegistryError::Location {
            location: location.to_owned(),
            detail: error.to_string(),
            hint: "name another folder, or look at its owner and permissions",
        })?;
        Registry::open(location)
    }

    /// A registry below `root` of a store that is handed in. `location` is what people call it, such as `s3://bucket/models`.
    ///
    /// # Errors
    /// [`RegistryError::Location`] if there is no thread for it.
    pub fn over(store: Arc<dyn ObjectStore>, root: Path, location: &str) -> Result<Registry, RegistryError> {
        Ok(Registry { objects: Objects::over(store, root, location)? })
    }

    /// The folder or URL, as given.
    pub fn location(&self) -> &str {
        self.objects.location()
    }

    fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Takes the next number of a model's versions, for a model that is yet to be made: its file may then say which version it is.
    ///
    /// # Errors
    /// If it is no name; if the storage fails.
    pub fn claim(&self, name: &str, author: &Author) -> Result<Claim, RegistryError> {
        check_name(name)?;
        let mut version = self.listing(name)?.next();
        // Two claims must differ, or both writers find theirs written.
        let nonce = format!("{:016x}", RandomState::new().hash_one(std::process::id()));
        let claim = json!({ "format": FORMAT, "by": author.by, "at": author.at, "nonce": nonce });
        loop {
            let object = format!("{name}/{version}/{CLAIM}");
            if self.objects.create(&object, to_json(&claim, &object)?)? {
                return Ok(Claim { registry: self.clone(), name: name.to_owned(), version });
            }
            version = version.next();
        }
    }

    /// Registers a model under the next number.
    ///
    /// # Errors
    /// If the draft makes no card or its bytes no model, in which case no number is taken; if the storage fails.
    pub fn add(&self, name: &str, draft: &Draft, author: &Author) -> Result<Card, RegistryError> {
        let contents = self.check(name, draft)?;
        self.claim(name, author)?.write(contents, draft, author)
    }

    fn check(&self, name: &str, draft: &Draft) -> Result<Contents, RegistryError> {
        check_name(name)?;
        if let Some(parent) = draft.parent {
            self.card(&Reference::to(name, parent))?;
        }
        draft.check()
    }

    /// The number of the version that is meant. That it exists is not looked at where it is named by its number.
    ///
    /// # Errors
    /// If there is no champion, or no version at all; if the storage fails.
    pub fn resolve(&self, model: &Reference) -> Result<Version, RegistryError> {
        let name = &model.name;
        match model.which {
            Which::Number(version) => Ok(version),
            Which::Latest => match self.listing(name)?.latest() {
                Some(latest) => Ok(latest),
                None => Err(self.missing(name, None)?),
            },
            Which::Champion => match self.champion(name)? {
                Some(champion) => Ok(champion),
                None => Err(self.no_champion(name)?),
            },
        }
    }

    /// The card of a version.
    ///
    /// # Errors
    /// If there is no such version; if its card is damaged, or of a later format; if the storage fails.
    pub fn card(&self, model: &Reference) -> Result<Card, RegistryError> {
        let (name, version) = (&model.name, self.resolve(model)?);
        let object = format!("{name}/{version}/{CARD}");
        let path = self.objects.called(&object);
        let Some(bytes) = self.objects.get(&object)? else {
            return Err(self.missing(name, Some(version))?);
        };
        let card: Card = from_json(&bytes, &path, || mend(name))?;
        if card.name != *name || card.version != version {
            let detail = format!("it is the card of {}", card.reference());
            return Err(RegistryError::Damaged { path, detail, hint: mend(name) });
        }
        Ok(card)
    }

    /// A version with its file, whose hash was found right.
    ///
    /// # Errors
    /// As [`Registry::card`]; if the file is missing or is not what was registered.
    pub fn load(&self, model: &Reference) -> Result<Loaded, RegistryError> {
        let card = self.card(model)?;
        let object = file_of(&card.name, card.version, card.file.kind);
        let path = self.objects.called(&object);
        let hint = || mend(&card.name);
        let damaged = |detail: String| RegistryError::Damaged { path: path.clone(), detail, hint: hint() };
        let bytes = self.objects.get(&object)?.ok_or_else(|| damaged("it is missing".to_owned()))?;
        let found = FileCard::of(card.file.kind, &bytes);
        if found.bytes != card.file.bytes {
            return Err(damaged(format!("it has {} bytes, and had {}", found.bytes, card.file.bytes)));
        }
        if found.xxh3 != card.file.xxh3 {
            return Err(damaged(format!("its hash is {}, and was {}", found.xxh3, card.file.xxh3)));
        }
        Ok(Loaded { card, bytes, path })
    }
}

/// How to go on without a version that is damaged.
fn mend(name: &str) -> String {
    format!("put it back from a copy, or take another version (`thalweg models ls {name}` lists them)")
}

/// A version's number, taken for a model that is yet to be registered. Where nothing is, the number stays unused.
#[derive(Debug)]
pub struct Claim {
    registry: Registry,
    name: String,
    version: Version,
}

impl Claim {
    /// The version that it will be.
    pub fn reference(&self) -> Reference {
        Reference::to(&self.name, self.version)
    }

    /// Registers the model: its file first, its card last.
    ///
    /// # Errors
    /// If the draft makes no card or its bytes no model; if somebody else wrote under this number; if the storage fails.
    pub fn publish(self, draft: &Draft, author: &Author) -> Result<Card, RegistryError> {
        let contents = self.registry.check(&self.name, draft)?;
        self.write(contents, draft, author)
    }

    fn write(self, contents: Contents, draft: &Draft, author: &Author) -> Result<Card, RegistryError> {
        let (name, objects) = (&self.name, &self.registry.objects);
        let card = contents.card(name, self.version, draft, author);
        let card_object = format!("{name}/{}/{CARD}", self.version);
        for (object, bytes) in [
            (file_of(name, self.version, draft.kind), draft.bytes.clone()),
            (card_object.clone(), to_json(&card, &card_object)?),
        ] {
            if !objects.create(&object, bytes)? {
                return Err(RegistryError::Taken(objects.called(&object)));
            }
        }
        Ok(card)
    }
}

/// A version with its file.
#[derive(Debug)]
pub struct Loaded {
    /// What is known of it.
    pub card: Card,
    /// Its file.
    pub bytes: Vec<u8>,
    path: String,
}

impl Loaded {
    /// Where the file lies: the registry's location and the way below it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The model, ready to run. An ONNX model runs on the CPU whatever the device.
    ///
    /// # Errors
    /// If the file is of a later format than this program reads, or the device isn't there.
    pub fn open(&self, device: Device) -> Result<Box<dyn Infer>, RegistryError> {
        let opened = self.card.file.kind.open(&self.bytes, device);
        opened.map_err(|source| RegistryError::Model { path: self.path.clone(), source })
    }
}

#[cfg(test)]
mod tests;
