//! Who is enrolled below whom, without the authority (MOPSE+, spec section 8b), and token keys that change.

use std::{collections::HashSet, sync::Arc};

use sealdex_crypto::{BridgeScalar, PrincipalId, Scalar};
use sealdex_wire::{
    ProblemType,
    acts::PublicWord,
    auth::sha256,
    consent::Accepted,
    family::{FamilyError, RotateBridge, UpdateFamily},
    limits,
};

use crate::{
    bridge::{BridgeRefusal, bridge_scalar},
    error::{GateError, at_most, signed_problem},
    gate::{Gate, blocking},
    members::{Members, RosterDefect},
    revoke::{finish, mark},
    store::{AuditKind, ConsentStore, ReadConsents as _, Table, TicketRow, WriteConsents as _},
};

/// Where in the table of settings the hash of every factor that a member sent is kept, after the member's id.
pub(crate) const ROTATED: &[u8] = b"rotated:";

/// Why an enrolment, a dismissal or a changed token key was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FamilyRefusal {
    /// The documents do not fit.
    #[error(transparent)]
    Family(#[from] FamilyError),
    /// What they would make of the roster makes no sense.
    #[error("{0}")]
    Roster(String),
    /// Not one factor for each enrolment.
    #[error("{enrolments} enrolments come with {factors} factors")]
    Factors {
        /// Enrolments.
        enrolments: usize,
        /// Factors.
        factors: usize,
    },
    /// A factor that is no scalar.
    #[error("the factor sent for {0} is no scalar")]
    Factor(PrincipalId),
    /// Enrolled by somebody else than who calls.
    #[error("{0} was signed by somebody other than the caller")]
    NotOwn(PrincipalId),
}

impl FamilyRefusal {
    pub(crate) fn problem_type(&self) -> ProblemType {
        match self {
            Self::Family(FamilyError::Signed(e)) => signed_problem(e),
            Self::Family(FamilyError::Twice(_)) => ProblemType::Conflict,
            Self::Family(FamilyError::NotAbove { .. }) | Self::NotOwn(_) => ProblemType::Forbidden,
            Self::Factors { .. } | Self::Factor(_) => ProblemType::Malformed,
            _ => ProblemType::BadDocument,
        }
    }
}

impl<S: ConsentStore> Gate<S> {
    /// Enrols members below the caller and dismisses members below it, all or none. The bridge of a new member is
    /// made from the caller's own: `δ_child = δ·c⁻¹`.
    ///
    /// # Errors
    /// [`GateError`]; nothing has changed then.
    pub async fn update_family(
        self: &Arc<Self>,
        caller: PrincipalId,
        update: UpdateFamily,
    ) -> Result<Accepted, GateError> {
        at_most("enrolments", update.enrolments.len(), limits::DOCUMENTS)?;
        at_most("dismissals", update.dismissals.len(), limits::DOCUMENTS)?;
        self.members()?.active_provider(caller)?;
        let gate = self.clone();
        finish(async move {
            let held = gate.barrier.write().await;
            let worker = gate.clone();
            let (count, ended) = blocking(move || worker.update_family_now(caller, update)).await?;
            drop(held);
            gate.withdraw(ended).await;
            Ok(Accepted { count })
        })
        .await
    }

    fn update_family_now(&self, caller: PrincipalId, update: UpdateFamily) -> Result<(u64, Vec<TicketRow>), GateError> {
        let UpdateFamily { enrolments, factors, dismissals } = update;
        if factors.len() != enrolments.len() {
            let (enrolments, factors) = (enrolments.len(), factors.len());
            return Err(FamilyRefusal::Factors { enrolments, factors }.into());
        }
        let signers = enrolments.iter().map(|e| e.signer).chain(dismissals.iter().map(|d| d.signer));
        if let Some(other) = signers.into_iter().find(|s| *s != caller) {
            return Err(FamilyRefusal::NotOwn(other).into());
        }
        let before = self.members()?;
        let known: HashSet<&str> = before.family().enrolments.iter().map(|e| e.payload.as_str()).collect();
        let ids = enrolments.iter().map(|e| e.peek().map(|e| e.member.id).map_err(FamilyError::from));
        let ids: Vec<PrincipalId> = ids.collect::<Result<_, _>>().map_err(FamilyRefusal::from)?;
        // Sent again after an answer was lost: what is known already stays as it is.
        let new: Vec<_> = enrolments
            .into_iter()
            .zip(factors)
            .zip(ids)
            .filter(|((e, _), _)| !known.contains(e.payload.as_str()))
            .collect();
        let gone: HashSet<PrincipalId> =
            before.family().dismissals.iter().filter_map(|d| d.peek().ok()).map(|d| d.member).collect();
        let dismissals = dismissals.into_iter().map(|d| d.peek().map(|e| (e.member, d)).map_err(FamilyError::from));
        let dismissals: Vec<_> = dismissals.collect::<Result<_, _>>().map_err(FamilyRefusal::from)?;
        let dismissals: Vec<_> = dismissals.into_iter().filter(|(member, _)| !gone.contains(member)).collect();
        let mut family = before.family().clone();
        at_most("members enrolled by others", family.enrolments.len() + new.len(), limits::FAMILY)?;
        let first = family.enrolments.len() as u64;
        family.enrolments.extend(new.iter().map(|((e, _), _)| e.clone()));
        family.dismissals.extend(dismissals.iter().map(|(_, d)| d.clone()));
        let roster = before.signed().verify(self.secrets.authority()).map_err(FamilyError::from);
        let roster = roster.map_err(FamilyRefusal::from)?;
        let members = Members::new(&roster, before.signed().clone(), family).map_err(|e| match e {
            RosterDefect::Family(e) => FamilyRefusal::Family(e),
            other => FamilyRefusal::Roster(other.to_string()),
        })?;
        let members = Arc::new(members);
        let ended = self.outstanding.issued_to(|caller| members.active(caller).is_err());
        let count = (new.len() + dismissals.len()) as u64;
        self.store.write(|txn| {
            let own = bridge_scalar(&self.secrets, txn, caller)?.ok_or(BridgeRefusal::NoBridge(caller))?;
            for (((enrolment, factor), id), order) in new.iter().zip(first..) {
                let factor = Scalar::from_bytes(&factor.0).map_err(|_| FamilyRefusal::Factor(*id))?;
                let bridge = own.delegate(&factor).to_bytes();
                txn.put_enrolment(order, enrolment)?;
                txn.put_bridge(*id, &self.secrets.store_key.seal_scalar(Table::Bridges, &id.0, &bridge))?;
                if let Some(commitments) = txn.bridge_commitments(caller)? {
                    txn.put_bridge_commitments(*id, &commitments.scale(&factor))?;
                }
            }
            dismissals.iter().try_for_each(|(member, d)| txn.put_dismissal(*member, d))?;
            mark(txn, &ended)?;
            let entry = self.entry(AuditKind::Family, caller, count, std::iter::empty());
            let enrolled = new.iter().map(|((enrolment, _), _)| PublicWord::of(enrolment));
            let documents = enrolled.chain(dismissals.iter().map(|(_, d)| PublicWord::of(d))).collect();
            txn.append_told(&entry, Vec::new(), documents)?;
            Ok::<_, GateError>(())
        })?;
        self.set_members(members);
        self.permissions_changed();
        Ok((count, ended))
    }

    /// `δ ← δ·factor`: the caller has a new token key, what is indexed stays as it is, and the old key fits nothing.
    ///
    /// # Errors
    /// [`GateError`]; nothing has changed then.
    pub async fn rotate_bridge(
        self: &Arc<Self>,
        caller: PrincipalId,
        request: RotateBridge,
    ) -> Result<Accepted, GateError> {
        self.members()?.active(caller)?;
        let gate = self.clone();
        blocking(move || {
            let factor = Scalar::from_bytes(&request.factor.0).map_err(|_| FamilyRefusal::Factor(caller))?;
            let place = [ROTATED, &caller.0, &sha256(&[ROTATED, &request.factor.0])].concat();
            gate.store.write(|txn| {
                // Sent again after an answer was lost, or by another node long after.
                if txn.get(Table::Meta, &place)?.is_some() {
                    return Ok(Accepted { count: 0 });
                }
                txn.put(Table::Meta, &place, &[])?;
                let old: BridgeScalar =
                    bridge_scalar(&gate.secrets, txn, caller)?.ok_or(BridgeRefusal::NoBridge(caller))?;
                let new = old.delegate(&factor).to_bytes();
                txn.put_bridge(caller, &gate.secrets.store_key.seal_scalar(Table::Bridges, &caller.0, &new))?;
                if let Some(commitments) = txn.bridge_commitments(caller)? {
                    txn.put_bridge_commitments(caller, &commitments.scale(&factor))?;
                }
                txn.append_audit(&gate.entry(AuditKind::Bridges, caller, 1, std::iter::empty()))?;
                Ok::<_, GateError>(Accepted { count: 1 })
            })
        })
        .await
    }
}
