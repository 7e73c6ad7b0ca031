//! The side that receives: a node of the next sharing takes its parts from every dealer, checks each against what the
//! dealer committed to and that against what is in force, and lays the sums aside.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use rayon::prelude::*;
use sealdex_crypto::{Scalar, sharing, sharing::Commitments, unwrap};
use sealdex_net::CallError;
use sealdex_wire::{
    ProblemType,
    threshold::{CopiedRows, CopyRows, Deal, Dealt, DealtRow, DealtRows, Node},
};
use serde_bytes::ByteBuf;

use super::{
    dealing::{COPIED, context, place},
    resharing::{Underway, clear, staged_digest},
    scalars,
};
use crate::{
    error::GateError,
    gate::{Gate, blocking},
    store::{ConsentStore, GrantKey, Table},
};

/// Pause before a page is asked for again, and how often.
const PAUSE: Duration = Duration::from_millis(500);
const ATTEMPTS: u32 = 60;
/// How often it is asked for again when dealers have different rows: they may still be handing on.
const DIFFERING: u32 = 12;

/// Why a node cannot take in its shares.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("node {0} {1}")]
    Dealer(u16, String),
    #[error("the nodes differ about {0}: have its owner revoke and grant it again, and begin anew")]
    Differ(String),
    #[error(transparent)]
    Gate(#[from] GateError),
    #[error("the resharing was given up")]
    GivenUp,
}

/// Takes in all shares, or says why not.
pub(crate) async fn receive<S: ConsentStore>(gate: Weak<Gate<S>>, underway: Arc<Underway>) {
    let Some(strong) = gate.upgrade() else { return };
    if let Err(failure) = strong.take_shares(&underway).await {
        tracing::error!(error = %failure, "the resharing does not go on");
        underway.update(|s| s.failed = Some(failure.to_string()));
    }
}

impl<S: ConsentStore> Gate<S> {
    async fn take_shares(self: &Arc<Self>, underway: &Arc<Underway>) -> Result<(), Failure> {
        if self.members().is_err() {
            self.take_rows(underway).await?;
        }
        for of in [Dealt::Bridges, Dealt::Grants] {
            let mut after: Option<ByteBuf> = None;
            loop {
                let more = self.take_page(underway, of, &mut after).await?;
                if !more {
                    break;
                }
            }
        }
        let gate = self.clone();
        let (count, digest) = blocking(move || gate.store.read(staged_digest)).await?;
        underway.update(|s| (s.taken, s.complete) = (count, Some(digest)));
        tracing::info!(count, epoch = underway.to.epoch, "all shares of the next sharing are laid aside");
        Ok(())
    }

    /// The rest of the rows, for a node that is new. The first dealer's; the others must have the same grants,
    /// revocations and groups.
    async fn take_rows(self: &Arc<Self>, underway: &Arc<Underway>) -> Result<(), Failure> {
        let [first, others @ ..] = &underway.resharing.dealers[..] else { return Err(Failure::GivenUp) };
        for table in COPIED {
            let compared = matches!(
                table,
                Table::Grants | Table::GrantTerms | Table::Tombstones | Table::Groups | Table::Profiles
            );
            let mut after: Option<ByteBuf> = None;
            let gate = self.clone();
            // Of an earlier attempt that was given up.
            if table != Table::Meta {
                blocking(move || gate.store.write(|txn| clear(txn, table).map_err(GateError::from))).await?;
            }
            loop {
                let request = CopyRows { table: table.name().to_owned(), after: after.clone() };
                let page: CopiedRows = self.ask(underway, *first, "/v1/reshare/rows", &request).await?;
                for other in others.iter().filter(|_| compared) {
                    let same: CopiedRows = self.ask(underway, *other, "/v1/reshare/rows", &request).await?;
                    if same != page {
                        return Err(Failure::Differ(format!("table {}", table.name())));
                    }
                }
                after = page.rows.last().map(|(key, _)| key.clone());
                let (gate, rows) = (self.clone(), page.rows);
                blocking(move || {
                    gate.store.write(|txn| {
                        rows.iter().try_for_each(|(key, value)| txn.put(table, key, value)).map_err(GateError::from)
                    })
                })
                .await?;
                if !page.more {
                    break;
                }
            }
        }
        Ok(())
    }

    /// One page from every dealer; whether there is more.
    async fn take_page(
        self: &Arc<Self>,
        underway: &Arc<Underway>,
        of: Dealt,
        after: &mut Option<ByteBuf>,
    ) -> Result<bool, Failure> {
        let request = Deal { epoch: underway.to.epoch, of, after: after.clone() };
        let mut attempt = 0;
        // Until the dealers have handed each other all that came before.
        let pages = loop {
            let mut pages: Vec<(u16, DealtRows)> = Vec::new();
            for dealer in &underway.resharing.dealers {
                pages.push((*dealer, self.ask(underway, *dealer, "/v1/reshare/deal", &request).await?));
            }
            let rows = |p: &DealtRows| p.rows.iter().map(|r| (r.key.clone(), r.before.clone())).collect::<Vec<_>>();
            let same = pages.windows(2).all(|w| rows(&w[0].1) == rows(&w[1].1) && w[0].1.more == w[1].1.more);
            if same {
                break pages;
            }
            attempt += 1;
            if attempt == DIFFERING {
                return Err(Failure::Differ(first_difference(of, &pages)));
            }
            tokio::time::sleep(PAUSE).await;
            self.still(underway)?;
        };
        let more = pages.iter().any(|(_, p)| p.more);
        let last = pages.first().and_then(|(_, p)| p.rows.last()).map(|r| r.key.clone());
        let (gate, under, before) = (self.clone(), underway.clone(), after.clone());
        let taken = tokio::task::spawn_blocking(move || gate.stage(&under, of, before.as_ref(), &pages)).await;
        let taken = taken.map_err(|_| Failure::Gate(GateError::Worker))??;
        underway.update(|s| s.taken += taken);
        *after = last;
        Ok(more)
    }

    /// Checks the dealers' parts of a page, adds them up and lays them aside.
    fn stage(
        &self,
        underway: &Underway,
        of: Dealt,
        after: Option<&ByteBuf>,
        pages: &[(u16, DealtRows)],
    ) -> Result<u64, Failure> {
        let own = underway.receiver(self.secrets.identity().id()).ok_or(Failure::GivenUp)?;
        let opened = pages.iter().map(|(dealer, page)| {
            let wrong = |what: &str| Failure::Dealer(*dealer, what.to_owned());
            let context = context(&underway.digest, *dealer, own.number, of, after.map(|a| a.as_slice()));
            let bytes = unwrap(self.secrets.identity().enc_secret(), &context, &page.sealed.0);
            let shares = bytes.ok().and_then(|b| scalars(&b, page.rows.len()));
            Ok((*dealer, page.rows.as_slice(), shares.ok_or_else(|| wrong("sent shares that do not open"))?))
        });
        let opened: Vec<(u16, &[DealtRow], Vec<Scalar>)> = opened.collect::<Result<_, Failure>>()?;
        let count = opened.first().map_or(0, |(_, rows, _)| rows.len());
        let known = self.members().is_ok() && underway.from.get(own.server.id).is_some();
        let rows = (0..count).into_par_iter().map(|n| {
            let row = |(dealer, rows, shares): &(u16, &[DealtRow], Vec<Scalar>)| {
                (*dealer, rows[n].clone(), shares[n].clone())
            };
            let parts: Vec<(u16, DealtRow, Scalar)> = opened.iter().map(row).collect();
            let key = place(of, &parts[0].1.key);
            if known {
                let stored =
                    self.store.read(|s| crate::store::ReadConsents::commitments(s, &key)).map_err(GateError::from)?;
                if stored.map(|c| c.to_bytes()).as_deref() != Some(&parts[0].1.before) {
                    return Err(Failure::Differ(format!(
                        "{}, which this node has otherwise",
                        row_name(of, &parts[0].1.key)
                    )));
                }
            }
            let (share, commitments) = add_up(underway, own, &parts)?;
            let sealed = self.secrets.store_key.seal_scalar(Table::Staged, &key, &share.to_bytes());
            Ok((key, [&sealed.0[..], &commitments.to_bytes()].concat()))
        });
        let rows: Vec<(Vec<u8>, Vec<u8>)> = rows.collect::<Result<_, Failure>>()?;
        self.still(underway)?;
        self.store.write(|txn| {
            rows.iter().try_for_each(|(key, value)| txn.put(Table::Staged, key, value)).map_err(GateError::from)
        })?;
        Ok(rows.len() as u64)
    }

    async fn ask<Q: serde::Serialize, R: serde::de::DeserializeOwned>(
        &self,
        underway: &Arc<Underway>,
        dealer: u16,
        path: &str,
        request: &Q,
    ) -> Result<R, Failure> {
        let node = underway.from.numbered(dealer).ok_or(Failure::GivenUp)?;
        let wrong = |e: CallError| Failure::Dealer(dealer, e.to_string());
        let link = self.replicas.http_link().ok_or_else(|| Failure::Dealer(dealer, "cannot be called".to_owned()))?;
        let peer = link.peer(&node.server).map_err(wrong)?;
        let mut attempt = 0;
        loop {
            match peer.post_cbor(path, request).await {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    // It may not have been told to begin yet.
                    let passes = matches!(
                        error.problem_type(),
                        None | Some(ProblemType::Conflict | ProblemType::Overloaded | ProblemType::Stale)
                    );
                    attempt += 1;
                    if !passes || attempt == ATTEMPTS {
                        return Err(wrong(error));
                    }
                }
            }
            tokio::time::sleep(PAUSE).await;
            self.still(underway)?;
        }
    }

    /// Whether this is still the resharing under way.
    fn still(&self, underway: &Underway) -> Result<(), Failure> {
        let same = self.resharings.get().is_some_and(|u| u.digest == underway.digest);
        if same { Ok(()) } else { Err(Failure::GivenUp) }
    }
}

/// The first row that not all dealers have, or not the same.
fn first_difference(of: Dealt, pages: &[(u16, DealtRows)]) -> String {
    let at = |page: &DealtRows, n: usize| page.rows.get(n).map(|r| (r.key.clone(), r.before.clone()));
    let longest = pages.iter().map(|(_, p)| p.rows.len()).max().unwrap_or(0);
    let differing = (0..longest).find(|n| pages.windows(2).any(|w| at(&w[0].1, *n) != at(&w[1].1, *n)));
    let keys = pages.iter().filter_map(|(_, p)| p.rows.get(differing?).map(|r| &r.key));
    keys.min().map_or_else(|| "how many rows there are".to_owned(), |key| row_name(of, key))
}

fn row_name(of: Dealt, key: &[u8]) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    match (of, GrantKey::parse(key)) {
        (Dealt::Grants, Some(grant)) => {
            format!(
                "the grant of {} to {}, section {:?}, epoch {}",
                grant.owner, grant.reader, grant.section, grant.epoch
            )
        }
        _ => format!("the bridge of member {}", hex(key)),
    }
}

/// This node's new share of one row, and what it is checked against. A part that does not fit names its dealer.
fn add_up(
    underway: &Underway,
    own: &Node,
    parts: &[(u16, DealtRow, Scalar)],
) -> Result<(Scalar, Commitments), Failure> {
    let dealers = &underway.resharing.dealers;
    let (mut commitments, mut shares) = (Vec::new(), Vec::new());
    for (dealer, row, share) in parts {
        let wrong = |what: &str| Failure::Dealer(*dealer, what.to_owned());
        let before = Commitments::from_bytes(&row.before).map_err(|_| wrong("sent what is no commitment"))?;
        let dealt = Commitments::from_bytes(&row.commitments).map_err(|_| wrong("sent what is no commitment"))?;
        let fits = before.threshold() == usize::from(underway.from.threshold)
            && dealt.threshold() == usize::from(underway.to.threshold);
        let own_part = sharing::part_of(&before, *dealer, dealers).is_ok_and(|part| part == dealt.secret());
        if !fits || !own_part {
            return Err(wrong("deals something else than its share"));
        }
        if !dealt.hold(own.number, share) {
            return Err(wrong("sent a share that is not on its polynomial"));
        }
        commitments.push(dealt);
        shares.push(share.clone());
    }
    let all = || Failure::Dealer(parts[0].0, "and the others dealt what cancels out".to_owned());
    let sum = Commitments::sum(&commitments).ok_or_else(all)?;
    Ok((sharing::gather(&shares).map_err(|_| all())?, sum))
}
