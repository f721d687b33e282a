//! A NETCONF client that nobody here wrote: the netconf-client package, over its own TLS.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use bartizan_model::ids::{Nonce, Spi};
use bartizan_model::message::{ControlToEngine, EditRefusal, EngineToControl};
use bartizan_model::report::Notice;
use bartizan_tests::interop::python;

use crate::controller::Owner;
use crate::gateway::Gateway;

/// The client; dropping it kills it.
struct Client {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Client {
    /// Starts it and learns its port.
    fn start(python: &Path, folder: &Path) -> (Self, u16) {
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/netconf_client_session.py");
        let mut child = Command::new(python)
            .arg(script)
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut port = String::new();
        output.read_line(&mut port).unwrap();
        (Self { child, output }, port.trim().parse().unwrap())
    }

    fn ended(mut self) -> String {
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success());
        rest
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn the_netconf_client_package_steers_a_gateway() {
    let Some(python) = python() else {
        return;
    };
    let owner = Owner::new();
    let folder = owner.folder();
    let (client, port) = Client::start(&python, folder.path());
    let mut gateway = Gateway::start_at(&owner, ([127, 0, 0, 1], port).into());
    gateway.say(&EngineToControl::LeaseNonce(Nonce([9; 32])));

    // Without a lease: refused.
    let (edit, name) = one_entry(&mut gateway);
    gateway.say(&EngineToControl::EditRefused {
        edit,
        entry: name.clone(),
        reason: EditRefusal::NotAttested,
    });
    assert_eq!(gateway.hear(), ControlToEngine::Lease(b"a lease".to_vec()));
    gateway.say(&EngineToControl::LeaseAccepted(Duration::from_mins(5)));
    let (edit, name) = one_entry(&mut gateway);
    gateway.say(&EngineToControl::EditAccepted(edit));
    gateway.say(&EngineToControl::Notice(Box::new(Notice::Expired {
        entry: name.clone(),
        spi: Spi::try_from(4096).unwrap(),
        hard: false,
    })));
    let ControlToEngine::BeginEdit(edit) = gateway.hear() else {
        panic!("the delete begins");
    };
    assert_eq!(gateway.hear(), ControlToEngine::Remove(name));
    assert_eq!(gateway.hear(), ControlToEngine::CommitEdit(edit));
    gateway.say(&EngineToControl::EditAccepted(edit));
    assert_eq!(client.ended(), "done\n");
    gateway.role.wait_count("netconf-sessions-closed", 1);
}

/// Reads an edit that puts one entry.
fn one_entry(
    gateway: &mut Gateway,
) -> (bartizan_model::ids::EditId, bartizan_model::ids::EntryName) {
    let ControlToEngine::BeginEdit(begun) = gateway.hear() else {
        panic!("an edit begins");
    };
    let ControlToEngine::Put(policy) = gateway.hear() else {
        panic!("an entry comes");
    };
    assert_eq!(gateway.hear(), ControlToEngine::CommitEdit(begun));
    (begun, policy.name)
}
