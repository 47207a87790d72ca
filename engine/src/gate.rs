//! Backpressure: a source may run only so far ahead of the slowest sink.
//!
//! timely's channels are unbounded. Each source therefore remembers the ticks that it closed, and reads on only while the
//! sinks' probe has passed enough of them. A probe wakes nobody: an operator behind each sink, scheduled whenever the frontier
//! moves, wakes the sources that wait ([`Gate::watch`]).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::probe::{Handle, Probe};
use timely::scheduling::Activator;

use crate::tick::TickLimits;
use crate::{BatchStream, Out, Tick};

/// A worker's view of how far all sinks have come, and of the sources to wake when they go on.
#[derive(Clone, Default)]
pub struct Gate {
    probe: Handle<Tick>,
    waiting: Rc<RefCell<Vec<Activator>>>,
}

impl Gate {
    /// A gate that no sink has been attached to yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Attaches the end of a dataflow: from now on its frontier holds back the sources.
    pub fn watch(&self, end: BatchStream<'_>) {
        let waiting = Rc::clone(&self.waiting);
        end.probe_with(&self.probe).unary_frontier::<Out, _, _, _>(Pipeline, "gate", move |cap, _| {
            drop(cap);
            move |(input, _frontier), _output| {
                input.for_each(|_, _| {});
                waiting.borrow().iter().for_each(Activator::activate);
            }
        });
    }

    /// Registers a source to be woken when the frontier moves.
    pub fn wake(&self, source: Activator) {
        self.waiting.borrow_mut().push(source);
    }

    /// Whether every sink is done with `tick`.
    pub fn passed(&self, tick: Tick) -> bool {
        !self.probe.less_equal(&tick)
    }
}

/// What one source has in flight.
pub struct InFlight {
    gate: Gate,
    limits: TickLimits,
    closed: VecDeque<(Tick, usize)>,
    bytes: usize,
}

impl InFlight {
    /// Nothing in flight yet.
    pub fn new(gate: Gate, limits: TickLimits) -> Self {
        InFlight { gate, limits, closed: VecDeque::new(), bytes: 0 }
    }

    /// Notes a closed tick and the payload bytes read into it.
    pub fn close(&mut self, tick: Tick, bytes: usize) {
        self.closed.push_back((tick, bytes));
        self.bytes += bytes;
    }

    /// Whether the source may read on.
    pub fn may_read(&mut self) -> bool {
        while let Some((tick, bytes)) = self.closed.front().copied() {
            if !self.gate.passed(tick) {
                break;
            }
            self.closed.pop_front();
            self.bytes -= bytes;
        }
        self.closed.len() < self.limits.ahead_ticks_max && self.bytes < self.limits.ahead_bytes_max
    }
}
