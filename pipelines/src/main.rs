//! The `thalweg` binary; what it does stands in `thalweg::cli`.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    thalweg::cli::main()
}
