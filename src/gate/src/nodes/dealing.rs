//! The side that deals: this node's shares, dealt again to the nodes of the next sharing, and the rest of its rows for
//! those that are new.

use std::sync::Arc;

use rand::{SeedableRng as _, rngs::StdRng};
use rayon::prelude::*;
use sealdex_crypto::{PrincipalId, Scalar, sharing, wrap};
use sealdex_wire::{
    group::Sealed,
    threshold::{CopiedRows, CopyRows, Deal, Dealt, DealtRow, DealtRows, Node},
};
use serde_bytes::ByteBuf;
use zeroize::Zeroizing;

use super::{NodeRefusal, resharing::Underway};
use crate::{
    error::GateError,
    family::ROTATED,
    gate::{Gate, blocking},
    secrets::SealedScalar,
    store::{ConsentStore, GrantRow, ReadConsents as _, Snapshot, StoreError, Table},
};

/// Rows in one answer.
const PAGE: usize = 1024;

/// Tables that a node which is new is given, in this order; scalars come dealt.
pub(crate) const COPIED: [Table; 15] = [
    Table::Profiles,
    Table::Grants,
    Table::GrantTerms,
    Table::GrantsByReader,
    Table::Tombstones,
    Table::Groups,
    Table::Family,
    Table::Wakes,
    Table::Requests,
    Table::RequestsBy,
    Table::Mandates,
    Table::MandatesTo,
    Table::Erasures,
    Table::Known,
    Table::Meta,
];

/// What the shares of one page are bound to.
pub(crate) fn context(digest: &[u8; 32], dealer: u16, receiver: u16, of: Dealt, after: Option<&[u8]>) -> Vec<u8> {
    let kind = if of == Dealt::Grants { b'g' } else { b'b' };
    let numbers = [dealer.to_be_bytes(), receiver.to_be_bytes()].concat();
    [b"reshare".as_slice(), digest, &numbers, &[kind], after.unwrap_or_default()].concat()
}

pub(crate) fn table(of: Dealt) -> Table {
    match of {
        Dealt::Bridges => Table::Bridges,
        Dealt::Grants => Table::Grants,
    }
}

/// The key under which a row is laid aside, and its commitments are kept.
pub(crate) fn place(of: Dealt, key: &[u8]) -> Vec<u8> {
    let kind = if of == Dealt::Grants { b'g' } else { b'b' };
    [&[kind], key].concat()
}

impl<S: ConsentStore> Gate<S> {
    fn dealing_to(&self, caller: PrincipalId) -> Result<(Arc<Underway>, u16, Node), GateError> {
        let none = || NodeRefusal::BadResharing("none is under way here".to_owned());
        let underway = self.resharings.get().ok_or_else(none)?;
        let own = underway.from.get(self.secrets.identity().id()).ok_or_else(none)?.number;
        let receiver = underway.receiver(caller).ok_or(NodeRefusal::NotANode(caller))?.clone();
        if !underway.resharing.dealers.contains(&own) {
            return Err(NodeRefusal::BadResharing("this node does not deal in it".to_owned()).into());
        }
        Ok((underway, own, receiver))
    }

    /// Deals one page of this node's shares to a node of the next sharing. As many base multiplications a row as the next
    /// sharing takes nodes.
    ///
    /// # Errors
    /// [`GateError`].
    pub async fn deal(self: &Arc<Self>, caller: PrincipalId, request: Deal) -> Result<DealtRows, GateError> {
        let (underway, own, receiver) = self.dealing_to(caller)?;
        if underway.to.epoch != request.epoch {
            return Err(NodeRefusal::Epoch { own: underway.to.epoch, found: request.epoch }.into());
        }
        let gate = self.clone();
        blocking(move || {
            let (rows, more) = gate.store.read(|s| page(s, table(request.of), request.after.as_ref()))?;
            let deal =
                |(key, value): &(Vec<u8>, Vec<u8>)| gate.deal_row(&underway, own, &receiver, request.of, key, value);
            let dealt: Vec<(DealtRow, Scalar)> = rows.par_iter().map(deal).collect::<Result<_, GateError>>()?;
            let mut shares = Zeroizing::new(Vec::with_capacity(32 * dealt.len()));
            dealt.iter().for_each(|(_, share)| shares.extend_from_slice(&*share.to_bytes()));
            let context = context(
                &underway.digest,
                own,
                receiver.number,
                request.of,
                request.after.as_deref().map(|a| a.as_slice()),
            );
            let sealed = wrap(&receiver.keys.enc(), &context, &shares, &mut rand::rng());
            Ok::<_, GateError>(DealtRows {
                rows: dealt.into_iter().map(|(row, _)| row).collect(),
                sealed: Sealed(sealed),
                more,
            })
        })
        .await
    }

    fn deal_row(
        &self,
        underway: &Underway,
        own: u16,
        receiver: &Node,
        of: Dealt,
        key: &[u8],
        value: &[u8],
    ) -> Result<(DealtRow, Scalar), GateError> {
        let damaged = || StoreError::Row(table(of).name());
        let sealed = match of {
            Dealt::Bridges => SealedScalar(value.try_into().map_err(|_| damaged())?),
            Dealt::Grants => GrantRow::parse(value).ok_or_else(damaged)?.rk,
        };
        let bytes = self.secrets.store_key.open_scalar(table(of), key, &sealed)?;
        let share = Scalar::from_bytes(&bytes).map_err(|_| damaged())?;
        let before = self.store.read(|s| s.commitments(&place(of, key)))?;
        let before = before.ok_or(StoreError::Row(Table::Commitments.name()))?;
        // The same polynomial for every node that asks, and for nobody else: no state has to be kept of it.
        let seed = self.secrets.store_key.derive_seed(&[b"reshare", &underway.digest, &place(of, key)]);
        let (dealers, to) = (&underway.resharing.dealers, underway.to.numbers());
        let dealt = sharing::redeal(own, dealers, &share, underway.to.threshold, &to, &mut StdRng::from_seed(*seed));
        let dealt = dealt.map_err(|e| NodeRefusal::BadResharing(e.to_string()))?;
        let part = dealt.shares.into_iter().find(|(n, _)| *n == receiver.number).map(|(_, s)| s);
        let row = DealtRow {
            key: ByteBuf::from(key),
            before: ByteBuf::from(before.to_bytes()),
            commitments: ByteBuf::from(dealt.commitments.to_bytes()),
        };
        Ok((row, part.ok_or(NodeRefusal::NotANode(receiver.server.id))?))
    }

    /// One page of a table, without scalars, for a node of the next sharing.
    ///
    /// # Errors
    /// [`GateError`].
    pub async fn copy_rows(self: &Arc<Self>, caller: PrincipalId, request: CopyRows) -> Result<CopiedRows, GateError> {
        self.dealing_to(caller)?;
        let wanted = COPIED.into_iter().find(|t| t.name() == request.table);
        let table = wanted.ok_or_else(|| NodeRefusal::BadResharing(format!("no table {} is copied", request.table)))?;
        let gate = self.clone();
        blocking(move || {
            let (rows, more) = gate.store.read(|s| page(s, table, request.after.as_ref()))?;
            // Of the settings, only which factors were applied.
            let concerns = |key: &[u8]| table != Table::Meta || key.starts_with(ROTATED);
            let more = more && rows.last().is_some_and(|(key, _)| concerns(key));
            let rows: Vec<_> = rows.into_iter().filter(|(key, _)| concerns(key)).collect();
            let without_scalar = |(key, value): (Vec<u8>, Vec<u8>)| {
                if table != Table::Grants {
                    return Ok((ByteBuf::from(key), ByteBuf::from(value)));
                }
                let row = GrantRow::parse(&value).ok_or(StoreError::Row(table.name()))?;
                let row = GrantRow { rk: SealedScalar([0; 48]), ..row };
                Ok((ByteBuf::from(key), ByteBuf::from(row.to_bytes())))
            };
            let rows = rows.into_iter().map(without_scalar).collect::<Result<_, StoreError>>()?;
            Ok::<_, GateError>(CopiedRows { rows, more })
        })
        .await
    }
}

type Page = (Vec<(Vec<u8>, Vec<u8>)>, bool);

fn page(stored: &dyn Snapshot, table: Table, after: Option<&ByteBuf>) -> Result<Page, GateError> {
    // The shortest key beyond the last one.
    let first = || if table == Table::Meta { ROTATED.to_vec() } else { Vec::new() };
    let from = after.map_or_else(first, |key| [key.as_slice(), &[0]].concat());
    let mut rows = stored.range(table, &from, None, PAGE + 1)?;
    let more = rows.len() > PAGE;
    rows.truncate(PAGE);
    Ok((rows, more))
}
