//! The state file outlives whatever happens to its writer.

#[cfg(test)]
mod tests {
    use core::fmt::Write as _;
    use std::fs;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use bartizan_controller::plan::{Document, Plan};
    use bartizan_controller::reqids::Reqids;
    use bartizan_controller::store::{Kept, Store, StoreError};

    #[test]
    fn what_is_saved_is_found_again() {
        let folder = Folder::new();
        let kept = kept(3);
        {
            let (store, before) = Store::open(&folder.state()).unwrap();
            assert_eq!(before, Kept::default());
            store.save(&kept).unwrap();
        }
        let (_store, after) = Store::open(&folder.state()).unwrap();
        assert_eq!(after, kept);
    }

    /// A crash at any byte of the writing leaves the file beside the old state; it is not looked at.
    #[test]
    fn a_half_written_state_changes_nothing() {
        let folder = Folder::new();
        let old = kept(2);
        Store::open(&folder.state()).unwrap().0.save(&old).unwrap();
        let whole = fs::read(folder.state()).unwrap();
        for len in [0, 1, whole.len() / 2, whole.len() - 1] {
            fs::write(folder.0.join("state.json.next"), &whole[..len]).unwrap();
            let (store, found) = Store::open(&folder.state()).unwrap();
            assert_eq!(found, old);
            store.save(&old).unwrap();
        }
    }

    /// Whoever reads the file while it is written over and over sees one whole state or another.
    #[test]
    fn no_reader_ever_sees_a_part() {
        let folder = Folder::new();
        let (store, _) = Store::open(&folder.state()).unwrap();
        let states = [kept(1), kept(40)];
        store.save(&states[0]).unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut seen = 0_u32;
                while !stop.load(Ordering::SeqCst) {
                    let bytes = fs::read(folder.state()).unwrap();
                    let _whole: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
                    seen += 1;
                }
                seen
            });
            for round in 0..100 {
                store.save(&states[round % 2]).unwrap();
            }
            stop.store(true, Ordering::SeqCst);
            assert!(reader.join().unwrap() > 0);
        });
    }

    #[test]
    fn two_controllers_do_not_share_a_state() {
        let folder = Folder::new();
        let first = Store::open(&folder.state()).unwrap();
        assert!(matches!(
            Store::open(&folder.state()),
            Err(StoreError::Held(_))
        ));
        drop(first);
        assert!(Store::open(&folder.state()).is_ok());
    }

    #[test]
    fn what_is_not_understood_is_refused_and_left_alone() {
        let folder = Folder::new();
        for text in [
            "",
            "{",
            "[]",
            r#"{"version":1}"#,
            r#"{"version":1,"kept":{"document":{},"reqids":[],"more":0}}"#,
            r#"{"version":1,"kept":{"document":{},"reqids":[{"between":["b","a"],"id":1,"reqid":1}]}}"#,
            r#"{"version":1,"kept":{"document":{},"reqids":[{"between":["a","b"],"id":1,"reqid":0}]}}"#,
            r#"{"version":1,"kept":{"document":{},"reqids":[{"between":["a","b"],"id":1,"reqid":1},{"between":["a","b"],"id":2,"reqid":1}]}}"#,
        ] {
            fs::write(folder.state(), text).unwrap();
            let refused = Store::open(&folder.state());
            assert!(
                matches!(refused, Err(StoreError::Malformed { .. })),
                "{text}: {refused:?}"
            );
            assert_eq!(fs::read_to_string(folder.state()).unwrap(), text);
        }
        fs::write(folder.state(), r#"{"version":2,"kept":{"whatever":1}}"#).unwrap();
        assert!(matches!(
            Store::open(&folder.state()),
            Err(StoreError::Version { version: 2, .. })
        ));
    }

    #[test]
    fn the_state_is_the_owners_alone() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = Folder::new();
        let (store, _) = Store::open(&folder.state()).unwrap();
        store.save(&kept(1)).unwrap();
        let mode = fs::metadata(folder.state()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    fn kept(tunnels: usize) -> Kept {
        let mut text = String::from(
            "[node.a]\naddresses = [\"192.0.2.1\"]\n[node.b]\naddresses = [\"192.0.2.2\"]\n",
        );
        for id in 0..tunnels {
            write!(
                text,
                "[[tunnel]]\nid = {id}\nbetween = [\"a\", \"b\"]\nmode = \"tunnel\"\n\
                 networks = [\"10.{id}.0.0/16\", \"11.{id}.0.0/16\"]\n\
                 kem = {{ need = \"required\", parameter-set = \"ml-kem-768\" }}\n"
            )
            .unwrap();
        }
        let (document, plan): (Document, Plan) = Plan::parse(&text).unwrap();
        let reqids = Reqids::default().for_plan(&plan);
        Kept { document, reqids }
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

        fn state(&self) -> PathBuf {
            self.0.join("state.json")
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }
}
