//! Why the gate refuses or fails, and which problem a caller is told.

use sealdex_crypto::PrincipalId;
use sealdex_net::Refusal;
use sealdex_wire::{ProblemType, SignedError};

use crate::{
    bridge::BridgeRefusal,
    budget::BudgetRefusal,
    care::CareRefusal,
    cloud::CloudError,
    family::FamilyRefusal,
    nodes::NodeRefusal,
    rules::{
        erasures::ErasureRefusal, grants::GrantRefusal, groups::GroupRefusal, mandates::MandateRefusal,
        owners::OwnerRefusal, revocations::RevocationRefusal, roster::RosterRefusal,
    },
    search::{SearchRefusal, proving::ProofFault},
    secrets::NotSealedHere,
    standing::StandingRefusal,
    store::StoreError,
};

/// What a request ends with if not with its answer.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum GateError {
    /// The authority has not sent a roster yet.
    #[error("this gate has no roster yet: the authority must send one")]
    NoRoster,
    /// The caller may not make this request.
    #[error(transparent)]
    Caller(#[from] CallerRefusal),
    /// A roster was refused.
    #[error(transparent)]
    Roster(#[from] RosterRefusal),
    /// An owner profile was refused.
    #[error(transparent)]
    Owner(#[from] OwnerRefusal),
    /// A grant was refused.
    #[error(transparent)]
    Grant(#[from] GrantRefusal),
    /// A revocation was refused.
    #[error(transparent)]
    Revocation(#[from] RevocationRefusal),
    /// A charter, or a rotation, was refused.
    #[error(transparent)]
    Group(#[from] GroupRefusal),
    /// A mandate was refused.
    #[error(transparent)]
    Mandate(#[from] MandateRefusal),
    /// An emergency or a request was refused.
    #[error(transparent)]
    Care(#[from] CareRefusal),
    /// An order to erase, or what is done by it, was refused.
    #[error(transparent)]
    Erasure(#[from] ErasureRefusal),
    /// An enrolment or dismissal was refused.
    #[error(transparent)]
    Family(#[from] FamilyRefusal),
    /// A member's budget is used up.
    #[error(transparent)]
    Budget(#[from] BudgetRefusal),
    /// A batch was refused.
    #[error(transparent)]
    Bridge(#[from] BridgeRefusal),
    /// A search was refused.
    #[error(transparent)]
    Search(#[from] SearchRefusal),
    /// An answer of the cloud is not what the log has, or cannot be checked.
    #[error(transparent)]
    Proof(#[from] ProofFault),
    /// More documents or ids than a request may carry.
    #[error("a request carries at most {max} {what}, this has {found}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// Most allowed.
        max: usize,
        /// Sent.
        found: usize,
    },
    /// All slots for heavy requests are taken.
    #[error("too many searches and batches at once: try again")]
    Overloaded,
    /// Of a gate of several nodes.
    #[error(transparent)]
    Node(#[from] NodeRefusal),
    /// The store was restored from a backup.
    #[error(transparent)]
    Standing(#[from] StandingRefusal),
    /// The cloud failed.
    #[error(transparent)]
    Cloud(#[from] CloudError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stored scalar does not open.
    #[error(transparent)]
    Sealed(#[from] NotSealedHere),
    /// A worker died; its request accepted nothing that was not durable.
    #[error("a worker of the gate stopped")]
    Worker,
}

/// The caller may not make this request.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum CallerRefusal {
    /// Only the authority may.
    #[error("only the authority of the domain may change the roster")]
    NotAuthority,
    /// Not in the roster, revoked, or below someone who is.
    #[error("{0} is no active member of this domain (it, or whoever enrolled it, is unknown or revoked)")]
    NotActive(PrincipalId),
    /// A provider is needed.
    #[error("{0} is no provider: only providers may do this")]
    NotProvider(PrincipalId),
    /// Somebody else manages the group.
    #[error("{caller} does not manage group {group}, and does not succeed it")]
    NotManager {
        /// Who called.
        caller: PrincipalId,
        /// Which group.
        group: PrincipalId,
    },
    /// It may count, and not read.
    #[error("{0} may count and not read: ask for a count")]
    CountsOnly(PrincipalId),
    /// Neither the owner nor an active member.
    #[error("{0} is neither the owner nor an active member of this domain")]
    NeitherOwnerNorMember(PrincipalId),
}

impl GateError {
    /// The kind of problem a caller is told.
    pub fn problem_type(&self) -> ProblemType {
        match self {
            Self::NoRoster | Self::Overloaded => ProblemType::Overloaded,
            Self::Caller(_) => ProblemType::Forbidden,
            Self::Roster(e) => e.problem_type(),
            Self::Owner(e) => e.problem_type(),
            Self::Grant(e) => e.problem_type(),
            Self::Revocation(e) => e.problem_type(),
            Self::Group(e) => e.problem_type(),
            Self::Mandate(e) => e.problem_type(),
            Self::Care(e) => e.problem_type(),
            Self::Family(e) => e.problem_type(),
            Self::Erasure(e) => e.problem_type(),
            Self::Budget(_) => ProblemType::Budget,
            Self::Bridge(e) => e.problem_type(),
            Self::Search(e) => e.problem_type(),
            Self::Standing(e) => e.problem_type(),
            Self::Node(e) => e.problem_type(),
            Self::TooMany { .. } => ProblemType::Malformed,
            Self::Proof(e) if e.is_tampering() => ProblemType::Tampered,
            Self::Cloud(_) | Self::Proof(_) => ProblemType::Upstream,
            Self::Store(StoreError::NoSpace(_)) => ProblemType::NoSpace,
            Self::Store(_) | Self::Sealed(_) | Self::Worker => ProblemType::Internal,
        }
    }
}

impl From<GateError> for Refusal {
    fn from(e: GateError) -> Self {
        if let GateError::Node(NodeRefusal::WrongResult { node, .. }) = &e {
            tracing::error!(node, error = %e, "a node of the gate");
            let mut refusal = Refusal::new(ProblemType::Upstream, e.to_string());
            refusal.0.node = Some(*node);
            return refusal;
        }
        match e.problem_type() {
            ProblemType::Internal => Refusal::internal(e),
            ProblemType::Tampered => {
                tracing::error!(error = %e, "the cloud's answer is not what the log has");
                metrics::counter!("sealdex_gate_tampered_total").increment(1);
                Refusal::new(ProblemType::Tampered, e.to_string())
            }
            ProblemType::Upstream if matches!(e, GateError::Proof(_)) => {
                tracing::warn!(error = %e, "an answer could not be checked");
                Refusal::new(ProblemType::Upstream, e.to_string())
            }
            ProblemType::Upstream => {
                tracing::warn!(error = %e, "the cloud failed");
                Refusal::new(
                    ProblemType::Upstream,
                    "the cloud does not answer this gate as it should: try again; the gate's log has the cause",
                )
            }
            ProblemType::NoSpace => {
                tracing::error!(error = %e, "the gate's store cannot be written");
                Refusal::new(ProblemType::NoSpace, "the gate's disk has no room: nothing was changed; try again later")
            }
            kind => Refusal::new(kind, e.to_string()),
        }
    }
}

/// The detail of a refused signature, short enough for any message.
pub(crate) fn signed_problem(e: &SignedError) -> ProblemType {
    match e {
        SignedError::WrongSigner { .. } | SignedError::BadSignature(_) | SignedError::Malformed(_) => {
            ProblemType::BadDocument
        }
    }
}

/// Refuses requests that carry more than `max` of something.
pub(crate) fn at_most(what: &'static str, found: usize, max: usize) -> Result<(), GateError> {
    if found <= max { Ok(()) } else { Err(GateError::TooMany { what, max, found }) }
}
