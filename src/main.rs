//! The program's entry point: it hands over to [`geogate::cli`] and returns its exit code.

use std::process::ExitCode;

/// Global allocator. The gateway allocates and frees small buffers on every request, from several
/// threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    geogate::cli::main()
}
