//! Where checkpoints lie: a folder, or a bucket by URL.
//!
//! A thin blocking face of `object_store`: checkpoints are made by a thread of their own, which may wait. Workers never come here
//! while a job runs.

use std::path::Path as FilePath;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use tokio::runtime::Runtime;

use super::CheckpointError;

/// A place for checkpoints. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    root: Path,
    location: String,
    runtime: Arc<Runtime>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.location)
    }
}

impl Store {
    /// Opens a folder, which is made when it isn't there, or a URL that `object_store` knows (`s3://bucket/path`), configured by
    /// the environment as usual (`AWS_ACCESS_KEY_ID` …).
    ///
    /// # Errors
    /// [`CheckpointError::Location`].
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
            let options = std::env::vars().map(|(name, value)| (name.to_ascii_lowercase(), value));
            let (objects, root) =
                object_store::parse_url_opts(&url, options).map_err(|error| bad(error.to_string()))?;
            return Ok(Store { objects: objects.into(), root, location: location.to_owned(), runtime });
        }
        let folder = FilePath::new(location.strip_prefix("file://").unwrap_or(location));
        std::fs::create_dir_all(folder).map_err(|error| bad(error.to_string()))?;
        let folder = folder.canonicalize().map_err(|error| bad(error.to_string()))?;
        let objects = object_store::local::LocalFileSystem::new_with_prefix(&folder)
            .map_err(|error| bad(error.to_string()))?;
        Ok(Store {
            objects: Arc::new(objects),
            root: Path::default(),
            location: folder.display().to_string(),
            runtime,
        })
    }

    /// The folder or URL.
    pub fn location(&self) -> &str {
        &self.location
    }

    fn path(&self, name: &str) -> Path {
        name.split('/').fold(self.root.clone(), |path, part| path.join(part))
    }

    fn error(
        &self,
        action: &'static str,
        name: &str,
    ) -> impl Fn(object_store::Error) -> CheckpointError + use<> {
        let path = format!("{}/{name}", self.location);
        move |source| CheckpointError::Storage { action, path: path.clone(), source }
    }

    /// Writes an object unless there is one of that name already: `false` then.
    ///
    /// # Errors
    /// [`CheckpointError::Storage`].
    pub fn create(&self, name: &str, bytes: Vec<u8>) -> Result<bool, CheckpointError> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let payload = PutPayload::from(bytes);
        match self.runtime.block_on(self.objects.put_opts(&self.path(name), payload, options)) {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(false)
            }
            Err(error) => Err(self.error("write", name)(error)),
        }
    }

    /// Writes an object, or replaces it.
    ///
    /// # Errors
    /// [`CheckpointError::Storage`].
    pub fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), CheckpointError> {
        let path = self.path(name);
        let put = self.objects.put(&path, PutPayload::from(bytes));
        self.runtime.block_on(put).map(|_| ()).map_err(self.error("write", name))
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

    /// Deletes an object; one that is not there is no error.
    ///
    /// # Errors
    /// [`CheckpointError::Storage`].
    pub fn delete(&self, name: &str) -> Result<(), CheckpointError> {
        match self.runtime.block_on(self.objects.delete(&self.path(name))) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.error("delete", name)(error)),
        }
    }
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
    fn an_unknown_scheme_is_refused() {
        let error = Store::open("gopher://x/y").unwrap_err().to_string();
        assert!(error.contains("gopher://x/y") && error.contains("s3://"), "{error}");
    }
}
