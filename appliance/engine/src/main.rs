//! The engine role's process: what the neighbours say goes in, what the engine decides comes out.
//!
//! All decisions are made in `bartizan_core`; here are its clock, its randomness and its channels.
#![forbid(unsafe_code)]

mod entropy;
mod neighbours;

use std::process::ExitCode;

use bartizan_core::engine::Engine;
use bartizan_core::exchange::{Input, Output};
use bartizan_model::config::RoleConfig;
use bartizan_model::message::Role;
use bartizan_process::{Exit, Fault, Started, boot_time, run};
use bartizan_secret::ZeroOnFree;

use crate::entropy::Entropy;
use crate::neighbours::Neighbours;

#[global_allocator]
static HEAP: ZeroOnFree = ZeroOnFree;

fn main() -> ExitCode {
    run(Role::Engine, || Ok(()), work)
}

fn work(started: Started<()>) -> Result<(), Fault> {
    let RoleConfig::Engine(config) = &started.config else {
        return Err(Fault::new(Exit::Protocol, "the start is of another role"));
    };
    let mut entropy = Entropy::default();
    let engine = Engine::new(config, boot_time(), &mut |bytes| entropy.fill(bytes));
    entropy.check()?;
    let engine = engine
        .map_err(|cause| Fault::because(Exit::Config, "cannot pin the verifier's keys", cause))?;
    let mut process = Process {
        engine,
        entropy,
        neighbours: Neighbours::new(started.ends, started.supervisor)?,
    };
    let mut watchdog = started.watchdog;
    loop {
        process.turn()?;
        watchdog.feed(boot_time());
        process
            .neighbours
            .rest(process.engine.deadline(), watchdog.interval())?;
    }
}

/// The engine and what it lives on.
struct Process {
    engine: Engine,
    entropy: Entropy,
    neighbours: Neighbours,
}

impl Process {
    /// Takes in what has come, and sends what follows from it.
    fn turn(&mut self) -> Result<(), Fault> {
        for source in Neighbours::SOURCES {
            // A busy neighbour must not keep the others from being heard.
            for _ in 0..SHARE {
                match self.neighbours.hear(source)? {
                    Some(input) => self.handle(input)?,
                    None => break,
                }
            }
        }
        let due = self.engine.deadline();
        if due.is_some_and(|due| due <= boot_time()) {
            self.handle(Input::Tick)?;
        }
        // What found no room earlier may find it after this.
        self.neighbours.flush()?;
        self.speak()
    }

    fn handle(&mut self, input: Input) -> Result<(), Fault> {
        let entropy = &mut self.entropy;
        self.engine
            .handle(boot_time(), input, &mut |bytes| entropy.fill(bytes));
        // Before anything is sent that was made without randomness.
        entropy.check()?;
        self.speak()
    }

    fn speak(&mut self) -> Result<(), Fault> {
        while let Some(output) = self.next_output() {
            self.neighbours.send(output)?;
        }
        Ok(())
    }

    fn next_output(&mut self) -> Option<Output> {
        self.engine.poll_output(boot_time(), self.neighbours.room())
    }
}

/// The most messages of one neighbour in a turn.
const SHARE: usize = 64;

#[cfg(test)]
mod tests;
