//! What is asked for on the command line.

use std::path::PathBuf;

pub const USAGE: &str = "\
usage: cargo run --release --manifest-path benches/peers/Cargo.toml -- [options]

  --only PARTS   some of re-encryption, order-codes, search, price, with commas between; all of them without this
  --out FILE     write the results as JSON, after each part; groups of other parts that are there stay
  --records N    records of the part `price`, 1,000 to 10,000,000 (100,000)
  --dir DIR      where databases and indexes are made and removed again (the system's temporary directory)
  --quick        fewer and shorter rounds: to see that it runs, not to quote";

/// A part that can be run alone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Part {
    ReEncryption,
    OrderCodes,
    Search,
    Price,
}

impl Part {
    pub const ALL: [Part; 4] = [Part::ReEncryption, Part::OrderCodes, Part::Search, Part::Price];

    pub fn name(self) -> &'static str {
        match self {
            Part::ReEncryption => "re-encryption",
            Part::OrderCodes => "order-codes",
            Part::Search => "search",
            Part::Price => "price",
        }
    }
}

pub struct Settings {
    /// In the order of [`Part::ALL`].
    pub parts: Vec<Part>,
    pub out: Option<PathBuf>,
    pub records: u64,
    pub dir: PathBuf,
    pub quick: bool,
}

impl Settings {
    /// `None` when help was asked for.
    pub fn from_args(args: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut settings =
            Self { parts: Part::ALL.to_vec(), out: None, records: 100_000, dir: std::env::temp_dir(), quick: false };
        let mut args = args;
        while let Some(option) = args.next() {
            let mut value = || args.next().ok_or(format!("{option} needs a value"));
            match option.as_str() {
                "--help" | "-h" => return Ok(None),
                "--quick" => settings.quick = true,
                "--out" => settings.out = Some(value()?.into()),
                "--dir" => settings.dir = value()?.into(),
                "--only" => {
                    let names = value()?;
                    let names: Vec<&str> = names.split(',').collect();
                    if let Some(name) = names.iter().find(|name| Part::ALL.iter().all(|p| p.name() != **name)) {
                        return Err(format!("there is no part {name:?}"));
                    }
                    settings.parts.retain(|part| names.contains(&part.name()));
                }
                "--records" => {
                    let text = value()?;
                    settings.records = (text.replace('_', "").parse().ok())
                        .filter(|n| (1_000..=10_000_000).contains(n))
                        .ok_or(format!("--records is 1,000 to 10,000,000, not {text}"))?;
                }
                other => return Err(format!("there is no option {other}")),
            }
        }
        Ok(Some(settings))
    }

    /// Rounds in which each contender has its turn.
    pub fn rounds(&self) -> usize {
        if self.quick { 11 } else { 101 }
    }

    /// Milliseconds a turn should take.
    pub fn turn_ms(&self) -> u64 {
        if self.quick { 1 } else { 5 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(only: &str) -> Result<Vec<&'static str>, String> {
        let settings = Settings::from_args(["--only", only].map(str::to_owned).into_iter())?;
        Ok(settings.into_iter().flat_map(|s| s.parts).map(Part::name).collect())
    }

    #[test]
    fn parts_are_named_with_commas_between() {
        assert_eq!(parts("price"), Ok(vec!["price"]));
        assert_eq!(parts("search,re-encryption"), Ok(vec!["re-encryption", "search"]));
        for wrong in ["", "search,", "search, price", "prices"] {
            assert!(parts(wrong).is_err(), "{wrong:?}");
        }
    }
}
