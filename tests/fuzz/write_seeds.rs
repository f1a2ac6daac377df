//! Writes the seed corpus: for every target its format's file, and for `read` all of them.

mod seeds;

use std::path::Path;

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for seed in seeds::all() {
        for target in ["read", seed.format] {
            let folder = corpus.join(target);
            std::fs::create_dir_all(&folder)?;
            std::fs::write(folder.join(seed.name), &seed.bytes)?;
        }
    }
    Ok(())
}
