//! Sealdex beside other software that does some of the same, each on the machine at hand. README.md says what is compared
//! with what, how each peer is configured, and what is not comparable.

mod cloud;
mod machine;
mod measure;
mod order_codes;
mod outside;
mod price;
mod reencryption;
mod report;
mod search;
mod settings;

use std::process::ExitCode;

use report::{Group, Report};
use settings::{Part, Settings};

/// What stops a comparison; a peer that is not there does not.
type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let settings = match Settings::from_args(std::env::args().skip(1)) {
        Ok(Some(settings)) => settings,
        Ok(None) => {
            println!("{}", settings::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(wrong) => {
            eprintln!("{wrong}\n\n{}", settings::USAGE);
            return ExitCode::from(2);
        }
    };
    match run(&settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("the comparison failed: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(settings: &Settings) -> Result<(), Failure> {
    let mut report = Report::start(settings)?;
    println!("{}", report.machine());
    for part in &settings.parts {
        eprintln!("{} …", part.name());
        let groups: Vec<Group> = match part {
            Part::ReEncryption => reencryption::compare(settings)?,
            Part::OrderCodes => order_codes::compare(settings)?,
            Part::Search => search::compare(settings)?,
            Part::Price => price::compare(settings)?,
        };
        for group in groups {
            println!("\n{group}");
            report.put(&group)?;
        }
        // After each part: what was measured is kept, whatever happens to the next.
        if let Some(path) = &settings.out {
            report.write(path)?;
        }
    }
    Ok(())
}
