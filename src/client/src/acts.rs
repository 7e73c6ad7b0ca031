//! Reading the log of acts: as whom it concerns, as an auditor, as whoever watches.
//!
//! Nobody is asked who does it: the log is public, and one's own rows are found by hints that only their reader knows.

use std::path::Path;

use sealdex_crypto::{Identity, PrincipalId, PublicIdentity};
use sealdex_ledger::{
    ActError, ActReader, ActsView, Gates, SignedAct,
    act::{AuditorRow, UnreadableRow},
};
use sealdex_lognet::{
    Follower, LogClient,
    client::FetchError,
    domain::{LedgerError, Which, policy},
    follower::FollowError,
};
use sealdex_net::{clock::now_s, peer::Http};
use sealdex_wire::{
    acts::LogRow,
    consent::{Access, Place},
    roster::Roster,
};

/// Why the log of acts cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ActsLogError {
    /// There is none.
    #[error("this domain has no log of acts: its roster names none")]
    NoLog,
    /// The roster's keys.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The log.
    #[error("the log of acts: {0}")]
    Follow(#[from] FollowError),
    /// Its address.
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

impl ActsLogError {
    /// Whether this shows that somebody altered, replayed or forked the log, and not only that nobody answers.
    #[must_use]
    pub fn is_alarm(&self) -> bool {
        match self {
            Self::Follow(e) => !matches!(e, FollowError::Fetch(_) | FollowError::Storage(_) | FollowError::Busy { .. }),
            _ => false,
        }
    }
}

/// The gates of a roster.
pub(crate) struct RosterGates(Vec<PublicIdentity>);

impl RosterGates {
    fn of(roster: &Roster) -> Self {
        Self(roster.gates.iter().filter_map(|g| g.keys.identity().ok()).collect())
    }
}

impl Gates for RosterGates {
    fn gate(&self, id: PrincipalId) -> Option<PublicIdentity> {
        self.0.iter().find(|g| g.id() == id).copied()
    }
}

/// An entry of the log, from 1, and the gate whose act it is; or why it is not believed.
pub type Entry = (u64, Result<(SignedAct, PublicIdentity), ActError>);

/// The log of a domain's acts, followed and checked.
pub struct ActsLog {
    client: LogClient,
    follower: Follower,
    view: ActsView,
    gates: RosterGates,
    waiting: Vec<Vec<u8>>,
}

impl ActsLog {
    /// Follows the log of a domain, from what a folder has of it.
    ///
    /// # Errors
    /// [`ActsLogError`].
    pub fn open(http: &Http, roster: &Roster, folder: Option<&Path>) -> Result<Self, ActsLogError> {
        let (Some(ledger), Some(cloud)) = (&roster.ledger, roster.clouds.first()) else {
            return Err(ActsLogError::NoLog);
        };
        let follower = Follower::open(folder, policy(ledger, Which::Acts)?)?;
        let follower = if ledger.quorum > 0 { follower.with_max_age(ledger.max_age) } else { follower };
        let client = LogClient::new(http.clone(), &Which::Acts.url(&cloud.url))?;
        let mut waiting = Vec::new();
        follower.replay(|_, entry| waiting.push(entry.to_vec()))?;
        Ok(Self { client, follower, view: ActsView::new(&roster.domain), gates: RosterGates::of(roster), waiting })
    }

    /// Goes by a newer roster: whose acts are believed from the next entry on.
    pub fn know(&mut self, roster: &Roster) {
        self.gates = RosterGates::of(roster);
    }

    /// Reads the log to its end: what is new since the last time, at first everything.
    ///
    /// # Errors
    /// [`ActsLogError`]. What was read before it is handed out the next time.
    pub async fn advance(&mut self) -> Result<Vec<Entry>, ActsLogError> {
        let waiting = &mut self.waiting;
        self.follower.advance(&self.client, now_s(), |_, entry| waiting.push(entry.to_vec())).await?;
        let mut entries = Vec::with_capacity(self.waiting.len());
        for bytes in std::mem::take(&mut self.waiting) {
            let read = self.view.add(&bytes, &self.gates).map(|act| {
                // The view has just found it.
                let gate = self.gates.gate(act.entry.gate);
                gate.map(|gate| (act, gate))
            });
            match read {
                Ok(Some(act)) => entries.push((self.view.size(), Ok(act))),
                Ok(None) => {}
                Err(error) => entries.push((self.view.size(), Err(error))),
            }
        }
        Ok(entries)
    }
}

/// A row of the log that concerns an owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedRow {
    /// Entry of the log, from 1.
    pub seq: u64,
    /// Whose act.
    pub gate: PrincipalId,
    /// Its place in that gate's audit trail.
    pub act: u64,
    /// What it says.
    pub row: LogRow,
}

impl LoggedRow {
    /// As the gate shows it to the owner.
    #[must_use]
    pub fn access(&self, roster: &Roster) -> Access {
        let node = roster.gates.iter().find(|g| g.id == self.gate).and_then(|g| g.node);
        let place = Place { act: self.act, part: self.row.part.unwrap_or(u32::MAX) };
        Access { node, ..self.row.access.clone().access(place) }
    }
}

/// What the log has of one owner.
#[derive(Clone, Debug, Default)]
pub struct OwnLog {
    /// In the order of the log.
    pub rows: Vec<LoggedRow>,
    /// What is wrong with the log, each naming its entry.
    pub alarms: Vec<String>,
    /// Entries it has.
    pub size: u64,
    /// When the first of them was done, Unix milliseconds.
    pub since: Option<u64>,
}

impl OwnLog {
    /// Finds an owner's rows.
    #[must_use]
    pub fn of(entries: &[Entry], domain: &str, owner: &Identity) -> Self {
        let (mut own, mut reader) = (Self::default(), ActReader::new(domain, owner));
        for (seq, entry) in entries {
            own.size = *seq;
            let (act, gate) = match entry {
                Ok(read) => read,
                Err(error) => {
                    own.alarms.push(error.to_string());
                    continue;
                }
            };
            own.since = own.since.or(Some(act.entry.at));
            match reader.as_owner(act, gate) {
                Ok(None) => {}
                Ok(Some(found)) => own.rows.extend(found.rows.into_iter().map(|row| LoggedRow {
                    seq: *seq,
                    gate: gate.id(),
                    act: found.act,
                    row,
                })),
                Err(error) => own.alarms.push(format!("entry {seq}: {error}")),
            }
        }
        own
    }
}

/// An act as an auditor reads it.
#[derive(Clone, Debug)]
pub struct Audited {
    /// Entry of the log, from 1.
    pub seq: u64,
    /// The entry.
    pub act: SignedAct,
    /// What it says; none where this auditor was not one yet.
    pub row: Option<AuditorRow>,
}

/// Everything in entries, for an auditor; and what is wrong with them.
#[must_use]
pub fn audit(entries: &[Entry], domain: &str, auditor: &Identity) -> (Vec<Audited>, Vec<String>) {
    let (mut all, mut alarms, mut reader) = (Vec::new(), Vec::new(), ActReader::new(domain, auditor));
    for (seq, entry) in entries {
        match entry {
            Err(error) => alarms.push(error.to_string()),
            Ok((act, gate)) => match reader.as_auditor(act, gate) {
                Ok(row) => all.push(Audited { seq: *seq, act: act.clone(), row }),
                Err(error @ UnreadableRow { .. }) => alarms.push(format!("entry {seq}: {error}")),
            },
        }
    }
    (all, alarms)
}
