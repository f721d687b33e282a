//! The controller's metrics, read by Prometheus' own library.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use bartizan_tests::interop::python;

/// The text that the controller's own test holds its metrics against.
const METRICS: &str = include_str!("../../../controller/src/metrics/metrics.txt");

/// What the library makes of a text, or nothing if it refuses it.
fn read(python: &Path, text: &str) -> Option<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/read_metrics.py");
    let mut child = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let read = String::from_utf8(output.stdout).unwrap();
    output.status.success().then_some(read)
}

#[test]
fn prometheus_reads_every_series() {
    let Some(python) = python() else {
        return;
    };
    let series = read(&python, METRICS).expect("the library reads the text");
    let lines = METRICS.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(series.lines().count(), lines.count());
    for wanted in [
        "bartizan_nodes gauge {} 2",
        "bartizan_sas gauge {\"node\": \"gw-a.example\"} 4",
        "bartizan_rekeys_total counter {\"node\": \"gw-a.example\"} 36",
        "bartizan_tunnel_alarms gauge {\"alarm\": \"qkd\", \"node\": \"gw-a.example\"} 1",
        "bartizan_qkd_links gauge {\"node\": \"gw-a.example\", \"state\": \"degraded\"} 2",
        "bartizan_qkd_keys_taken_total counter {\"node\": \"gw-a.example\"} 2000",
        "bartizan_events_total counter {\"event\": \"edit-refused\"} 3",
    ] {
        assert!(
            series.lines().any(|line| line == wanted),
            "{wanted} in\n{series}"
        );
    }
    // The reader reads: what is no such text is refused.
    let broken = METRICS.replace("} 4\n", "} four\n");
    assert_eq!(read(&python, &broken), None);
}
