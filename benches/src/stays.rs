//! Tables of hospital stays: rows like those of the public table "Diabetes 130-US hospitals", as many as are wanted.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use sealdex_fhir::Mapping;
use sealdex_tests::Kind;

const SCHEMA: &str = include_str!("../data/stays.toml");
const MAPPING: &str = include_str!("../../providers/diabetes130/diabetes130.toml");

/// The eight fields of the schema.
///
/// # Panics
/// If the files of this package do not parse.
#[must_use]
#[allow(clippy::expect_used, reason = "the text is part of this program")]
pub fn kind() -> Kind {
    Kind { schema: SCHEMA.to_owned(), mapping: Some(Mapping::parse(MAPPING).expect("the mapping of the example")) }
}

const COLUMNS: &str = "encounter_id,patient_nbr,race,gender,age,weight,admission_type_id,discharge_disposition_id,\
admission_source_id,time_in_hospital,payer_code,medical_specialty,num_lab_procedures,num_procedures,num_medications,\
number_outpatient,number_emergency,number_inpatient,diag_1,diag_2,diag_3,number_diagnoses,max_glu_serum,A1Cresult,\
insulin,readmitted";

/// Writes `rows` stays, dealt to `providers` folders, each patient in one of them. `stays` is how many a patient has on
/// average; the public table has 1.4. One seed, one table.
///
/// # Errors
/// Whatever the disk says.
pub fn write(dir: &Path, rows: u64, stays: f64, providers: u32, seed: u64) -> io::Result<()> {
    let mut files = Vec::new();
    for p in 0..providers {
        let folder: PathBuf = dir.join(format!("hospital-{p:02}"));
        fs::create_dir_all(&folder)?;
        let mut file = BufWriter::new(File::create(folder.join("stays.csv"))?);
        writeln!(file, "{COLUMNS}")?;
        files.push(file);
    }
    let mut rng = StdRng::seed_from_u64(seed);
    let patients = ((rows as f64 / stays) as u64).max(1);
    for row in 0..rows {
        let patient = rng.random_range(0..patients);
        // Spread over the field's width, so that a range of numbers is a share of the patients.
        let number = patient * (u64::from(u32::MAX) / patients);
        let file = &mut files[(patient % u64::from(providers)) as usize];
        stay(file, row, number, &mut rng)?;
    }
    files.iter_mut().try_for_each(|f| f.flush())
}

fn stay(out: &mut impl io::Write, row: u64, patient: u64, rng: &mut StdRng) -> io::Result<()> {
    let pick = |rng: &mut StdRng, of: &[&'static str]| of[rng.random_range(0..of.len())];
    let races = ["Caucasian", "AfricanAmerican", "Hispanic", "Asian", "?"];
    let specialties =
        ["?", "InternalMedicine", "Cardiology", "Surgery-General", "Family/GeneralPractice", "Nephrology"];
    let age = 10 * rng.random_range(0..10);
    let diagnosis = |rng: &mut StdRng| (250 + rng.random_range(0..20u32).pow(2)).to_string();
    writeln!(
        out,
        "{},{patient},{},{},[{age}-{}),?,{},{},{},{},?,{},{},{},{},{},{},{},{},{},{},{},None,{},{},{}",
        1_000_000 + row,
        pick(rng, &races),
        pick(rng, &["Female", "Male"]),
        age + 10,
        rng.random_range(1..9),
        rng.random_range(1..29),
        rng.random_range(1..26),
        rng.random_range(1..15),
        pick(rng, &specialties),
        rng.random_range(1..133),
        rng.random_range(0..7),
        rng.random_range(1..82),
        rng.random_range(0..5),
        rng.random_range(0..3),
        rng.random_range(0..6),
        diagnosis(rng),
        diagnosis(rng),
        diagnosis(rng),
        rng.random_range(1..17),
        pick(rng, &["None", ">7", ">8", "Norm"]),
        pick(rng, &["No", "Steady", "Up", "Down"]),
        pick(rng, &["NO", "<30", ">30"]),
    )
}
