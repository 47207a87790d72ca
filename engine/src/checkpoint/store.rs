//! Where checkpoints lie: a folder, or a bucket by URL.
//!
//! A thin blocking face of `object_store`: checkpoints are made by a thread of their own, which may wait. Workers never come here
//! while a job runs.
//!
//! What all else leans on is [`Store::create`]: of all who would write an object of one name, one does.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error as StorageError, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use tokio::runtime::Runtime;

use super::CheckpointError;

#[cfg(feature = "s3")]
mod s3;
#[cfg(not(feature = "s3"))]
mod s3 {
    use super::{Arc, CheckpointError, ObjectStore, Path};

    pub(super) async fn open(
        url: &url::Url,
        _environment: impl Iterator<Item = (String, String)>,
    ) -> Result<(Arc<dyn ObjectStore>, Path), CheckpointError> {
        let detail = "this program was built without the feature s3".to_owned();
        Err(CheckpointError::Location { url: url.to_string(), detail })
    }
}

/// How often an object is tried to be created that a bucket neither takes nor has.
const CREATE_ATTEMPTS: u32 = 5;
/// How long is waited before the second attempt; each time as long again.
const CREATE_AGAIN: Duration = Duration::from_millis(100);

/// Writes an object unless there is one of that name already: `false` then. Bytes must be those of this writer alone.
///
/// An answer may be lost on its way, and a request that is sent again is refused by what it has written itself. A bucket also refuses one
/// while another for the same name is under way, of which nothing may come. So what counts is what is there.
///
/// # Errors
/// What the storage says when it neither takes the object nor has it.
pub async fn create_if_absent(
    objects: &dyn ObjectStore,
    path: &Path,
    bytes: &Bytes,
) -> Result<bool, StorageError> {
    let mut attempt = 1;
    loop {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let Err(refused) = objects.put_opts(path, bytes.clone().into(), options).await else {
            return Ok(true);
        };
        match objects.get(path).await {
            Ok(found) => return Ok(found.bytes().await? == *bytes),
            Err(StorageError::NotFound { .. }) if attempt < CREATE_ATTEMPTS => {
                tokio::time::sleep(CREATE_AGAIN * attempt).await;
            }
            Err(_) => return Err(refused),
        }
        attempt += 1;
    }
}

/// A place for checkpoints. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    root: Path,
    location: String,
    /// Where objects are files, their folder.
    folder: Option<PathBuf>,
    runtime: Arc<Runtime>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.location)
    }
}

impl Store {
    /// Opens a folder, which is made when it isn't there, or a bucket by its URL (`s3://bucket/path`), configured by the environment
    /// as usual (`AWS_ACCESS_KEY_ID` …): one that can't be listed is told here.
    ///
    /// # Errors
    /// [`CheckpointError::Location`], [`CheckpointError::Unreachable`].
    pub fn open(location: &str) -> Result<Store, CheckpointError> {
        let bad = |detail: String| CheckpointError::Location { url: location.to_owned(), detail };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("checkpoint storage")
            .enable_all()
            .build()
            .map_err(|error| bad(error.to_string()))?;
        let runtime = Arc::new(runtime);
        if location.contains("://") && !location.starts_with("file://") {
            let url = url::Url::parse(location).map_err(|error| bad(error.to_string()))?;
            if !matches!(url.scheme(), "s3" | "s3a") {
                return Err(bad(format!("nothing here knows {}://", url.scheme())));
            }
            let (objects, root) = runtime.block_on(s3::open(&url, environment()))?;
            let location = url.as_str().trim_end_matches('/').to_owned();
            return Ok(Store { objects, root, location, folder: None, runtime });
        }
        let folder = FilePath::new(location.strip_prefix("file://").unwrap_or(location));
        std::fs::create_dir_all(folder).map_err(|error| bad(error.to_string()))?;
        let folder = folder.canonicalize().map_err(|error| bad(error.to_string()))?;
        // Each checkpoint's state files have a folder of their own, which goes with the last of them.
        let objects = object_store::local::LocalFileSystem::new_with_prefix(&folder)
            .map_err(|error| bad(error.to_string()))?
            .with_automatic_cleanup(true);
        Ok(Store {
            objects: Arc::new(objects),
            root: Path::default(),
            location: folder.display().to_string(),
            folder: Some(folder),
            runtime,
        })
    }

    /// The folder or URL.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// What lies there, and the path below which it does: for what else is kept in such places.
    pub fn objects(&self) -> (Arc<dyn ObjectStore>, Path) {
        (Arc::clone(&self.objects), self.root.clone())
    }

    fn path(&self, name: &str) -> Path {
        name.split('/').fold(self.root.clone(), |path, part| path.join(part))
    }

    fn error(&self, action: &'static str, name: &str) -> impl Fn(StorageError) -> CheckpointError + use<> {
        let path = format!("{}/{name}", self.location);
        move |source| CheckpointError::Storage { action, path: path.clone(), source }
    }

    /// Writes an object unless there is one of that name already: `false` then. Bytes must be those of this writer alone: one that
    /// finds its own there has written them.
    ///
    /// # Errors
    /// [`CheckpointError::Storage`].
    pub fn create(&self, name: &str, bytes: Vec<u8>) -> Result<bool, CheckpointError> {
        let created = self
            .runtime
            .block_on(create_if_absent(&*self.objects, &self.path(name), &bytes.into()))
            .map_err(self.error("write", name))?;
        self.make_last(name)?;
        Ok(created)
    }

    // What sinks publish to others must not outlive the manifest that says so: files survive a loss of power, too.
    fn make_last(&self, name: &str) -> Result<(), CheckpointError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let file = folder.join(name);
        let sync = |path: &FilePath| std::fs::File::open(path).and_then(|file| file.sync_all());
        let synced = sync(&file).and_then(|()| file.parent().map_or(Ok(()), sync));
        synced.map_err(|source| {
            self.error("write", name)(StorageError::Generic { store: "local", source: Box::new(source) })
        })
    }

    /// Writes an object, or replaces it.
    ///
    /// # Errors
    /// [`CheckpointError::Storage`].
    pub fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), CheckpointError> {
        let path = self.path(name);
        let put = self.objects.put(&path, PutPayload::from(bytes));
        self.runtime.block_on(put).map_err(self.error("write", name))?;
        self.make_last(name)
    }

    /// An object's bytes.
    ///
    /// # Errors
    /// [`CheckpointError::Storage`], also where there is no such object.
    pub fn get(&self, name: &str) -> Result<Bytes, CheckpointError> {
        let path = self.path(name);
        let read = async { self.objects.get(&path).await?.bytes().await };
        self.runtime.block_on(read).map_err(self.error("read", name))
    }

    /// The names of all objects below a folder, relative to it, ascending.
    ///
    /// # Errors
    /// [`CheckpointError::Storage`].
    pub fn list(&self, folder: &str) -> Result<Vec<String>, CheckpointError> {
        let prefix = self.path(folder);
        let found: Vec<_> = self
            .runtime
            .block_on(self.objects.list(Some(&prefix)).try_collect())
            .map_err(self.error("list", folder))?;
        let mut names: Vec<String> = found
            .iter()
            .filter_map(|object| object.location.prefix_match(&prefix))
            .map(|parts| parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/"))
            .collect();
        names.sort();
        Ok(names)
    }

    /// Deletes what was half written when its writer was killed, in those folders of `folder` whose names `which` takes. A writer
    /// that is still at it fails.
    ///
    /// # Errors
    /// [`CheckpointError::Storage`].
    pub fn delete_unfinished(
        &self,
        folder: &str,
        which: impl Fn(&str) -> bool,
    ) -> Result<(), CheckpointError> {
        match self.folder.as_ref().map(|root| delete_unfinished(&root.join(folder), which)) {
            Some(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => {
                let source = StorageError::Generic { store: "LocalFileSystem", source: error.into() };
                Err(self.error("delete", "what is unfinished")(source))
            }
            _ => Ok(()),
        }
    }

    /// Deletes an object; one that is not there is no error.
    ///
    /// # Errors
    /// [`CheckpointError::Storage`].
    pub fn delete(&self, name: &str) -> Result<(), CheckpointError> {
        match self.runtime.block_on(self.objects.delete(&self.path(name))) {
            Ok(()) | Err(StorageError::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.error("delete", name)(error)),
        }
    }
}

// Local objects are written under a name like `0-1.arrow#1` first, which is no object's, and renamed.
fn delete_unfinished(folder: &FilePath, which: impl Fn(&str) -> bool) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() || !entry.file_name().to_str().is_some_and(&which) {
            continue;
        }
        for file in std::fs::read_dir(entry.path())? {
            let path = file?.path();
            if path.to_string_lossy().contains('#') {
                std::fs::remove_file(path)?;
            }
        }
        // Unless there is more in it.
        let _ = std::fs::remove_dir(entry.path());
    }
    Ok(())
}

// What is no text configures nothing.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_created_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("a/b").display().to_string()).unwrap();
        assert!(store.create("log/1.json", b"first".to_vec()).unwrap());
        assert!(!store.create("log/1.json", b"second".to_vec()).unwrap());
        assert_eq!(store.get("log/1.json").unwrap().as_ref(), b"first");
        store.put("log/x/2.json", Vec::new()).unwrap();
        assert_eq!(store.list("log").unwrap(), ["1.json", "x/2.json"]);
        store.delete("log/1.json").unwrap();
        store.delete("log/1.json").unwrap();
        assert_eq!(store.list("log").unwrap(), ["x/2.json"]);
        assert_eq!(store.list("nothing").unwrap(), [""; 0]);
    }

    #[test]
    fn nothing_is_left_of_what_is_deleted_or_was_never_finished() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().display().to_string()).unwrap();
        store.put("state/1/a", b"a".to_vec()).unwrap();
        store.put("state/2/b", b"b".to_vec()).unwrap();
        // As a writer leaves it that was killed.
        std::fs::write(folder.path().join("state/2/c#1"), "half").unwrap();
        store.delete("state/1/a").unwrap();
        assert!(!folder.path().join("state/1").exists(), "an empty folder was left");
        assert_eq!(store.list("state").unwrap(), ["2/b"]);
        store.delete("state/2/b").unwrap();
        store.delete_unfinished("state", |folder| folder == "1").unwrap();
        assert!(folder.path().join("state/2/c#1").exists());
        store.delete_unfinished("state", |folder| folder == "2").unwrap();
        assert!(!folder.path().join("state/2").exists());
        store.delete("state/2/b").unwrap();
        store.put("state/3/d", b"d".to_vec()).unwrap();
        assert_eq!(store.get("state/3/d").unwrap().as_ref(), b"d");
    }

    #[test]
    fn an_unknown_scheme_is_refused() {
        let error = Store::open("gopher://x/y").unwrap_err().to_string();
        assert!(error.contains("gopher://x/y") && error.contains("s3://bucket"), "{error}");
    }
}
