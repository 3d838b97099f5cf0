//! Writes each boundary's seeds into the folder that is named, for libFuzzer to begin with.

use std::fs;
use std::path::Path;
use undercroft_fuzz::{BOUNDARIES, Boundary};

fn main() -> std::io::Result<()> {
    let corpus = std::env::args().nth(1).ok_or_else(|| std::io::Error::other("name a folder"))?;
    for Boundary { name, seeds, .. } in BOUNDARIES {
        let folder = Path::new(&corpus).join(name);
        fs::create_dir_all(&folder)?;
        for (index, seed) in seeds().iter().enumerate() {
            fs::write(folder.join(format!("seed{index}")), seed)?;
        }
    }
    Ok(())
}
