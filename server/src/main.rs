//! The binary `swiftwater`.

use std::process::ExitCode;

use clap::Parser;
use server::cli::Cli;

// Media servers allocate and free from many threads; the system allocator fragments under that.
#[cfg(not(feature = "count-allocations"))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(feature = "count-allocations")]
#[global_allocator]
static ALLOCATOR: server::allocations::Counting = server::allocations::Counting;

fn main() -> ExitCode {
    server::cli::run(Cli::parse())
}
