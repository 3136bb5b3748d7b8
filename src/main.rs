//! The program `tidegate`: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Both TLS users share one provider, which has to be named before either starts.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        return ExitCode::FAILURE;
    }
    tidegate::cli::main()
}
