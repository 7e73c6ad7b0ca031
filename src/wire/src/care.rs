//! What surrounds a grant: emergencies, requests for access, carers who act for an owner.

use sealdex_crypto::PrincipalId;
use serde::{Deserialize, Serialize};

use crate::{B32, Signed, roster::PublicKeys, signed::Document};

/// What makes a grant dormant: it holds only while two of `wakers` say so (break-glass).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Emergency {
    /// Who may wake it: members, or groups for everyone in them. Two different people must.
    pub wakers: Vec<PrincipalId>,
    /// Longest time it is awake, minutes.
    pub minutes: u32,
}

/// One person's word that an emergency grant is needed now. It takes effect when two have signed the same text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wake {
    /// Domain.
    pub domain: String,
    /// Whose records.
    pub owner: PrincipalId,
    /// Reader of the dormant grants to wake.
    pub reader: PrincipalId,
    /// Why, in words; the owner reads it.
    pub reason: String,
    /// When it was asked for, Unix milliseconds.
    pub asked_at: u64,
    /// First second it is asleep again, Unix time.
    pub until: u64,
    /// Makes the text unique.
    pub nonce: B32,
}

impl Document for Wake {
    const KIND: &'static str = "wake";
}

/// `POST /v1/emergencies`: a first signature, or the second one to a text that another has signed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubmitWake {
    /// Signed by the caller.
    pub wake: Signed<Wake>,
}

/// `POST /v1/emergencies/list`: of the caller's own records; or those it may wake or has woken.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListWakes {
    /// At most this many, newest first.
    pub limit: u32,
}

/// `POST /v1/emergencies/close`: the owner, or a waker, ends one before its time.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloseWake {
    /// Whose records.
    pub owner: PrincipalId,
    /// Which: the hash of the signed text.
    pub wake: B32,
}

/// One emergency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WakeState {
    /// The hash of the signed text.
    pub id: B32,
    /// Signatures of the same text; it takes effect with the second.
    pub signed: Vec<Signed<Wake>>,
    /// When the second signature came, Unix milliseconds.
    pub woken_at: Option<u64>,
    /// When it was ended before its time, Unix milliseconds.
    pub closed_at: Option<u64>,
}

/// Answer to [`ListWakes`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WakeList {
    /// Newest first.
    pub emergencies: Vec<WakeState>,
}

/// `POST /v1/requests`: a member asks an owner for access.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskAccess {
    /// Whose records.
    pub owner: PrincipalId,
    /// Who would read: the caller, or a group it belongs to.
    pub reader: PrincipalId,
    /// Sections.
    pub sections: Vec<String>,
    /// Purpose of use.
    pub purpose: String,
    /// Days it would hold.
    pub days: u32,
    /// Why, in words.
    pub reason: String,
}

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RequestStatus {
    /// Not answered.
    Pending,
    /// The owner has granted what it was willing to.
    Approved,
    /// The owner does not wish it.
    Declined,
    /// Taken back by who made it.
    Withdrawn,
}

/// A request, as the gate keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestState {
    /// Its number with this owner.
    pub number: u64,
    /// Who asked.
    pub caller: PrincipalId,
    /// What for.
    pub ask: AskAccess,
    /// When, Unix milliseconds.
    pub asked_at: u64,
    /// Where it stands.
    pub status: RequestStatus,
}

/// Answer to [`AskAccess`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Its number with this owner.
    pub number: u64,
}

/// `POST /v1/requests/list`: to the owner `owner` (the caller, or one it cares for); with none, those the caller made.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListRequests {
    /// Whose.
    pub owner: Option<PrincipalId>,
    /// Only unanswered ones.
    pub pending: bool,
}

/// Answer to [`ListRequests`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestList {
    /// Oldest first.
    pub requests: Vec<RequestState>,
}

/// `POST /v1/requests/answer`: approve or decline (the owner or its carer), or withdraw (who asked).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerRequest {
    /// Whose records it is about.
    pub owner: PrincipalId,
    /// Which.
    pub number: u64,
    /// What becomes of it.
    pub status: RequestStatus,
}

/// An owner lets a member act for it: revoke in its name, answer requests, and pass on what the carer may read
/// itself. The owner's keys stay with the owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mandate {
    /// Domain.
    pub domain: String,
    /// For whom.
    pub owner: PrincipalId,
    /// Who acts.
    pub carer: PublicKeys,
    /// Sections it extends to; empty for all.
    pub sections: Vec<String>,
    /// First second it no longer holds, Unix time. In the past, it ends the mandate and all granted under it.
    pub not_after: u64,
    /// When it was made, Unix milliseconds; a newer one replaces it.
    pub made_at: u64,
}

impl Document for Mandate {
    const KIND: &'static str = "mandate";
}

impl Mandate {
    /// Whether it extends to a section at a time, Unix seconds.
    pub fn covers(&self, section: Option<&str>, now: u64) -> bool {
        let within = match section {
            _ if self.sections.is_empty() => true,
            Some(section) => self.sections.iter().any(|s| s == section),
            None => false,
        };
        within && now < self.not_after
    }
}

/// `POST /v1/mandates`. From the owner.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubmitMandate {
    /// Signed by the owner.
    pub mandate: Signed<Mandate>,
}

/// `POST /v1/mandates/list`: given by the caller or to it. The answer's body.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MandateList {
    /// As signed.
    pub mandates: Vec<Signed<Mandate>>,
}
