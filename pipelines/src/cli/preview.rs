//! `thalweg preview`: some rows of a source or step, as they come.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use arrow::array::RecordBatch;
use arrow::json::writer::{LineDelimited, WriterBuilder};
use clap::Args;
use thalweg_engine::control::Control;

use super::validate::Format;
use super::{archive, load, logging, table};
use crate::preview::{self, PreviewError, PreviewOptions};
use crate::spec;
use crate::testing;

/// Show some rows of a source or step of a pipeline, as they come from its real sources. Nothing is written, nothing is committed.
///
/// Reads until there are as many rows as asked for, until the sources end, or until Ctrl-C. Rows of a window come when it fires: once every
/// partition has gone past its end.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  thalweg preview my_pipeline.yaml                        what its first sink would write
  thalweg preview my_pipeline.yaml --step per_minute --rows 5
  thalweg preview my_pipeline.yaml --step _rejected       what the schema refuses, and why; _late: what comes too late
  thalweg preview provider_health --step calls --archives archives
  thalweg preview my_pipeline.yaml --latest --format json | jq .")]
pub(super) struct PreviewArgs {
    /// A file, or a name of the catalogue.
    pipeline: PathBuf,
    /// The source, step or sink whose rows to show, or _late or _rejected; by default the first sink.
    #[arg(short, long, value_name = "NAME")]
    step: Option<String>,
    /// How many rows.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    rows: u32,
    /// Read archives instead of Kafka: a folder with a folder for each topic.
    #[arg(long, value_name = "DIR")]
    archives: Option<PathBuf>,
    /// Begin at the end of Kafka's topics, with what comes now, wherever the pipeline begins.
    #[arg(long, conflicts_with = "archives")]
    latest: bool,
    /// Worker threads.
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: u16,
    /// How to show rows: text for people, json for scripts, an object a line.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) fn preview(args: &PreviewArgs) -> Result<ExitCode> {
    let Some(plan) = load::load_or_report(&args.pipeline)? else { return Ok(ExitCode::from(2)) };
    archive::warn_where_unused(&plan, args.archives.as_deref());
    let (text, origin) = load::text_of(&args.pipeline)?;
    let (Some(spec), _) = spec::read(&text, &origin, &|name| std::env::var(name).ok(), &[]) else {
        return Ok(ExitCode::from(2));
    };
    let control = Control::new();
    ctrlc::set_handler({
        let control = control.clone();
        move || {
            if control.stop_asked() {
                std::process::exit(130);
            }
            control.stop();
        }
    })?;
    let options = PreviewOptions {
        step: args.step.clone(),
        rows: args.rows as usize,
        workers: args.workers.into(),
        archives: args.archives.clone(),
        latest: args.latest,
    };
    let mut shown = Shown { format: args.format, widths: Vec::new() };
    let ended = preview::preview(&spec, &options, &control, &mut |batch| shown.show(batch));
    let ended = match ended {
        Err(PreviewError::Unknown { name, hint }) => {
            logging::error(format_args!("{}", PreviewError::Unknown { name, hint }));
            return Ok(ExitCode::from(2));
        }
        Err(PreviewError::Show(error)) => return Err(error.into()),
        ended => ended?,
    };
    let [rows, read, late, rejected] =
        [ended.rows as u64, ended.read, ended.late, ended.rejected].map(table::count);
    let end = if ended.all { "the sources have ended" } else { "there may be more" };
    logging::notice(format_args!(
        "{rows} rows; {end}; {read} rows were read, {late} of them late and {rejected} rejected"
    ));
    Ok(ExitCode::SUCCESS)
}

/// Rows under their columns' names; widths grow with what has come.
struct Shown {
    format: Format,
    widths: Vec<usize>,
}

impl Shown {
    fn show(&mut self, batch: &RecordBatch) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        match self.format {
            Format::Json => {
                let mut lines = Vec::new();
                let mut writer =
                    WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(&mut lines);
                writer.write(batch).and_then(|()| writer.finish()).map_err(std::io::Error::other)?;
                drop(writer);
                out.write_all(&lines)?;
            }
            Format::Text => write!(out, "{}", self.lines(batch))?,
        }
        out.flush()
    }

    fn lines(&mut self, batch: &RecordBatch) -> String {
        let fields = batch.schema_ref().fields();
        let is_number: Vec<bool> = fields.iter().map(|field| field.data_type().is_numeric()).collect();
        let mut lines: Vec<Vec<String>> = Vec::new();
        if self.widths.is_empty() {
            self.widths = vec![0; fields.len()];
            lines.push(fields.iter().map(|field| field.name().clone()).collect());
        }
        for row in 0..batch.num_rows() {
            lines.push(batch.columns().iter().map(|column| testing::shown(column, row)).collect());
        }
        for line in &lines {
            for (width, cell) in self.widths.iter_mut().zip(line) {
                *width = cell.chars().count().max(*width);
            }
        }
        let mut text = String::new();
        for line in lines {
            let cells =
                line.iter().zip(&self.widths).zip(&is_number).map(|((cell, width), number)| match number {
                    true => format!("{cell:>width$}"),
                    false => format!("{cell:<width$}"),
                });
            let line = cells.collect::<Vec<_>>().join("  ");
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, StringArray};

    use super::*;

    #[test]
    fn columns_stand_under_their_names() {
        let batch = |names: &[&str], numbers: &[f64]| {
            let names: ArrayRef = Arc::new(StringArray::from(names.to_vec()));
            let numbers: ArrayRef = Arc::new(Float64Array::from(numbers.to_vec()));
            RecordBatch::try_from_iter([("name", names), ("x", numbers)]).unwrap()
        };
        let mut shown = Shown { format: Format::Text, widths: Vec::new() };
        assert_eq!(
            shown.lines(&batch(&["a", "longer"], &[1.0, 2.5])),
            "name      x\na       1.0\nlonger  2.5\n"
        );
        assert_eq!(shown.lines(&batch(&["b"], &[100.0])), "b       100.0\n");
        assert_eq!(shown.lines(&batch(&["b\n"], &[1.0])), "\"b\\n\"     1.0\n");
    }
}
