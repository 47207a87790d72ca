//! Files that one process at a time holds: the lock ends with its process, however that ends.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::Duration;

/// Locks a file, which is made if it is not there. `None`: somebody else holds it, and has not let go within `limit`. Even a lock that is
/// given up at once needs some time: a process that is just being started holds what the one that starts it has open.
///
/// # Errors
/// It can't be made, or the file system has no locks ([`io::ErrorKind::Unsupported`]).
pub(crate) fn lock(path: &Path, limit: Duration) -> io::Result<Option<File>> {
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
    let (sender, waiting) = channel();
    // A lock can't be waited for with a limit. The thread ends when the other one lets go.
    std::thread::spawn(move || {
        let locked = file.lock().map(|()| file);
        let _ = sender.send(locked);
    });
    match waiting.recv_timeout(limit) {
        Ok(locked) => locked.map(Some),
        Err(_) => Ok(None),
    }
}
