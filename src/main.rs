//! The `edgelabel` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    edgelabel::cli::main()
}
