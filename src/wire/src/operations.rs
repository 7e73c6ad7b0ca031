//! What the authority tells a gate about its operation.

use serde::{Deserialize, Serialize};

/// `POST /v1/resume`: a gate whose store was restored from a backup may serve again, although what came after
/// the backup is lost. From the authority only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResumeGate {
    /// Time of the backup as the authority knows it, Unix milliseconds; compared to the second.
    pub accept_loss_after: u64,
    /// The newest roster's version: a gate with an older one does not resume.
    pub roster_version: u64,
}
