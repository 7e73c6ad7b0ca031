//! `sealdex dataset`.

use std::{
    fs::File,
    io::{BufRead, BufReader, BufWriter, Read, Write as _},
    path::{Path, PathBuf},
};

use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use sealdex_dataset::{Manifest, Settings, generate};

use crate::failure::Failure;

#[derive(Subcommand)]
pub(crate) enum DatasetCommand {
    /// Make plausible FHIR R4 records of people who do not exist, spread over hospitals.
    #[command(
        after_help = "Example:\n  sealdex dataset generate --patients 200 --providers 5 --seed 1 --out /tmp/records"
    )]
    Generate {
        /// Patients.
        #[arg(long)]
        patients: Option<u32>,
        /// Hospitals.
        #[arg(long)]
        providers: Option<u32>,
        /// The same seed gives the same records.
        #[arg(long)]
        seed: Option<u64>,
        /// Settings file; see datasets/default.toml.
        #[arg(long)]
        settings: Option<PathBuf>,
        /// New folder.
        #[arg(long)]
        out: PathBuf,
    },
    /// Deal the rows of a table among providers, in turn: OUT/part-1/…, OUT/part-2/…
    Split {
        /// Table, .csv or .csv.gz.
        file: PathBuf,
        /// Parts.
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
        parts: u16,
        /// New folder.
        #[arg(long)]
        out: PathBuf,
    },
}

pub(crate) fn run(command: DatasetCommand) -> Result<(), Failure> {
    match command {
        DatasetCommand::Generate { patients, providers, seed, settings, out } => {
            let mut s = settings.map_or_else(|| Ok(Settings::default()), |p| Settings::read(&p))?;
            s.patients = patients.unwrap_or(s.patients);
            s.providers = providers.unwrap_or(s.providers);
            s.seed = seed.unwrap_or(s.seed);
            let manifest = make(&s, &out)?;
            println!(
                "{} patients in {} hospitals: {} records in {}",
                manifest.patients,
                manifest.hospitals.len(),
                manifest.resources,
                out.display()
            );
            println!("Next: sealdex demo --data {} --queries queries/demo.json", out.display());
            Ok(())
        }
        DatasetCommand::Split { file, parts, out } => split(&file, usize::from(parts), &out),
    }
}

fn make(settings: &Settings, out: &Path) -> Result<Manifest, Failure> {
    let bar = ProgressBar::new(u64::from(settings.patients));
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} patients");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let manifest = generate(settings, out, &mut |done| bar.set_position(done));
    bar.finish_and_clear();
    Ok(manifest?)
}

fn split(file: &Path, parts: usize, out: &Path) -> Result<(), Failure> {
    let fail = |path: &Path, e: std::io::Error| Failure::new(format!("{}: {e}", path.display()));
    let raw = File::open(file).map_err(|e| fail(file, e))?;
    let gz = file.extension().is_some_and(|e| e == "gz");
    let reader: Box<dyn Read> = if gz { Box::new(flate2::read::MultiGzDecoder::new(raw)) } else { Box::new(raw) };
    let mut lines = BufReader::new(reader).lines();
    let header =
        lines.next().ok_or_else(|| Failure::new(format!("{} is empty", file.display())))?.map_err(|e| fail(file, e))?;
    let stem = file.file_name().map(|n| n.to_string_lossy().trim_end_matches(".gz").to_owned()).unwrap_or_default();
    let mut writers = Vec::new();
    for n in 1..=parts {
        let dir = out.join(format!("part-{n}"));
        let path = dir.join(&stem);
        std::fs::create_dir_all(&dir).map_err(|e| fail(&dir, e))?;
        let mut w = BufWriter::new(File::create_new(&path).map_err(|e| fail(&path, e))?);
        writeln!(w, "{header}")?;
        writers.push((w, 0_u64));
    }
    let mut next = 0;
    for line in lines {
        let line = line.map_err(|e| fail(file, e))?;
        if line.contains('"') {
            return Err(Failure::new(format!(
                "{} has quoted cells; split it with a tool that knows them",
                file.display()
            )));
        }
        let (w, rows) = &mut writers[next];
        writeln!(w, "{line}")?;
        *rows += 1;
        next = (next + 1) % parts;
    }
    for (n, (mut w, rows)) in writers.into_iter().enumerate() {
        w.flush()?;
        println!("{}: {rows} rows", out.join(format!("part-{}", n + 1)).join(&stem).display());
    }
    Ok(())
}
