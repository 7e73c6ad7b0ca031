//! Options by which every program that reads key files is told what opens them.

use std::{
    env,
    io::IsTerminal as _,
    path::{Path, PathBuf},
};

use clap::Args;
use zeroize::Zeroizing;

use crate::{
    KeyFileError, Passphrase, Unlock, UnlockCommand, UnlockFile,
    error::Method::{self, UnlockCommand as ByCommand, UnlockFile as ByFile},
    inspect,
};

/// What opens key files. Options come before the environment; of each file the header says which is needed.
#[derive(Args, Clone, Default)]
pub struct UnlockOptions {
    /// File whose first line is the passphrase of key files. Else SEALDEX_PASSPHRASE, else it is asked.
    #[arg(long, global = true, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// File of 32 random bytes that opens key files sealed under it. Else SEALDEX_UNLOCK_FILE.
    #[arg(long, global = true, value_name = "PATH")]
    pub unlock_file: Option<PathBuf>,
    /// Command that opens key files sealed under it, such as a KMS client; called with `wrap` or `unwrap`
    /// appended. Else SEALDEX_UNLOCK_COMMAND.
    #[arg(long, global = true, value_name = "PROGRAM ARGS")]
    pub unlock_command: Option<String>,
}

impl UnlockOptions {
    /// What opens this file; `None` for one in the clear.
    ///
    /// # Errors
    /// [`KeyFileError`]: it is no key file, or what opens it was not given.
    pub fn to_read(&self, path: &Path) -> Result<Option<Unlock>, KeyFileError> {
        let Some(needed) = inspect(path)?.sealing.method() else { return Ok(None) };
        if let Some(unlock) = self.given(needed)? {
            return Ok(Some(unlock));
        }
        if needed == Method::Passphrase && std::io::stdin().is_terminal() {
            return ask(&format!("Passphrase of {}: ", path.display()), false).map(Some);
        }
        let given = self.named().or_else(|| Self::in_environment().first().copied());
        Err(KeyFileError::Needed { path: path.into(), needed, given })
    }

    /// What new files are to be sealed under.
    ///
    /// # Errors
    /// [`KeyFileError`]: not said, or said twice.
    pub fn to_write(&self) -> Result<Unlock, KeyFileError> {
        let named = self.options();
        let methods = if named.is_empty() { Self::in_environment() } else { named };
        match methods[..] {
            [] if std::io::stdin().is_terminal() => ask("Passphrase for the new key files: ", true),
            [] => Err(KeyFileError::HowToSeal("none is given")),
            [method] => self.given(method)?.ok_or(KeyFileError::HowToSeal("none is given")),
            _ => Err(KeyFileError::HowToSeal("several are given")),
        }
    }

    fn options(&self) -> Vec<Method> {
        let options = [
            self.passphrase_file.as_ref().map(|_| Method::Passphrase),
            self.unlock_file.as_ref().map(|_| ByFile),
            self.unlock_command.as_ref().map(|_| ByCommand),
        ];
        options.into_iter().flatten().collect()
    }

    fn named(&self) -> Option<Method> {
        self.options().first().copied()
    }

    fn in_environment() -> Vec<Method> {
        [Method::Passphrase, ByFile, ByCommand].into_iter().filter(|m| env::var_os(variable(*m)).is_some()).collect()
    }

    /// What was given of one way: by option, else by environment.
    fn given(&self, method: Method) -> Result<Option<Unlock>, KeyFileError> {
        let set = || env::var_os(variable(method));
        Ok(match method {
            Method::Passphrase => match &self.passphrase_file {
                Some(file) => Some(Passphrase::from_file(file)?.into()),
                None => set().and_then(|v| v.into_string().ok()).map(|text| Passphrase::new(text).into()),
            },
            ByFile => match self.unlock_file.clone().or_else(|| set().map(PathBuf::from)) {
                Some(path) => Some(Unlock::File(UnlockFile::read(&path)?)),
                None => None,
            },
            ByCommand => match self.unlock_command.clone().or_else(|| set().and_then(|v| v.into_string().ok())) {
                Some(line) => Some(Unlock::Command(UnlockCommand::parse(&line)?)),
                None => None,
            },
        })
    }
}

fn variable(method: Method) -> &'static str {
    match method {
        Method::Passphrase => "SEALDEX_PASSPHRASE",
        ByFile => "SEALDEX_UNLOCK_FILE",
        ByCommand => "SEALDEX_UNLOCK_COMMAND",
    }
}

/// Asks for a passphrase on the terminal; twice for one that is new.
///
/// # Errors
/// [`KeyFileError::Typed`] when it is empty or not the same twice.
pub fn ask(prompt: &str, twice: bool) -> Result<Unlock, KeyFileError> {
    let typed = |prompt: &str| {
        let failed = |e: std::io::Error| KeyFileError::Io { path: "the terminal".into(), reason: e.to_string() };
        rpassword::prompt_password(prompt).map(Zeroizing::new).map_err(failed)
    };
    let first = typed(prompt)?;
    if first.is_empty() {
        return Err(KeyFileError::Typed("an empty passphrase protects nothing"));
    }
    if twice && *typed("The same again: ")? != *first {
        return Err(KeyFileError::Typed("the two passphrases differ"));
    }
    Ok(Passphrase::new(first.to_string()).into())
}
