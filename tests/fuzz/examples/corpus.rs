//! Writes the inputs to begin with to `FOLDER/TARGET/`, for cargo-fuzz: `cargo run -p sealdex-fuzz-bodies --example corpus -- fuzz/corpus`.

fn main() -> std::io::Result<()> {
    let folder = std::path::PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "fuzz/corpus".into()));
    for target in &sealdex_fuzz_bodies::TARGETS {
        let of_target = folder.join(target.name);
        std::fs::create_dir_all(&of_target)?;
        for (n, seed) in (target.seeds)().iter().enumerate() {
            std::fs::write(of_target.join(format!("seed-{n}")), seed)?;
        }
    }
    Ok(())
}
