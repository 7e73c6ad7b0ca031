//! `sealdex selftest`.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use sealdex_schema::check_quantisers;

use crate::failure::Failure;

#[derive(Args)]
pub(crate) struct SelftestOptions {
    /// Known answers, shaped like tests/data/vectors.json.
    #[arg(long)]
    vectors: PathBuf,
}

pub(crate) fn run(o: &SelftestOptions) -> Result<ExitCode, Failure> {
    let text =
        std::fs::read_to_string(&o.vectors).map_err(|e| Failure::new(format!("{}: {e}", o.vectors.display())))?;
    let report = sealdex_open::selftest::run(&text, &[("quantiser", &check_quantisers)]);
    for section in &report.sections {
        println!("{}: {} passed, {} failed", section.name, section.passed, section.failed);
        for failure in &section.failures {
            println!("    {failure}");
        }
    }
    println!("selftest: {} passed, {} failed", report.passed(), report.failed());
    Ok(if report.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
