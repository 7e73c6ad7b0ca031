//! Generates a data set and says how fast: `generate OUT [PATIENTS [PROVIDERS [SEED]]]`.
//! What is left out is taken from `datasets/default.toml`, the settings of `datasets/sample/`.

use std::{error::Error, path::PathBuf, time::Instant};

use sealdex_dataset::{Settings, generate};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let out = PathBuf::from(args.next().ok_or("usage: generate OUT [PATIENTS [PROVIDERS [SEED]]]")?);
    let mut settings = Settings::default();
    settings.patients = args.next().map_or(Ok(settings.patients), |a| a.parse())?;
    settings.providers = args.next().map_or(Ok(settings.providers), |a| a.parse())?;
    settings.seed = args.next().map_or(Ok(settings.seed), |a| a.parse())?;
    let started = Instant::now();
    let made = generate(&settings, &out, &mut |_| ())?;
    let seconds = started.elapsed().as_secs_f64();
    eprintln!(
        "{} resources, {} bytes, {} patients in {seconds:.2} s: {:.0} resources/s",
        made.resources,
        made.bytes,
        made.patients,
        made.resources as f64 / seconds
    );
    Ok(())
}
