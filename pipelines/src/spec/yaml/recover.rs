//! Reads what can be read of a text that is not YAML as a whole: what holds a fault is left out, and the rest is parsed again.
//!
//! ```text
//!   parse ──▶ a fault ──▶ mended, where it is clear what was meant: tabs (tabs.rs), what is never closed (ends.rs)
//!     ▲         │
//!     │         └───────▶ the line at fault with what belongs to it ─┬─▶ its value is Broken       name: left_out
//!     │                                                              ├─▶ an item is Broken         - left_out
//!     │                                                              ├─▶ an entry is Broken        left_out: left_out
//!     │                                                              ├─▶ empty lines; the mappings around them get a Broken entry
//!     │                                                              └─▶ the same for the line above that it is indented under
//!     └──────────── the first of these after which the fault is gone, or the next one lies behind it
//! ```
//!
//! Lines stay where they are, so that all places are the file's.

use std::collections::BTreeSet;
use std::ops::Range;

use super::lines::Lines;
use super::tabs::{self, Mended, Run};
use super::{Fault, FaultKind, Kind, LEFT_OUT, Node, ends, part, slips, tree};
use crate::spec::{Problem, SourceText, Span};

/// How many faults of a text are said; of those behind, how many there are.
const FAULTS_SAID_MAX: usize = 100;
/// How many faults of a text are looked for.
const FAULTS_MAX: usize = 1000;
/// How many are looked for where one way to read a text is weighed against another.
const FAULTS_WEIGHED_MAX: usize = 20;

/// Where something is wrong with what a tree says.
pub(in crate::spec) type Judge<'j> = &'j dyn Fn(&Node) -> Vec<Span>;

/// Parses as much of a text as can be, with everything that is wrong with its grammar. `None`: nothing can be read. Where a text may be
/// read in several ways, it is read in the one of which `judge` finds least to be wrong.
pub(in crate::spec) fn read(source: &SourceText, judge: Judge<'_>) -> (Option<Node>, Vec<Problem>) {
    let parsed = tree(source, &BTreeSet::new());
    let recovered = Recovered {
        source: source.clone(),
        lines: Lines::new(source),
        left_out: BTreeSet::new(),
        mended: Mended::default(),
        gaps: Vec::new(),
        last_gap: None,
        has_lost_anchors: false,
    };
    let (mut root, mut problems) = match parsed {
        Ok(root) => (Some(root), Vec::new()),
        Err(_) => recovered.read(parsed, Some(judge)),
    };
    root.iter_mut().for_each(|root| part(root, "", source, &mut problems));
    (root, problems)
}

/// How a block is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Value,
    Item,
    Entry,
    Gap,
}

/// A text of which parts are left out.
#[derive(Clone)]
struct Recovered {
    source: SourceText,
    lines: Lines,
    /// Lines that hold [`LEFT_OUT`], from 1.
    left_out: BTreeSet<usize>,
    /// Lines that began with tabs.
    mended: Mended,
    gaps: Vec<Gap>,
    last_gap: Option<(Gap, FaultKind)>,
    has_lost_anchors: bool,
}

/// Lines that are empty now.
#[derive(Debug, Clone)]
struct Gap {
    lines: Range<usize>,
    indent: usize,
}

impl Recovered {
    /// What can be read, from `parsed` on. Without a judge, the likeliest of several ways is taken.
    fn read(
        mut self,
        mut parsed: Result<Node, Fault>,
        judge: Option<Judge<'_>>,
    ) -> (Option<Node>, Vec<Problem>) {
        let source = self.source.clone();
        let mut problems = Vec::new();
        let faults_max = if judge.is_some() { FAULTS_MAX } else { FAULTS_WEIGHED_MAX };
        let mut faults = 0;
        let root = loop {
            let fault = match parsed {
                Ok(root) => break Some(self.marked(root)),
                Err(fault) => fault,
            };
            faults += 1;
            // Of what is not said it does not matter how it is read best.
            let judge = judge.filter(|_| problems.len() < FAULTS_SAID_MAX);
            let mended = self.with_space(&fault).or_else(|| self.without_tabs(&fault, judge));
            if let Some((problem, next)) = mended {
                problems.push(problem);
                parsed = next;
                continue;
            }
            let follows = self.follows(&fault);
            if !follows {
                problems.push(self.mended.in_file(slips::problem(&source, &self.lines, &fault)));
            }
            if let Some(next) = self.with_ends(&fault, judge).filter(|_| !follows) {
                parsed = next;
                continue;
            }
            let next = match faults < faults_max {
                true => self.leave_out(&fault),
                false => self.leave_out_the_rest(&fault),
            };
            match next {
                Some(next) => parsed = next,
                None => break None,
            }
        };
        (root, said(problems, faults >= faults_max))
    }

    /// Reads lines that begin with tabs as if they began with the spaces that were meant, if the fault comes of them.
    fn without_tabs(
        &mut self,
        fault: &Fault,
        judge: Option<Judge<'_>>,
    ) -> Option<(Problem, Result<Node, Fault>)> {
        let runs = Run::of(&self.lines, fault);
        let best = runs.iter().find_map(|run| Some((run, self.best_way(run, fault, judge, true)?)));
        let best = best.or_else(|| {
            let run = runs.first().filter(|_| tabs::says_tab(fault))?;
            Some((run, self.best_way(run, fault, judge, false)?))
        });
        let (run, (next, parsed)) = best?;
        let path = next.lines.path(next.lines.named(run.first()));
        let problem = run.problem(&self.source, &self.lines, &next.lines, path);
        *self = next;
        Some((problem, parsed))
    }

    /// The way to write a run of which the parser gets furthest: past the fault, if it must.
    fn best_way(
        &self,
        run: &Run,
        fault: &Fault,
        judge: Option<Judge<'_>>,
        must_go_on: bool,
    ) -> Option<(Recovered, Result<Node, Fault>)> {
        let mut ways = run.ways(&self.lines).into_iter().map(|(lines, mended)| {
            let text = SourceText::new(&self.source.file, &lines.text.join("\n"));
            let mut next = Recovered { lines, ..self.clone() };
            next.mended.extend(mended);
            (next, tree(&text, &self.left_out))
        });
        let reach = |way: &(Recovered, Result<Node, Fault>)| match &way.1 {
            Ok(_) => (usize::MAX, 0),
            Err(next) => (next.at.line, way.0.mended.place(next.at).column),
        };
        let past = fault.at.line.max(run.first() + 1);
        if judge.is_none() {
            return ways.find(|way| !must_go_on || reach(way).0 > past);
        }
        let ways: Vec<(Recovered, Result<Node, Fault>)> = ways.collect();
        let furthest = ways.iter().map(reach).max()?;
        if must_go_on && furthest.0 <= past {
            return None;
        }
        let mut ways: Vec<_> = ways.into_iter().filter(|way| reach(way) == furthest).collect();
        // What stands in a wrong column may hide what is wrong in it: most of all it is itself out of place.
        let first = self.lines.first_column(run.first());
        let wrong = |(next, parsed): &(Recovered, Result<Node, Fault>)| {
            let (judge, (root, problems)) = (judge?, next.clone().read(parsed.clone(), None));
            let root = root?;
            let is_text = run.is_taken_for_text(&next.lines, &root);
            let wrong = judge(&root);
            let is_first = |at: &&Span| (at.line, at.column) == (run.first() + 1, first + 1);
            Some((is_text, wrong.iter().filter(is_first).count(), problems.len() + wrong.len()))
        };
        let least = |index: &usize| {
            let wrong = wrong(&ways[*index]);
            (wrong.is_none(), wrong)
        };
        let best = match ways.len() {
            1 => 0,
            _ => (0..ways.len()).min_by_key(least)?,
        };
        Some(ways.swap_remove(best))
    }

    /// Reads a line in which the space is missing behind the colon as what was meant, if the fault comes of it.
    fn with_space(&mut self, fault: &Fault) -> Option<(Problem, Result<Node, Fault>)> {
        let lacks_space = |line: &usize| {
            let parts = self.lines.parts(*line);
            let is_name = parts.key.is_none() && !parts.is_item && !self.lines.begins_with_tab(*line);
            is_name && self.lines.content(*line).and_then(slips::joined).is_some()
        };
        let mut head = self.lines.head(fault).filter(lacks_space)?;
        // Lines like it above are one text with it as long as they name nothing.
        let indent = self.lines.indent(head);
        let above = |line: usize| self.lines.content_before(line).filter(lacks_space);
        while let Some(line) = above(head).filter(|line| self.lines.indent(*line) == indent) {
            head = line;
        }
        let (name, value) = slips::joined(self.lines.content(head)?)?;
        let line = &self.lines.text[head];
        let blank = &line[..line.len() - line.trim_start().len()];
        let before = blank.chars().count() + name.chars().count() + 1;
        let problem = self.mended.in_file(slips::without_colon(&self.source, &self.lines, head)?);
        let mut next = self.clone();
        next.lines.rewrite(head, format!("{blank}{name}: {value}"));
        let text = SourceText::new(&self.source.file, &next.lines.text.join("\n"));
        let parsed = tree(&text, &self.left_out);
        let goes_on = match &parsed {
            Ok(_) => true,
            Err(fault) => next.lines.head(fault).is_none_or(|at| at > head),
        };
        if !goes_on {
            return None;
        }
        next.mended.note(head, before, before + 1);
        *self = next;
        Some((problem, parsed))
    }

    /// Closes what is never closed in the block at fault where it was probably meant to end, if the fault comes of it. Where that is not clear,
    /// and something in the block is wrong in any case, nothing is closed.
    fn with_ends(&mut self, fault: &Fault, judge: Option<Judge<'_>>) -> Option<Result<Node, Fault>> {
        let block = self.lines.block_of_value(self.lines.head(fault)?);
        let mut ways: Vec<(Recovered, Result<Node, Fault>, bool)> = Vec::new();
        for way in ends::ways(&self.lines, &block) {
            let text = SourceText::new(&self.source.file, &way.lines.text.join("\n"));
            let parsed = tree(&text, &self.left_out);
            let goes_on = match &parsed {
                Ok(_) => true,
                Err(next) => way.lines.head(next).is_none_or(|head| head >= block.end),
            };
            let mut next = Recovered { lines: way.lines, ..self.clone() };
            if goes_on {
                next.mended.extend(way.mended);
                ways.push((next, parsed, way.is_of_quote));
            }
        }
        let Some(judge) = judge else {
            let (next, parsed, _) = ways.into_iter().next()?;
            *self = next;
            return Some(parsed);
        };
        let lines = block.start + 1..block.end + 1;
        let judged = ways.into_iter().filter_map(|(next, parsed, is_of_quote)| {
            let (root, _) = next.clone().read(parsed.clone(), None);
            let root = root?;
            let wrong = judge(&root);
            let here = wrong.iter().filter(|at| lines.contains(&at.line)).count();
            Some((wrong.len(), here, root, is_of_quote, next, parsed))
        });
        let mut judged: Vec<_> = judged.collect();
        let least = judged.iter().map(|(wrong, ..)| *wrong).min()?;
        judged.retain(|(wrong, ..)| *wrong == least);
        let (_, here, root, is_of_quote, ..) = &judged[0];
        let is_clear = match judged.len() {
            // A text may be meant where a quote was closed, or no text at all.
            1 => !is_of_quote,
            _ => judged.iter().all(|(_, _, other, ..)| other.says_the_same(root)),
        };
        if *here > 0 && !is_clear {
            return None;
        }
        let (.., next, parsed) = judged.swap_remove(0);
        *self = next;
        Some(parsed)
    }

    /// Leaves out the smallest block after which the fault is gone; what is parsed then. `None`: there is no such block.
    fn leave_out(&mut self, fault: &Fault) -> Option<Result<Node, Fault>> {
        match fault.kind {
            FaultKind::TooManyNodes => return None,
            FaultKind::SecondDocument => {
                let last = self.lines.text.len().checked_sub(1)?;
                let first = fault.at.line.saturating_sub(1).min(last);
                return Some(self.without(&(first..self.lines.text.len()), Way::Gap, fault)?.adopt(self));
            }
            FaultKind::Grammar(_) | FaultKind::Tag(_) | FaultKind::TooDeep | FaultKind::OwnAlias => {}
        }
        let mut head = self.lines.head(fault);
        while let Some(line) = head {
            let (block, value) = (self.lines.block(line), self.lines.block_of_value(line));
            let ways = [(Way::Value, value), (Way::Item, block.clone()), (Way::Entry, block.clone())];
            for (way, block) in ways.into_iter().chain([(Way::Gap, block)]) {
                let Some(attempt) = self.without(&block, way, fault) else { continue };
                let goes_on = match &attempt.parsed {
                    Ok(_) => true,
                    Err(next) => attempt.lines.head(next).is_none_or(|head| head >= block.end),
                };
                if goes_on {
                    return Some(attempt.adopt(self));
                }
            }
            head = self.lines.parent(line);
        }
        None
    }

    /// The same of all lines from the one at fault on.
    fn leave_out_the_rest(&mut self, fault: &Fault) -> Option<Result<Node, Fault>> {
        let rest = self.lines.head(fault)?..self.lines.text.len();
        let attempt = self.without(&rest, Way::Gap, fault)?;
        attempt.parsed.is_ok().then(|| attempt.adopt(self))
    }

    fn without(&self, block: &Range<usize>, way: Way, fault: &Fault) -> Option<Attempt> {
        let line = self.lines.text.get(block.start)?;
        let parts = self.lines.parts(block.start);
        let indent: String = line.chars().take_while(|c| c.is_whitespace()).collect();
        let replacement = match (way, parts.key) {
            (Way::Value, Some((_, end))) => format!("{} {LEFT_OUT}", &line[..end]),
            (Way::Item, _) if parts.is_item => format!("{indent}- {LEFT_OUT}"),
            (Way::Entry, None) if !parts.is_item => format!("{indent}{LEFT_OUT}: {LEFT_OUT}"),
            (Way::Gap, _) => String::new(),
            (Way::Value | Way::Item | Way::Entry, _) => return None,
        };
        let mut lines = self.lines.clone();
        lines.text[block.clone()].fill(String::new());
        lines.text[block.start] = replacement;
        let mut left_out = self.left_out.clone();
        let gap = match way {
            Way::Gap => Some(Gap { lines: block.clone(), indent: self.lines.indent(block.start) }),
            Way::Value | Way::Item | Way::Entry => {
                left_out.insert(block.start + 1);
                None
            }
        };
        let text = SourceText::new(&self.source.file, &lines.text.join("\n"));
        let parsed = tree(&text, &left_out);
        Some(Attempt { block: block.clone(), lines, left_out, gap, kind: fault.kind.clone(), parsed })
    }

    /// Whether a fault is there because of what was left out, or is the one before it gone on with.
    fn follows(&self, fault: &Fault) -> bool {
        if self.has_lost_anchors
            && matches!(&fault.kind, FaultKind::Grammar(info) if info.contains("unknown anchor"))
        {
            return true;
        }
        let (Some((gap, kind)), Some(head)) = (&self.last_gap, self.lines.head(fault)) else { return false };
        let between = gap.lines.end.min(head)..head;
        *kind == fault.kind
            && self.lines.indent(head) == gap.indent
            && between.into_iter().all(|line| self.lines.content(line).is_none())
    }

    /// The tree in which the mappings that a gap may belong to are known to lack something, with places in the file.
    fn marked(&self, mut root: Node) -> Node {
        self.gaps.iter().for_each(|gap| mark(&mut root, gap, &self.lines));
        self.mended.in_file_tree(&mut root);
        root
    }
}

/// The first problems of many, and how many more there are.
fn said(mut problems: Vec<Problem>, is_cut: bool) -> Vec<Problem> {
    let more = problems.len().saturating_sub(FAULTS_SAID_MAX);
    if more > 0 {
        problems.truncate(FAULTS_SAID_MAX + 1);
        let many = if is_cut { "more than " } else { "" };
        if let Some(last) = problems.last_mut() {
            last.message = format!("not valid YAML: {many}{more} more lines from here on");
            last.hint = Some("mend those above first".to_owned());
        }
    }
    problems
}

/// A text with one more block left out.
struct Attempt {
    block: Range<usize>,
    lines: Lines,
    left_out: BTreeSet<usize>,
    gap: Option<Gap>,
    kind: FaultKind,
    parsed: Result<Node, Fault>,
}

impl Attempt {
    fn adopt(self, text: &mut Recovered) -> Result<Node, Fault> {
        text.has_lost_anchors |= text.lines.text[self.block.clone()].iter().any(|line| line.contains('&'));
        text.gaps.retain(|gap| !self.block.contains(&gap.lines.start));
        text.gaps.extend(self.gap.clone());
        text.last_gap = self.gap.map(|gap| (gap, self.kind));
        (text.lines, text.left_out) = (self.lines, self.left_out);
        self.parsed
    }
}

/// Gives a Broken entry to the innermost mapping that a line of the gap's indentation may belong to, and to the one below it.
fn mark(root: &mut Node, gap: &Gap, lines: &Lines) {
    let first = gap.lines.start + 1;
    let mut mappings: Vec<(usize, Vec<usize>)> = Vec::new();
    let mut path = Vec::new();
    let mut node: &Node = root;
    loop {
        let begins = lines.text.get(node.at.line - 1).and_then(|line| line.chars().nth(node.at.column - 1));
        if matches!(begins, Some('{' | '[')) {
            break;
        }
        let below = match &node.kind {
            Kind::Mapping(entries) => {
                mappings.push((node.at.column - 1, path.clone()));
                let index = entries.iter().rposition(|(key, _)| key.at.line <= first);
                index.map(|index| (index, &entries[index].1))
            }
            Kind::Sequence(items) => {
                let index = items.iter().rposition(|item| item.at.line <= first);
                index.map(|index| (index, &items[index]))
            }
            Kind::Null | Kind::Scalar(..) | Kind::Broken => None,
        };
        let Some((index, child)) = below else { break };
        path.push(index);
        node = child;
    }
    if matches!(node.kind, Kind::Null) {
        below(root, &path).kind = Kind::Broken;
    }
    let innermost = mappings.iter().rposition(|(indent, _)| *indent <= gap.indent).unwrap_or(0);
    for (_, path) in mappings.iter().skip(innermost).take(2) {
        let broken = || Node { at: Span { line: first, column: 1, length: 1 }, kind: Kind::Broken };
        if let Kind::Mapping(entries) = &mut below(root, path).kind
            && !matches!(entries.last(), Some((key, _)) if matches!(key.kind, Kind::Broken))
        {
            entries.push((broken(), broken()));
        }
    }
}

/// The node at a path of numbers.
fn below<'n>(root: &'n mut Node, path: &[usize]) -> &'n mut Node {
    path.iter().fold(root, |node, index| match &mut node.kind {
        Kind::Mapping(entries) => &mut entries[*index].1,
        Kind::Sequence(items) => &mut items[*index],
        Kind::Null | Kind::Scalar(..) | Kind::Broken => unreachable!("invariant: the path was walked before"),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// What is left, and (line, column, message) of what is wrong.
    fn recovered(text: &str) -> (String, Vec<(usize, usize, String)>) {
        let (root, problems) = read(&SourceText::new(Path::new("p.yaml"), text), &|_| Vec::new());
        let said = problems.into_iter().map(|problem| (problem.line, problem.column, problem.message));
        (root.as_ref().map_or("nothing".to_owned(), shown), said.collect())
    }

    fn shown(node: &Node) -> String {
        match &node.kind {
            Kind::Null => "~".into(),
            Kind::Scalar(text, _) => text.clone(),
            Kind::Broken => "?".into(),
            Kind::Sequence(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(" ")),
            Kind::Mapping(entries) => {
                let entries = entries.iter().map(|(key, value)| format!("{}:{}", shown(key), shown(value)));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(" "))
            }
        }
    }

    fn lines(said: &[(usize, usize, String)]) -> Vec<usize> {
        said.iter().map(|(line, ..)| *line).collect()
    }

    #[test]
    fn the_smallest_block_with_the_fault_is_left_out() {
        for (text, left, at) in [
            ("a: 1\nb: x: y\nc: 3", "{a:1 b:? c:3}", 2),
            ("a:\n  b: { c: d e, f\n  d: 2\ne: 3", "{a:{b:{c:d e f:~} d:2} e:3}", 2),
            ("a:\n  b: {\n    c: 1\n    d: 2\n  }\n  e: 3", "{a:{b:? e:3}}", 4),
            ("a:\n  b c\n  d: 1\ne: 2", "{a:{?:? d:1} e:2}", 2),
            ("a\n  b: 1\nc: 2", "{?:? c:2}", 1),
            ("a:\n  b: *\nc: %x", "{a:{b:?} c:?}", 2),
            ("a: !x\nb: 1", "{a:? b:1}", 1),
            ("a:\n  - b: x: y\n    c: 1\n  - d: 1", "{a:[{b:? c:1} {d:1}]}", 2),
            ("a:\n  b:x y\n  c:z\n  d: 1", "{a:{b:x y c:z d:1}}", 2),
            ("a: { b:x, c: [{ d:e }] }", "{a:{b:x c:[{d:e}]}}", 1),
            ("a: 'x' y\nb: 1", "{a:? b:1}", 1),
            ("a: &n [1, 2: 3: 4\nb: *n\nc: 1", "{a:? b:? c:1}", 1),
        ] {
            let (shown, said) = recovered(text);
            assert_eq!((shown.as_str(), said[0].0), (left, at), "{text}\n{said:?}");
        }
    }

    #[test]
    fn what_is_never_closed_is_closed_where_it_was_probably_meant_to_end() {
        for (text, left, at) in [
            ("a:\n  b: { c: 1\n  d: 2\ne: 3", "{a:{b:{c:1} d:2} e:3}", 2),
            ("a:\n  - { c: 1\n  - { d: 2 }\nb: 1", "{a:[{c:1} {d:2}] b:1}", 2),
            ("a: { b: [1, 2 } # c\nd: 1", "{a:{b:[1 2]} d:1}", 1),
            ("a: { b: [1, { c: 2 # c\nd: 1", "{a:{b:[1 {c:2}]} d:1}", 1),
            ("a:\n  b: {\n    c: 1,\n    d: [2, 3],\n  e: 3\nf: 1", "{a:{b:{c:1 d:[2 3]} e:3} f:1}", 2),
            ("a: &n [1, 2\nb: *n\nc: 1", "{a:[1 2] b:[1 2] c:1}", 1),
            ("a:\n  b: \"x\n  c: 2\nd: 3", "{a:{b:x c:2} d:3}", 2),
            ("a:\n  b: 'it''s x\n  c: 2\nd: 3", "{a:{b:it's x c:2} d:3}", 2),
            ("a: { b: \"x }\nd: 3", "{a:{b:x} d:3}", 1),
            ("a: { b: \"x, c: y }\nd: 3", "{a:{b:x c:y} d:3}", 1),
            ("a: { b: \"x, y }\nd: 3", "{a:{b:x, y} d:3}", 1),
            ("- { a: \"x, b: [1 }\n- 2", "[{a:x b:[1]} 2]", 1),
            ("a: {\nd: 3", "{a:? d:3}", 1),
            ("- a: \"x\n  b: { c: 1\n- d: 1", "[{a:x b:{c:1}} {d:1}]", 1),
        ] {
            let (shown, said) = recovered(text);
            assert_eq!((shown.as_str(), lines(&said)[0]), (left, at), "{text}\n{said:?}");
        }
    }

    #[test]
    fn of_the_ways_to_close_a_text_the_one_is_taken_that_makes_sense() {
        // A mapping is meant, and no name holds a comma.
        fn wrong(node: &Node) -> Vec<Span> {
            match &node.kind {
                Kind::Mapping(entries) => entries.iter().flat_map(|(_, value)| wrong(value)).collect(),
                Kind::Sequence(items) => items.iter().flat_map(wrong).collect(),
                Kind::Scalar(text, _) if text.contains([',', '{']) => vec![node.at],
                _ => Vec::new(),
            }
        }
        for (text, left) in [
            ("a: \"{ b: 1 }\nc: 2", "{a:{b:1} c:2}"),
            ("a: \"[b, c]\nc: 2", "{a:[b c] c:2}"),
            ("a: [\"b, c]\nc: 2", "{a:[b c] c:2}"),
            ("a: \"b, c\nc: 2", "{a:b, c c:2}"),
        ] {
            let (root, problems) = read(&SourceText::new(Path::new("p.yaml"), text), &wrong);
            assert_eq!((root.as_ref().map(shown).as_deref(), problems.len()), (Some(left), 1), "{text}");
        }
        let source = SourceText::new(Path::new("p.yaml"), "a: [\"b, cd]\nc: \"[e, f]\nd: 1\n");
        let (root, _) = read(&source, &wrong);
        let Some(Node { kind: Kind::Mapping(entries), .. }) = root else { panic!("{root:?}") };
        let places = entries.iter().filter_map(|(_, value)| match &value.kind {
            Kind::Sequence(items) => items.last().map(|item| (item.at.line, item.at.column)),
            _ => None,
        });
        assert_eq!(places.collect::<Vec<_>>(), [(1, 9), (2, 9)], "places are the file's");
    }

    #[test]
    fn what_stands_in_a_wrong_column_leaves_the_mappings_around_it_incomplete() {
        for (text, left, at) in [
            ("a:\n  b:\n    c: 1\n      d: 2\n    e: 3\nf: 4", "{a:{b:{c:1 e:3 ?:?}} f:4}", 4),
            ("a:\n  b:\n    c: 1\n   d: 2\nf: 4", "{a:{b:{c:1 ?:?} ?:?} f:4}", 4),
        ] {
            let (shown, said) = recovered(text);
            assert_eq!((shown.as_str(), said[0].0), (left, at), "{text}\n{said:?}");
        }
    }

    #[test]
    fn all_faults_are_said_and_one_that_goes_on_is_said_once() {
        let (left, said) = recovered("a: x: y\nb:\n  c: {\n  d: 'x' y\ne: [1\nf: 1");
        assert_eq!((left.as_str(), lines(&said)), ("{a:? b:{c:? d:?} e:[1] f:1}", vec![1, 3, 4, 5]));
        let (left, said) = recovered("a:\n    b: 1\n  c: 2\n  d: 3\n  e: 4\nf: 1");
        assert_eq!((left.as_str(), lines(&said)), ("{a:{b:1 ?:?} f:1 ?:?}", vec![3]));
        let (_, said) = recovered("a:\n  v:\n\tf: u\n\ts: x\n  w: { f: v, g: \"x }\nb:\n  c: 1");
        assert_eq!(lines(&said), [3, 5]);
        let (left, said) = recovered("a: 1\n---\na: 2\nb: {");
        assert_eq!((left.as_str(), lines(&said)), ("{a:1 ?:?}", vec![2]));
        let (left, said) = recovered("a: {");
        assert_eq!((left.as_str(), lines(&said)), ("{a:?}", vec![1]));
    }

    #[test]
    fn lines_that_begin_with_tabs_are_said_once_and_read_with_the_spaces_that_were_meant() {
        for (text, left, at) in [
            ("a:\n\tb: 1\n", "{a:{b:1}}", (2, 1)),
            ("a:\n  b: 1\n\tc: 2\n", "{a:{b:1 c:2}}", (3, 1)),
            ("a:\n  b: 1\n  \tc: 2\n", "{a:{b:1 c:2}}", (3, 3)),
            ("a:\n  b:\n\tc: 1\n\td: 1\n  d: 2\n", "{a:{b:{c:1 d:1} d:2}}", (3, 1)),
            ("a:\n\tb:\n\t\tc: 1\n\n\t# d\n\td: 1\ne: 1", "{a:{b:{c:1} d:1} e:1}", (2, 1)),
            ("\ta: 1\n\tb: 2", "{a:1 b:2}", (1, 1)),
            ("a:\n  - x\n\t- y\n", "{a:[x y]}", (3, 1)),
            ("a:\n  - b: 1\n\tc: 2\n  - b: 3", "{a:[{b:1 c:2} {b:3}]}", (3, 1)),
            ("a:\n  -\t- c\n", "{a:[[c]]}", (2, 4)),
            ("a: {\n\tb: 1,\n\tc: 2\n}\nd: 1", "{a:{b:1 c:2} d:1}", (2, 1)),
            ("a: |\n\ttext\nb: 1", "{a:text\n b:1}", (2, 1)),
            ("a: |\n  text\n\t\n  more\nb: 1", "{a:text\n\nmore\n b:1}", (3, 1)),
            ("a: x\n\ty\nb: 1", "{a:x y b:1}", (2, 1)),
            ("a:\n  b: 'x\n\ty'\n  c: 1", "{a:{b:x y c:1}}", (3, 1)),
        ] {
            let (shown, said) = recovered(text);
            let places: Vec<_> = said.iter().map(|(line, column, _)| (*line, *column)).collect();
            assert_eq!((shown.as_str(), places), (left, vec![at]), "{text}\n{said:?}");
        }
        let (left, said) = recovered("a:\n  v:\n\tf: u\n    s: x\n  w: { f: v, g: \"x }\nb:\n  c: 1");
        assert_eq!((left.as_str(), lines(&said)), ("{a:{v:{f:u s:x} w:{f:v g:x}} b:{c:1}}", vec![3, 5]));
    }

    #[test]
    fn places_behind_tabs_are_those_of_the_file() {
        let (root, _) =
            read(&SourceText::new(Path::new("p.yaml"), "a:\n\tb: c\n\td: e: f\n"), &|_| Vec::new());
        let root = root.expect("a tree");
        let Kind::Mapping(entries) = &root.kind else { panic!("{root:?}") };
        let Kind::Mapping(entries) = &entries[0].1.kind else { panic!("{root:?}") };
        let places = entries.iter().map(|(key, value)| (key.at.column, value.at.column));
        assert_eq!(places.collect::<Vec<_>>(), [(2, 5), (2, 5)]);
        let (_, said) = recovered("a:\n\tb: c\n\td: e: f\n");
        assert_eq!((said[1].0, said[1].1), (3, 6), "{said:?}");
    }

    #[test]
    fn tabs_elsewhere_are_what_yaml_has_them_be() {
        for (text, left) in [
            ("a:\tb\nc: \td\t# e\nf:\t-1\ng:\t'h'\n'i'\t:\t1", "{a:b c:d f:-1 g:h i:1}"),
            ("{a:\tb,\tc:\td\t}", "{a:b c:d}"),
            ("a:\n  -\tb\n  -\tc: d\n    e:\tf", "{a:[b {c:d e:f}]}"),
            ("\t\na:\t\n  b: 1\n\t\n \t# c\n\t# d\n  e: 2\n\t", "{a:{b:1 e:2}}"),
            ("a: |\n  b:\tc\n  \td\ne:\t|-\n \tf", "{a:b:\tc\n\td\n e:\tf}"),
            ("a: x\n \ty\nb: \"x\ty\"\nc: 'x:\ty'", "{a:x y b:x\ty c:x:\ty}"),
        ] {
            let (shown, said) = recovered(text);
            assert_eq!((shown.as_str(), said.len()), (left, 0), "{text}\n{said:?}");
        }
    }

    #[test]
    fn lines_may_end_in_a_carriage_return_alone() {
        for (text, left, at) in [
            ("a: 1\r---\rb: 2", "{a:1 ?:?}", 2),
            ("a: 1\rb: 2\nc: 3\n---", "{a:1 b:2 c:3 ?:?}", 4),
            ("a: 1\r\nb: x: y\rc: 3\r\n", "{a:1 b:? c:3}", 2),
        ] {
            let (shown, said) = recovered(text);
            assert_eq!((shown.as_str(), lines(&said)), (left, vec![at]), "{text:?}\n{said:?}");
        }
        let (_, problems) = read(&SourceText::new(Path::new("p.yaml"), "a: 1\r---\rb: 2"), &|_| Vec::new());
        assert_eq!(problems[0].source_line.as_deref(), Some("---"));
    }

    #[test]
    fn whatever_is_cut_off_or_put_in_a_text_ends_well() {
        let text = "a: { b: [1, \"x\", 'y'], c: |\n }\nd:\n  - e: >-\n      f: g\n    h: *i\n  - &i j\n# k\n? l\n: m\n...\n---\n";
        let characters: Vec<char> = text.chars().collect();
        for end in 0..characters.len() {
            recovered(&characters[..end].iter().collect::<String>());
            for c in "{}[]\"':-\t\n\r*&!%#|".chars() {
                let mut changed = characters.clone();
                changed[end] = c;
                recovered(&changed.iter().collect::<String>());
                changed.insert(end, '\n');
                recovered(&changed.iter().collect::<String>());
            }
        }
    }

    #[test]
    fn of_very_many_faults_the_first_are_said_and_how_many_more_there_are() {
        let (left, said) = recovered(&("a: x: y\n".repeat(FAULTS_SAID_MAX + 50) + "b: 1\n"));
        assert_eq!(said.len(), FAULTS_SAID_MAX + 1);
        let last = said.last().map(|(line, _, message)| (*line, message.as_str()));
        assert_eq!(last, Some((FAULTS_SAID_MAX + 1, "not valid YAML: 50 more lines from here on")));
        assert!(left.ends_with(" b:1}"), "what stands behind them is read");
        let (left, said) = recovered(&"a: x: y\n".repeat(FAULTS_MAX + 50));
        let last = said.last().map(|(.., message)| message.as_str());
        assert_eq!(last, Some("not valid YAML: more than 900 more lines from here on"));
        assert_ne!(left, "nothing");
    }
}
