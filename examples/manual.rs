//! Manual pages and shell completions, made from the declared command line: `manual FOLDER` writes FOLDER/man/*.1 and
//! FOLDER/completions/*.

use std::error::Error;
use std::path::PathBuf;

use clap_complete::{Shell, generate_to};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: manual FOLDER")?);
    let (man, completions) = (folder.join("man"), folder.join("completions"));
    for made in [&man, &completions] {
        std::fs::create_dir_all(made)?;
    }
    clap_mangen::generate_to(edgelabel::cli::declared(), &man)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut edgelabel::cli::declared(), "edgelabel", &completions)?;
    }
    Ok(())
}
