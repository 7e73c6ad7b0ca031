//! `sealdex keyfile`: how key files are sealed.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use sealdex_keyfile::{
    Passphrase, Unlock, UnlockCommand, UnlockFile, inspect,
    options::{UnlockOptions, ask},
    reseal,
};

use crate::{failure::Failure, output::table};

#[derive(Subcommand)]
pub(crate) enum KeyfileCommand {
    /// Show what key files hold and how they are sealed; nothing secret.
    Show {
        /// Key files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Change how key files are sealed. Each stays as it is until the new one has been opened.
    #[command(after_help = "Examples:
  sealdex keyfile reseal domain/gate.key --new-unlock-file /mnt/stick/unlock
  sealdex keyfile reseal domain/gate.key --unlock-file /mnt/stick/unlock --new-unlock-command '/usr/local/bin/kms-wrap key-7'

What opens the files now is given as to every command; what shall open them, by one of the --new options.
Copies of the old file can still be opened as before.")]
    Reseal {
        /// Key files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        now: UnlockOptions,
        #[command(flatten)]
        new: NewOptions,
    },
    /// Make a file of 32 random bytes that key files can be sealed under.
    MakeUnlockFile {
        /// File to make.
        path: PathBuf,
    },
}

/// What key files shall be sealed under.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct NewOptions {
    /// Under a passphrase, which is asked twice.
    #[arg(long)]
    new_passphrase: bool,
    /// Under the passphrase in the first line of this file.
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
    /// Under this file of 32 random bytes (see make-unlock-file).
    #[arg(long, value_name = "PATH")]
    new_unlock_file: Option<PathBuf>,
    /// Under a key that this command wraps.
    #[arg(long, value_name = "PROGRAM ARGS")]
    new_unlock_command: Option<String>,
    /// Under nothing: in the clear. Only for tests and demonstrations.
    #[arg(long)]
    new_insecure_plain: bool,
}

impl NewOptions {
    fn unlock(&self) -> Result<Option<Unlock>, Failure> {
        if let Some(path) = &self.new_passphrase_file {
            return Ok(Some(Passphrase::from_file(path)?.into()));
        }
        if let Some(path) = &self.new_unlock_file {
            return Ok(Some(Unlock::File(UnlockFile::read(path)?)));
        }
        if let Some(line) = &self.new_unlock_command {
            return Ok(Some(Unlock::Command(UnlockCommand::parse(line)?)));
        }
        if self.new_passphrase { Ok(Some(ask("New passphrase: ", true)?)) } else { Ok(None) }
    }
}

pub(crate) fn run(command: KeyfileCommand) -> Result<(), Failure> {
    match command {
        KeyfileCommand::Show { files } => {
            let mut shown = table(&["file", "kind", "sealed"]);
            for file in &files {
                let found = inspect(file)?;
                shown.add_row([file.display().to_string(), found.kind, found.sealing.to_string()]);
            }
            println!("{shown}");
        }
        KeyfileCommand::Reseal { files, now, new } => {
            let to = new.unlock()?;
            for file in &files {
                reseal(file, now.to_read(file)?.as_ref(), to.as_ref())?;
                println!("{}: now {}", file.display(), inspect(file)?.sealing);
            }
        }
        KeyfileCommand::MakeUnlockFile { path } => {
            let made = UnlockFile::make(&path)?;
            println!(
                "{}: unlock file with id {}. Whoever has it opens what is sealed under it.",
                path.display(),
                made.id()
            );
        }
    }
    Ok(())
}
