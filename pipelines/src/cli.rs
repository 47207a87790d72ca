//! The command line.
//!
//! ```text
//!   thalweg run │ backtest │ checkpoints │ reinject │ archive │ validate │ test │ preview │ evaluate │ train │ models │ explain │ sql │ generate │ schema │ catalogue │ completions │ demo
//! ```
//!
//! Results go to standard output, all else to standard error. Exit status: 0 done, 1 failed, 2 wrong use (also a pipeline with
//! problems), 4 replaced by a newer run of the job, 130 stopped twice by Ctrl-C.

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use logging::LogFormat;

mod archive;
mod backtest;
mod checkpoints;
mod demo;
mod evaluate;
mod explain;
mod generate;
mod load;
mod logging;
mod models;
mod preview;
mod progress;
mod reinject;
mod run;
mod supervise;
mod table;
mod terminal;
mod test;
mod train;
mod validate;

/// Stream processing for the telemetry of AI platforms.
#[derive(Debug, Parser)]
#[command(name = "thalweg", version, max_term_width = 120, propagate_version = true, after_help = EXAMPLES)]
struct Cli {
    /// Say more about what happens: -v for what a job does, -vv for details. RUST_LOG is heeded too.
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
    /// How to write the log, and all else that goes to standard error: text for people, json for what gathers logs.
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text", global = true)]
    log: LogFormat,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  thalweg generate --to archives                          an hour of telemetry, as recorded topics
  thalweg run provider_health --archives archives         a pipeline of the catalogue over it
  thalweg sql --data output 'select * from provider_health limit 10'
  thalweg validate my_pipeline.yaml                       everything that is wrong with it, at once";

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::RunArgs),
    Backtest(backtest::BacktestArgs),
    Checkpoints(checkpoints::CheckpointsArgs),
    Reinject(reinject::ReinjectArgs),
    Archive(archive::ArchiveArgs),
    Validate(validate::ValidateArgs),
    Test(test::TestArgs),
    Preview(preview::PreviewArgs),
    Evaluate(evaluate::EvaluateArgs),
    Train(train::TrainArgs),
    Models(models::ModelsArgs),
    Explain(explain::ExplainArgs),
    Sql(thalweg_query::SqlArgs),
    Generate(generate::GenerateArgs),
    /// Print the JSON Schema of pipelines, from which editors complete.
    #[command(
        after_help = "Examples:\n  thalweg schema > pipeline.schema.json\n  thalweg schema --tests > pipeline_test.schema.json"
    )]
    Schema {
        /// That of test files (`thalweg test`).
        #[arg(long)]
        tests: bool,
    },
    /// List the pipelines that ship with Thalweg, or print one.
    #[command(after_help = "Examples:\n  thalweg catalogue\n  thalweg catalogue provider_health > mine.yaml")]
    Catalogue {
        /// The pipeline to print.
        name: Option<String>,
    },
    /// Print completions for a shell.
    #[command(after_help = "Example:\n  thalweg completions bash > /etc/bash_completion.d/thalweg")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    Demo(demo::DemoArgs),
}

/// Runs the command line; the process's exit status.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::begin(cli.log, cli.verbose);
    match dispatch(cli.command) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            logging::error(format_args!("{}", with_causes(&error)));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(args) => run::run(&args),
        Command::Backtest(args) => backtest::backtest(&args),
        Command::Checkpoints(args) => checkpoints::checkpoints(&args),
        Command::Reinject(args) => reinject::reinject(&args),
        Command::Archive(args) => archive::archive(&args),
        Command::Validate(args) => validate::validate(&args),
        Command::Test(args) => test::test(&args),
        Command::Preview(args) => preview::preview(&args),
        Command::Evaluate(args) => evaluate::evaluate(&args),
        Command::Train(args) => train::train(&args),
        Command::Models(args) => models::models(&args),
        Command::Explain(args) => explain::explain(&args),
        Command::Sql(args) => Ok(thalweg_query::run(args)?),
        Command::Generate(args) => generate::generate(&args),
        Command::Schema { tests } => {
            let schema =
                if tests { crate::spec::test_file::test_json_schema() } else { crate::spec::json_schema() };
            let schema = serde_json::to_string_pretty(&schema)?;
            writeln!(std::io::stdout(), "{schema}")?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Catalogue { name } => catalogue(name.as_deref()),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "thalweg", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
        Command::Demo(args) => demo::demo(&args),
    }
}

fn catalogue(name: Option<&str>) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    let Some(name) = name else {
        for entry in crate::catalogue::ENTRIES {
            let description =
                entry.text.lines().find_map(|line| line.strip_prefix("description: ")).unwrap_or("");
            writeln!(out, "{:<16} {description}", entry.name)?;
        }
        return Ok(ExitCode::SUCCESS);
    };
    match crate::catalogue::find(name) {
        Some(entry) => {
            write!(out, "{}", entry.text)?;
            Ok(ExitCode::SUCCESS)
        }
        None => {
            let near = crate::spec::suggest::nearest(name, load::catalogue_names());
            let meant = near.map_or_else(String::new, |near| format!("did you mean {near}? "));
            anyhow::bail!(
                "the catalogue holds no pipeline {name}; {meant}`thalweg catalogue` lists those it holds"
            )
        }
    }
}

// Most errors say themselves what caused them: nothing is said twice.
fn with_causes(error: &anyhow::Error) -> String {
    error.chain().skip(1).map(ToString::to_string).fold(error.to_string(), |said, cause| {
        if said.contains(&cause) { said } else { format!("{said}: {cause}") }
    })
}

// `thalweg … | head` is no failure.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}
