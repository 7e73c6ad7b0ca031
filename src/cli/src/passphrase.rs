//! Where passphrases come from: a file, the environment, or the terminal.

use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
};

use clap::Args;
use sealdex_keyfile::Passphrase;

use crate::failure::Failure;

/// How key files are protected.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct KeyOptions {
    /// File whose first line is the passphrase of key files. Else SEALDEX_PASSPHRASE, else it is asked.
    #[arg(long, global = true)]
    passphrase_file: Option<PathBuf>,
    /// Write new key files in the clear. Only for tests and demonstrations.
    #[arg(long, global = true)]
    insecure_plain_keys: bool,
}

impl KeyOptions {
    /// Key files in the clear, as the demonstration has them.
    pub(crate) fn plain() -> Self {
        Self { passphrase_file: None, insecure_plain_keys: true }
    }

    /// Passphrase to read this file with; `None` for one in the clear.
    pub(crate) fn to_read(&self, path: &Path) -> Result<Option<Passphrase>, Failure> {
        let (_, encrypted) = sealdex_keyfile::inspect(path)?;
        if encrypted { self.find(&format!("Passphrase of {}: ", path.display()), false).map(Some) } else { Ok(None) }
    }

    /// Passphrase for new files; `None` when they are to be in the clear.
    pub(crate) fn to_write(&self) -> Result<Option<Passphrase>, Failure> {
        if self.insecure_plain_keys {
            Ok(None)
        } else {
            self.find("Passphrase for the new key files: ", true).map(Some)
        }
    }

    fn find(&self, prompt: &str, twice: bool) -> Result<Passphrase, Failure> {
        if let Some(path) = &self.passphrase_file {
            return Ok(Passphrase::from_file(path)?);
        }
        if let Ok(text) = std::env::var("SEALDEX_PASSPHRASE") {
            return Ok(Passphrase::new(text));
        }
        if !std::io::stdin().is_terminal() {
            return Err(Failure::new("a passphrase is needed: give --passphrase-file FILE or set SEALDEX_PASSPHRASE"));
        }
        let first = rpassword::prompt_password(prompt)?;
        if first.is_empty() {
            return Err(Failure::new("an empty passphrase protects nothing"));
        }
        if twice && rpassword::prompt_password("The same again: ")? != first {
            return Err(Failure::new("the two passphrases differ; nothing was written"));
        }
        Ok(Passphrase::new(first))
    }
}
