//! A text as lines: how deep each is indented, which block it begins, and under which names it stands. It is what can be said of a
//! text that is not YAML.

use std::collections::BTreeMap;
use std::ops::Range;

use super::tabs;
use super::{Fault, FaultKind};
use crate::spec::{SourceText, Span};

/// How far above a line the bracket may have been opened that it stands in.
const FLOW_LINES_MAX: usize = 500;

/// A text's lines. Numbers of lines count from 0 here.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    pub(super) text: Vec<String>,
    /// By how much lines are probably indented that begin with tabs, which is an error in itself.
    meant: BTreeMap<usize, usize>,
}

/// A line in parts: `- key: value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parts<'l> {
    pub(super) is_item: bool,
    /// The key, and where in the line its colon ends, in bytes.
    pub(super) key: Option<(&'l str, usize)>,
    pub(super) value: &'l str,
}

impl Lines {
    pub(super) fn new(source: &SourceText) -> Self {
        let mut lines = Lines { text: source.lines().map(str::to_owned).collect(), meant: BTreeMap::new() };
        for line in 0..lines.text.len() {
            if tabs::lead(&lines.text[line]).contains('\t')
                && let Some(column) = tabs::candidates(&lines, line).first()
            {
                lines.meant.insert(line, *column);
            }
        }
        lines
    }

    /// Writes a line anew, with spaces in front if any.
    pub(super) fn rewrite(&mut self, line: usize, text: String) {
        self.text[line] = text;
        self.meant.remove(&line);
    }

    /// Whether a line begins with a tab, behind spaces or dashes.
    pub(super) fn begins_with_tab(&self, line: usize) -> bool {
        let text = self.text(line);
        tabs::lead(text).contains('\t') || tabs::gap(text).contains('\t')
    }

    /// The line itself, or, of one that goes on with a text, the one that names it.
    pub(super) fn named(&self, line: usize) -> usize {
        let names = |line: &usize| {
            let parts = self.parts(*line);
            parts.key.is_some() || parts.is_item
        };
        (0..=line).rev().find(names).unwrap_or(line)
    }

    /// In which column, from 0, what is written in a line begins, behind the dashes of a list.
    pub(super) fn first_column(&self, line: usize) -> usize {
        let text = self.text(line);
        (tabs::lead(text).to_owned() + tabs::gap(text)).chars().count()
    }

    /// In which column, from 0, a line's content was meant to begin, behind the dashes of a list.
    pub(super) fn content_column(&self, line: usize) -> usize {
        self.indent(line) + tabs::gap(self.text(line)).chars().count()
    }

    /// A line as it is written; nothing past the end, where the parser may still see a fault.
    fn text(&self, line: usize) -> &str {
        self.text.get(line).map_or("", String::as_str)
    }

    /// A line without its indentation; `None` for one that is empty, a comment, or past the end.
    pub(super) fn content(&self, line: usize) -> Option<&str> {
        let content = self.text.get(line)?.trim();
        (!content.is_empty() && !content.starts_with('#')).then_some(content)
    }

    /// The nearest line with something on it, from this one upwards.
    pub(super) fn content_before(&self, end: usize) -> Option<usize> {
        (0..end.min(self.text.len())).rev().find(|line| self.content(*line).is_some())
    }

    /// By how many columns a line is indented.
    pub(super) fn indent(&self, line: usize) -> usize {
        let written = || self.text(line).chars().take_while(|c| c.is_whitespace()).count();
        self.meant.get(&line).copied().unwrap_or_else(written)
    }

    pub(super) fn parts(&self, line: usize) -> Parts<'_> {
        let text = self.text(line);
        let mut rest = text.trim_start();
        let mut is_item = false;
        while let Some(after) =
            rest.strip_prefix('-').filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
        {
            (is_item, rest) = (true, after.trim_start());
        }
        let found = key(rest);
        let value = found.map_or(rest, |(_, end)| &rest[end..]).trim();
        let key = found.map(|(name, end)| (name, text.len() - rest.len() + end));
        Parts { is_item, key, value }
    }

    /// The line at fault: where the parser stopped, or where what it stopped in was begun.
    pub(super) fn head(&self, fault: &Fault) -> Option<usize> {
        let line = fault.at.line.saturating_sub(1);
        let stopped = self.content_before(line + 1)?;
        // A name without a colon is missed when the next line comes.
        let is_missed =
            matches!(&fault.kind, FaultKind::Grammar(info) if info.starts_with("simple key expect"));
        if is_missed && stopped == line && fault.at.column == self.indent(line) + 1 {
            return Some(self.without_key_above(self.content_before(line).unwrap_or(line)));
        }
        Some(self.flow_start(stopped).unwrap_or_else(|| self.without_key_above(stopped)))
    }

    /// The line that this one stands under, or the one before it in its block, where that one names nothing: then it is at fault.
    fn without_key_above(&self, line: usize) -> usize {
        let names_nothing = |above: &usize| {
            let parts = self.parts(*above);
            parts.key.is_none()
                && !parts.is_item
                && !opens(parts.value)
                && !parts.value.starts_with(['}', ']'])
        };
        let mut line = line;
        loop {
            let before = self
                .content_before(line)
                .filter(|before| self.parts(line).key.is_some() && self.indent(*before) == self.indent(line));
            match before.or_else(|| self.parent(line)).filter(names_nothing) {
                Some(above) => line = above,
                None => return line,
            }
        }
    }

    /// A line with all that belongs to it: deeper lines, items of its list, closing brackets.
    pub(super) fn block(&self, head: usize) -> Range<usize> {
        let (indent, parts) = (self.indent(head), self.parts(head));
        let mut end = head + 1;
        for line in head + 1..self.text.len() {
            let Some(content) = self.content(line) else { continue };
            let belongs = content.starts_with(['}', ']'])
                || (self.parts(line).is_item
                    && !parts.is_item
                    && parts.key.is_some()
                    && parts.value.is_empty());
            if self.indent(line) > indent || (self.indent(line) == indent && belongs) {
                end = line + 1;
            } else {
                break;
            }
        }
        head..end
    }

    /// A line with all that belongs to its value: of a list's item that is a mapping, only what belongs to its first name.
    pub(super) fn block_of_value(&self, head: usize) -> Range<usize> {
        let parts = self.parts(head);
        if !parts.is_item || parts.key.is_none() {
            return self.block(head);
        }
        let column = self.content_column(head);
        let is_deeper = |line: &usize| {
            self.indent(*line) > column || (self.indent(*line) == column && self.parts(*line).is_item)
        };
        let below = (head + 1..self.text.len()).filter(|line| self.content(*line).is_some());
        let last = below.take_while(is_deeper).last();
        head..last.map_or(head + 1, |last| last + 1)
    }

    /// The line that this one is indented under.
    pub(super) fn parent(&self, line: usize) -> Option<usize> {
        let indent = self.indent(line);
        let is_item = self.parts(line).is_item;
        (0..line).rev().filter(|above| self.content(*above).is_some()).find(|above| {
            let holds_items = is_item && !self.parts(*above).is_item;
            self.indent(*above) < indent || (holds_items && self.indent(*above) == indent)
        })
    }

    /// The names that a line stands under, from the top of the file: `steps.per_model.where`.
    pub(super) fn path(&self, line: usize) -> String {
        let mut names: Vec<String> = Vec::new();
        let mut at = Some(line);
        while let Some(line) = at {
            let parts = self.parts(line);
            at = self.parent(line);
            // What has a value has nothing under it: it is what this line should stand beside.
            while let Some(above) = at
                && !self.parts(above).is_item
                && !self.may_hold_lines(above)
            {
                at = self.parent(above);
            }
            if parts.is_item {
                let items = at.map_or(0, |above| above + 1)..line;
                let indent = self.indent(line);
                let before = items.filter(|each| {
                    self.content(*each).is_some() && self.parts(*each).is_item && self.indent(*each) == indent
                });
                names.push(format!("[{}]", before.count()));
            } else if let Some((name, _)) = parts.key {
                names.push(if at.is_some() { format!(".{name}") } else { name.to_owned() });
            }
        }
        names.into_iter().rev().collect::<String>().trim_start_matches('.').to_owned()
    }

    fn may_hold_lines(&self, line: usize) -> bool {
        let parts = self.parts(line);
        parts.key.is_some()
            && (parts.value.is_empty() || parts.value.starts_with(['#', '|', '>', '&', '!', '{', '[']))
    }

    /// The first line of the brackets that are open where a line begins.
    fn flow_start(&self, line: usize) -> Option<usize> {
        let above = line.saturating_sub(FLOW_LINES_MAX)..line;
        above.into_iter().find(|first| {
            self.content(*first).is_some()
                && opens(self.parts(*first).value)
                && !self.open_brackets(*first, line).is_empty()
        })
    }

    /// The brackets that a line's value opens and that are still open where another line begins, the innermost last.
    pub(super) fn open_brackets(&self, first: usize, end: usize) -> Vec<Span> {
        let value = self.parts(first).value;
        if !opens(value) {
            return Vec::new();
        }
        let start = self.text[first].rfind(value).unwrap_or(0);
        let mut open = Vec::new();
        let mut quote = None;
        let mut before = ' ';
        for line in first..end.min(self.text.len()) {
            let mut characters = self.text[line].char_indices().enumerate().peekable();
            while let Some((column, (byte, c))) = characters.next() {
                if line == first && byte < start {
                    continue;
                }
                match (quote, c) {
                    (Some('"'), '\\') => drop(characters.next()),
                    (Some('\''), '\'') if characters.next_if(|(_, (_, next))| *next == '\'').is_some() => {}
                    (Some(closing), c) if closing == c => (quote, before) = (None, c),
                    (Some(_), _) => {}
                    (None, '"' | '\'') if "{[,: ".contains(before) => quote = Some(c),
                    (None, '#') if before == ' ' => break,
                    (None, '{' | '[') => {
                        open.push((Span { line: line + 1, column: column + 1, length: 1 }, c));
                        before = c;
                    }
                    (None, '}' | ']') => {
                        // What is open inside of what is closed stays open.
                        let opening = if c == '}' { '{' } else { '[' };
                        if let Some(opened) = open.iter().rposition(|(_, each)| *each == opening) {
                            open.remove(opened);
                        }
                        if open.is_empty() {
                            return Vec::new();
                        }
                        before = c;
                    }
                    (None, c) => before = if c.is_whitespace() { ' ' } else { c },
                }
            }
            if quote.is_none() {
                before = ' ';
            }
        }
        open.into_iter().map(|(at, _)| at).collect()
    }
}

/// Whether a value begins with a bracket, behind an anchor or a tag.
fn opens(value: &str) -> bool {
    behind_anchor(value).starts_with(['{', '['])
}

/// A value without its anchor or tag.
pub(super) fn behind_anchor(value: &str) -> &str {
    match value.starts_with(['&', '!']) {
        true => value.split_once(' ').map_or("", |(_, behind)| behind.trim_start()),
        false => value,
    }
}

/// A key at the beginning of a text, and where its colon ends, in bytes.
fn key(text: &str) -> Option<(&str, usize)> {
    let (name, end) = match text.chars().next()? {
        quote @ ('"' | '\'') => {
            let end = text[1..].find(quote)? + 1;
            (&text[1..end], end + 1)
        }
        _ => {
            let belongs = |c: char| c.is_alphanumeric() || "_-.$".contains(c);
            let end = text.find(|c| !belongs(c)).unwrap_or(text.len());
            (&text[..end], end)
        }
    };
    let after = text[end..].strip_prefix(':')?;
    let ends = after.is_empty() || after.starts_with(char::is_whitespace);
    (ends && !name.is_empty()).then_some((name, end + 1))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn lines(text: &str) -> Lines {
        Lines::new(&SourceText::new(Path::new("p.yaml"), text))
    }

    #[test]
    fn a_line_in_parts() {
        let lines = lines("a: b # c\n  - \"x y\": 1\n-\nname only\nurl:9092\n'a': ");
        let parts = |line| {
            let parts = lines.parts(line);
            (parts.is_item, parts.key, parts.value)
        };
        assert_eq!(parts(0), (false, Some(("a", 2)), "b # c"));
        assert_eq!(parts(1), (true, Some(("x y", 10)), "1"));
        assert_eq!(parts(2), (true, None, ""));
        assert_eq!(parts(3), (false, None, "name only"));
        assert_eq!(parts(4), (false, None, "url:9092"));
        assert_eq!(parts(5), (false, Some(("a", 4)), ""));
    }

    #[test]
    fn blocks_parents_and_paths() {
        let lines = lines(
            "steps:\n  s:\n    by:\n    - a\n    - b\n\n    # note\n    kafka: {\n      x: 1\n    }\n  t: { a: b }\n",
        );
        assert_eq!(lines.block(2), 2..5);
        assert_eq!(lines.block(7), 7..10);
        assert_eq!(lines.block(1), 1..10);
        assert_eq!(lines.block_of_value(1), 1..10);
        assert_eq!(lines.parent(4), Some(2));
        let items = self::lines("a:\n  - b: {\n      c: 1 }\n    d: 1\n  - e\n");
        assert_eq!((items.block(1), items.block_of_value(1)), (1..4, 1..3));
        assert_eq!(lines.path(4), "steps.s.by[1]");
        assert_eq!(lines.path(8), "steps.s.kafka.x");
        assert_eq!(lines.path(10), "steps.t");
    }

    #[test]
    fn open_brackets_are_found_behind_quotes_and_comments() {
        let lines = lines("a: { b: \"}\", c: 'it''s }', d: it's, # }\n  e: [1, 2],\n  f: [\n  g: 1\n");
        let columns =
            |spans: Vec<Span>| spans.iter().map(|each| (each.line, each.column)).collect::<Vec<_>>();
        assert_eq!(columns(lines.open_brackets(0, 1)), [(1, 4)]);
        assert_eq!(columns(lines.open_brackets(0, 3)), [(1, 4), (3, 6)]);
        assert_eq!(columns(lines.open_brackets(1, 2)), []);
    }
}
