//! The store keeps what it said it keeps.

#[cfg(test)]
mod tests {
    use bartizan_controller::store::{Place, Store, StoreError};
    use std::fs;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn two_controllers_do_not_share_a_file() {
        let folder = Folder::new();
        let first = Store::open(&folder.place()).unwrap();
        assert!(matches!(
            Store::open(&folder.place()),
            Err(StoreError::Held(_))
        ));
        drop(first);
        assert!(Store::open(&folder.place()).is_ok());
    }

    #[test]
    fn what_is_no_store_is_refused_and_left_alone() {
        let folder = Folder::new();
        let text = r#"{"version":1,"kept":{}}"#;
        fs::write(folder.file(), text).unwrap();
        let refused = Store::open(&folder.place());
        assert!(
            matches!(refused, Err(StoreError::File { .. })),
            "{refused:?}"
        );
        assert_eq!(fs::read_to_string(folder.file()).unwrap(), text);
    }

    #[test]
    fn the_file_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = Folder::new();
        let _store = Store::open(&folder.place()).unwrap();
        let mode = fs::metadata(folder.file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("bartizan-store-{}-{number}", std::process::id());
            let folder = std::env::temp_dir().join(name);
            fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }

        fn file(&self) -> PathBuf {
            self.0.join("store")
        }

        fn place(&self) -> Place {
            Place::File(self.file())
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }
}
