//! What two processes of a job tell each other on every new connection, and in what they may not differ.
//!
//! ```text
//!   the one that connects      the one that listens
//!   opening, Hello ──────────▶ a stranger: dropped
//!                 ◀─────────── opening, Hello
//!   both compare, and name both sides where they differ
//! ```

use std::io;
use std::net::TcpStream;

use serde::{Deserialize, Serialize};

use super::wire::{self, Opening};

/// A stranger's `Hello` allocates no more.
const HELLO_BYTES_MAX: u32 = 1 << 16;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Channel {
    /// Batches and progress: timely's.
    Data,
    /// Messages of the coordinators, and heartbeats.
    Link,
}

/// What processes of one job agree on, and which of them this is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Handshake {
    pub(super) process: usize,
    pub(super) processes: usize,
    /// Of each process.
    pub(super) workers: usize,
    /// A hash of the pipeline.
    pub(super) plan: u64,
    /// Of the run; a process that has not heard from the leader knows none.
    pub(super) generation: Option<u64>,
}

/// The first frame in each direction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) channel: Channel,
    pub(super) handshake: Handshake,
}

/// Why a process is not one of this job's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// Another list of processes.
    #[error("knows {theirs} processes, not {ours}")]
    Processes {
        /// The other process's.
        theirs: usize,
        /// This process's.
        ours: usize,
    },
    /// Another number of workers in each process.
    #[error("has {theirs} workers a process, not {ours}")]
    Workers {
        /// The other process's.
        theirs: usize,
        /// This process's.
        ours: usize,
    },
    /// Another pipeline.
    #[error("runs another pipeline (its plan is {theirs:016x}, not {ours:016x})")]
    Plan {
        /// The hash of the other process's plan.
        theirs: u64,
        /// The hash of this process's plan.
        ours: u64,
    },
    /// Another run of the job.
    #[error("belongs to another run of the job (its generation is {theirs}, not {ours})")]
    Generation {
        /// The other process's.
        theirs: u64,
        /// This process's.
        ours: u64,
    },
    /// It thinks that it is another one.
    #[error("calls itself process {theirs}")]
    Number {
        /// Its number, as it says.
        theirs: usize,
    },
    /// There are two with the same number.
    #[error("was started twice")]
    Twice,
}

impl Handshake {
    /// In what another process differs from this one, if it can't be of the same job.
    pub(super) fn difference(&self, other: &Handshake) -> Option<Difference> {
        if other.processes != self.processes {
            return Some(Difference::Processes { theirs: other.processes, ours: self.processes });
        }
        if other.workers != self.workers {
            return Some(Difference::Workers { theirs: other.workers, ours: self.workers });
        }
        if other.plan != self.plan {
            return Some(Difference::Plan { theirs: other.plan, ours: self.plan });
        }
        match (other.generation, self.generation) {
            (Some(theirs), Some(ours)) if theirs != ours => Some(Difference::Generation { theirs, ours }),
            _ => None,
        }
    }
}

/// Why there is no `Hello`.
#[derive(Debug)]
pub(super) enum Unheard {
    /// Nothing came, or the connection broke.
    Silent(io::Error),
    /// It is no process of a job.
    Stranger,
    /// It speaks another version of the protocol.
    Protocol(u8),
}

pub(super) fn say_hello(socket: &TcpStream, hello: &Hello) -> io::Result<()> {
    wire::write_opening(socket)?;
    wire::write(socket, hello)
}

pub(super) fn hear_hello(socket: &TcpStream) -> Result<Hello, Unheard> {
    match wire::read_opening(socket).map_err(Unheard::Silent)? {
        Opening::Thalweg(wire::PROTOCOL) => wire::read(socket, HELLO_BYTES_MAX).map_err(Unheard::Silent),
        Opening::Thalweg(version) => Err(Unheard::Protocol(version)),
        Opening::Stranger => Err(Unheard::Stranger),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named() {
        let own = Handshake { process: 0, processes: 3, workers: 2, plan: 7, generation: Some(5) };
        let other = Handshake { process: 1, ..own.clone() };
        assert_eq!(own.difference(&other), None);
        let stranger_to_the_run = Handshake { generation: None, ..other.clone() };
        assert_eq!(own.difference(&stranger_to_the_run), None);
        let differs = |other: Handshake, expected: &str| {
            let difference = own.difference(&other).expect("a difference").to_string();
            assert_eq!(difference, expected);
        };
        differs(Handshake { processes: 4, ..other.clone() }, "knows 4 processes, not 3");
        differs(Handshake { workers: 3, ..other.clone() }, "has 3 workers a process, not 2");
        differs(
            Handshake { plan: 8, ..other.clone() },
            "runs another pipeline (its plan is 0000000000000008, not 0000000000000007)",
        );
        differs(
            Handshake { generation: Some(4), ..other },
            "belongs to another run of the job (its generation is 4, not 5)",
        );
    }
}
