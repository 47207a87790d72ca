//! The `thalweg` binary; what it does stands in `thalweg::cli`.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    // Tests crash the process at a place of their choice; elsewhere the feature is off, and this is nothing.
    let _crashes = fail::has_failpoints().then(fail::FailScenario::setup);
    thalweg::cli::main()
}
