//! What the demonstration found, for a person and for a machine.

use std::fmt::{self, Write as _};

use serde::Serialize;

use crate::testbed::flow::Arrivals;

/// One thing that was to hold, and whether it did.
#[derive(Clone, Debug, Serialize)]
pub struct Promise {
    /// What was promised.
    pub text: String,
    /// Whether it held.
    pub held: bool,
    /// What was measured.
    pub measured: String,
}

/// One tunnel, as both ends saw it.
#[derive(Clone, Debug, Serialize)]
pub struct Tunnel {
    /// Its name.
    pub name: String,
    /// From the controller's order until both ends protected, in milliseconds.
    pub apply_to_protected_ms: u64,
    /// The sources in the key that sends at the end.
    pub sources: String,
    /// How often a younger generation took over.
    pub rekeys: u64,
    /// The SPIs at the end: towards A, towards B.
    pub spis: [String; 2],
    /// What happened while the KME was dead.
    pub outage: String,
    /// What B saw of A's packets, and A of B's.
    pub arrivals: [Arrivals; 2],
}

/// What stood on the line between the gateways.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Line {
    /// ESP packets.
    pub esp: usize,
    /// Packets of the peer connection.
    pub peer: usize,
    /// Neighbour discovery.
    pub neighbours: usize,
    /// PMTU errors.
    pub path_mtu: usize,
    /// Anything else; there must be nothing.
    pub other: Vec<String>,
    /// Packets that carried the flows' marker in clear; there must be none.
    pub clear: usize,
}

/// What became of a gateway that somebody touched: times in milliseconds from that moment, none where it never came.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Tampering {
    /// How long it may take: one attestation interval and 2 s.
    pub deadline: u64,
    /// Until its kernel had no SA.
    pub associations: Option<u64>,
    /// Until the process that held its keys, wiped by then, had ended.
    pub keys: Option<u64>,
    /// Until its peer's kernel had no SA.
    pub peer: Option<u64>,
    /// From a new power-on to protected traffic.
    pub back: u64,
}

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// From the power-on of two boxes that nobody owned until both had enrolled and held a lease, in milliseconds.
    pub factory_to_lease_ms: u64,
    /// The tunnels.
    pub tunnels: Vec<Tunnel>,
    /// The gateway that was touched.
    pub tampering: Tampering,
    /// The line.
    pub line: Line,
    /// What was promised.
    pub promises: Vec<Promise>,
}

impl Report {
    /// Whether every promise held.
    pub fn holds(&self) -> bool {
        self.promises.iter().all(|promise| promise.held)
    }

    /// The table that a person reads; with colours on a terminal.
    pub fn table(&self, colours: bool) -> String {
        let mut text = String::new();
        self.write(&mut text, colours)
            .unwrap_or_else(|fmt::Error| unreachable!("a string takes every write"));
        text
    }

    fn write(&self, text: &mut String, colours: bool) -> fmt::Result {
        let mut rows = vec![(String::new(), Vec::new())];
        let row = |name: &str, cell: &dyn Fn(&Tunnel) -> String| {
            (name.to_owned(), self.tunnels.iter().map(cell).collect())
        };
        rows.clear();
        rows.push(row("tunnel", &|tunnel| tunnel.name.clone()));
        rows.push(row("apply to protected", &|tunnel| {
            format!("{} ms", tunnel.apply_to_protected_ms)
        }));
        rows.push(row("sources in the key", &|tunnel| tunnel.sources.clone()));
        rows.push(row("SPI towards A, B", &|tunnel| tunnel.spis.join("  ")));
        rows.push(row("rekeys", &|tunnel| tunnel.rekeys.to_string()));
        rows.push(row("while the KME was dead", &|tunnel| {
            tunnel.outage.clone()
        }));
        for (end, way) in ["A to B", "B to A"].into_iter().enumerate() {
            rows.push(row(&format!("{way}: sent"), &|tunnel| {
                tunnel.arrivals[end].sent.to_string()
            }));
            rows.push(row("        protected", &|tunnel| {
                tunnel.arrivals[end].received.to_string()
            }));
            rows.push(row("        lost", &|tunnel| {
                tunnel.arrivals[end].lost.to_string()
            }));
            rows.push(row("        longest gap", &|tunnel| {
                format!("{} ms", tunnel.arrivals[end].longest_gap_ms)
            }));
        }
        table(text, &rows)?;
        let line = &self.line;
        writeln!(
            text,
            "\non the line   ESP {}   peer TLS {}   ARP/ND {}   PMTU {}   anything else {}   in clear {}",
            line.esp,
            line.peer,
            line.neighbours,
            line.path_mtu,
            line.other.len(),
            line.clear
        )?;
        for other in line.other.iter().take(5) {
            writeln!(text, "              {other}")?;
        }
        let touched = &self.tampering;
        writeln!(
            text,
            "gateways      from the factory to a lease {}",
            seconds(Some(self.factory_to_lease_ms))
        )?;
        writeln!(
            text,
            "B touched     its SAs gone {}   its keys' process ended {}   A's SAs gone {}   due {}   back after {}\n",
            seconds(touched.associations),
            seconds(touched.keys),
            seconds(touched.peer),
            seconds(Some(touched.deadline)),
            seconds(Some(touched.back))
        )?;
        for promise in &self.promises {
            let (mark, colour) = if promise.held {
                ("held  ", "32")
            } else {
                ("BROKEN", "31;1")
            };
            let mark = if colours {
                format!("\x1b[{colour}m{mark}\x1b[0m")
            } else {
                mark.to_owned()
            };
            writeln!(text, "{mark}  {}: {}", promise.text, promise.measured)?;
        }
        Ok(())
    }
}

/// To a tenth of a second.
fn seconds(milliseconds: Option<u64>) -> String {
    let text = |time: u64| format!("{}.{} s", time / 1000, time % 1000 / 100);
    milliseconds.map_or_else(|| "never".to_owned(), text)
}

fn table(text: &mut String, rows: &[(String, Vec<String>)]) -> fmt::Result {
    let columns = rows.iter().map(|(_, cells)| cells.len()).max().unwrap_or(0);
    let widest = |cells: &mut dyn Iterator<Item = usize>| cells.max().unwrap_or(0);
    let head = widest(&mut rows.iter().map(|(name, _)| name.chars().count()));
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            widest(
                &mut rows
                    .iter()
                    .map(|(_, cells)| cells.get(column).map_or(0, |cell| cell.chars().count())),
            )
        })
        .collect();
    for (number, (name, cells)) in rows.iter().enumerate() {
        write!(text, "{name:<head$}")?;
        for (cell, width) in cells.iter().zip(&widths) {
            write!(text, "  │ {cell:<width$}")?;
        }
        text.truncate(text.trim_end().len());
        writeln!(text)?;
        if number == 0 {
            write!(text, "{}", "─".repeat(head))?;
            for width in &widths {
                write!(text, "──┼─{}", "─".repeat(*width))?;
            }
            writeln!(text)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_broken_promise_breaks_the_report() {
        let promise = |held| Promise {
            text: "nothing in clear".to_owned(),
            held,
            measured: "0".to_owned(),
        };
        let mut report = Report {
            factory_to_lease_ms: 1,
            tunnels: Vec::new(),
            tampering: Tampering::default(),
            line: Line::default(),
            promises: vec![promise(true)],
        };
        assert!(report.holds());
        report.promises.push(promise(false));
        assert!(!report.holds());
        assert!(report.table(false).contains("BROKEN  nothing in clear: 0"));
    }
}
