//! What outlives the daemon: one small file, replaced as a whole, never half written. It holds what was usable last under the roots that fall
//! back to that.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::publisher::Publisher;
use crate::load::octets;
use crate::policy::last::LastUsable;

/// The least time between two writes.
const PAUSE: Duration = Duration::from_secs(1);

/// The version of the file that is written, and the only one that is read.
const VERSION: u32 = 1;

/// The most octets that are read: a file that is larger was not written by us.
const SIZE_MAX: u64 = 256 << 20;

/// The file as it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    last_usable: LastUsable,
}

/// The state file, and what it holds.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    last_usable: LastUsable,
    /// What was told of the last write that failed, so that it is told once.
    failure: Option<String>,
}

impl StateFile {
    /// Reads the file, if there is one. What cannot be read is told and left alone until there is something to write.
    pub fn read(path: PathBuf) -> Self {
        let last_usable = match read(&path) {
            Ok(last_usable) => last_usable,
            Err(error) if error.kind() == ErrorKind::NotFound => LastUsable::default(),
            Err(error) => {
                tracing::warn!(
                    "{}: what was usable before the start is not known: {error}",
                    path.display()
                );
                LastUsable::default()
            }
        };
        let failure = None;
        Self {
            path,
            held: Mutex::new(Held { last_usable, failure }),
        }
    }

    /// What the file holds.
    pub fn last_usable(&self) -> LastUsable {
        self.held().last_usable.clone()
    }

    /// Makes the file hold this. It is not written if it holds that already; a failure is told, and the next call tries again.
    pub fn hold(&self, last_usable: LastUsable) {
        let mut held = self.held();
        if held.last_usable == last_usable {
            return;
        }
        let document = Document {
            version: VERSION,
            last_usable,
        };
        match write(&self.path, &document) {
            Ok(()) => {
                held.last_usable = document.last_usable;
                held.failure = None;
            }
            Err(error) => {
                let failure = error.to_string();
                if held.failure.as_ref() != Some(&failure) {
                    let path = self.path.display();
                    tracing::warn!(
                        "{path}: what is usable now will not be known after a restart: {failure} (see $STATE_DIRECTORY)"
                    );
                    held.failure = Some(failure);
                }
            }
        }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes whatever changes, at most once a second, until it is aborted.
pub async fn keep(file: Arc<StateFile>, publisher: Arc<Publisher>) {
    let mut published = publisher.published();
    // What is served when this begins counts too.
    published.mark_changed();
    while published.changed().await.is_ok() {
        let (file, publisher) = (file.clone(), publisher.clone());
        // If it panics the next change tries again.
        let _ = spawn_blocking(move || file.hold(publisher.shared().load().last_usable())).await;
        sleep(PAUSE).await;
    }
}

fn read(path: &Path) -> io::Result<LastUsable> {
    if fs::metadata(path)?.len() > SIZE_MAX {
        return Err(io::Error::other("too large"));
    }
    let document: Document = serde_json::from_slice(&octets(path)?)?;
    if document.version != VERSION {
        return Err(io::Error::other(format!(
            "version {} is not known, only {VERSION} is",
            document.version
        )));
    }
    Ok(document.last_usable)
}

/// Beside the file first, then in its place: whoever reads finds the old one or the new one.
fn write(path: &Path, document: &Document) -> io::Result<()> {
    let draft = path.with_extension("json.new");
    let mut file = File::create(&draft)?;
    serde_json::to_writer(&mut file, document)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&draft, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(text: &str) -> LastUsable {
        serde_json::from_str(text).unwrap()
    }

    const ONE: &str = r#"{"example.org/web": {"ipv4": [{"example.org/web": {"a": ["192.0.2.1"]}}], "ipv6": []}}"#;

    #[test]
    fn what_is_held_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let file = StateFile::read(path.clone());
        assert!(file.last_usable().is_empty());
        file.hold(LastUsable::default());
        assert!(!path.exists(), "there was nothing to write");
        file.hold(last(ONE));
        assert_eq!(StateFile::read(path.clone()).last_usable(), last(ONE));
        file.hold(LastUsable::default());
        assert!(StateFile::read(path).last_usable().is_empty());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn what_is_not_ours_is_left_alone_until_there_is_something_to_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        for text in [
            "",
            "{",
            "[]",
            r#"{"version": 2, "last_usable": {}}"#,
            r#"{"version": 1, "last_usable": {"a": {"ipv4": [{"a": {"b": ["no address"]}}]}}}"#,
        ] {
            fs::write(&path, text).unwrap();
            let file = StateFile::read(path.clone());
            assert!(file.last_usable().is_empty());
            file.hold(LastUsable::default());
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        StateFile::read(path.clone()).hold(last(ONE));
        assert_eq!(StateFile::read(path).last_usable(), last(ONE));
    }

    #[test]
    fn what_cannot_be_written_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/state.json");
        let file = StateFile::read(path.clone());
        file.hold(last(ONE));
        assert!(file.last_usable().is_empty() && file.held().failure.is_some());
        fs::create_dir(folder.path().join("state")).unwrap();
        file.hold(last(ONE));
        assert!(file.held().failure.is_none());
        assert_eq!(StateFile::read(path).last_usable(), last(ONE));
    }

    #[test]
    fn whatever_stands_there_is_read_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        assert!(StateFile::read(folder.path().to_path_buf()).last_usable().is_empty());
        // To open one waits for a writer that never comes.
        let pipe = folder.path().join("pipe");
        assert!(
            std::process::Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        assert!(StateFile::read(pipe).last_usable().is_empty());
    }
}
