//! Checkpoints: how often, how many are kept, and where.

use schemars::JsonSchema;

use super::reader::{Entry, Reader};
use super::units::Duration;
use super::{Expression, Spanned};

/// How a job is made safe against crashes. All fields have defaults that suit most jobs.
#[derive(Debug, Clone, Default, JsonSchema)]
#[schemars(rename = "Checkpoint", deny_unknown_fields)]
pub struct CheckpointSpec {
    /// From one checkpoint to the next; by default 10s. Rows are to be seen in sinks after the checkpoint that they belong to.
    pub interval: Option<Spanned<Duration>>,
    /// A checkpoint earlier than that, when a process has read so many rows since the last one.
    #[schemars(with = "Option<u64>", range(min = 1))]
    pub every_rows: Option<Spanned<u64>>,
    /// How many checkpoints are kept, to go back to; by default 5.
    #[schemars(with = "Option<u64>", range(min = 1))]
    pub keep: Option<Spanned<u64>>,
    /// Where they are kept: a folder, or a URL such as s3://bucket/path (with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and,
    /// where it is not Amazon's, AWS_ENDPOINT in the environment); by default _checkpoints in the output folder.
    #[schemars(with = "Option<Expression>")]
    pub storage: Option<Spanned<String>>,
}

pub(super) fn read(reader: &mut Reader, entry: Option<&Entry<'_>>) -> CheckpointSpec {
    let known = ["interval", "every_rows", "keep", "storage"];
    let Some(fields) = entry.and_then(|entry| reader.fields(entry.value, &entry.path, &known)) else {
        return CheckpointSpec::default();
    };
    let interval = fields.get("interval").and_then(|entry| {
        reader.parsed(entry, "a duration", |text| match Duration::parse(text)? {
            Duration { us } if us < 100_000 => Err((
                format!("\"{text}\" is too short"),
                "a checkpoint takes some milliseconds: write 100ms or more".to_owned(),
            )),
            duration => Ok(duration),
        })
    });
    let mut count = |key: &str| fields.get(key).and_then(|entry| reader.parsed(entry, "a number", count));
    let (every_rows, keep) = (count("every_rows"), count("keep"));
    let storage =
        fields.get("storage").and_then(|entry| reader.text(entry.value, &entry.path, "a folder or a URL"));
    CheckpointSpec { interval, every_rows, keep, storage }
}

fn count(text: &str) -> Result<u64, (String, String)> {
    match text.replace('_', "").parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err((format!("\"{text}\" is not a whole number above 0"), "write one, such as 5".to_owned())),
    }
}
