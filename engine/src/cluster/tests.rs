//! Processes are threads here, each with its own connections over localhost.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Instant;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::generic::operator::source;
use timely::dataflow::operators::{Exchange, Inspect};

use super::bootstrap::{join_at, lead_at, meet};
use super::links::{Links, Message};
use super::*;

/// How long anything may take that should take a moment.
const LIMIT: Duration = Duration::from_secs(20);

/// A job's processes with free ports, which stay theirs.
fn cluster(processes: usize, workers: usize) -> Vec<(TcpListener, ProcessCluster)> {
    let listeners: Vec<TcpListener> =
        (0..processes).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let addresses: Vec<String> =
        listeners.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect();
    let cluster = |process| ProcessCluster::new(workers, process, addresses.clone());
    listeners.into_iter().enumerate().map(|(process, listener)| (listener, cluster(process))).collect()
}

fn welcome() -> Welcome {
    Welcome { generation: 7, from: 3, payload: serde_json::json!({ "offsets": [1, 2] }) }
}

fn connect(listener: TcpListener, cluster: &ProcessCluster, plan: u64) -> Result<Connected, ClusterError> {
    match cluster.process {
        0 => lead_at(listener, cluster, plan, welcome(), &Control::new()),
        _ => join_at(listener, cluster, plan, &Control::new()),
    }
}

/// Runs a process of a job on a thread.
fn process<T: Send + 'static>(
    (listener, cluster): (TcpListener, ProcessCluster),
    plan: u64,
    run: impl FnOnce(Result<Connected, ClusterError>) -> T + Send + 'static,
) -> JoinHandle<T> {
    std::thread::spawn(move || run(connect(listener, &cluster, plan)))
}

fn ended<T>(thread: JoinHandle<T>) -> T {
    wait_until("a process ends", || thread.is_finished());
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within {LIMIT:?}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

fn received(links: &Links) -> Message {
    let mut message = None;
    wait_until("a message", || {
        message = links.receive(Duration::ZERO);
        message.is_some()
    });
    message.unwrap()
}

/// The error of a start that has to fail.
fn error(started: Result<Connected, ClusterError>) -> String {
    match started {
        Ok(_) => panic!("it started"),
        Err(error) => error.to_string(),
    }
}

/// The errors of all processes of a job that can't start.
fn errors_of(all: Vec<(TcpListener, ProcessCluster)>) -> Vec<String> {
    let processes: Vec<_> = all.into_iter().map(|mine| process(mine, 1, error)).collect();
    processes.into_iter().map(ended).collect()
}

/// Sums the numbers 0 to 999 of every worker, each on the worker that it belongs to. Where it is endless, it never ends.
fn sum(mesh: Mesh, endless: bool) -> Result<u64, ClusterError> {
    let sums = run_connected(mesh, move |worker| {
        let sum = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let total = Arc::clone(&sum);
        worker.dataflow::<u64, _, _>(|scope| {
            source::<_, CapacityContainerBuilder<Vec<u64>>, _, _>(scope, "numbers", |capability, info| {
                let activator = scope.activator_for(info.address);
                let (mut capability, mut next) = (Some(capability), 0);
                move |output| {
                    if let Some(open) = &capability {
                        output.session(open).give_iterator(next..(next + 100).min(1000));
                        next = (next + 100).min(1000);
                        activator.activate();
                    }
                    if next == 1000 && !endless {
                        capability = None;
                    }
                }
            })
            .exchange(|number| *number)
            .inspect(move |number| {
                total.fetch_add(*number, std::sync::atomic::Ordering::Relaxed);
            });
        });
        sum
    })?;
    Ok(sums.into_iter().map(|sum| sum.load(std::sync::atomic::Ordering::Relaxed)).sum())
}

#[test]
fn three_processes_share_a_job() {
    let processes: Vec<_> = cluster(3, 2)
        .into_iter()
        .map(|mine| {
            let own = mine.1.process;
            process(mine, 1, move |connected| {
                let Connected { welcome, mesh, links } = connected.unwrap();
                assert_eq!(welcome, self::welcome());
                assert_eq!((links.process(), links.others()), (own, if own == 0 { 2 } else { 0 }));
                // Of a coordinator: all ask, the leader ends the job and is gone at once.
                let coordinator = std::thread::spawn(move || {
                    if own == 0 {
                        assert_eq!([received(&links), received(&links)], [Message::Stop, Message::Stop]);
                        links.send(Message::Cut { cut: 4, last: false });
                        links.send(Message::End);
                        return Vec::new();
                    }
                    links.send(Message::Stop);
                    let heard = vec![received(&links), received(&links)];
                    // The leader's end is no loss.
                    assert_eq!(links.receive(Duration::ZERO), None);
                    heard
                });
                let sum = sum(mesh, false).unwrap();
                (own, sum, ended(coordinator))
            })
        })
        .collect();
    let ended: Vec<_> = processes.into_iter().map(ended).collect();
    // Each of 6 workers gives 0 to 999.
    assert_eq!(ended.iter().map(|(_, sum, _)| sum).sum::<u64>(), 6 * 499_500);
    for (own, sum, heard) in ended {
        assert!(sum > 0, "process {own} has got nothing");
        let expected =
            if own == 0 { vec![] } else { vec![Message::Cut { cut: 4, last: false }, Message::End] };
        assert_eq!(heard, expected);
    }
}

/// Connects to a process as another one would.
fn knock(address: &str, process: usize, generation: Option<u64>, channel: handshake::Channel) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let handshake = handshake::Handshake { process, processes: 3, workers: 1, plan: 1, generation };
    handshake::say_hello(&socket, &handshake::Hello { channel, handshake }).unwrap();
    socket
}

/// Connects to the leader as another process would, and waits for its answer.
fn meet_leader(address: &str, process: usize) -> [TcpStream; 2] {
    [handshake::Channel::Data, handshake::Channel::Link].map(|channel| {
        let socket = knock(address, process, None, channel);
        assert_eq!(handshake::hear_hello(&socket).unwrap().handshake.generation, Some(7));
        socket
    })
}

#[test]
fn a_process_of_another_job_is_named_on_both_sides() {
    let mut all = cluster(3, 1);
    let addresses: Vec<String> = all[0].1.addresses.clone();
    let (second, first) = (all.remove(1), all.remove(0));
    let first = process(first, 1, error);
    let [_data, link] = meet_leader(&addresses[0], 2);
    let second = ended(process(second, 2, error));
    assert_eq!(
        second,
        format!(
            "process 0 at {} runs another pipeline (its plan is 0000000000000001, not 0000000000000002): it can't share a job with process 1; start all processes with the same pipeline, options and version of thalweg",
            addresses[0]
        )
    );
    let first = ended(first);
    let expected = format!(
        "process 1 at {} runs another pipeline (its plan is 0000000000000002, not 0000000000000001): it can't share a job with process 0",
        addresses[1]
    );
    assert!(first.starts_with(&expected), "{first}");
    // Whoever waits for the job to start hears of it.
    let heard: serde_json::Value = wire::read(&link, u32::MAX).unwrap();
    assert_eq!(heard, serde_json::json!({ "refused": { "by": 0, "reason": first } }));
}

#[test]
fn what_else_may_differ_is_named_too() {
    let refused = |change: fn(&mut ProcessCluster)| {
        let mut all = cluster(2, 2);
        let (mut second, first) = (all.remove(1), all.remove(0));
        change(&mut second.1);
        second.1.start_limit = Duration::from_millis(300);
        let (first, second) = (process(first, 1, error), process(second, 1, error));
        (ended(first), ended(second))
    };
    let (first, second) = refused(|cluster| cluster.workers = 3);
    assert!(
        first.contains("process 1 at 127.0.0.1:") && first.contains("has 3 workers a process, not 2"),
        "{first}"
    );
    assert!(
        second.contains("process 0 at 127.0.0.1:") && second.contains("has 2 workers a process, not 3"),
        "{second}"
    );
    let (first, second) = refused(|cluster| cluster.addresses.push("127.0.0.1:9".to_owned()));
    assert!(first.contains("process 1") && first.contains("knows 3 processes, not 2"), "{first}");
    assert!(second.contains("process 0") && second.contains("knows 2 processes, not 3"), "{second}");
}

#[test]
fn mixed_up_lists_and_numbers_are_named() {
    // The last process has two of the others mixed up.
    let mut all = cluster(4, 1);
    all[3].1.addresses.swap(1, 2);
    let swapped = all[3].1.addresses.clone();
    let errors = errors_of(all);
    let expected =
        format!("process 1 at {} calls itself process 2: it can't share a job with process 3", swapped[1]);
    assert!(errors[3].starts_with(&expected), "{}", errors[3]);
    for error in &errors[..3] {
        assert!(error.starts_with(&format!("the job does not start, says process 3: {expected}")), "{error}");
    }

    // Two call themselves process 1.
    let mut all = cluster(3, 1);
    all[2].1.process = 1;
    all.iter_mut().for_each(|(_, cluster)| cluster.start_limit = Duration::from_secs(2));
    let leader = errors_of(all).swap_remove(0);
    assert!(leader.contains("process 1 at 127.0.0.1:") && leader.contains("was started twice"), "{leader}");
}

#[test]
fn an_older_generation_is_named() {
    let mut all = cluster(3, 1);
    let (third, second, first) = (all.remove(2), all.remove(1), all.remove(0));
    let addresses = first.1.addresses.clone();
    let (first, second) = (process(first, 1, error), process(second, 1, error));
    // The third process knows the leader, and then comes to the second as one of an older run.
    let sockets = meet_leader(&addresses[0], 2);
    let late = knock(&addresses[1], 2, Some(6), handshake::Channel::Data);
    let second = ended(second);
    let expected = format!(
        "process 2 at {} belongs to another run of the job (its generation is 6, not 7): it can't share a job with process 1",
        addresses[2]
    );
    assert!(second.starts_with(&expected), "{second}");
    assert!(ended(first).starts_with(&format!("the job does not start, says process 1: {expected}")));
    drop((third, sockets, late));
}

#[test]
fn strangers_do_not_keep_a_job_from_starting() {
    let mut all = cluster(2, 1);
    let (second, first) = (all.remove(1), all.remove(0));
    let say = |text: &[u8]| {
        let mut stranger = TcpStream::connect(&first.1.addresses[0]).unwrap();
        stranger.write_all(text).unwrap();
        stranger.set_read_timeout(Some(LIMIT)).unwrap();
        stranger
    };
    let silent = [say(b""), say(b"thal"), say(b"thalweg\x01\0\0\0\x40{")];
    let strangers =
        [say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"), say(&[0; 64]), say(b"thalweg\x01\xff\xff\xff\xff{}")];
    let run = |connected: Result<Connected, ClusterError>| sum(connected.unwrap().mesh, false).unwrap();
    let first = process(first, 1, run);
    for mut stranger in strangers {
        // Dropped; where it had more to say than was read, that is an error to it.
        assert!(stranger.read_to_end(&mut Vec::new()).map_or(true, |bytes| bytes == 0));
    }
    let second = process(second, 1, run);
    assert_eq!(ended(first) + ended(second), 2 * 499_500);
    drop(silent);
}

#[test]
fn another_version_and_another_program_are_named() {
    // Something else has the leader's address.
    let mut all = cluster(2, 1);
    let (second, (other, first)) = (all.remove(1), all.remove(0));
    let answer = |text: &'static [u8]| {
        let other = other.try_clone().unwrap();
        std::thread::spawn(move || {
            let (mut socket, _) = other.accept().unwrap();
            socket.write_all(text).unwrap();
            // What is not read before the end would break the connection instead of ending it.
            let _ = socket.read_to_end(&mut Vec::new());
        })
    };
    let again = (second.0.try_clone().unwrap(), second.1.clone());
    let answered = answer(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    let text = ended(process(second, 1, error));
    assert!(text.contains(&first.addresses[0]) && text.contains("nor thalweg at all"), "{text}");
    ended(answered);
    let answered = answer(b"thalweg\x09");
    let text = ended(process(again, 1, error));
    assert!(text.contains(&first.addresses[0]) && text.contains("speaks version 9"), "{text}");
    ended(answered);
    // The leader hears from another version.
    let leader = process((other, first.clone()), 1, error);
    let mut newer = TcpStream::connect(&first.addresses[0]).unwrap();
    newer.write_all(b"thalweg\x09").unwrap();
    let text = ended(leader);
    assert!(text.contains("speaks version 9 of the protocol between processes, not 1"), "{text}");
    assert!(matches!(wire::read_opening(&newer), Ok(wire::Opening::Thalweg(wire::PROTOCOL))));
}

#[test]
fn who_does_not_come_is_named() {
    let mut all = cluster(3, 1);
    for (_, cluster) in &mut all {
        cluster.start_limit = Duration::from_millis(100);
    }
    let (third, (nobody, second), first) = (all.remove(2), all.remove(1), all.remove(0));
    let text = ended(process(first, 1, error));
    let expected = format!("process 1 at {}, process 2 at {}", second.addresses[1], second.addresses[2]);
    assert!(text.contains(&expected), "{text}");
    // Nobody listens there any more.
    drop(nobody);
    let text = ended(process(third, 1, error));
    assert!(
        text.starts_with(&format!("process 2 can't reach process 0 at {}", second.addresses[0])),
        "{text}"
    );
}

#[test]
fn a_list_that_makes_no_sense_is_refused() {
    let refused = |process: usize, addresses: &[&str]| {
        let addresses = addresses.iter().map(|address| (*address).to_owned()).collect();
        let cluster = ProcessCluster::new(1, process, addresses);
        error(if process == 0 {
            bootstrap::lead(&cluster, 1, welcome(), &Control::new())
        } else {
            bootstrap::join(&cluster, 1, &Control::new())
        })
    };
    assert!(refused(2, &["a:1", "b:1"]).contains("it has 2, and this is process 2"));
    assert!(refused(1, &["a:1", "b"]).contains("b of process 1 is no host:port"));
    assert!(refused(0, &["a:1", "b:1", "a:1"]).contains("processes 0 and 2 both have a:1"));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut cluster = ProcessCluster::new(1, 0, vec![taken.local_addr().unwrap().to_string()]);
    cluster.start_limit = Duration::from_millis(50);
    let text = error(bootstrap::lead(&cluster, 1, welcome(), &Control::new()));
    assert!(text.starts_with(&format!("process 0 can't listen on {}", cluster.addresses[0])), "{text}");
}

#[test]
fn who_waits_for_others_can_be_stopped() {
    let mut all = cluster(3, 1);
    // The third never comes.
    let (first, second) = (all.remove(0), all.remove(0));
    let control = Control::new();
    let stopped = |run: fn(TcpListener, &ProcessCluster, &Control) -> Result<Connected, ClusterError>,
                   (listener, cluster): (TcpListener, ProcessCluster)| {
        let control = control.clone();
        std::thread::spawn(move || matches!(run(listener, &cluster, &control), Err(ClusterError::Stopped)))
    };
    let leader = stopped(|at, cluster, control| lead_at(at, cluster, 1, welcome(), control), first);
    let follower = stopped(|at, cluster, control| join_at(at, cluster, 1, control), second);
    control.stop();
    assert!(ended(leader) && ended(follower));
}

#[test]
fn a_silent_process_is_lost_when_its_lease_ends() {
    let mut all = cluster(3, 1);
    let lease = Duration::from_millis(400);
    all.iter_mut().for_each(|(_, cluster)| cluster.lease = lease);
    let ((third, third_cluster), second, first) = (all.remove(2), all.remove(1), all.remove(0));
    let gone = format!("process 2 ({}) is gone; this process ends", third_cluster.addresses[2]);
    let run = |connected: Result<Connected, ClusterError>| {
        let Connected { mesh, links, .. } = connected.unwrap();
        let started = Instant::now();
        let lost = sum(mesh, true).unwrap_err();
        (lost, started.elapsed(), received(&links))
    };
    let (first, second) = (process(first, 1, run), process(second, 1, run));
    // It has connected, and then does nothing more: as if it were stopped.
    let stopped = meet(third, &third_cluster, 1, &Control::new()).unwrap();
    for survivor in [ended(first), ended(second)] {
        let (lost, after, heard) = survivor;
        assert!(matches!(lost, ClusterError::Lost { process: 2, .. }), "{lost}");
        assert!(matches!(&heard, Message::Failed { reason } if reason.starts_with(&gone)), "{heard:?}");
        assert!(after >= lease / 2, "it did not wait: {after:?}");
    }
    drop(stopped);
}

#[test]
fn a_dead_process_ends_the_others_and_all_name_it() {
    let mut all = cluster(3, 2);
    let (third, second, first) = (all.remove(2), all.remove(1), all.remove(0));
    let address = third.1.addresses[2].clone();
    let run = |connected: Result<Connected, ClusterError>| {
        let Connected { mesh, links, .. } = connected.unwrap();
        let lost = sum(mesh, true).unwrap_err().to_string();
        (lost, received(&links))
    };
    let (first, second) = (process(first, 1, run), process(second, 1, run));
    // All of its connections close at once, and nobody says a word: as if it were killed.
    let killed = process(third, 1, |connected| {
        let Connected { mesh, links, .. } = connected.unwrap();
        mesh.watch().kill();
        drop((mesh, links));
    });
    ended(killed);
    for (lost, heard) in [ended(first), ended(second)] {
        assert_eq!(
            lost,
            format!(
                "process 2 ({address}) is gone; this process ends, and the job goes on from the newest checkpoint when it is started again"
            )
        );
        assert_eq!(heard, Message::Failed { reason: lost });
    }
}
