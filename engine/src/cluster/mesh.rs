//! The connections of a process with the others of its job, and how it notices that one of them is gone.
//!
//! ```text
//!   Links ──▶ writer of each link ──▶ Message, or a heartbeat when there is none ──▶ reader ──▶ Links
//!                                                                                     │ silence, a break
//!   timely's network threads ── a break ─────────────────────────────▶ Watch::lose ◀──┘
//!                                  Failed to the coordinator ◀──────────────┤
//!                                  `Lost` to all other processes ◀──────────┤  they name the same process
//!                                  data connections are shut down ◀─────────┘  workers let go
//! ```
//!
//! Every pair of processes has a link, so that a broken network between any two is noticed; messages travel only between the leader
//! and the others.

use std::collections::BTreeSet;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::bootstrap::{Connected, Sockets, Welcome};
use super::data::DataStream;
use super::links::{Links, Message};
use super::wire::is_silence;
use super::{ClusterError, ProcessCluster, wire};

/// How long a broken data connection waits for a link to say why.
const EXPLANATION: Duration = Duration::from_millis(500);
/// How long a coordinator waits at its end for the others to have its last messages.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long workers may take to let go when a process is lost.
const GRACE: Duration = Duration::from_secs(5);

/// What goes over a link.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Frame {
    /// Still there.
    Heartbeat,
    Message(Message),
    /// A process is lost, and this one is about to end for it.
    Lost {
        process: usize,
    },
    /// That was the last message: from here on a break is no loss.
    Closing,
    /// `Closing` has been read, and so has all before it.
    Closed,
}

/// The connections of a process, before its workers run.
pub struct Mesh {
    cluster: ProcessCluster,
    watch: Arc<Watch>,
    _open: Arc<Open>,
}

impl Mesh {
    pub(super) fn start(
        cluster: &ProcessCluster,
        sockets: Vec<Sockets>,
        welcome: Welcome,
    ) -> Result<Connected, ClusterError> {
        let (incoming, received) = channel();
        let mut peers = Vec::with_capacity(sockets.len());
        for (process, sockets) in sockets.into_iter().enumerate() {
            let address = cluster.addresses[process].clone();
            peers.push(match (sockets.data, sockets.link) {
                (Some(data), Some(link)) => {
                    Some(Peer::new(address, data, link, cluster.lease).map_err(ClusterError::start)?)
                }
                _ => None,
            });
        }
        let watch = Arc::new(Watch {
            peers,
            incoming,
            lost: OnceLock::new(),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let open = Arc::new(Open(Arc::clone(&watch)));
        let (mut spoken, mut silent) = (Vec::new(), Vec::new());
        for (process, _) in watch.peers() {
            let (outgoing, messages) = channel();
            // Messages travel between the leader and the others.
            if cluster.process == 0 || process == 0 {
                spoken.push(outgoing)
            } else {
                silent.push(outgoing)
            };
            let reader = Arc::clone(&watch);
            start(format!("link:recv-{process}"), move || reader.read(process))?;
            let (writer, beat) = (Arc::clone(&watch), heartbeat(cluster.lease));
            start(format!("link:send-{process}"), move || writer.write(process, &messages, beat))?;
        }
        let farewell = Farewell { silent, open: Arc::clone(&open) };
        let links = Links::new(cluster.process, spoken, received).with_farewell(farewell);
        Ok(Connected { welcome, mesh: Mesh { cluster: cluster.clone(), watch, _open: open }, links })
    }

    pub(super) fn cluster(&self) -> &ProcessCluster {
        &self.cluster
    }

    pub(super) fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// By process; none with itself.
    pub(super) fn data_streams(&self) -> Vec<Option<DataStream>> {
        let peers = self.watch.peers.iter().enumerate();
        peers.map(|(process, peer)| peer.as_ref().map(|_| DataStream::new(&self.watch, process))).collect()
    }

    /// Ends the process when a worker does not let go after a loss, until the guard is dropped.
    pub(super) fn exit_when_stuck(&self) -> LastResort {
        let (watch, guard) = (Arc::clone(&self.watch), LastResort(Arc::clone(&self.watch)));
        std::thread::spawn(move || {
            watch.wait(None, |state| state.run_ended || watch.lost().is_some());
            if !watch.wait(Some(GRACE), |state| state.run_ended) {
                eprintln!("error: {}", watch.error());
                std::process::exit(i32::from(ClusterError::LOST_STATUS));
            }
        });
        guard
    }
}

fn start(name: String, work: impl FnOnce() + Send + 'static) -> Result<(), ClusterError> {
    std::thread::Builder::new().name(name).spawn(work).map(drop).map_err(ClusterError::start)
}

// Several in a lease: one that is late loses nothing.
fn heartbeat(lease: Duration) -> Duration {
    (lease / 5).min(Duration::from_secs(1))
}

/// Disarms what would end the process.
pub(super) struct LastResort(Arc<Watch>);

impl Drop for LastResort {
    fn drop(&mut self) {
        self.0.state().run_ended = true;
        self.0.changed.notify_all();
    }
}

/// As long as somebody has it, other processes hear that this one is there.
struct Open(Arc<Watch>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.state().left = true;
        self.0.changed.notify_all();
        for (_, peer) in self.0.peers() {
            let _ = peer.link.shutdown(Shutdown::Both);
        }
    }
}

/// Held by [`Links`]; when it is dropped, all that they have sent has arrived.
pub(super) struct Farewell {
    silent: Vec<Sender<Message>>,
    open: Arc<Open>,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        self.silent.clear();
        let watch = &self.open.0;
        let others = watch.peers().count();
        watch.wait(Some(FAREWELL), |state| state.closed.len() == others || watch.lost().is_some());
    }
}

/// What a process knows about the others while it runs.
pub(super) struct Watch {
    /// By process; none for itself.
    peers: Vec<Option<Peer>>,
    incoming: Sender<Message>,
    /// The first process that was lost: what comes later is mostly its consequence.
    lost: OnceLock<usize>,
    // A mutex: nothing of this happens more than a few times in a job.
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Links over which nothing is on its way any more.
    closed: BTreeSet<usize>,
    /// Data connections that have ended as they should.
    data_ended: usize,
    run_ended: bool,
    /// This process has let go of its connections.
    left: bool,
}

struct Peer {
    address: String,
    data: TcpStream,
    link: TcpStream,
    // A mutex: heartbeats and messages are written by one thread, answers by another.
    writing: Mutex<()>,
}

impl Peer {
    fn new(address: String, data: TcpStream, link: TcpStream, lease: Duration) -> io::Result<Peer> {
        data.set_read_timeout(None)?;
        data.set_write_timeout(None)?;
        link.set_read_timeout(Some(lease))?;
        link.set_write_timeout(Some(lease))?;
        Ok(Peer { address, data, link, writing: Mutex::new(()) })
    }

    fn send(&self, frame: &Frame) -> io::Result<()> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        wire::write(&self.link, frame)
    }
}

impl Watch {
    fn peers(&self) -> impl Iterator<Item = (usize, &Peer)> {
        self.peers.iter().enumerate().filter_map(|(process, peer)| Some((process, peer.as_ref()?)))
    }

    fn peer(&self, process: usize) -> &Peer {
        self.peers[process].as_ref().expect("invariant: a process has connections with all others")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a condition holds; whether it does.
    fn wait(&self, limit: Option<Duration>, holds: impl Fn(&State) -> bool) -> bool {
        let deadline = limit.map(|limit| Instant::now() + limit);
        let mut state = self.state();
        while !holds(&state) {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            state = match left {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return false,
                Some(left) => {
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        true
    }

    pub(super) fn data(&self, process: usize) -> &TcpStream {
        &self.peer(process).data
    }

    /// The process that was lost first.
    pub(super) fn lost(&self) -> Option<usize> {
        self.lost.get().copied()
    }

    /// Why the job ends here.
    pub(super) fn error(&self) -> ClusterError {
        let process = self.lost().unwrap_or_default();
        let address = self.peers.get(process).and_then(Option::as_ref).map(|peer| peer.address.clone());
        ClusterError::Lost { process, address: address.unwrap_or_default() }
    }

    fn lose(&self, process: usize) {
        if self.state().left || self.lost.set(process).is_err() {
            return;
        }
        let reason = self.error().to_string();
        tracing::info!(process, "a process is gone");
        for (other, peer) in self.peers() {
            // One that is being written to has stopped reading, or is about to hear it from another.
            if other != process
                && let Ok(_writing) = peer.writing.try_lock()
            {
                let _ = wire::write(&peer.link, &Frame::Lost { process });
            }
        }
        let _ = self.incoming.send(Message::Failed { reason });
        for (_, peer) in self.peers() {
            let _ = peer.data.shutdown(Shutdown::Both);
        }
        drop(self.state());
        self.changed.notify_all();
    }

    /// A data connection has broken: because that process is gone, unless a link tells of another one first.
    pub(super) fn lose_unless_explained(&self, process: usize) {
        if !self.wait(Some(EXPLANATION), |state| state.left || self.lost().is_some()) {
            self.lose(process);
        }
    }

    /// A data connection has ended as it should.
    pub(super) fn end_of_data(&self) {
        self.state().data_ended += 1;
        self.changed.notify_all();
    }

    /// Waits until all data connections have ended; whether they did, and no process was lost.
    pub(super) fn wait_for_end_of_data(&self) -> bool {
        let others = self.peers().count();
        self.wait(None, |state| state.data_ended == others || self.lost().is_some());
        self.state().data_ended == others
    }

    // The thread that listens to a process.
    fn read(&self, process: usize) {
        let peer = self.peer(process);
        let mut closing = false;
        loop {
            match wire::read(&peer.link, u32::MAX) {
                Ok(Frame::Heartbeat) => {}
                // Where nobody takes messages any more, the coordinator has ended.
                Ok(Frame::Message(message)) => drop(self.incoming.send(message)),
                Ok(Frame::Lost { process: lost }) => {
                    // A process that was thought dead and wakes up hears of itself.
                    let named =
                        if self.peers.get(lost).is_some_and(Option::is_some) { lost } else { process };
                    self.lose(named);
                }
                Ok(Frame::Closing) => {
                    closing = true;
                    let _ = peer.send(&Frame::Closed);
                }
                Ok(Frame::Closed) => self.close(process),
                // Nothing more was to come; silence would be another matter.
                Err(error) if closing && !is_silence(&error) => break,
                Err(_) => {
                    self.lose(process);
                    break;
                }
            }
        }
        self.close(process);
    }

    fn close(&self, process: usize) {
        self.state().closed.insert(process);
        self.changed.notify_all();
    }

    // The thread that speaks to a process. That it can't the reader notices, too.
    fn write(&self, process: usize, messages: &Receiver<Message>, beat: Duration) {
        let peer = self.peer(process);
        let mut speaking = true;
        loop {
            let frame = if speaking {
                match messages.recv_timeout(beat) {
                    Ok(message) => Frame::Message(message),
                    Err(RecvTimeoutError::Timeout) => Frame::Heartbeat,
                    Err(RecvTimeoutError::Disconnected) => {
                        speaking = false;
                        Frame::Closing
                    }
                }
            } else if self.wait(Some(beat), |state| state.left) {
                return;
            } else {
                Frame::Heartbeat
            };
            if peer.send(&frame).is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
impl Watch {
    /// Closes all connections without a word, as the system does for a process that is killed: at once, so that no thread of this process
    /// tells one peer that the link with another has broken.
    pub(super) fn kill(&self) {
        self.state().left = true;
        let writing: Vec<_> = self.peers().map(|(_, peer)| peer.writing.lock()).collect();
        for (_, peer) in self.peers() {
            let _ = peer.data.shutdown(Shutdown::Both);
            let _ = peer.link.shutdown(Shutdown::Both);
        }
        drop(writing);
    }
}
