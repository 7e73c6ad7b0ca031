//! What key files are opened with, and sealed under.

use std::path::Path;

use clap::Args;
use sealdex_keyfile::{Unlock, options::UnlockOptions};

use crate::failure::Failure;

/// How key files are protected.
#[derive(Args, Clone, Default)]
pub(crate) struct KeyOptions {
    #[command(flatten)]
    unlock: UnlockOptions,
    /// Write new key files in the clear. Only for tests and demonstrations.
    #[arg(long, global = true)]
    insecure_plain_keys: bool,
}

impl KeyOptions {
    /// Key files in the clear, as the demonstration has them.
    pub(crate) fn plain() -> Self {
        Self { insecure_plain_keys: true, ..Self::default() }
    }

    /// What opens this file; `None` for one in the clear.
    pub(crate) fn to_read(&self, path: &Path) -> Result<Option<Unlock>, Failure> {
        Ok(self.unlock.to_read(path)?)
    }

    /// What new files are sealed under; `None` when they are to be in the clear.
    pub(crate) fn to_write(&self) -> Result<Option<Unlock>, Failure> {
        if self.insecure_plain_keys { Ok(None) } else { Ok(Some(self.unlock.to_write()?)) }
    }
}
