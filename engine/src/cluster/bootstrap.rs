//! Connects the processes of a job before its dataflow is built.
//!
//! ```text
//!   process 0 (leads)        process 1                process 2
//!     │◀── connect ────────────┤                        │
//!     │◀── connect ─────────────────────────────────────┤      retried, each process may be the last to start
//!     ├── Welcome ────────────▶├                        │      generation, checkpoint, positions
//!     ├── Welcome ─────────────────────────────────────▶│
//!     │                        │◀── connect ────────────┤      nobody but process 0 is asked before the Welcome
//!     │◀── Ready ──────────────┤                        │
//!     │◀── Ready ───────────────────────────────────────┤
//!     ├── Start ──────────────▶├ Start ────────────────▶│      nobody listens any more
//! ```
//!
//! Each pair has two connections, one for timely and one as the link. On each both sides say who they are first
//! (`handshake.rs`). Whoever finds out that the job can't start says why, and process 0 tells all others. A connection from something
//! that is not thalweg is dropped.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::ops::Range;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::handshake::{Channel, Difference, Handshake, Hello, Unheard, hear_hello, say_hello};
use super::links::Links;
use super::mesh::Mesh;
use super::wire::is_silence;
use super::{ClusterError, ProcessCluster, wire};
use crate::control::Control;

/// How long something that connects may take to say who it is.
const HELLO_LIMIT: Duration = Duration::from_secs(5);
/// How long one attempt to connect may take.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(3);
/// How long a process is listened to before others are looked at.
const MOMENT: Duration = Duration::from_millis(1);
/// How often the listening process looks for new connections.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Pauses between attempts: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// How much longer than the one that knows the reason the others wait to hear it.
const HEARSAY: Duration = Duration::from_secs(5);
/// Connections that are listened to at a time; more wait in the system's queue.
const PENDING_MAX: usize = 64;

/// Where a run goes on, as the leader knows it and the others learn it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The run's generation, claimed in the job's log.
    pub generation: u64,
    /// The checkpoint from which the job goes on; 0: its beginning.
    pub from: u64,
    /// What else every process has to know; opaque here.
    pub payload: serde_json::Value,
}

/// A process that is connected with all others of its job.
pub struct Connected {
    /// Where the run goes on.
    pub welcome: Welcome,
    /// The connections, for [`run_connected`](super::run_connected).
    pub mesh: Mesh,
    /// The links, for the coordinator. When they are dropped, what was sent over them has arrived.
    pub links: Links,
}

/// What follows the handshake on the links of the leader.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Welcome(Welcome),
    Ready,
    Start,
    Refused { by: usize, reason: String },
}

/// Connects process 0 with all others. `plan` is a hash of the pipeline, the same in each of them.
///
/// # Errors
/// A process that does not come within [`ProcessCluster::start_limit`], or does not belong to the job; the others are told. Also when
/// `control` is asked to stop.
pub fn lead(
    cluster: &ProcessCluster,
    plan: u64,
    welcome: Welcome,
    control: &Control,
) -> Result<Connected, ClusterError> {
    check(cluster, true)?;
    lead_at(listen(cluster, control)?, cluster, plan, welcome, control)
}

/// Connects any other process, which learns from process 0 where the run goes on.
///
/// # Errors
/// As [`lead`], and what the leader says.
pub fn join(cluster: &ProcessCluster, plan: u64, control: &Control) -> Result<Connected, ClusterError> {
    check(cluster, false)?;
    join_at(listen(cluster, control)?, cluster, plan, control)
}

pub(super) fn lead_at(
    listener: TcpListener,
    cluster: &ProcessCluster,
    plan: u64,
    welcome: Welcome,
    control: &Control,
) -> Result<Connected, ClusterError> {
    let mut meeting = Meeting::new(cluster, plan, Some(welcome.generation), control);
    match meeting.lead(&listener, &welcome) {
        Ok(()) => Mesh::start(cluster, meeting.sockets, welcome),
        Err(error) => {
            (1..cluster.processes()).for_each(|process| meeting.refuse(process, &error));
            Err(error)
        }
    }
}

pub(super) fn join_at(
    listener: TcpListener,
    cluster: &ProcessCluster,
    plan: u64,
    control: &Control,
) -> Result<Connected, ClusterError> {
    let (welcome, sockets) = meet(listener, cluster, plan, control)?;
    Mesh::start(cluster, sockets, welcome)
}

/// All of [`join`] but the threads.
pub(super) fn meet(
    listener: TcpListener,
    cluster: &ProcessCluster,
    plan: u64,
    control: &Control,
) -> Result<(Welcome, Vec<Sockets>), ClusterError> {
    let mut meeting = Meeting::new(cluster, plan, None, control);
    match meeting.follow(&listener) {
        Ok(welcome) => Ok((welcome, meeting.sockets)),
        Err(error) => {
            meeting.refuse(0, &error);
            Err(error)
        }
    }
}

/// The connections with one process; none with this one itself.
#[derive(Default)]
pub(super) struct Sockets {
    pub(super) data: Option<TcpStream>,
    pub(super) link: Option<TcpStream>,
}

impl Sockets {
    fn slot(&mut self, channel: Channel) -> &mut Option<TcpStream> {
        match channel {
            Channel::Data => &mut self.data,
            Channel::Link => &mut self.link,
        }
    }

    fn complete(&self) -> bool {
        self.data.is_some() && self.link.is_some()
    }
}

fn check(cluster: &ProcessCluster, leads: bool) -> Result<(), ClusterError> {
    let wrong = |detail: String| Err(ClusterError::Addresses { detail });
    let (process, addresses) = (cluster.process, &cluster.addresses);
    if process >= addresses.len() {
        return wrong(format!("it has {}, and this is process {process}, counted from 0", addresses.len()));
    }
    if leads != (process == 0) {
        return wrong(format!("process 0 leads, and this is process {process}"));
    }
    if cluster.workers == 0 {
        return wrong("each process needs a worker".to_owned());
    }
    for (number, address) in addresses.iter().enumerate() {
        let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none_or(|port| port == 0) {
            return wrong(format!("{address} of process {number} is no host:port"));
        }
        if let Some(other) = addresses[..number].iter().position(|other| other == address) {
            return wrong(format!("processes {other} and {number} both have {address}"));
        }
    }
    Ok(())
}

fn listen(cluster: &ProcessCluster, control: &Control) -> Result<TcpListener, ClusterError> {
    let address = &cluster.addresses[cluster.process];
    let mut pauses = Pauses::until(Instant::now() + cluster.start_limit);
    loop {
        match TcpListener::bind(address) {
            Ok(listener) => return Ok(listener),
            // Perhaps an earlier run that is about to end.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && pauses.pause(control)? => {}
            Err(source) => {
                let (process, address) = (cluster.process, address.clone());
                return Err(ClusterError::Listen { process, address, source });
            }
        }
    }
}

/// Pauses that grow, until a deadline.
struct Pauses {
    next: Duration,
    deadline: Instant,
}

impl Pauses {
    fn until(deadline: Instant) -> Self {
        Pauses { next: PAUSES.0, deadline }
    }

    /// Whether there was time for another. An error when the job is stopped.
    fn pause(&mut self, control: &Control) -> Result<bool, ClusterError> {
        if Instant::now() + self.next >= self.deadline {
            return Ok(false);
        }
        if control.wait(self.next) {
            return Err(ClusterError::Stopped);
        }
        self.next = (self.next * 2).min(PAUSES.1);
        Ok(true)
    }
}

/// A process that gets to know the others.
struct Meeting<'a> {
    cluster: &'a ProcessCluster,
    own: Handshake,
    sockets: Vec<Sockets>,
    control: &'a Control,
}

/// What came of a connection.
enum Visit {
    Hello(Hello, TcpStream),
    Protocol(u8, SocketAddr),
    Stranger,
}

impl<'a> Meeting<'a> {
    fn new(cluster: &'a ProcessCluster, plan: u64, generation: Option<u64>, control: &'a Control) -> Self {
        let (process, processes, workers) = (cluster.process, cluster.processes(), cluster.workers);
        Meeting {
            cluster,
            own: Handshake { process, processes, workers, plan, generation },
            sockets: (0..processes).map(|_| Sockets::default()).collect(),
            control,
        }
    }

    fn lead(&mut self, listener: &TcpListener, welcome: &Welcome) -> Result<(), ClusterError> {
        let others = 1..self.cluster.processes();
        self.accept(listener, others.clone())?;
        for process in others.clone() {
            self.tell(process, &Answer::Welcome(welcome.clone()))?;
        }
        self.hear_ready(others.clone())?;
        others.into_iter().try_for_each(|process| self.tell(process, &Answer::Start))
    }

    // From all at once: one may know why another is silent.
    fn hear_ready(&self, others: Range<usize>) -> Result<(), ClusterError> {
        let deadline = Instant::now() + self.cluster.start_limit + HEARSAY;
        let mut waiting: Vec<usize> = others.collect();
        while !waiting.is_empty() {
            self.must_go_on()?;
            let late = Instant::now() >= deadline;
            let speaking: Vec<usize>;
            (speaking, waiting) = waiting.into_iter().partition(|process| late || self.speaks(*process));
            for process in speaking {
                match self.hear(process, deadline)? {
                    Answer::Ready => {}
                    Answer::Refused { by, reason } => return Err(ClusterError::Refused { by, reason }),
                    Answer::Welcome(_) | Answer::Start => return Err(self.foreign(process)),
                }
            }
        }
        Ok(())
    }

    /// Whether the leader has found out that the job can't start, while this process gets to know the others.
    fn hear_refusal(&self) -> Result<(), ClusterError> {
        let welcomed = self.own.process != 0 && self.own.generation.is_some();
        if !welcomed || !self.speaks(0) {
            return Ok(());
        }
        match self.hear(0, Instant::now() + HEARSAY)? {
            Answer::Refused { by, reason } => Err(ClusterError::Refused { by, reason }),
            Answer::Welcome(_) | Answer::Ready | Answer::Start => Err(self.foreign(0)),
        }
    }

    // Whether something can be read, an end included. Waits a moment.
    fn speaks(&self, process: usize) -> bool {
        self.link(process).is_ok_and(|link| {
            let moment = link.set_read_timeout(Some(MOMENT));
            moment.and_then(|()| link.peek(&mut [0])).map_or_else(|error| !is_silence(&error), |_| true)
        })
    }

    fn follow(&mut self, listener: &TcpListener) -> Result<Welcome, ClusterError> {
        self.connect(0)?;
        let welcome = match self.hear(0, Instant::now() + self.cluster.start_limit + HEARSAY)? {
            Answer::Welcome(welcome) => welcome,
            Answer::Refused { by, reason } => return Err(ClusterError::Refused { by, reason }),
            Answer::Ready | Answer::Start => return Err(self.foreign(0)),
        };
        self.own.generation = Some(welcome.generation);
        // Nobody waits for a process with a higher number before it accepts: there is no circle.
        (1..self.own.process).try_for_each(|process| self.connect(process))?;
        self.accept(listener, self.own.process + 1..self.cluster.processes())?;
        self.tell(0, &Answer::Ready)?;
        match self.hear(0, Instant::now() + self.cluster.start_limit + 2 * HEARSAY)? {
            Answer::Start => Ok(welcome),
            Answer::Refused { by, reason } => Err(ClusterError::Refused { by, reason }),
            Answer::Welcome(_) | Answer::Ready => Err(self.foreign(0)),
        }
    }

    /// Lets processes connect until all of `others` have.
    fn accept(&mut self, listener: &TcpListener, others: Range<usize>) -> Result<(), ClusterError> {
        listener.set_nonblocking(true).map_err(ClusterError::start)?;
        let deadline = Instant::now() + self.cluster.start_limit;
        let (sender, visits) = channel();
        let mut pending = 0;
        while !others.clone().all(|process| self.sockets[process].complete()) {
            while pending < PENDING_MAX
                && let Ok((socket, from)) = listener.accept()
            {
                pending += 1;
                self.receive(socket, from, sender.clone());
            }
            match visits.recv_timeout(LOOK_AGAIN) {
                Ok(visit) => {
                    pending -= 1;
                    self.admit(visit, &others)?;
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            self.hear_refusal()?;
            self.must_go_on()?;
            if Instant::now() >= deadline {
                return Err(self.missing(others));
            }
        }
        Ok(())
    }

    // On a thread of its own: what says nothing holds up nobody.
    fn receive(&self, socket: TcpStream, from: SocketAddr, visits: Sender<Visit>) {
        let own = self.own.clone();
        std::thread::spawn(move || {
            let visit = match greet(&socket, own) {
                Ok(hello) => Visit::Hello(hello, socket),
                Err(Unheard::Protocol(version)) => Visit::Protocol(version, from),
                Err(unheard) => {
                    tracing::debug!(%from, ?unheard, "dropped a connection of something that is no process of a job");
                    Visit::Stranger
                }
            };
            // Nobody listens any more when the job has started, or can't.
            let _ = visits.send(visit);
        });
    }

    fn admit(&mut self, visit: Visit, others: &Range<usize>) -> Result<(), ClusterError> {
        let (hello, socket) = match visit {
            Visit::Hello(hello, socket) => (hello, socket),
            Visit::Protocol(theirs, from) => return Err(protocol(from.to_string(), theirs)),
            Visit::Stranger => return Ok(()),
        };
        let process = hello.handshake.process;
        let difference = self.own.difference(&hello.handshake).or_else(|| {
            if !others.contains(&process) {
                return Some(Difference::Number { theirs: process });
            }
            self.sockets[process].slot(hello.channel).is_some().then_some(Difference::Twice)
        });
        let Some(difference) = difference else {
            *self.sockets[process].slot(hello.channel) = Some(socket);
            return Ok(());
        };
        let address = match self.cluster.addresses.get(process) {
            Some(address) => address.clone(),
            None => socket.peer_addr().map_or_else(|_| "?".to_owned(), |address| address.to_string()),
        };
        let error = ClusterError::Mismatch { own: self.own.process, process, address, difference };
        let (by, reason) = (self.own.process, error.to_string());
        let _ = wire::write(&socket, &Answer::Refused { by, reason });
        Err(error)
    }

    /// Both connections with a process of a lower number.
    fn connect(&mut self, process: usize) -> Result<(), ClusterError> {
        for channel in [Channel::Data, Channel::Link] {
            let socket = self.reach(process, channel)?;
            *self.sockets[process].slot(channel) = Some(socket);
        }
        Ok(())
    }

    fn reach(&self, process: usize, channel: Channel) -> Result<TcpStream, ClusterError> {
        let deadline = Instant::now() + self.cluster.start_limit;
        let mut pauses = Pauses::until(deadline);
        loop {
            let attempt = self.attempt(process, channel, deadline);
            let (theirs, socket) = match attempt {
                Ok((hello, socket)) => (hello.handshake, socket),
                Err(Unheard::Stranger) => return Err(self.foreign(process)),
                Err(Unheard::Protocol(theirs)) => return Err(protocol(self.address(process), theirs)),
                Err(Unheard::Silent(error)) => {
                    if pauses.pause(self.control)? {
                        self.hear_refusal()?;
                        continue;
                    }
                    let detail = format!("{}, for {:?}", in_words(&error), self.cluster.start_limit);
                    return Err(self.unreachable(process, detail));
                }
            };
            if let Some(difference) = self.own.difference(&theirs) {
                return Err(self.mismatch(process, difference));
            }
            if theirs.process != process {
                return Err(self.mismatch(process, Difference::Number { theirs: theirs.process }));
            }
            return Ok(socket);
        }
    }

    fn attempt(
        &self,
        process: usize,
        channel: Channel,
        deadline: Instant,
    ) -> Result<(Hello, TcpStream), Unheard> {
        let mut last = io::Error::other("its name has no address");
        for address in self.cluster.addresses[process].to_socket_addrs().map_err(Unheard::Silent)? {
            match TcpStream::connect_timeout(&address, left(deadline).min(ATTEMPT_LIMIT)) {
                Ok(socket) => {
                    prepare(&socket, left(deadline)).map_err(Unheard::Silent)?;
                    // Where nobody listens yet, the system may give a connection its own target's port.
                    let itself = socket.local_addr().ok() == socket.peer_addr().ok();
                    if itself {
                        return Err(Unheard::Silent(io::ErrorKind::ConnectionRefused.into()));
                    }
                    let hello = Hello { channel, handshake: self.own.clone() };
                    say_hello(&socket, &hello).map_err(Unheard::Silent)?;
                    return Ok((hear_hello(&socket)?, socket));
                }
                Err(error) => last = error,
            }
        }
        Err(Unheard::Silent(last))
    }

    fn link(&self, process: usize) -> Result<&TcpStream, ClusterError> {
        let link = self.sockets[process].link.as_ref();
        link.ok_or_else(|| self.unreachable(process, "it is not connected".to_owned()))
    }

    fn tell(&self, process: usize, answer: &Answer) -> Result<(), ClusterError> {
        wire::write(self.link(process)?, answer).map_err(|error| self.went(process, &error))
    }

    fn hear(&self, process: usize, deadline: Instant) -> Result<Answer, ClusterError> {
        while !self.speaks(process) && Instant::now() < deadline {
            self.must_go_on()?;
        }
        let link = self.link(process)?;
        prepare(link, left(deadline)).map_err(|error| self.went(process, &error))?;
        wire::read(link, u32::MAX).map_err(|error| self.went(process, &error))
    }

    fn must_go_on(&self) -> Result<(), ClusterError> {
        if self.control.stop_asked() { Err(ClusterError::Stopped) } else { Ok(()) }
    }

    /// Tells another process why the job does not start, if it can be told.
    fn refuse(&self, process: usize, error: &ClusterError) {
        let refused = match error {
            ClusterError::Refused { by, reason } => Answer::Refused { by: *by, reason: reason.clone() },
            other => Answer::Refused { by: self.own.process, reason: other.to_string() },
        };
        if let Ok(link) = self.link(process) {
            let _ = wire::write(link, &refused);
        }
    }

    fn address(&self, process: usize) -> String {
        self.cluster.addresses[process].clone()
    }

    fn missing(&self, others: Range<usize>) -> ClusterError {
        let missing: Vec<String> = others
            .filter(|process| !self.sockets[*process].complete())
            .map(|process| format!("process {process} at {}", self.address(process)))
            .collect();
        let limit_s = self.cluster.start_limit.as_secs();
        ClusterError::Missing { own: self.own.process, missing: missing.join(", "), limit_s }
    }

    fn unreachable(&self, process: usize, detail: String) -> ClusterError {
        let (own, address) = (self.own.process, self.address(process));
        ClusterError::Unreachable { own, process, address, detail }
    }

    fn went(&self, process: usize, error: &io::Error) -> ClusterError {
        self.unreachable(process, format!("{} while the job started", in_words(error)))
    }

    fn foreign(&self, process: usize) -> ClusterError {
        ClusterError::Foreign { process, address: self.address(process) }
    }

    fn mismatch(&self, process: usize, difference: Difference) -> ClusterError {
        ClusterError::Mismatch { own: self.own.process, process, address: self.address(process), difference }
    }
}

fn protocol(peer: String, theirs: u8) -> ClusterError {
    ClusterError::Protocol { peer, theirs, ours: wire::PROTOCOL }
}

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        _ if is_silence(error) => "it does not answer".to_owned(),
        io::ErrorKind::UnexpectedEof => "it hung up".to_owned(),
        _ => error.to_string(),
    }
}

fn greet(socket: &TcpStream, own: Handshake) -> Result<Hello, Unheard> {
    socket.set_nonblocking(false).map_err(Unheard::Silent)?;
    prepare(socket, HELLO_LIMIT).map_err(Unheard::Silent)?;
    let theirs = hear_hello(socket);
    // One with another version learns of it, too.
    if !matches!(theirs, Err(Unheard::Stranger | Unheard::Silent(_))) {
        let channel = theirs.as_ref().map_or(Channel::Link, |theirs| theirs.channel);
        say_hello(socket, &Hello { channel, handshake: own }).map_err(Unheard::Silent)?;
    }
    theirs
}

fn prepare(socket: &TcpStream, limit: Duration) -> io::Result<()> {
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(limit))?;
    socket.set_write_timeout(Some(limit))
}

// Never zero, which would be no limit at all.
fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}
