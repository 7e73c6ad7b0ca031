//! Orders to erase: signed by the owner; what they cover is never released again, whatever comes later.

use sealdex_crypto::{PrincipalId, PublicIdentity};
use sealdex_wire::{
    ProblemType, Signed, SignedError,
    care::RequestStatus,
    erasure::{ErasureOrder, ScanPlace},
    limits,
};

use super::{is_future, is_section};
use crate::{
    error::signed_problem,
    store::{ReadConsents as _, ReadErasures as _, StoreError, Transaction, WriteConsents as _, WriteErasures as _},
};

/// Why an order was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ErasureRefusal {
    /// The owner has published no profile.
    #[error("the gate knows no profile of owner {0}: there is nothing of it to erase")]
    UnknownOwner(PrincipalId),
    /// Not signed by the owner.
    #[error("an order to erase was refused: {0}")]
    Signed(SignedError),
    /// For another domain or owner.
    #[error("an order of {0} to erase is for another domain or owner")]
    OtherDomain(PrincipalId),
    /// No sections, too many, one twice, or a name that is none.
    #[error("an order of {0} to erase names no sections, too many, one twice, or one that has no name")]
    Sections(PrincipalId),
    /// Made in the future.
    #[error("an order of {0} to erase was made in the future: set the clock of whoever made it")]
    Future(PrincipalId),
    /// A record that is not to be erased, or not by this hospital.
    #[error("record {0} is not to be erased by this hospital")]
    NotOwed(sealdex_crypto::RecordId),
}

impl ErasureRefusal {
    pub(crate) fn problem_type(&self) -> ProblemType {
        match self {
            Self::UnknownOwner(_) => ProblemType::NotFound,
            Self::NotOwed(_) => ProblemType::Forbidden,
            Self::Signed(e) => signed_problem(e),
            _ => ProblemType::BadDocument,
        }
    }
}

/// An order whose signature and content are in order.
pub(crate) struct Verified {
    pub(crate) order: ErasureOrder,
    pub(crate) signed: Signed<ErasureOrder>,
}

/// Checks an order by its owner's keys. `now` in Unix milliseconds.
pub(crate) fn verify(
    signed: Signed<ErasureOrder>,
    keys: &PublicIdentity,
    domain: &str,
    now: u64,
) -> Result<Verified, ErasureRefusal> {
    let order = signed.verify(keys).map_err(ErasureRefusal::Signed)?;
    let owner = keys.id();
    if order.domain != domain || order.owner != owner {
        return Err(ErasureRefusal::OtherDomain(owner));
    }
    let mut names: Vec<&str> = order.sections.iter().map(|s| s.section.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let number = (1..=limits::ERASED_SECTIONS).contains(&order.sections.len());
    if !number || names.len() != order.sections.len() || !names.iter().all(|s| is_section(s)) {
        return Err(ErasureRefusal::Sections(owner));
    }
    if is_future(order.ordered_at, now) {
        return Err(ErasureRefusal::Future(owner));
    }
    Ok(Verified { order, signed })
}

/// Marks what an order covers, ends all grants of it and unanswered requests for nothing else; how many grants ended.
/// Nothing outdoes an order, so it comes to the same whatever comes before it or after, and how often.
pub(crate) fn apply(verified: &Verified, txn: &mut dyn Transaction) -> Result<u64, StoreError> {
    let ErasureOrder { owner, sections, ordered_at, .. } = &verified.order;
    let (mut ended, mut news) = (0, false);
    for s in sections {
        if txn.erased(*owner, &s.section)?.is_none_or(|through| through < s.through) {
            txn.put_order(&s.section, s.through, &verified.signed)?;
            news = true;
        }
        for (key, _) in txn.grants_of(*owner, Some(&s.section), usize::MAX)? {
            if key.epoch <= s.through {
                txn.remove_grant(&key)?;
                ended += 1;
            }
        }
    }
    if news {
        // What the cloud has is looked through once more.
        txn.put_scan_place(ScanPlace::START)?;
    }
    for (number, mut row) in txn.requests_to(*owner)? {
        let concerned = row.ask.sections.iter().all(|s| sections.iter().any(|e| e.section == *s));
        if concerned && row.status == RequestStatus::Pending && row.asked_at <= *ordered_at {
            row.status = RequestStatus::Declined;
            txn.put_request(number, &row)?;
        }
    }
    Ok(ended)
}

/// Whether a request of a time, Unix milliseconds, asks for nothing but what its owner has ordered to be erased since:
/// then it comes too late.
pub(crate) fn overtakes(
    owner: PrincipalId,
    sections: &[String],
    asked_at: u64,
    txn: &dyn Transaction,
) -> Result<bool, StoreError> {
    for signed in txn.orders_of(owner)? {
        let order = signed.peek().map_err(|_| StoreError::Row("erasures"))?;
        let covers = |s: &String| order.sections.iter().any(|e| e.section == *s);
        if asked_at <= order.ordered_at && sections.iter().all(covers) {
            return Ok(true);
        }
    }
    Ok(false)
}
