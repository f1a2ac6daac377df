//! The program: flags to command to exit code.

use std::process::ExitCode;

/// The gateway allocates and frees small buffers on every request, from several threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    geogate::cli::main()
}
