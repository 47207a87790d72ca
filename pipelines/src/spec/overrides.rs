//! Values of a spec that are given beside it: what a backtest varies.
//!
//! ```text
//!   steps.per_minute.window.tumbling=5m      the value at a path, as YAML; what is not there yet is added
//! ```

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
