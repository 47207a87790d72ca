//! Who reads whom: names, cycles, an order in which everything comes after what it reads, and what nobody reads.

use std::collections::BTreeMap;

use super::check::Checker;
use super::model::StreamId;
use crate::spec::{Spanned, suggest};

/// Streams by name.
pub(super) struct Names {
    streams: BTreeMap<String, StreamId>,
    /// What a name that is none was probably meant to be: it has been said, and the rest is looked at all the same.
    guesses: BTreeMap<String, StreamId>,
}

impl Names {
    /// The stream of this name.
    pub(super) fn stream(&self, name: &Spanned<String>) -> Option<StreamId> {
        self.streams.get(&name.value).or_else(|| self.guesses.get(&name.value)).copied()
    }
}

impl Checker<'_> {
    /// Resolves all names; says which are unknown, taken twice, or nobody's.
    pub(super) fn names(&mut self) -> Names {
        let mut streams: BTreeMap<String, StreamId> = BTreeMap::new();
        for (index, source) in self.spec.sources.iter().enumerate() {
            streams.insert(source.name.value.clone(), StreamId::Source(index));
        }
        for (index, step) in self.spec.steps.iter().enumerate() {
            if streams.contains_key(&step.name.value) {
                let path = format!("steps.{}", step.name.value);
                let hint = "sources and steps are read by name; give one of the two another".to_owned();
                self.problem(step.name.at, &path, "a source has this name too", Some(hint));
                continue;
            }
            streams.insert(step.name.value.clone(), StreamId::Step(index));
        }
        let mut names = Names { streams, guesses: BTreeMap::new() };
        let spec = self.spec;
        for step in &spec.steps {
            for from in &step.from {
                self.known(from, &names, &format!("steps.{}.from", step.name.value), Some(&step.name.value));
            }
        }
        for sink in spec.sinks.iter().filter(|sink| !(sink.incomplete && sink.from.is_empty())) {
            self.known(&sink.from, &names, &format!("sinks.{}.from", sink.name.value), None);
        }
        self.unread(&names);
        names.guesses = self.guesses(&names);
        names
    }

    // Only what comes before a step, so that no guess closes a circle.
    fn guesses(&self, names: &Names) -> BTreeMap<String, StreamId> {
        let spec = self.spec;
        let sources: Vec<&str> = spec.sources.iter().map(|source| source.name.value.as_str()).collect();
        let mut guesses = BTreeMap::new();
        let steps = spec.steps.iter().enumerate();
        let read_by_steps =
            steps.flat_map(|(at, step)| step.from.iter().map(move |from| (from, &spec.steps[..at])));
        let read_by_sinks = spec.sinks.iter().map(|sink| (&sink.from, &spec.steps[..]));
        // What can't be read may be what is meant.
        if spec.streams_unknown {
            return guesses;
        }
        for (from, before) in read_by_steps.chain(read_by_sinks) {
            if names.stream(from).is_some() || from.is_empty() {
                continue;
            }
            let before = before.iter().filter(|step| step.from.iter().all(|each| each.value != from.value));
            let candidates = sources.iter().copied().chain(before.map(|step| step.name.value.as_str()));
            let near = suggest::nearest(from, candidates);
            let only = || sources.first().copied().filter(|_| sources.len() == 1 && spec.steps.len() <= 1);
            let guess = near.or_else(only).and_then(|name| names.streams.get(name));
            guesses.extend(guess.map(|guess| (from.value.clone(), *guess)));
        }
        guesses
    }

    fn known(&mut self, from: &Spanned<String>, names: &Names, path: &str, own_name: Option<&str>) {
        if names.stream(from).is_some() || self.spec.streams_unknown {
            return;
        }
        let others: Vec<&str> =
            names.streams.keys().map(String::as_str).filter(|name| Some(*name) != own_name).collect();
        let is_sink = self.spec.sinks.iter().any(|sink| sink.name.value == from.value);
        let hint = if is_sink {
            Some("a sink can't be read from; read from the step that it reads from".to_owned())
        } else {
            suggest::hint(from, &others, "sources and steps")
        };
        self.problem(from.at, path, format!("there is no source or step \"{}\"", from.value), hint);
    }

    /// Warns of sources and steps that nobody reads.
    fn unread(&mut self, names: &Names) {
        let spec = self.spec;
        let read_by_steps = spec.steps.iter().flat_map(|step| &step.from);
        let read_by_sinks = spec.sinks.iter().map(|sink| &sink.from);
        let read: Vec<StreamId> =
            read_by_steps.chain(read_by_sinks).filter_map(|from| names.stream(from)).collect();
        let sources =
            spec.sources.iter().enumerate().map(|(index, each)| (StreamId::Source(index), &each.name));
        let steps = spec.steps.iter().enumerate().map(|(index, each)| (StreamId::Step(index), &each.name));
        for (stream, name) in sources.chain(steps) {
            if !read.contains(&stream) {
                let (what, path) = match stream {
                    StreamId::Source(_) => ("source", format!("sources.{}", name.value)),
                    StreamId::Step(_) => ("step", format!("steps.{}", name.value)),
                };
                let hint = Some(format!("give it a sink (from: {}), or leave it out", name.value));
                let warning =
                    self.spec.source.problem(name.at, path, format!("nothing reads this {what}"), hint);
                self.warnings.push(warning);
            }
        }
    }

    /// The steps, as indexes into the spec, each after all that it reads; otherwise in the spec's order. Steps of a cycle
    /// are left out, and said.
    pub(super) fn order(&mut self, names: &Names) -> Vec<usize> {
        #[derive(Clone, Copy, PartialEq)]
        enum Mark {
            New,
            Open,
            Done,
            Failed,
        }
        fn visit(
            checker: &mut Checker<'_>,
            names: &Names,
            index: usize,
            marks: &mut [Mark],
            trail: &mut Vec<usize>,
            order: &mut Vec<usize>,
        ) -> bool {
            match marks[index] {
                Mark::Done => return true,
                Mark::Failed => return false,
                Mark::Open => {
                    let start = trail.iter().position(|each| *each == index).unwrap_or(0);
                    let spec = checker.spec;
                    let mut cycle: Vec<&str> =
                        trail[start..].iter().map(|each| spec.steps[*each].name.value.as_str()).collect();
                    cycle.push(&spec.steps[index].name.value);
                    let first = &spec.steps[index];
                    let message = format!("steps that read each other: {}", cycle.join(" ← "));
                    let hint =
                        "rows flow from sources to sinks; let one of them read from elsewhere".to_owned();
                    let at = first.from.first().map_or(first.name.at, |from| from.at);
                    checker.problem(at, &format!("steps.{}.from", first.name.value), message, Some(hint));
                    return false;
                }
                Mark::New => {}
            }
            marks[index] = Mark::Open;
            trail.push(index);
            let spec = checker.spec;
            let mut is_right = true;
            for from in &spec.steps[index].from {
                if let Some(StreamId::Step(input)) = names.stream(from) {
                    is_right &= visit(checker, names, input, marks, trail, order);
                }
            }
            trail.pop();
            marks[index] = if is_right { Mark::Done } else { Mark::Failed };
            if is_right {
                order.push(index);
            }
            is_right
        }
        let mut marks = vec![Mark::New; self.spec.steps.len()];
        let mut order = Vec::with_capacity(marks.len());
        for index in 0..marks.len() {
            visit(self, names, index, &mut marks, &mut Vec::new(), &mut order);
        }
        order
    }
}
