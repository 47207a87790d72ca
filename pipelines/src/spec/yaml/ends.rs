//! Brackets and quotes that are never closed: where they may have been meant to end.
//!
//! ```text
//!   b: { c: [1, 2        ──▶ what is open where the block ends is closed there, or at the end of a line before
//!   b: { c: [1, 2 }      ──▶ what is open where another bracket is closed is closed before it
//!   b: { c: "x, d: 1 }   ──▶ behind what a text may hold: before the next name, before the last brackets, …; or the quote is left out
//! ```

use std::ops::Range;

use super::lines::{Lines, behind_anchor};
use super::tabs::Mended;

/// What a walk along a block finds.
#[derive(Debug, Default)]
struct Walk {
    /// Brackets that are open at the end, by what closes them.
    open: Vec<char>,
    /// The quote that is open at the end, as (line, character), and whether it stands between brackets.
    quote: Option<(usize, usize, bool)>,
    /// What is missing before a bracket that closes another one: (line, character, text).
    missing: Vec<(usize, usize, String)>,
    /// Where the content of lines ends, as (line, character).
    ends: Vec<(usize, usize)>,
}

impl Walk {
    /// `None`: there is nothing to be closed in it, or a bracket too many.
    fn along(lines: &Lines, block: &Range<usize>) -> Option<Walk> {
        let parts = lines.parts(block.start);
        let value = behind_anchor(parts.value);
        if !value.starts_with(['{', '[', '"', '\'']) || (parts.key.is_none() && !parts.is_item) {
            return None;
        }
        let first = &lines.text[block.start];
        let start = first[..first.rfind(value)?].chars().count();
        let mut walk = Walk::default();
        let (mut quote, mut before) = (None, ' ');
        for line in block.clone() {
            let text: Vec<char> = lines.text[line].chars().collect();
            let mut at = if line == block.start { start } else { 0 };
            let mut end = at;
            while at < text.len() {
                let c = text[at];
                match (quote, c) {
                    (Some('"'), '\\') => at += 1,
                    (Some('\''), '\'') if text.get(at + 1) == Some(&'\'') => at += 1,
                    (Some(closing), c) if closing == c => (quote, walk.quote) = (None, None),
                    (Some(_), _) => {}
                    (None, '"' | '\'') if "{[,: ".contains(before) => {
                        (quote, walk.quote) = (Some(c), Some((line, at, !walk.open.is_empty())));
                    }
                    (None, '#') if before == ' ' => break,
                    (None, '{') => walk.open.push('}'),
                    (None, '[') => walk.open.push(']'),
                    (None, '}' | ']') => {
                        let opened = walk.open.iter().rposition(|closing| *closing == c)?;
                        let missing: String = walk.open.drain(opened + 1..).rev().collect();
                        if !missing.is_empty() {
                            walk.missing.push((line, end, missing));
                        }
                        walk.open.pop();
                    }
                    (None, _) => {}
                }
                before = if c.is_whitespace() { ' ' } else { c };
                at += 1;
                if !c.is_whitespace() {
                    end = at;
                }
                if walk.open.is_empty() && quote.is_none() {
                    // What stands behind it is another mistake.
                    return (!walk.missing.is_empty()).then_some(walk);
                }
            }
            before = ' ';
            if lines.content(line).is_some() {
                walk.ends.push((line, end.min(text.len())));
            }
        }
        Some(walk)
    }
}

/// Lines in which something is written otherwise, and where.
#[derive(Debug, Clone)]
pub(super) struct Way {
    pub(super) lines: Lines,
    pub(super) mended: Mended,
    /// Whether it is a quote that was closed or left out.
    pub(super) is_of_quote: bool,
}

impl Way {
    fn insert(&self, line: usize, at: usize, what: &str) -> Way {
        let text = &self.lines.text[line];
        let byte = text.char_indices().nth(at).map_or(text.len(), |(byte, _)| byte);
        let mut way = self.clone();
        way.lines.rewrite(line, format!("{}{what}{}", &text[..byte], &text[byte..]));
        way.mended.note(line, at, at + what.chars().count());
        way
    }

    fn remove(&self, line: usize, at: usize) -> Way {
        let kept = self.lines.text[line].chars().enumerate().filter(|(index, _)| *index != at);
        let mut way = self.clone();
        way.lines.rewrite(line, kept.map(|(_, c)| c).collect());
        way.mended.note(line, at + 1, at);
        way
    }

    /// With all brackets closed. Brackets with nothing in them say nothing.
    fn closed(&self, block: &Range<usize>) -> Vec<Way> {
        let Some(walk) = Walk::along(&self.lines, block) else { return vec![self.clone()] };
        if walk.quote.is_some() {
            return Vec::new();
        }
        // From the last one on, so that the places of those before stay as they are.
        let missing = walk.missing.iter().rev();
        let way = missing.fold(self.clone(), |way, (line, at, what)| way.insert(*line, *at, what));
        if walk.open.is_empty() {
            return vec![way];
        }
        let closing: String = walk.open.iter().rev().collect();
        let ends = walk.ends.iter().rev().filter_map(|(line, at)| {
            // On a line where something was put in before, the end lies further behind.
            let more = way.lines.text[*line].chars().count() - self.lines.text[*line].chars().count();
            let at = at + more;
            let last = way.lines.text[*line].chars().take(at).last()?;
            (!"{[".contains(last)).then(|| way.insert(*line, at, &closing))
        });
        ends.collect()
    }
}

/// The ways to close what is open in a block, the likeliest first.
pub(super) fn ways(lines: &Lines, block: &Range<usize>) -> Vec<Way> {
    let Some(walk) = Walk::along(lines, block) else { return Vec::new() };
    let way = Way { lines: lines.clone(), mended: Mended::default(), is_of_quote: walk.quote.is_some() };
    let Some((line, at, in_brackets)) = walk.quote else { return way.closed(block) };
    let text: Vec<char> = lines.text[line].chars().collect();
    let quote = text[at];
    let end = text.iter().rposition(|c| !c.is_whitespace()).map_or(text.len(), |last| last + 1);
    let inside: String = text[at + 1..end].iter().collect();
    let is_within = |opening, closing| inside.starts_with(opening) && inside.ends_with(closing);
    if !in_brackets && (is_within('{', '}') || is_within('[', ']')) {
        // No text is meant.
        return Way { is_of_quote: false, ..way.remove(line, at) }.closed(block);
    }
    let mut places = Vec::new();
    if in_brackets {
        let commas = || (at + 1..end).filter(|index| text[*index] == ',');
        let is_before_name = |comma: &usize| {
            let rest: String = text[comma + 1..end].iter().collect();
            let name = rest.trim_start().trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
            name.starts_with(": ") && !rest.trim_start().starts_with(':')
        };
        places.extend(commas().find(is_before_name));
        let last = text[..end].iter().rposition(|c| !c.is_whitespace() && !"}],".contains(*c));
        places.extend(last.map(|last| last + 1));
        places.extend(commas().next());
    }
    places.push(end);
    let closed = places.into_iter().filter(|place| *place > at + 1);
    let closed = closed.map(|place| way.insert(line, place, &quote.to_string()));
    closed.chain([way.remove(line, at)]).flat_map(|way| way.closed(block)).collect()
}
