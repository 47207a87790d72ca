//! Reads nodes into typed values, notes everything that is wrong, and goes on.

use super::doubled::Doubled;
use super::suggest;
use super::yaml::{Kind, Node};
use super::{Problem, SourceText, Span, Spanned};

/// Collects the problems of one file while its parts are read.
pub(super) struct Reader {
    source: SourceText,
    pub(super) problems: Vec<Problem>,
    /// Values that were passed over in silence, since what is wrong with them was said before.
    passed_over: usize,
    /// How often names of columns could not be read.
    lost_names: usize,
    /// Fields that are there twice.
    pub(super) doubled: Vec<Doubled>,
}

/// One field of a mapping.
#[derive(Clone)]
pub(super) struct Entry<'n> {
    pub(super) key: Spanned<&'n str>,
    pub(super) value: &'n Node,
    /// The field's path from the top of the file.
    pub(super) path: String,
}

/// A mapping's fields, each key once.
pub(super) struct Fields<'n> {
    pub(super) at: Span,
    pub(super) path: String,
    pub(super) entries: Vec<Entry<'n>>,
    /// Some of its fields could not be read at all, not even their names.
    pub(super) incomplete: bool,
    /// Fields that unknown ones were probably meant to be.
    meant: Vec<&'static str>,
    /// There are unknown ones of which nobody knows what they were meant to be.
    pub(super) has_strange: bool,
}

impl<'n> Fields<'n> {
    /// The field of this name.
    pub(super) fn get(&self, key: &str) -> Option<&Entry<'n>> {
        self.entries.iter().find(|entry| *entry.key == key)
    }

    /// Whether there is a field that was probably meant to be this one (which has been said).
    pub(super) fn has_misspelt(&self, key: &str) -> bool {
        self.meant.contains(&key)
    }

    /// Whether the field is there, be it misspelt or one that could not be read (which has been said).
    pub(super) fn seems_to_have(&self, key: &str) -> bool {
        self.incomplete || self.has_misspelt(key) || self.get(key).is_some()
    }
}

impl Reader {
    pub(super) fn new(source: SourceText, problems: Vec<Problem>) -> Self {
        Reader { source, problems, passed_over: 0, lost_names: 0, doubled: Vec::new() }
    }

    /// Notes a problem.
    pub(super) fn problem(&mut self, at: Span, path: &str, message: impl Into<String>, hint: Option<String>) {
        self.problems.push(self.source.problem(at, path, message, hint));
    }

    /// The place, as long as the word that begins there.
    pub(super) fn word_at(&self, at: Span) -> Span {
        let line = self.source.line(at.line).unwrap_or_default();
        let word = line.chars().skip(at.column.saturating_sub(1));
        let length = word.take_while(|c| c.is_alphanumeric() || "_-.\"'".contains(*c)).count();
        Span { length: length.max(1), ..at }
    }

    /// A number that grows with every value that could not be read: equal before and after means that all was well.
    pub(super) fn failures(&self) -> usize {
        self.problems.len() + self.passed_over
    }

    /// A number that grows whenever names of columns can't be known.
    pub(super) fn lost_names(&self) -> usize {
        self.lost_names
    }

    /// Notes that names of columns can't be known, which has been said.
    pub(super) fn lose_names(&mut self) {
        self.lost_names += 1;
    }

    /// Notes that something is passed over in silence, since what is wrong with it was said before.
    pub(super) fn pass_over(&mut self) {
        self.passed_over += 1;
    }

    /// Notes that a field is there twice, which has been said.
    pub(super) fn double(&mut self, name: &str, first: Span, other: Span) {
        self.doubled.push(Doubled { name: name.to_owned(), first, other });
    }

    /// A mapping with these fields and no others.
    pub(super) fn fields<'n>(
        &mut self,
        node: &'n Node,
        path: &str,
        known: &[&'static str],
    ) -> Option<Fields<'n>> {
        let mut fields = self.mapping(node, path)?;
        for index in 0..fields.entries.len() {
            let entry = &fields.entries[index];
            if known.contains(&entry.key.value) {
                continue;
            }
            let hint =
                suggest::hint(&entry.key, known, "known fields").unwrap_or_else(|| "leave it out".into());
            self.problem(entry.key.at, &entry.path, "unknown field", Some(hint));
            let near = suggest::nearest(&entry.key, known.iter().copied());
            let near = near.and_then(|near| known.iter().find(|each| **each == near).copied());
            fields.has_strange |= near.is_none();
            fields.meant.extend(near);
            // It is read as what was meant, where that is clear.
            let rivals = known.iter().copied().filter(|each| Some(*each) != near);
            let rival = suggest::nearest(&entry.key, rivals);
            let is_nearer = |near: &&str| {
                let distance = |name: &str| strsim::osa_distance(&entry.key, name);
                rival.is_none_or(|rival| distance(near) < distance(rival))
            };
            let Some(near) = near.filter(is_nearer) else { continue };
            match fields.get(near).map(|first| first.key.at) {
                Some(first) => self.double(near, first, fields.entries[index].key.at),
                None => fields.entries[index].key.value = near,
            }
        }
        fields.entries.retain(|entry| known.contains(&entry.key.value));
        Some(fields)
    }

    /// A mapping with any keys, each once.
    pub(super) fn mapping<'n>(&mut self, node: &'n Node, path: &str) -> Option<Fields<'n>> {
        let Kind::Mapping(entries) = &node.kind else {
            self.expected(node, path, "a mapping", None);
            return None;
        };
        let mut fields = Fields {
            at: node.at,
            path: path.to_owned(),
            entries: Vec::with_capacity(entries.len()),
            incomplete: false,
            meant: Vec::new(),
            has_strange: false,
        };
        for (key, value) in entries {
            let Kind::Scalar(name, _) = &key.kind else {
                if matches!(key.kind, Kind::Broken) {
                    fields.incomplete = true;
                    self.pass_over();
                    continue;
                }
                self.problem(
                    key.at,
                    path,
                    format!("a key must be a plain text, not {}", key.describe()),
                    Some(
                        "write \"name: value\"; an expression that begins with a bracket stands in quotes"
                            .to_owned(),
                    ),
                );
                continue;
            };
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            if let Some(first) = fields.get(name).map(|first| first.key.at) {
                let hint = format!("it is already given on line {}; keep one of the two", first.line);
                self.problem(key.at, &path, "given twice", Some(hint));
                self.double(name, first, key.at);
                continue;
            }
            fields.entries.push(Entry { key: Spanned::new(name.as_str(), key.at), value, path });
        }
        Some(fields)
    }

    /// A field that must be there.
    pub(super) fn required<'f, 'n>(
        &mut self,
        fields: &'f Fields<'n>,
        key: &str,
        hint: &str,
    ) -> Option<&'f Entry<'n>> {
        let entry = fields.get(key);
        if entry.is_none() && !fields.seems_to_have(key) {
            self.problem(
                fields.at,
                &fields.path,
                format!("the field \"{key}\" is missing"),
                Some(hint.to_owned()),
            );
        }
        entry
    }

    /// A list's items with their paths.
    pub(super) fn items<'n>(&mut self, node: &'n Node, path: &str) -> Option<Vec<(String, &'n Node)>> {
        match &node.kind {
            Kind::Sequence(items) => Some(
                items.iter().enumerate().map(|(index, item)| (format!("{path}[{index}]"), item)).collect(),
            ),
            _ => {
                self.expected(node, path, "a list", None);
                None
            }
        }
    }

    /// A scalar's text.
    pub(super) fn text(&mut self, node: &Node, path: &str, what: &str) -> Option<Spanned<String>> {
        match &node.kind {
            Kind::Scalar(text, _) => Some(Spanned::new(text.clone(), node.at)),
            _ => {
                self.expected(node, path, what, None);
                None
            }
        }
    }

    /// A scalar that `parse` understands; its error is the message and the hint.
    pub(super) fn parsed<T>(
        &mut self,
        entry: &Entry<'_>,
        what: &str,
        parse: impl FnOnce(&str) -> Result<T, (String, String)>,
    ) -> Option<Spanned<T>> {
        let text = self.text(entry.value, &entry.path, what)?;
        match parse(&text) {
            Ok(value) => Some(Spanned::new(value, text.at)),
            Err((message, hint)) => {
                self.problem(text.at, &entry.path, message, Some(hint));
                None
            }
        }
    }

    /// One of a closed set of words.
    pub(super) fn choice<T: Copy>(&mut self, entry: &Entry<'_>, choices: &[(&str, T)]) -> Option<Spanned<T>> {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        self.parsed(entry, &format!("one of {}", words.join(", ")), |text| {
            choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
                let hint = suggest::hint(text, &words, "write one of").unwrap_or_default();
                (format!("unknown value \"{text}\""), hint)
            })
        })
    }

    /// Notes that something else stands where `what` should.
    pub(super) fn expected(&mut self, node: &Node, path: &str, what: &str, hint: Option<String>) {
        if matches!(node.kind, Kind::Broken) {
            self.pass_over();
        } else {
            let hint = hint.or_else(|| Some(instead(node, path, what)));
            self.problem(node.at, path, format!("expected {what}, found {}", node.describe()), hint);
        }
    }
}

/// What to write where something else stands.
fn instead(node: &Node, path: &str, what: &str) -> String {
    match (what, &node.kind) {
        ("a mapping", _) if path.is_empty() => "write \"name: value\" lines".to_owned(),
        ("a mapping", Kind::Sequence(_)) => {
            "write \"name: value\" lines, without \"- \" or brackets".to_owned()
        }
        ("a mapping", _) => "write \"name: value\" lines below it, further in".to_owned(),
        ("a list", Kind::Scalar(text, _)) if text.chars().count() < 40 => format!("write [{text}]"),
        ("a list", _) => "write [a, b], or a line with \"- \" for each item".to_owned(),
        ("an SQL expression", Kind::Null | Kind::Broken) => {
            "write one, such as status = 'error'; a null has a type: cast(null as double)".to_owned()
        }
        ("an SQL expression", Kind::Sequence(_) | Kind::Mapping(_)) => {
            "put an expression that begins with a bracket in quotes".to_owned()
        }
        (_, Kind::Sequence(_) | Kind::Mapping(_)) => "write a single value, without brackets".to_owned(),
        _ => "write it behind the colon".to_owned(),
    }
}
