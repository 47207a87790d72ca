//! Values of a spec that are given beside it: what a backtest varies.
//!
//! ```text
//!   steps.per_minute.window.tumbling=5m      the value at a path, as YAML; what is not there yet is added
//!   …window.tumbling=[1m, 5m]  ─ sweep ─▶    …window.tumbling=1m, …window.tumbling=5m
//!   …by=[provider, model]      ─ sweep ─▶    itself: a list stands there, and this is another
//!   …by=[[provider], [model]]  ─ sweep ─▶    …by=[provider], …by=[model]
//! ```

use std::path::Path;

use saphyr_parser::ScalarStyle;

use super::suggest;
use super::yaml::{self, Kind, Node};
use super::{Problem, SourceText, Span};

/// A value to put into a spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// Where, from the file's root on; a number counts the items of a list.
    pub path: Vec<String>,
    /// What, as YAML.
    pub value: String,
}

impl Override {
    /// Reads `path=value`, where names on the path stand between dots.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Override, String> {
        let Some((path, value)) = text.split_once('=') else {
            return Err(format!(
                "\"{text}\" is not of the form path=value, such as steps.per_minute.window.tumbling=5m"
            ));
        };
        let path: Vec<String> = path.split('.').map(|name| name.trim().to_owned()).collect();
        if path.iter().any(String::is_empty) {
            return Err(format!("the path of \"{text}\" has a name that is empty"));
        }
        Ok(Override { path, value: value.trim().to_owned() })
    }

    /// What is to be tried, one after the other, in the place of a value of this text: the items of a list where the text holds none;
    /// where it holds a list, those of a list of lists. All else is one value.
    ///
    /// # Errors
    /// A list without items.
    pub fn sweep(&self, text: &str, origin: &Path) -> Result<Vec<Override>, Box<Problem>> {
        let source = SourceText::new(origin, text);
        let value = yaml::parse(&SourceText::new(origin, &self.value)).map(|node| node.kind);
        // What is no YAML is told when it is read.
        let (Ok(root), Ok(Kind::Sequence(items))) = (yaml::parse(&source), value) else {
            return Ok(vec![self.clone()]);
        };
        let is_list = |node: &Node| matches!(node.kind, Kind::Sequence(_));
        let place = find(&root, &self.path);
        if place.is_some_and(is_list) && (items.is_empty() || !items.iter().all(is_list)) {
            return Ok(vec![self.clone()]);
        }
        if items.is_empty() {
            let message = "a list without items: there is nothing to try".to_owned();
            let hint =
                "name one value at least; a list that is to be empty is an item itself: [[]]".to_owned();
            let at = place.map_or(root.at, |node| node.at);
            return Err(Box::new(source.problem(at, format!("--set {self}"), message, Some(hint))));
        }
        let with = |item: &Node| Override { path: self.path.clone(), value: in_a_line(item, false) };
        Ok(items.iter().map(with).collect())
    }
}

impl std::fmt::Display for Override {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.path.join("."), self.value)
    }
}

/// Puts a value into a tree. Problems of what comes of it are told of the place in the file where it stands.
///
/// # Errors
/// There is no such place; the value is not YAML.
pub(super) fn apply(root: &mut Node, own: &Override, source: &SourceText) -> Result<(), Box<Problem>> {
    let problem = |at: Span, message: String, hint: Option<String>| {
        Box::new(source.problem(at, format!("--set {own}"), message, hint))
    };
    let value = yaml::parse(&SourceText::new(&source.file, &own.value))
        .map_err(|wrong| problem(root.at, format!("the value is wrong: {}", wrong.message), wrong.hint))?;
    let mut node = root;
    for (depth, name) in own.path.iter().enumerate() {
        let at = node.at;
        let place = if depth == 0 { "the file".to_owned() } else { own.path[..depth].join(".") };
        node = match &mut node.kind {
            Kind::Mapping(entries) => {
                let index = match entries.iter().position(|(key, _)| name_of(key) == Some(name)) {
                    Some(index) => index,
                    None if depth + 1 == own.path.len() => {
                        let key = Node { at, kind: Kind::Scalar(name.clone(), ScalarStyle::Plain) };
                        entries.push((key, Node { at, kind: Kind::Null }));
                        entries.len() - 1
                    }
                    None => {
                        let names: Vec<&str> = entries.iter().filter_map(|(key, _)| name_of(key)).collect();
                        let hint = suggest::hint(name, &names, "it has");
                        return Err(problem(at, format!("{place} has no \"{name}\""), hint));
                    }
                };
                &mut entries[index].1
            }
            Kind::Sequence(items) => {
                let length = items.len();
                let item = name.parse::<usize>().ok().and_then(|index| items.get_mut(index));
                item.ok_or_else(|| {
                    let hint = format!("it is a list of {length}, counted from 0");
                    problem(at, format!("{place} has no item \"{name}\""), Some(hint))
                })?
            }
            Kind::Null | Kind::Scalar(..) | Kind::Broken => {
                return Err(problem(
                    at,
                    format!("{place} is a single value: there is no \"{name}\" in it"),
                    None,
                ));
            }
        };
    }
    let at = node.at;
    *node = value;
    move_to(node, at);
    Ok(())
}

// The node at a path, where there is one.
fn find<'n>(root: &'n Node, path: &[String]) -> Option<&'n Node> {
    path.iter().try_fold(root, |node, name| match &node.kind {
        Kind::Mapping(entries) => {
            entries.iter().find(|(key, _)| name_of(key) == Some(name)).map(|(_, value)| value)
        }
        Kind::Sequence(items) => name.parse::<usize>().ok().and_then(|index| items.get(index)),
        Kind::Null | Kind::Scalar(..) | Kind::Broken => None,
    })
}

// YAML that is read as the node again. Within a list or a mapping, a text that holds their marks is quoted.
fn in_a_line(node: &Node, within: bool) -> String {
    let has_marks = |text: &str| text.contains('\n') || (within && text.contains([',', '[', ']', '{', '}']));
    match &node.kind {
        Kind::Null | Kind::Broken => "null".to_owned(),
        Kind::Scalar(text, ScalarStyle::Plain) if !has_marks(text) => text.clone(),
        // What JSON quotes, YAML reads as JSON does.
        Kind::Scalar(text, _) => serde_json::Value::from(text.as_str()).to_string(),
        Kind::Sequence(items) => {
            let items: Vec<String> = items.iter().map(|item| in_a_line(item, true)).collect();
            format!("[{}]", items.join(", "))
        }
        Kind::Mapping(entries) => {
            let entry =
                |(key, value): &(Node, Node)| format!("{}: {}", in_a_line(key, true), in_a_line(value, true));
            format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
    }
}

fn name_of(key: &Node) -> Option<&str> {
    match &key.kind {
        Kind::Scalar(text, _) => Some(text),
        _ => None,
    }
}

fn move_to(node: &mut Node, at: Span) {
    node.at = at;
    match &mut node.kind {
        Kind::Sequence(items) => items.iter_mut().for_each(|item| move_to(item, at)),
        Kind::Mapping(entries) => entries.iter_mut().for_each(|(key, value)| {
            move_to(key, at);
            move_to(value, at);
        }),
        Kind::Null | Kind::Scalar(..) | Kind::Broken => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: &str = "
steps:
  per_minute: { from: calls, by: [provider], window: { tumbling: 1m }, select: { n: count(*) } }
  plain: { from: calls, where: status = 'ok' }
";

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let own = Override::parse(text).unwrap();
        let values = own.sweep(SPEC, Path::new("p.yaml")).unwrap();
        assert!(values.iter().all(|value| value.path == own.path));
        let values: Vec<&str> = values.iter().map(|value| value.value.as_str()).collect();
        assert_eq!(values, expected, "{text}");
    }

    #[test]
    fn a_list_is_swept_where_none_stands_and_is_the_value_where_one_does() {
        check("steps.per_minute.window.tumbling=[1m, 5m,10m]", &["1m", "5m", "10m"]);
        check("steps.per_minute.window.tumbling=5m", &["5m"]);
        check(
            "steps.per_minute.window=[{ tumbling: 1m }, {session: {gap: 5m}}]",
            &["{tumbling: 1m}", "{session: {gap: 5m}}"],
        );
        check("steps.per_minute.by=[provider, model]", &["[provider, model]"]);
        check("steps.per_minute.by=[]", &["[]"]);
        check(
            "steps.per_minute.by=[[provider], [provider, model], []]",
            &["[provider]", "[provider, model]", "[]"],
        );
        check("steps.per_minute.by.0=[provider, model]", &["provider", "model"]);
        // What is not there yet holds no list.
        check("steps.plain.by=[[a, b]]", &["[a, b]"]);
        check("memory=[1GiB, null]", &["1GiB", "null"]);
        // What is no YAML is told by whoever reads it.
        check("memory=[1GiB", &["[1GiB"]);
        let empty = Override::parse("steps.per_minute.window.tumbling=[]").unwrap();
        let error = empty.sweep(SPEC, Path::new("p.yaml")).unwrap_err().to_string();
        assert!(error.starts_with("p.yaml:3:") && error.contains("nothing to try"), "{error}");
    }

    #[test]
    fn commas_are_the_lists_unless_they_are_quoted() {
        check(
            r#"steps.plain.where=["status in ('ok', 'x')", 'a = ''b''', "c\td", x > 1]"#,
            &[r#""status in ('ok', 'x')""#, r#""a = 'b'""#, r#""c\td""#, "x > 1"],
        );
        check("steps.plain.where=status in ('ok', 'x')", &["status in ('ok', 'x')"]);
        check(r#"steps.per_minute.by=[["a, b", c]]"#, &[r#"["a, b", c]"#]);
    }

    #[test]
    fn an_item_is_read_as_it_stood_in_the_list() {
        let parse = |text: &str| yaml::parse(&SourceText::new(Path::new("p"), text)).unwrap();
        for item in
            ["1m", r#""a, b""#, r#"[a, "b]"]"#, "{k: v, l: [1, null]}", "~", r#""x\ny""#, "'1'", "'null'"]
        {
            let own = Override::parse(&format!("memory=[{item}, 1]")).unwrap();
            let values = own.sweep(SPEC, Path::new("p.yaml")).unwrap();
            assert_eq!(same(&parse(item)), same(&parse(&values[0].value)), "{}", values[0]);
        }
    }

    // A node without its place; of a scalar also whether it was quoted.
    fn same(node: &Node) -> String {
        let all = |nodes: Vec<&Node>| nodes.into_iter().map(same).collect::<Vec<_>>().join(" ");
        match &node.kind {
            Kind::Null | Kind::Broken => "null".to_owned(),
            Kind::Scalar(text, style) => format!("{text:?}:{}", *style == ScalarStyle::Plain),
            Kind::Sequence(items) => format!("[{}]", all(items.iter().collect())),
            Kind::Mapping(entries) => {
                format!("{{{}}}", all(entries.iter().flat_map(|(key, value)| [key, value]).collect()))
            }
        }
    }
}
