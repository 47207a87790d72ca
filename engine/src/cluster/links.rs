//! What the processes of a job say to each other beside the dataflow: when to cut, what is prepared, what is published, what failed.
//!
//! One process leads, and every other one has a link to it. Links carry a few small messages a checkpoint; rows never come
//! this way. A process that is lost sends nothing: the mesh ([`super::mesh`]) then says `Failed` in its place.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::mesh::Farewell;
use crate::checkpoint::{SourceCounts, SplitPosition, StagedFile, StateFile};
use crate::watermark::EventTime;

/// What one process tells another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "message")]
pub enum Message {
    /// Leader: take part in a cut, with your sources' next tick.
    Cut {
        /// Its number.
        cut: u64,
        /// Whether the job ends with it.
        last: bool,
    },
    /// To the leader: this process's part of a checkpoint is durable.
    Prepared(Prepared),
    /// Leader: a checkpoint is published.
    Published {
        /// The checkpoint.
        cut: u64,
    },
    /// To the leader: someone asks the job to stop.
    Stop,
    /// Leader: the last checkpoint is published, let go.
    End,
    /// The job has failed, or a process is lost.
    Failed {
        /// Why.
        reason: String,
    },
}

/// A process's part of a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prepared {
    /// The cut.
    pub cut: u64,
    /// The process.
    pub process: usize,
    /// The job's watermark, as it sees it.
    pub watermark: EventTime,
    /// Of each source's part on a worker: its number, splits and counts.
    pub sources: Vec<(u32, Vec<SplitPosition>, SourceCounts)>,
    /// Its state files.
    pub state: Vec<StateFile>,
    /// Files of each sink's part on a worker.
    pub sinks: Vec<(String, Vec<StagedFile>)>,
}

/// The links of one process.
pub struct Links {
    process: usize,
    others: usize,
    incoming: Receiver<Message>,
    outgoing: LinkSender,
    // Dropped last: it waits until what was sent has arrived.
    _farewell: Option<Farewell>,
}

/// Sends to the leader, or from it to all others.
#[derive(Clone)]
pub struct LinkSender(Vec<Sender<Message>>);

impl LinkSender {
    /// Sends a message. One that finds nobody is lost: the loss of a process is a message of its own.
    pub fn send(&self, message: Message) {
        self.0.iter().for_each(|link| drop(link.send(message.clone())));
    }
}

impl Links {
    /// Those of a job in one process: none.
    pub fn none() -> Self {
        Links::new(0, Vec::new(), channel().1)
    }

    /// Those of process `process`: what comes in, and where to send to. The leader, process 0, has one for each other process.
    pub fn new(process: usize, outgoing: Vec<Sender<Message>>, incoming: Receiver<Message>) -> Self {
        let others = if process == 0 { outgoing.len() } else { 0 };
        Links { process, others, incoming, outgoing: LinkSender(outgoing), _farewell: None }
    }

    pub(super) fn with_farewell(self, farewell: Farewell) -> Self {
        Links { _farewell: Some(farewell), ..self }
    }

    /// This process's number; 0 leads.
    pub fn process(&self) -> usize {
        self.process
    }

    /// Processes that this one leads.
    pub fn others(&self) -> usize {
        self.others
    }

    /// A message that has come in; waits for one so long at most.
    pub fn receive(&self, patience: Duration) -> Option<Message> {
        match self.incoming.recv_timeout(patience) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            // Nobody can say anything any more. One who expects nothing is none the worse.
            Err(RecvTimeoutError::Disconnected) => (!patience.is_zero()).then(|| Message::Failed {
                reason: "the links to the job's other processes are gone".into(),
            }),
        }
    }

    /// As [`LinkSender::send`].
    pub fn send(&self, message: Message) {
        self.outgoing.send(message);
    }

    /// For other threads to send with.
    pub fn sender(&self) -> LinkSender {
        self.outgoing.clone()
    }
}
