//! The file, as a file.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use bartizan_controller::store::{Place, Store, StoreError};

#[tokio::test]
async fn two_controllers_do_not_share_a_file() {
    let folder = Folder::new();
    let first = Store::open(&folder.place()).await.unwrap();
    let second = Store::open(&folder.place()).await;
    assert!(matches!(second, Err(StoreError::Held(_))), "{second:?}");
    drop(first);
    assert!(Store::open(&folder.place()).await.is_ok());
}

#[tokio::test]
async fn what_is_no_store_is_refused_and_left_alone() {
    let folder = Folder::new();
    for text in [
        "{\"version\":1,\"kept\":{}}".to_owned(),
        "x".repeat(1 << 20),
    ] {
        fs::write(folder.file(), &text).unwrap();
        let refused = Store::open(&folder.place()).await;
        assert!(
            matches!(refused, Err(StoreError::File { .. })),
            "{refused:?}"
        );
        assert_eq!(fs::read_to_string(folder.file()).unwrap(), text);
    }
}

#[tokio::test]
async fn the_file_is_its_owners_alone() {
    let folder = Folder::new();
    let _store = Store::open(&folder.place()).await.unwrap();
    let mode = fs::metadata(folder.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// A folder that goes when it does.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("bartizan-store-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.join("store")
    }

    pub(crate) fn place(&self) -> Place {
        Place::File(self.file())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}
