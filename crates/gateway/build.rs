//! Gathers the pages of policies, the first lines of their files, so that the program can show them.

use std::error::Error;
use std::fmt::Write;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=src/policy");
    let mut pages = String::from("&[\n");
    for entry in std::fs::read_dir("src/policy")? {
        let path = entry?.path();
        let Some(name) = path.file_stem().filter(|_| path.is_file()) else { continue };
        let name = name.to_string_lossy().replace('_', "-");
        let source = std::fs::read_to_string(&path)?;
        let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
        let lines: Vec<_> = lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
        writeln!(pages, "    ({name:?}, {:?}),", lines.join("\n"))?;
    }
    pages.push(']');
    let folder = std::env::var("OUT_DIR")?;
    std::fs::write(Path::new(&folder).join("pages.rs"), pages)?;
    Ok(())
}
