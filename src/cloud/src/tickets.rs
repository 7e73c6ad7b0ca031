//! Fetch tickets: a gate's word that whoever holds one may fetch exactly these records.
//!
//! Withdrawals are kept in memory, for as long as a ticket could live. A ticket issued before this
//! process started is therefore refused: it may have been withdrawn from the process before.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use sealdex_crypto::PrincipalId;
use sealdex_net::Refusal;
use sealdex_wire::{limits, search::FetchTicket};

use crate::members::Members;

/// Withdrawals remembered at most.
const WITHDRAWN: usize = 1_000_000;
/// How long a withdrawal is remembered, milliseconds: the life of a ticket, and the clocks of gate
/// and cloud as far apart as they may be.
const REMEMBER_MS: u64 = limits::TICKET_MS + 2 * limits::CLOCK_SKEW_MS;

/// Why a ticket fetches nothing.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum TicketError {
    /// Not a list of record ids, or too long.
    #[error("a ticket is for whole record ids, at most {}", limits::TICKET_RECORDS)]
    Ids,
    /// No gate of this domain.
    #[error("the ticket is not from a gate of this domain")]
    Gate,
    /// Made for other records, another cloud, or by nobody.
    #[error("the ticket's signature does not fit these records")]
    Signature,
    /// Before or after its time.
    #[error("the ticket is not valid now: search again for a new one")]
    Time,
    /// From before this process.
    #[error("the ticket is older than this server's last start: search again for a new one")]
    BeforeStart,
    /// Taken back.
    #[error("the ticket was withdrawn")]
    Withdrawn,
    /// No room for another withdrawal.
    #[error("too many tickets were withdrawn in the last minutes")]
    Full,
}

impl From<TicketError> for Refusal {
    fn from(e: TicketError) -> Self {
        match e {
            TicketError::Ids => Self::malformed(e),
            TicketError::Full => Self::new(sealdex_wire::ProblemType::Overloaded, e.to_string()),
            _ => Self::forbidden(e.to_string()),
        }
    }
}

/// Checks tickets for one cloud.
pub(crate) struct Tickets {
    domain: String,
    cloud: PrincipalId,
    started_at: u64,
    withdrawn: Mutex<HashMap<[u8; 16], u64>>,
}

impl Tickets {
    /// `now`: Unix milliseconds at the start of the process.
    pub(crate) fn new(domain: String, cloud: PrincipalId, now: u64) -> Self {
        Self { domain, cloud, started_at: now, withdrawn: Mutex::default() }
    }

    /// Whether this ticket fetches its records at `now`. Cost: one signature.
    pub(crate) fn check(&self, fetch: &FetchTicket, members: &Members, now: u64) -> Result<(), TicketError> {
        if !fetch.ids.len().is_multiple_of(16) || fetch.ids.len() / 16 > limits::TICKET_RECORDS {
            return Err(TicketError::Ids);
        }
        let ticket = &fetch.ticket;
        let gate = members.gate(ticket.gate).ok_or(TicketError::Gate)?;
        if ticket.issued_at < self.started_at {
            return Err(TicketError::BeforeStart);
        }
        let life = ticket.expires_at.checked_sub(ticket.issued_at).ok_or(TicketError::Time)?;
        if life > limits::TICKET_MS
            || now >= ticket.expires_at
            || ticket.issued_at > now.saturating_add(limits::CLOCK_SKEW_MS)
        {
            return Err(TicketError::Time);
        }
        if !ticket.verify(&self.domain, self.cloud, &fetch.ids, gate) {
            return Err(TicketError::Signature);
        }
        let withdrawn = self.withdrawn.lock().unwrap_or_else(PoisonError::into_inner);
        if withdrawn.contains_key(&ticket.nonce) { Err(TicketError::Withdrawn) } else { Ok(()) }
    }

    /// These tickets fetch nothing from now on. All are taken or none.
    pub(crate) fn withdraw(&self, nonces: &[u8], now: u64) -> Result<u64, TicketError> {
        let (nonces, rest) = nonces.as_chunks::<16>();
        if !rest.is_empty() {
            return Err(TicketError::Ids);
        }
        let mut withdrawn = self.withdrawn.lock().unwrap_or_else(PoisonError::into_inner);
        if withdrawn.len() + nonces.len() > WITHDRAWN {
            withdrawn.retain(|_, at| now.saturating_sub(*at) <= REMEMBER_MS);
        }
        if withdrawn.len() + nonces.len() > WITHDRAWN {
            return Err(TicketError::Full);
        }
        withdrawn.extend(nonces.iter().map(|n| (*n, now)));
        Ok(nonces.len() as u64)
    }
}
