//! The program `tidegate`: everything is in the library.

use std::process::ExitCode;

/// One heap for all threads. The C library gives each thread a heap of its own, from which little
/// memory returns: under load the daemon took 14 MB more, and was no faster.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    // Both TLS users share one provider, which has to be named before either starts.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        return ExitCode::FAILURE;
    }
    tidegate::cli::main()
}
