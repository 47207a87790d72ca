//! scratch
use clap::Parser;
#[derive(Parser)]
struct A {
    #[command(flatten)]
    sql: thalweg_query::SqlArgs,
}
fn main() -> std::process::ExitCode {
    match thalweg_query::run(A::parse().sql) {
        Ok(c) => c,
        Err(e) => {
            eprintln!("error: {e}");
            std::process::ExitCode::FAILURE
        }
    }
}
