//! Objects of a registry: a thin blocking face of `object_store`, over a folder or over what is handed in.
//!
//! What all else leans on is [`Objects::create`]: of all who would write an object of one name, one does. Nothing is replaced or deleted.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{Error as StorageError, ObjectStore, ObjectStoreExt};
use thalweg_engine::checkpoint::store::create_if_absent;
use tokio::runtime::Runtime;

use super::RegistryError;

/// A place for objects. Cheap to clone.
#[derive(Clone)]
pub(super) struct Objects {
    store: Arc<dyn ObjectStore>,
    root: Path,
    location: String,
    /// Where objects are files, their folder.
    folder: Option<PathBuf>,
    runtime: Arc<Runtime>,
}

impl Objects {
    /// A folder that is there.
    pub(super) fn in_folder(location: &str) -> Result<Objects, RegistryError> {
        let bad =
            |detail: String, hint| RegistryError::Location { location: location.to_owned(), detail, hint };
        let folder = FilePath::new(folder_of(location)?);
        if !folder.is_dir() {
            let hint = "`thalweg models add` makes one; or say where it is";
            return Err(bad("there is no such folder".to_owned(), hint));
        }
        let hint = "look at the folder's owner and permissions";
        let folder = folder.canonicalize().map_err(|error| bad(error.to_string(), hint))?;
        let store =
            LocalFileSystem::new_with_prefix(&folder).map_err(|error| bad(error.to_string(), hint))?;
        let mut objects = Objects::over(Arc::new(store), Path::default(), location)?;
        objects.folder = Some(folder);
        Ok(objects)
    }

    /// A store that is handed in, below `root`; `location` is how people call it.
    pub(super) fn over(
        store: Arc<dyn ObjectStore>,
        root: Path,
        location: &str,
    ) -> Result<Objects, RegistryError> {
        // Its one thread keeps a bucket's connections alive between calls.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("model registry")
            .enable_all()
            .build()
            .map_err(|error| RegistryError::Location {
                location: location.to_owned(),
                detail: error.to_string(),
                hint: "look at the limits of processes (`ulimit -u`)",
            })?;
        let location = location.trim_end_matches('/').to_owned();
        Ok(Objects { store, root, location, folder: None, runtime: Arc::new(runtime) })
    }

    /// The folder or URL, as given.
    pub(super) fn location(&self) -> &str {
        &self.location
    }

    /// What people call an object.
    pub(super) fn called(&self, name: &str) -> String {
        if name.is_empty() { self.location.clone() } else { format!("{}/{name}", self.location) }
    }

    fn path(&self, name: &str) -> Path {
        name.split('/').filter(|part| !part.is_empty()).fold(self.root.clone(), |path, part| path.join(part))
    }

    fn error(&self, action: &'static str, name: &str) -> impl Fn(StorageError) -> RegistryError + use<> {
        let path = self.called(name);
        move |source| RegistryError::Storage { action, path: path.clone(), source }
    }

    /// Writes an object unless there is one of that name already: `false` then. Who finds its own bytes there has written them.
    pub(super) fn create(&self, name: &str, bytes: Vec<u8>) -> Result<bool, RegistryError> {
        let created = self
            .runtime
            .block_on(create_if_absent(&*self.store, &self.path(name), &bytes.into()))
            .map_err(self.error("write", name))?;
        self.make_last(name)?;
        Ok(created)
    }

    // A card must not outlive the file that it describes: files survive a loss of power, too.
    fn make_last(&self, name: &str) -> Result<(), RegistryError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let file = folder.join(name);
        let sync = |path: &FilePath| std::fs::File::open(path).and_then(|file| file.sync_all());
        let made_last = file.ancestors().take_while(|path| path.starts_with(folder)).try_for_each(sync);
        made_last.map_err(|source| {
            self.error("write", name)(StorageError::Generic { store: "local", source: Box::new(source) })
        })
    }

    /// An object's bytes, where there is one.
    pub(super) fn get(&self, name: &str) -> Result<Option<Vec<u8>>, RegistryError> {
        let path = self.path(name);
        match self.runtime.block_on(async { self.store.get(&path).await?.bytes().await }) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(StorageError::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.error("read", name)(error)),
        }
    }

    /// The names of all objects below a folder, relative to it and ascending, and how many bytes each has.
    pub(super) fn list(&self, folder: &str) -> Result<Vec<(String, u64)>, RegistryError> {
        let prefix = self.path(folder);
        let found: Vec<_> = self
            .runtime
            .block_on(self.store.list(Some(&prefix)).try_collect())
            .map_err(self.error("list", folder))?;
        let name = |path: &Path| {
            let parts = path.prefix_match(&prefix)?;
            Some(parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/"))
        };
        let mut objects: Vec<(String, u64)> =
            found.iter().filter_map(|object| Some((name(&object.location)?, object.size))).collect();
        objects.sort();
        Ok(objects)
    }
}

/// The folder that a location names.
pub(super) fn folder_of(location: &str) -> Result<&str, RegistryError> {
    let folder = location.strip_prefix("file://").unwrap_or(location);
    let hint = "give a folder, or a URL such as s3://bucket/models";
    let bad = |detail: String| RegistryError::Location { location: location.to_owned(), detail, hint };
    if let Some((scheme, _)) = folder.split_once("://") {
        return Err(bad(format!("nothing here knows {scheme}://")));
    }
    if folder.is_empty() { Err(bad("it names nothing".to_owned())) } else { Ok(folder) }
}
