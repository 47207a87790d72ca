//! Tabs. YAML has them between words, in empty lines and in texts, and not where a line is indented: there one is wrong, and is read as
//! the spaces that were meant.
//!
//! ```text
//!   lines that begin with tabs ──▶ in which columns they may belong ──▶ those of which the parser gets furthest ──▶ of these, those
//!   with which least is wrong elsewhere ──▶ the likeliest, from the lines around
//! ```

use std::collections::BTreeMap;
use std::ops::Range;

use super::lines::Lines;
use super::{Fault, FaultKind, Kind, Node};
use crate::spec::{Problem, SourceText, Span};

/// How wide editors show a tab.
const WIDTHS: [usize; 4] = [2, 4, 8, 3];
/// By how much lines are indented where a file shows none.
const STEP: usize = 2;

/// A text in which the tabs behind the colon that the parser stopped at are spaces, as many: YAML has either, the parser has not.
/// `None`: it stopped at something else.
pub(super) fn behind_a_colon(text: &str, fault: &Fault) -> Option<String> {
    let is_one =
        matches!(&fault.kind, FaultKind::Grammar(info) if info.starts_with("':' must be followed by"));
    let start = is_one.then(|| line_start(text, fault.at.line)).flatten()?;
    let before =
        text[start..].char_indices().nth(fault.at.column - 1).map_or(text.len(), |(at, _)| start + at);
    let gap = text[..before].trim_end_matches(['\t', ' ']).len()..before;
    let mut mended = text.as_bytes().to_vec();
    let mut replace = |gap: Range<usize>| mended[gap].fill(b' ');
    let has_tab = text[gap.clone()].contains('\t');
    replace(gap);
    // The lines below are mostly written in the same way; parsing once for each of them would take long.
    let lines = Lines::new(&SourceText::new(std::path::Path::new(""), &text[start..]));
    let mut at = start;
    for (line, written) in lines.text.iter().enumerate() {
        let parts = lines.parts(line);
        let is_plain = |c: char| c.is_alphanumeric() || c == '-';
        let Some((_, end)) = parts.key.filter(|_| parts.value.starts_with(is_plain)) else { break };
        let blank = written[end..].len() - written[end..].trim_start_matches(['\t', ' ']).len();
        replace(at + end..at + end + blank);
        at += written.len() + if text[at + written.len()..].starts_with("\r\n") { 2 } else { 1 };
    }
    has_tab.then(|| String::from_utf8(mended).ok()).flatten()
}

/// Where a line begins, in bytes; lines count from 1.
fn line_start(text: &str, line: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let ends = |at: &usize| bytes[*at] == b'\n' || (bytes[*at] == b'\r' && bytes.get(at + 1) != Some(&b'\n'));
    match line {
        1 => Some(0),
        _ => (0..bytes.len()).filter(ends).nth(line.checked_sub(2)?).map(|end| end + 1),
    }
}

/// How lines are written now that began with tabs, or lacked a space or an end: by line, from 0, how many characters stood before what is as
/// it was, and do now; one change after the other.
#[derive(Debug, Clone, Default)]
pub(super) struct Mended(BTreeMap<usize, Vec<(usize, usize)>>);

impl Mended {
    /// The place in the file of a place in the text that is read.
    pub(super) fn place(&self, at: Span) -> Span {
        let changes = self.0.get(&at.line.saturating_sub(1)).into_iter().flatten();
        let before = |column: usize, (was, is): &(usize, usize)| match column > *is {
            true => column - is + was,
            false => column.min(was + 1),
        };
        Span { column: changes.rev().fold(at.column, before), ..at }
    }

    /// The same of a problem.
    pub(super) fn in_file(&self, problem: Problem) -> Problem {
        let at = self.place(Span { line: problem.line, column: problem.column, length: problem.length });
        Problem { column: at.column, ..problem }
    }

    /// The same of a node and all below it.
    pub(super) fn in_file_tree(&self, node: &mut Node) {
        if self.0.is_empty() {
            return;
        }
        node.at = self.place(node.at);
        match &mut node.kind {
            Kind::Null | Kind::Scalar(..) | Kind::Broken => {}
            Kind::Sequence(items) => items.iter_mut().for_each(|item| self.in_file_tree(item)),
            Kind::Mapping(entries) => entries.iter_mut().for_each(|(key, value)| {
                self.in_file_tree(key);
                self.in_file_tree(value);
            }),
        }
    }

    /// Notes how many characters stood before what is as it was in a line, and do now.
    pub(super) fn note(&mut self, line: usize, was: usize, is: usize) {
        self.0.entry(line).or_default().push((was, is));
    }

    /// Adds later changes.
    pub(super) fn extend(&mut self, more: Mended) {
        for (line, changes) in more.0 {
            self.0.entry(line).or_default().extend(changes);
        }
    }
}

/// Neighbouring lines that begin with tabs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    lines: Range<usize>,
}

impl Run {
    /// The first line.
    pub(super) fn first(&self) -> usize {
        self.lines.start
    }

    /// Whether a tree takes the first line for more of the text above, although it names something.
    pub(super) fn is_taken_for_text(&self, lines: &Lines, root: &Node) -> bool {
        fn begins_on(node: &Node, line: usize) -> bool {
            node.at.line == line
                || match &node.kind {
                    Kind::Null | Kind::Scalar(..) | Kind::Broken => false,
                    Kind::Sequence(items) => items.iter().any(|item| begins_on(item, line)),
                    Kind::Mapping(entries) => {
                        entries.iter().any(|(key, value)| begins_on(key, line) || begins_on(value, line))
                    }
                }
        }
        let parts = lines.parts(self.lines.start);
        (parts.is_item || parts.key.is_some()) && !begins_on(root, self.lines.start + 1)
    }

    /// The runs that a fault may come of, the likeliest first.
    pub(super) fn of(lines: &Lines, fault: &Fault) -> Vec<Run> {
        let at = fault.at.line.saturating_sub(1);
        let is_content = |line: &usize| lines.begins_with_tab(*line) && !lines.text[*line].trim().is_empty();
        let here = Some(at).filter(|line| *line < lines.text.len()).filter(is_content);
        let is_in_text = matches!(&fault.kind, FaultKind::Grammar(info) if info.contains("block scalar"));
        let is_below = |line: &usize| is_content(line) || (is_in_text && lines.begins_with_tab(*line));
        let below = (at + 1..lines.text.len()).find(is_below).filter(|_| says_tab(fault));
        let above = (0..at.min(lines.text.len())).rev().find(|line| lines.begins_with_tab(*line));
        let mut runs: Vec<Run> = Vec::new();
        for seed in [here, below, above].into_iter().flatten() {
            let (first, last) = Run::around(lines, seed);
            let same = lead(&lines.text[seed]);
            let alike =
                (seed..=last).take_while(|line| lead(&lines.text[*line]) == same).last().unwrap_or(seed);
            for run in [seed..last + 1, first..last + 1, seed..alike + 1] {
                let run = Run { lines: run };
                if !runs.contains(&run) {
                    runs.push(run);
                }
            }
        }
        runs
    }

    // The first line and the last of a run around a line. Lines that are empty or comments may stand between.
    fn around(lines: &Lines, seed: usize) -> (usize, usize) {
        let goes_on = |line: &usize| lines.begins_with_tab(*line) || lines.content(*line).is_none();
        let belongs = |line: &usize| lines.begins_with_tab(*line) && lines.content(*line).is_some();
        let first = (0..seed).rev().take_while(goes_on).filter(belongs).last();
        let last = (seed..lines.text.len()).take_while(goes_on).filter(belongs).last();
        (first.unwrap_or(seed), last.unwrap_or(seed))
    }

    /// The lines with spaces in the place of tabs, in all ways that come into question, the likeliest first.
    pub(super) fn ways(&self, lines: &Lines) -> Vec<(Lines, Mended)> {
        let mut ways: Vec<(Lines, Mended)> = Vec::new();
        let first = self.lines.clone().find(|line| !lines.text[*line].trim().is_empty());
        let columns = first.map_or_else(|| vec![0], |line| candidates(lines, line));
        let has_gap = self.lines.clone().any(|line| gap(&lines.text[line]).contains('\t'));
        let gaps: &[usize] = if has_gap { &[1, 3, 7] } else { &[1] };
        for column in columns {
            for width in std::iter::once(step(lines)).chain(WIDTHS) {
                for gap in gaps {
                    let way = self.written(lines, first.unwrap_or(self.lines.start), column, width, *gap);
                    if ways
                        .iter()
                        .all(|(other, _)| other.text[self.lines.clone()] != way.0.text[self.lines.clone()])
                    {
                        ways.push(way);
                    }
                }
            }
        }
        ways
    }

    // The first line begins in `column`, the others as much further as tabs of a width make it.
    fn written(
        &self,
        lines: &Lines,
        first: usize,
        column: usize,
        width: usize,
        gap: usize,
    ) -> (Lines, Mended) {
        let (mut written, mut mended) = (lines.clone(), Mended::default());
        let origin = seen(lead(&lines.text[first]), width);
        for line in self.lines.clone().filter(|line| lines.begins_with_tab(*line)) {
            let text = &lines.text[line];
            let content = text.trim_start_matches(|c: char| c.is_whitespace() || c == '-');
            let has_dash = self::gap(text).contains('\t');
            let indented = (column + seen(lead(text), width)).saturating_sub(origin);
            let (was, now) = if text.trim().is_empty() {
                (text.chars().count(), String::new())
            } else if has_dash {
                let dashes = self::gap(text).matches('-').count();
                (
                    text.len() - content.len(),
                    " ".repeat(indented) + &format!("-{}", " ".repeat(gap)).repeat(dashes),
                )
            } else {
                (lead(text).chars().count(), " ".repeat(indented))
            };
            let rest: String = text.chars().skip(was).collect();
            mended.note(line, was, now.chars().count());
            written.rewrite(line, now + &rest);
        }
        (written, mended)
    }

    /// What is wrong: said once for all lines of the run.
    pub(super) fn problem(
        &self,
        source: &SourceText,
        lines: &Lines,
        mended: &Lines,
        path: String,
    ) -> Problem {
        let line = self.lines.start;
        let text = &lines.text[line];
        let before = text.chars().take_while(|c| *c != '\t').count();
        let tabs = text.chars().skip(before).take_while(|c| c.is_whitespace()).count();
        let at = Span { line: line + 1, column: before + 1, length: tabs };
        let spaces = mended.text[line].chars().take_while(|c| *c == ' ').count();
        let others = self.lines.clone().skip(1).rev().find(|line| lines.begins_with_tab(*line));
        let others = others.map_or_else(String::new, |last| format!(", and so on down to line {}", last + 1));
        let hint = match spaces {
            _ if text.trim().is_empty() => "leave the line empty".to_owned(),
            _ if gap(text).contains('\t') => format!("write one space behind \"-\"{others}"),
            0 => format!("begin in the first column{others}"),
            _ => format!("indent with spaces: {spaces} here{others}"),
        };
        source.problem(at, path, "not valid YAML: a line is indented with a tab", Some(hint))
    }
}

/// Whether the parser names tabs as what is wrong.
pub(super) fn says_tab(fault: &Fault) -> bool {
    matches!(&fault.kind, FaultKind::Grammar(info) if info.contains("tab"))
}

/// What a line is indented with.
pub(super) fn lead(text: &str) -> &str {
    &text[..text.len() - text.trim_start_matches([' ', '\t']).len()]
}

/// The dashes of a list's item, with what stands between them and behind.
pub(super) fn gap(text: &str) -> &str {
    let rest = text.trim_start();
    let mut length = 0;
    while rest[length..].starts_with("- ") || rest[length..].starts_with("-\t") {
        length = rest.len() - rest[length + 1..].trim_start().len();
    }
    &rest[..length]
}

/// How far in text begins behind white space, with tabs of a width.
fn seen(lead: &str, width: usize) -> usize {
    lead.chars().fold(0, |column, c| if c == '\t' { (column / width + 1) * width } else { column + 1 })
}

/// By how much a file's first indented line is indented.
fn step(lines: &Lines) -> usize {
    let is_shown = |line: &usize| lines.content(*line).is_some() && !lines.begins_with_tab(*line);
    let indented = (0..lines.text.len()).filter(is_shown).map(|line| lead(&lines.text[line]).len());
    indented.into_iter().find(|indent| *indent > 0).unwrap_or(STEP)
}

/// The columns, from 0, in which a line that is indented with tabs may begin, the likeliest first.
pub(super) fn candidates(lines: &Lines, line: usize) -> Vec<usize> {
    let step = step(lines);
    let own = lines.parts(line);
    let opens = |line: usize| {
        let parts = lines.parts(line);
        let is_bare = parts.value.is_empty() || parts.value.starts_with(['#', '|', '>']);
        (parts.key.is_some() || parts.is_item) && (is_bare || !lines.open_brackets(line, line + 1).is_empty())
    };
    let next = (line + 1..lines.text.len())
        .find(|line| lines.content(*line).is_some())
        .filter(|line| !lines.begins_with_tab(*line))
        .map(|line| lines.indent(line));
    let mut columns: Vec<usize> = Vec::new();
    let mut add = |column: usize| {
        if !columns.contains(&column) {
            columns.push(column);
        }
    };
    // What stands below a line that opens a block is further in than that line.
    let limit = next.filter(|next| *next > 0 && own.key.is_some() && opens(line)).unwrap_or(usize::MAX);
    let above = lines.content_before(line);
    let inside = above.map_or(0, |above| lines.content_column(above));
    let is_below = above.is_some_and(opens) || (own.key.is_none() && !own.is_item && above.is_some());
    if is_below {
        if let Some(next) = next.filter(|next| *next > inside && limit == usize::MAX) {
            add(next);
        }
        if inside + step < limit {
            add(inside + step);
        }
    }
    let mut levels = vec![0];
    let mut of_text = Vec::new();
    let mut at = above;
    while let Some(line) = at {
        // What names something is hardly meant to go on with the text above.
        if Some(line) != above
            && lines.parts(line).value.starts_with(['|', '>'])
            && (own.key.is_some() || own.is_item)
        {
            of_text = std::mem::replace(&mut levels, vec![0]);
        }
        levels.extend([lines.content_column(line), lines.indent(line)]);
        at = lines.parent(line);
    }
    levels.sort_unstable();
    if own.is_item {
        // Further in it would be taken for more of the text above.
        let items =
            (0..line).rev().filter(|line| lines.content(*line).is_some() && lines.parts(*line).is_item);
        let column = items.map(|line| lines.indent(line)).find(|column| levels.contains(column));
        column.into_iter().for_each(&mut add);
    }
    levels.iter().rev().filter(|level| **level < limit).for_each(|level| add(*level));
    next.into_iter().chain(levels.into_iter().rev()).chain(of_text).for_each(&mut add);
    [step, 2, 4].into_iter().for_each(|step| add(inside + step));
    columns
}
