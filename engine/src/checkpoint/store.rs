//! Where checkpoints lie: a folder, or a bucket by URL.
//!
//! A thin blocking face of `object_store`: checkpoints are made by a thread of their own, which may wait. Workers never come here
//! while a job runs.
//!
//! What all else leans on is [`Store::create`]: of all who would write an object of one name, one does.

use std::path::Path as FilePath;
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

/// How often an object is tried to be created that a bucket neither takes nor has.
const CREATE_ATTEMPTS: u32 = 5;
/// How long is waited before the second attempt; each time as long again.
const CREATE_AGAIN: Duration = Duration::from_millis(100);

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
        if let Some((scheme, _)) = location.split_once("://").filter(|(scheme, _)| *scheme != "file") {
            let url = url::Url::parse(location).map_err(|error| bad(error.to_string()))?;
            let (objects, root) = match scheme {
                #[cfg(feature = "s3")]
                "s3" | "s3a" => runtime.block_on(s3::open(&url, std::env::vars()))?,
                _ => return Err(bad(format!("nothing here knows {scheme}://"))),
            };
            return Ok(Store { objects, root, location: url.as_str().trim_end_matches('/').to_owned(), runtime });
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
    ) -> impl Fn(StorageError) -> CheckpointError + use<> {
        let path = format!("{}/{name}", self.location);
        move |source| CheckpointError::Storage { action, path: path.clone(), source }
    }

    /// Writes an object unless there is one of that name already: `false` then. Bytes must be those of this writer alone: one that
    /// finds its own there has written them.
    ///
    /// # Errors
    /// [`CheckpointError::Storage`].
    pub fn create(&self, name: &str, bytes: Vec<u8>) -> Result<bool, CheckpointError> {
        self.runtime.block_on(self.created(&self.path(name), &bytes.into())).map_err(self.error("write", name))
    }

    // A request is sent again when its answer was lost, and may then find what it has written itself. A bucket also refuses one while
    // another for the same name is under way, of which nothing may come.
    async fn created(&self, path: &Path, bytes: &Bytes) -> Result<bool, StorageError> {
        let mut attempt = 1;
        loop {
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            let refused = match self.objects.put_opts(path, bytes.clone().into(), options).await {
                Ok(_) => return Ok(true),
                Err(refused @ (StorageError::AlreadyExists { .. } | StorageError::Precondition { .. })) => refused,
                Err(error) => return Err(error),
            };
            match self.objects.get(path).await {
                Ok(found) => return Ok(found.bytes().await? == *bytes),
                Err(StorageError::NotFound { .. }) if attempt == CREATE_ATTEMPTS => return Err(refused),
                Err(StorageError::NotFound { .. }) => tokio::time::sleep(CREATE_AGAIN * attempt).await,
                Err(error) => return Err(error),
            }
            attempt += 1;
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
            Ok(()) | Err(StorageError::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.error("delete", name)(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt;
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures::stream::BoxStream;
    use object_store::memory::InMemory;
    use object_store::{
        CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, PutMultipartOptions,
        PutResult,
    };

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
        assert!(error.contains("gopher://x/y") && error.contains("s3://bucket"), "{error}");
    }

    /// A bucket whose answers get lost, so that requests come twice, and that refuses the first so many for nothing.
    #[derive(Debug)]
    struct Unreliable {
        objects: InMemory,
        refuses: AtomicU32,
    }

    impl fmt::Display for Unreliable {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Unreliable")
        }
    }

    type Result<T> = object_store::Result<T>;

    #[async_trait::async_trait]
    impl ObjectStore for Unreliable {
        async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
            let refuses = self.refuses.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            if refuses.is_ok() {
                let source = "409 ConditionalRequestConflict".into();
                return Err(StorageError::AlreadyExists { path: path.to_string(), source });
            }
            self.objects.put_opts(path, payload.clone(), options.clone()).await?;
            self.objects.put_opts(path, payload, options).await
        }

        async fn put_multipart_opts(
            &self,
            path: &Path,
            options: PutMultipartOptions,
        ) -> Result<Box<dyn MultipartUpload>> {
            self.objects.put_multipart_opts(path, options).await
        }

        async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
            self.objects.get_opts(path, options).await
        }

        fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
            self.objects.delete_stream(paths)
        }

        fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
            self.objects.list(prefix)
        }

        async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
            self.objects.list_with_delimiter(prefix).await
        }

        async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
            self.objects.copy_opts(from, to, options).await
        }
    }

    fn unreliable(refuses: u32) -> Store {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Store {
            objects: Arc::new(Unreliable { objects: InMemory::new(), refuses: refuses.into() }),
            root: Path::default(),
            location: "unreliable".to_owned(),
            runtime: Arc::new(runtime),
        }
    }

    #[test]
    fn who_finds_its_own_object_has_written_it() {
        let store = unreliable(0);
        assert!(store.create("log/1.json", b"first".to_vec()).unwrap());
        assert!(!store.create("log/1.json", b"second".to_vec()).unwrap());
        assert_eq!(store.get("log/1.json").unwrap().as_ref(), b"first");
    }

    #[test]
    fn a_refusal_without_an_object_is_no_answer() {
        let store = unreliable(CREATE_ATTEMPTS - 1);
        assert!(store.create("log/1.json", b"first".to_vec()).unwrap());
        let error = unreliable(CREATE_ATTEMPTS).create("log/1.json", b"first".to_vec()).unwrap_err().to_string();
        assert!(error.contains("log/1.json") && error.contains("ConditionalRequestConflict"), "{error}");
    }
}
