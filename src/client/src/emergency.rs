//! Break-glass, from the side of those who wake a dormant grant.

use rand::RngExt as _;
use sealdex_crypto::PrincipalId;
use sealdex_member::{MemberKeys, Trusted};
use sealdex_net::{CallError, Peer, clock::now_ms};
use sealdex_wire::{
    B32, Signed, SignedError,
    care::{CloseWake, ListWakes, SubmitWake, Wake, WakeList, WakeState},
    consent::Accepted,
    limits,
};

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum EmergencyError {
    /// The gate refused or does not answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The first signature is none.
    #[error("the first signature was refused: {0}")]
    Signed(#[from] SignedError),
    /// Signed by nobody the roster knows.
    #[error("nobody of this domain has signed it")]
    Nobody,
    /// The text cannot be written again byte for byte.
    #[error("the text was written by another version of this program: ask for the emergency anew")]
    Version,
}

/// What both sign, as the first of them wrote it.
pub fn text(wake: &WakeState) -> Result<Wake, EmergencyError> {
    Ok(wake.signed.first().ok_or(EmergencyError::Nobody)?.peek()?)
}

/// Asks for the dormant grants of an owner to a reader to be woken: the first of two people.
pub async fn ask(
    keys: &MemberKeys,
    gate: &Peer,
    owner: PrincipalId,
    reader: PrincipalId,
    minutes: u64,
    reason: &str,
) -> Result<WakeState, EmergencyError> {
    let asked_at = now_ms();
    let wake = Wake {
        domain: keys.secrets.domain.clone(),
        owner,
        reader,
        reason: reason.into(),
        asked_at,
        until: asked_at / 1000 + minutes * 60,
        nonce: B32(rand::rng().random()),
    };
    let wake = Signed::sign(&wake, &keys.identity, &mut rand::rng());
    Ok(gate.post_json("/v1/emergencies", &SubmitWake { wake }).await?)
}

/// Signs what another asked for, after that one's signature was checked: the second of two people.
pub async fn countersign(
    keys: &MemberKeys,
    trusted: &Trusted,
    gate: &Peer,
    wake: &WakeState,
) -> Result<WakeState, EmergencyError> {
    let first = wake.signed.first().ok_or(EmergencyError::Nobody)?;
    let signer = trusted.roster.member(first.signer).and_then(|m| m.keys.identity().ok());
    let text = first.verify(&signer.ok_or(EmergencyError::Nobody)?)?;
    let wake = Signed::sign(&text, &keys.identity, &mut rand::rng());
    if wake.payload != first.payload {
        return Err(EmergencyError::Version);
    }
    Ok(gate.post_json("/v1/emergencies", &SubmitWake { wake }).await?)
}

/// Emergencies this member may sign, or has signed.
pub async fn list(gate: &Peer) -> Result<Vec<WakeState>, EmergencyError> {
    let found: WakeList =
        gate.post_json("/v1/emergencies/list", &ListWakes { limit: limits::DOCUMENTS as u32 }).await?;
    Ok(found.emergencies)
}

/// Ends one before its time, as one of those who signed it.
pub async fn end(gate: &Peer, wake: &WakeState) -> Result<(), EmergencyError> {
    let request = CloseWake { owner: text(wake)?.owner, wake: wake.id };
    let _: Accepted = gate.post_json("/v1/emergencies/close", &request).await?;
    Ok(())
}
