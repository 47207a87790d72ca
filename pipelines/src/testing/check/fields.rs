//! Fields of input rows that the schema does not have. A payload may hold more than a schema reads, so they are no problem; more often they
//! are misspelt, and the test passes for another reason than its writer thinks.

use thalweg_schemas::Format;

use super::Checker;
use crate::plan::PlannedSource;
use crate::spec::suggest;
use crate::spec::test_file::JsonSpec;

/// Ends a key of a schema's path that leads to an array of objects.
const GROUP_MARK: &str = "[]";

impl Checker<'_> {
    /// Warns of fields of a row that its source's schema does not have: of each once, where it comes first.
    pub(super) fn known_fields(&mut self, json: &JsonSpec, source: &PlannedSource, path: &str) {
        if source.format == Format::Json {
            let fields: Vec<&[String]> =
                source.schema.fields.iter().map(|field| field.path.as_slice()).collect();
            self.known(json, &fields, source, path, "");
        }
    }

    // `fields` are the rest of the paths that lead through `json`, which stands at `place` of the payload.
    fn known(
        &mut self,
        json: &JsonSpec,
        fields: &[&[String]],
        source: &PlannedSource,
        path: &str,
        place: &str,
    ) {
        let entries = match json {
            JsonSpec::Object(entries) => entries,
            JsonSpec::List(items) => {
                return items.iter().for_each(|item| self.known(item, fields, source, path, place));
            }
            JsonSpec::Word(_) | JsonSpec::Text(_) => return,
        };
        for (key, value) in entries {
            let of_key: Vec<&[String]> =
                fields.iter().filter(|field| name(field) == Some(key.value.as_str())).copied().collect();
            let place = if place.is_empty() { key.value.clone() } else { format!("{place}.{}", key.value) };
            if of_key.is_empty() {
                if !self.unknown.insert((source.name.clone(), place.clone())) {
                    continue;
                }
                let mut names: Vec<&str> = fields.iter().filter_map(|field| name(field)).collect();
                names.dedup();
                let hint = suggest::hint(key, &names, "it has");
                let message = format!(
                    "the schema of source {} has no field at {place}, and the pipeline does not read it",
                    source.name
                );
                self.warnings.push(self.file.source.problem(key.at, path, message, hint));
                continue;
            }
            // Where a field's own path ends, what is below is the field's type's to judge.
            let deeper: Vec<&[String]> =
                of_key.iter().map(|field| &field[1..]).filter(|rest| !rest.is_empty()).collect();
            if !deeper.is_empty() {
                self.known(value, &deeper, source, path, &place);
            }
        }
    }
}

// The key that a path goes through next.
fn name(path: &[String]) -> Option<&str> {
    path.first().map(|key| key.strip_suffix(GROUP_MARK).unwrap_or(key))
}
