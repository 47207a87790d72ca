//! The `thalweg` binary; what it does stands in `thalweg::cli`.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    // Tests crash the process at a place of their choice; elsewhere the feature is off, and this is nothing.
    let _crashes = fail::has_failpoints().then(fail::FailScenario::setup);
    if std::env::var_os("RAYON_NUM_THREADS").is_none() {
        // Models run on threads of their own; products of theirs that forked more would wait for the job's workers.
        // SAFETY: this process has no other thread yet.
        unsafe { std::env::set_var("RAYON_NUM_THREADS", "1") };
    }
    thalweg::cli::main()
}
