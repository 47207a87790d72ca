//! `${NAME}` and `${NAME:-default}` in a spec's scalar values.
//!
//! Expanded after YAML has been parsed, so that a comment may hold anything and a value can't change the structure. `$$`
//! stands for one `$`; a `$` before anything but `{` and `$` is itself.

/// Looks up an environment variable.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Why a value can't be expanded: the message, and how to mend it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ExpansionError {
    pub(super) message: String,
    pub(super) hint: String,
}

/// `text` with its variables filled in; all that is wrong with it otherwise.
pub(super) fn expand(text: &str, environment: Environment<'_>) -> Result<String, Vec<ExpansionError>> {
    let mut expanded = String::with_capacity(text.len());
    let mut errors = Vec::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        expanded.push_str(&rest[..dollar]);
        let after = &rest[dollar + 1..];
        if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some(after) = after.strip_prefix('{') {
            let Some(end) = after.find('}') else {
                errors.push(ExpansionError {
                    message: "\"${\" without \"}\"".into(),
                    hint: "write \"${NAME}\" or \"${NAME:-default}\"; a plain \"$\" before \"{\" is \"$$\""
                        .into(),
                });
                rest = "";
                break;
            };
            match variable(&after[..end], environment) {
                Ok(value) => expanded.push_str(&value),
                Err(error) => errors.push(error),
            }
            rest = &after[end + 1..];
        } else {
            expanded.push('$');
            rest = after;
        }
    }
    expanded.push_str(rest);
    if errors.is_empty() { Ok(expanded) } else { Err(errors) }
}

fn variable(inside: &str, environment: Environment<'_>) -> Result<String, ExpansionError> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let mut characters = name.chars();
    let valid = characters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && characters.all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !valid {
        return Err(ExpansionError {
            message: format!("\"{name}\" is not the name of an environment variable"),
            hint: "write \"${NAME}\" or \"${NAME:-default}\"; a plain \"$\" before \"{\" is \"$$\"".into(),
        });
    }
    // As in a shell, ":-" stands in for an empty variable too.
    match (environment(name).filter(|value| default.is_none() || !value.is_empty()), default) {
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(ExpansionError {
            message: format!("the environment variable {name} is not set"),
            hint: format!("set it, or give a default: \"${{{name}:-…}}\""),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("kafka".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn variables_defaults_and_escapes() {
        for (text, expected) in [
            ("${HOST}:9092", "kafka:9092"),
            ("${PORT:-9092}", "9092"),
            ("${EMPTY:-x}", "x"),
            ("${EMPTY}", ""),
            ("${NONE:-}", ""),
            ("a$b $${HOST} $$ $", "a$b ${HOST} $ $"),
        ] {
            assert_eq!(expand(text, &environment).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn all_errors_of_a_value() {
        let errors = expand("${NONE} ${ALSO} ${a b} ${", &environment).unwrap_err();
        let messages: Vec<_> = errors.iter().map(|e| e.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "the environment variable NONE is not set",
                "the environment variable ALSO is not set",
                "\"a b\" is not the name of an environment variable",
                "\"${\" without \"}\"",
            ]
        );
    }
}
