//! The grammar of test files as a JSON Schema, for editors.

use serde_json::{Value, json};

/// The JSON Schema (draft 2020-12) of a test file. It refuses what the reader refuses, as far as the grammar goes; which columns and
/// types there are is the pipeline's to say.
pub fn test_json_schema() -> Value {
    let name = json!({ "type": "string", "minLength": 1 });
    let object = |properties: Value, required: &[&str]| json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false });
    let test = object(
        json!({
            "name": described(name.clone(), "What has to hold, in a few words."),
            "input": { "$ref": "#/$defs/input" },
            "timeline": {
                "description": "What happens, in order; instead of input.",
                "type": "array",
                "items": { "anyOf": [
                    object(json!({ "input": { "$ref": "#/$defs/input" } }), &["input"]),
                    object(json!({ "advance watermark to": {
                        "description": "From here on no split has a watermark below this point in time (RFC 3339).",
                        "type": "string",
                    } }), &["advance watermark to"]),
                    object(json!({ "expect": { "$ref": "#/$defs/expect" } }), &["expect"]),
                ] },
            },
            "expect": described(json!({ "$ref": "#/$defs/expect" }), "What has come when the input has ended."),
            "exact": { "$ref": "#/$defs/exact" },
            "tolerance": { "$ref": "#/$defs/tolerance" },
        }),
        &["name"],
    );
    let record = object(
        json!({
            "value": { "description": "The payload, as JSON." },
            "text": described(json!({ "type": ["string", "number", "boolean"] }), "The payload, as it is."),
            "base64": described(json!({ "type": "string" }), "The payload's bytes."),
            "tombstone": described(json!({ "const": true }), "There is no payload."),
            "times": described(json!({ "type": "integer", "minimum": 0 }), "How often the payload is repeated."),
            "key": { "type": ["string", "number", "boolean", "null"] },
            "headers": { "type": "object" },
            "timestamp": described(
                json!({ "type": ["string", "integer"] }),
                "RFC 3339, milliseconds since the epoch, or none; by default the row's event time.",
            ),
            "offset": described(json!({ "type": "integer", "minimum": 0 }), "By default the next one."),
            "topic": { "type": "string" },
        }),
        &[],
    );
    let mut file = object(
        json!({
            "pipeline": described(name, "A file beside this one, or a name of the catalogue."),
            "env": {
                "description": "What ${NAME} in the pipeline stands for; nothing else does.",
                "type": "object",
                "additionalProperties": { "type": ["string", "number", "boolean"] },
            },
            "exact": { "$ref": "#/$defs/exact" },
            "tolerance": { "$ref": "#/$defs/tolerance" },
            "tests": { "type": "array", "items": test },
        }),
        &["pipeline", "tests"],
    );
    file["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    file["title"] = "Tests of a Thalweg pipeline".into();
    file["$defs"] = json!({
        "exact": { "description": "Whether every column has to be named.", "type": "boolean" },
        "tolerance": {
            "description": "How far numbers may be off: 0.01, or 1% of the expected one; one for all, or by column.",
            "anyOf": [
                { "type": ["number", "string"] },
                { "type": "object", "additionalProperties": { "type": ["number", "string"] } },
            ],
        },
        "input": {
            "description": "Rows by source: a list (partition 0), or lists by partition.",
            "type": "object",
            "additionalProperties": { "anyOf": [
                { "$ref": "#/$defs/records" },
                {
                    "type": "object",
                    "propertyNames": { "pattern": "^[0-9]+$" },
                    "additionalProperties": { "$ref": "#/$defs/records" },
                },
            ] },
        },
        "records": {
            "type": "array",
            "items": {
                "description": "The payload as JSON, or { record: … }.",
                "type": "object",
                "if": { "required": ["record"], "maxProperties": 1 },
                "then": { "properties": { "record": record } },
            },
        },
        "expect": {
            "description": "Rows by sink, step or source; _late and _rejected are the standing outputs.",
            "type": "object",
            "additionalProperties": { "anyOf": [
                { "const": "any" },
                { "$ref": "#/$defs/rows" },
                object(json!({
                    "rows": { "$ref": "#/$defs/rows" },
                    "exact": { "$ref": "#/$defs/exact" },
                    "tolerance": { "$ref": "#/$defs/tolerance" },
                }), &["rows"]),
            ] },
        },
        "rows": { "type": "array", "items": { "type": "object" } },
    });
    file
}

fn described(mut schema: Value, description: &str) -> Value {
    schema["description"] = description.into();
    schema
}
