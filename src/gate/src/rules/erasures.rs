//! Orders to erase: signed by the owner; what they cover is never released again, whatever comes later.

use sealdex_crypto::{PrincipalId, PublicIdentity};
use sealdex_wire::{
    ProblemType, Signed, SignedError,
    care::RequestStatus,
    consent::OwnerProfile,
    erasure::{ErasedSection, ErasureOrder},
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
    /// What the owner has published no key for.
    #[error(
        "an order of {owner} erases section {section:?} up to epoch {through}, and the newest profile here has no key of \
         that: publish the profile first (sealdex owners enrol --again)"
    )]
    Unpublished {
        /// Whose.
        owner: PrincipalId,
        /// Section.
        section: String,
        /// Epoch.
        through: u32,
    },
    /// More orders than are kept of an owner.
    #[error(
        "{0} has {max} orders to erase in force: one that names everything takes the place of all",
        max = limits::ERASURE_ORDERS
    )]
    TooMany(PrincipalId),
    /// A record that is not to be erased, or not by this hospital.
    #[error("record {0} is not to be erased by this hospital")]
    NotOwed(sealdex_crypto::RecordId),
}

impl ErasureRefusal {
    pub(crate) fn problem_type(&self) -> ProblemType {
        match self {
            Self::UnknownOwner(_) | Self::Unpublished { .. } => ProblemType::NotFound,
            Self::TooMany(_) => ProblemType::Conflict,
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

/// Refuses an order of what its owner has not published: anybody can make keys and sign orders with them, and nothing can be
/// sealed to what was never published.
pub(crate) fn published(order: &ErasureOrder, profile: &OwnerProfile) -> Result<(), ErasureRefusal> {
    let known = |s: &ErasedSection| profile.sections.iter().any(|k| k.section == s.section && k.epoch >= s.through);
    match order.sections.iter().find(|s| !known(s)) {
        None => Ok(()),
        Some(ErasedSection { section, through }) => {
            Err(ErasureRefusal::Unpublished { owner: order.owner, section: section.clone(), through: *through })
        }
    }
}

fn takes_the_place(order: &ErasureOrder, of: &ErasureOrder) -> bool {
    of.ordered_at < order.ordered_at && of.sections.iter().all(|s| order.covers(&s.section, s.through))
}

/// What came of an order.
pub(crate) struct Applied {
    /// Grants that ended.
    pub(crate) ended: u64,
    /// Whether the very same order was in force already.
    pub(crate) repeated: bool,
}

/// Marks what an order covers, ends all grants of it and unanswered requests for nothing else.
/// Nothing outdoes an order, so it comes to the same whatever comes before it or after, and how often.
pub(crate) fn apply(verified: &Verified, txn: &mut dyn Transaction) -> Result<Applied, StoreError> {
    let ErasureOrder { owner, sections, ordered_at, .. } = &verified.order;
    let (mut ended, mut repeated) = (0, true);
    for s in sections {
        let known = txn.order_of(*owner, &s.section)?;
        repeated &= known.as_ref().is_some_and(|signed| *signed == verified.signed);
        // Of two up to the same epoch a later one stays that has all of the other, so that one that names everything takes
        // the place of all.
        let outdone = |through| match through == s.through {
            true => !known.as_ref().and_then(|k| k.peek().ok()).is_some_and(|k| takes_the_place(&verified.order, &k)),
            false => through > s.through,
        };
        let outdone = txn.erased(*owner, &s.section)?.is_some_and(outdone);
        if !outdone {
            txn.put_order(&s.section, s.through, &verified.signed)?;
        }
        for (key, _) in txn.grants_of(*owner, Some(&s.section), usize::MAX)? {
            if key.epoch <= s.through {
                txn.remove_grant(&key)?;
                ended += 1;
            }
        }
    }
    txn.remove_idle_orders(*owner)?;
    // Also of an order that is repeated: the cloud may have been restored to where it had more.
    txn.want_pass(*owner)?;
    for (number, mut row) in txn.requests_to(*owner)? {
        let concerned = row.ask.sections.iter().all(|s| sections.iter().any(|e| e.section == *s));
        if concerned && row.status == RequestStatus::Pending && row.asked_at <= *ordered_at {
            row.status = RequestStatus::Declined;
            txn.put_request(number, &row)?;
        }
    }
    Ok(Applied { ended, repeated })
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
