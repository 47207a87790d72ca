//! What keeps a text from being YAML, in words: what was probably meant, and what to write.

use super::lines::Lines;
use super::{Fault, FaultKind, NODES_MAX};
use crate::spec::{Problem, SourceText, Span};

/// The fault that was found first.
pub(super) fn first(source: &SourceText, fault: &Fault) -> Problem {
    problem(source, &Lines::new(source), fault)
}

/// A fault in lines of which some may have been left out.
pub(super) fn problem(source: &SourceText, lines: &Lines, fault: &Fault) -> Problem {
    let head = lines.head(fault);
    let path = head.map_or_else(String::new, |head| lines.path(head));
    let said = |message: &str, hint: String| (fault.at, message.to_owned(), hint);
    let (at, message, hint) = match &fault.kind {
        FaultKind::Grammar(info) => {
            let slip = head.and_then(|head| slip(lines, head, fault.at, info));
            let slip = slip.unwrap_or_else(|| {
                let hint = "look at the indentation, the quotes and the brackets of this line".to_owned();
                Slip { at: fault.at, message: info.clone(), hint }
            });
            (slip.at, format!("not valid YAML: {}", slip.message), slip.hint)
        }
        FaultKind::SecondDocument => {
            return source.problem(
                fault.at,
                "",
                "a second document",
                Some("write one pipeline a file, without \"---\" between".into()),
            );
        }
        FaultKind::Tag(_) => {
            let value = head.map_or("", |head| lines.parts(head).value);
            let hint = format!(
                "\"!\" means something else in YAML: put the value into quotes, {}, or write not {}",
                quoted(value),
                value.trim_start_matches('!')
            );
            said("a value that begins with \"!\"", hint)
        }
        FaultKind::TooDeep => {
            said("nested too deeply", "no field of a pipeline is nested as deep as this".to_owned())
        }
        FaultKind::OwnAlias => {
            said("an alias inside its own anchor", "write out what it stands for".to_owned())
        }
        FaultKind::TooManyNodes => {
            said("too many nodes", format!("aliases may fill in {NODES_MAX} nodes at most"))
        }
    };
    source.problem(at, path, message, Some(hint))
}

struct Slip {
    at: Span,
    message: String,
    hint: String,
}

/// The slip behind the parser's words; `head` is the line at fault.
fn slip(lines: &Lines, head: usize, at: Span, info: &str) -> Option<Slip> {
    let said = |message: &str, hint: String| Some(Slip { at, message: message.to_owned(), hint });
    let has = |part: &str| info.contains(part);
    let parts = lines.parts(head);
    let text = lines.text.get(at.line - 1).map_or("", String::as_str);
    if text.trim_start_matches(' ').starts_with('\t') || has("tab") {
        return said(info, "indent with spaces, not with tabs".into());
    }
    if let Some(slip) = brackets(lines, head, at, info) {
        return Some(slip);
    }
    if has("quoted scalar") && (has("indentation") || has("end of stream") || has("document indicator")) {
        let quote = text.chars().nth(at.column - 1).unwrap_or('"');
        let hint = format!(
            "close it with another {quote}; inside a text in {quote} the {quote} is written {}",
            match quote {
                '\'' => "twice",
                _ => "\\\"",
            }
        );
        return said(&format!("a text in {quote} without its end"), hint);
    }
    if has("trailing content") {
        let hint = format!("put the whole value into quotes: {}", quoted(parts.value));
        return said("something stands behind a text in quotes", hint);
    }
    if has("unknown escape character") {
        return said(info, "a \\ in a text in double quotes is written \\\\".into());
    }
    if has("unexpected character")
        || has("anchor")
        || has("alias")
        || has("tag")
        || has("expected node content")
    {
        let first = parts.value.chars().next().filter(|c| "%@`*&!|>,?-".contains(*c));
        if let Some(first) = first {
            let hint = format!("put the value into quotes: {}", quoted(parts.value));
            return said(
                &format!("a value that begins with \"{first}\", which means something else in YAML"),
                hint,
            );
        }
    }
    if parts.key.is_none() && !parts.is_item && head + 1 < at.line {
        return no_colon(lines, head);
    }
    if has("mapping values are not allowed") {
        return mapping_value(lines, head, at, info);
    }
    if has("simple key expect") {
        return no_colon(lines, head);
    }
    if has("comment intercepting") {
        return said("a comment in the midst of a text of several lines", "put it above the text".into());
    }
    if has("expected key") || has("indent") || has("'-' indicator") || has("<document start>") {
        return said(info, indentation(lines, head));
    }
    None
}

/// Brackets: never closed, or something wrong between them.
fn brackets(lines: &Lines, head: usize, at: Span, info: &str) -> Option<Slip> {
    let is_flow = info.contains("',' or")
        || info.contains("flow")
        || info.contains("bracket")
        || info.contains("only valid inside a block");
    let open = lines.open_brackets(head, (at.line - 1).min(lines.block(head).end));
    if let Some(bracket) =
        open.last().filter(|_| at.line > lines.block(head).end || info.contains("only valid inside"))
    {
        let opening = lines.text[bracket.line - 1].chars().nth(bracket.column - 1).unwrap_or('{');
        let closing = if opening == '[' { ']' } else { '}' };
        let message = format!("a \"{opening}\" that is never closed");
        return Some(Slip { at: *bracket, message, hint: format!("write the missing \"{closing}\"") });
    }
    if !is_flow {
        return None;
    }
    let hint = if info.contains("',' or") {
        "put a comma between two entries, and an expression that holds a comma, a bracket or \": \" in double quotes"
    } else {
        "open and close each bracket, and put an expression that holds one in double quotes"
    };
    Some(Slip { at, message: info.to_owned(), hint: hint.to_owned() })
}

/// A second colon in a line, or a line that is indented too deep.
fn mapping_value(lines: &Lines, head: usize, at: Span, info: &str) -> Option<Slip> {
    let parts = lines.parts(head);
    let is_quoted = parts.value.starts_with(['"', '\'', '{', '[']);
    let hint = if !is_quoted && parts.value.contains(": ") || parts.value.ends_with(':') {
        "put an expression that holds \": \" in double quotes".to_owned()
    } else {
        let above = lines.content_before(head).filter(|above| lines.indent(*above) < lines.indent(head));
        let names = above.and_then(|above| lines.parts(above).key).zip(parts.key);
        match names {
            Some(((above, _), (name, _))) => {
                format!(
                    "\"{above}\" above it has a value already: begin \"{name}\" in the same column as \"{above}\""
                )
            }
            None => indentation(lines, head),
        }
    };
    Some(Slip { at, message: info.to_owned(), hint })
}

/// A line in which the space is missing behind the colon.
pub(super) fn without_colon(source: &SourceText, lines: &Lines, head: usize) -> Option<Problem> {
    let slip = no_colon(lines, head)?;
    let message = format!("not valid YAML: {}", slip.message);
    Some(source.problem(slip.at, lines.path(lines.named(head)), message, Some(slip.hint)))
}

/// A line that should name something.
fn no_colon(lines: &Lines, head: usize) -> Option<Slip> {
    let content = lines.content(head)?;
    let at = Span { line: head + 1, column: lines.indent(head) + 1, length: content.chars().count() };
    let word = content.split([' ', ':', '=']).next().unwrap_or(content);
    let rest = content[word.len()..].trim_start_matches([' ', ':', '=']).trim();
    let hint =
        format!("write the name, a colon, a space and the value: \"{}\"", format!("{word}: {rest}").trim());
    Some(Slip { at, message: "a line without \": \"".to_owned(), hint })
}

/// A name and a value that only a colon parts, where a space is missing behind it.
pub(in crate::spec) fn joined(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.split_once(':')?;
    let is_name = name.chars().all(|c| c.is_alphanumeric() || c == '_') && !name.is_empty();
    // `a::b` and `http://a` are something else.
    let is_value = !value.is_empty() && !value.starts_with([':', '/', ' ', '\t']);
    (is_name && is_value).then_some((name, value))
}

/// In which column a line may begin.
fn indentation(lines: &Lines, head: usize) -> String {
    let own = lines.indent(head);
    let mut levels = Vec::new();
    let mut at = lines.content_before(head);
    while let Some(line) = at {
        levels.push(lines.indent(line));
        at = lines.parent(line);
    }
    let less = levels.iter().filter(|level| **level < own).max();
    let more = levels.iter().filter(|level| **level > own).min();
    match (less, more) {
        (Some(less), Some(more)) if !levels.contains(&own) => {
            format!("indent it by {less} or by {more} spaces, as the lines above that it belongs to")
        }
        _ => "the lines of one block begin in the same column".to_owned(),
    }
}

/// A value as a text in quotes.
fn quoted(value: &str) -> String {
    const SHOWN_MAX: usize = 80;
    if value.chars().count() > SHOWN_MAX {
        return "\"…\"".to_owned();
    }
    match value.contains(['"', '\\']) {
        false => format!("\"{value}\""),
        true => format!("'{}'", value.replace('\'', "''")),
    }
}
