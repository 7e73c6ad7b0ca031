//! What was done with an owner's records and consent, as the gate has it on record, or as its nodes have.

use std::collections::{BTreeMap, HashMap};

use sealdex_net::{CallError, Peer};
use sealdex_wire::{
    consent::{Access, AccessKind, AccessList, ListAccesses},
    limits,
};

use super::{Patient, PatientError};

/// Most accesses read in one go.
const MOST: usize = 1_000_000;

/// Everything on record, and which nodes did not tell.
#[derive(Clone, Debug, Default)]
pub struct Accesses {
    /// Oldest first.
    pub all: Vec<Access>,
    /// Nodes that did not answer: pushes that they led are missing.
    pub silent: Vec<u16>,
}

impl Patient {
    /// Everything that was done with this owner's records and consent. Of a gate of several nodes as many are asked as
    /// have, together, every release on record; fewer are an error.
    pub async fn accesses(&self) -> Result<Accesses, PatientError> {
        let Some(nodes) = self.gate.nodes() else {
            return Ok(Accesses { all: on_record(&self.gate).await?, silent: Vec::new() });
        };
        // A release takes `threshold` nodes, so one of any that many is among those it took.
        let needed = nodes.nodes.len() + 1 - usize::from(nodes.threshold);
        let (mut told, mut silent, mut last) = (BTreeMap::new(), Vec::new(), None);
        for (node, peer) in self.gate.each() {
            match on_record(peer).await {
                Ok(rows) => drop(told.insert(*node, rows)),
                Err(error) => {
                    silent.push(*node);
                    last = Some(error);
                }
            }
        }
        match last {
            Some(error) if told.len() < needed => Err(error.into()),
            _ => Ok(Accesses { all: merge(told), silent }),
        }
    }
}

async fn on_record(gate: &Peer) -> Result<Vec<Access>, CallError> {
    let (mut all, mut after) = (Vec::new(), None);
    while all.len() < MOST {
        let request = ListAccesses { after, limit: limits::DOCUMENTS as u32 };
        let found: AccessList = gate.post_json("/v1/accesses", &request).await?;
        all.extend(found.accesses);
        match found.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    Ok(all)
}

/// What several nodes have on record, once each. A search is on record where it was led and where a part was released,
/// under one hash; a push where it was led; everything else everywhere. Rows that look alike are as many as the node has
/// that has most of them.
pub(super) fn merge(told: BTreeMap<u16, Vec<Access>>) -> Vec<Access> {
    let mut all: Vec<Access> = Vec::new();
    let mut alike: HashMap<Vec<u8>, Vec<Access>> = HashMap::new();
    for (node, rows) in told {
        let mut own: HashMap<Vec<u8>, Vec<Access>> = HashMap::new();
        for row in rows {
            let row = Access { node: Some(node), ..row };
            match row.kind {
                AccessKind::Push => all.push(row),
                _ => own.entry(likeness(&row)).or_default().push(row),
            }
        }
        for (key, rows) in own {
            let most = alike.entry(key).or_default();
            if rows.len() > most.len() {
                *most = rows;
            }
        }
    }
    all.extend(alike.into_values().flatten());
    all.sort_by_key(|a| (a.at, a.node, a.place));
    all
}

/// All that is the same in what nodes have on record of one act.
pub(super) fn likeness(access: &Access) -> Vec<u8> {
    let nowhere = sealdex_wire::consent::Place { act: 0, part: 0 };
    sealdex_wire::codec::to_cbor(&Access { place: nowhere, at: 0, node: None, ..access.clone() })
}

#[cfg(test)]
mod tests {
    use sealdex_crypto::PrincipalId;
    use sealdex_wire::{B32, consent::Place};

    use super::*;

    fn row(at: u64, kind: AccessKind, search: Option<u8>) -> Access {
        Access {
            place: Place { act: at, part: 0 },
            at,
            kind,
            caller: PrincipalId([1; 16]),
            purpose: None,
            section: None,
            reader: None,
            count: 1,
            emergency: false,
            search: search.map(|n| B32([n; 32])),
            node: None,
        }
    }

    #[test]
    fn an_act_is_told_once_whoever_has_it_on_record() {
        use AccessKind::{Grant, Push, Search};
        let told = BTreeMap::from([
            (1, vec![row(1, Grant, None), row(3, Search, Some(1)), row(5, Search, Some(2)), row(9, Push, None)]),
            (2, vec![row(2, Grant, None), row(4, Search, Some(1)), row(8, Search, Some(3)), row(10, Push, None)]),
            (3, vec![row(1, Grant, None), row(6, Search, Some(2)), row(7, Search, Some(3)), row(12, Grant, None)]),
        ]);
        let all = merge(told);
        let count = |kind| all.iter().filter(|a| a.kind == kind).count();
        assert_eq!((count(Search), count(Grant), count(Push)), (3, 2, 2), "three searches, each at two nodes");
        // A hash that is used again does not hide a release: the node that has both says so.
        let twice = BTreeMap::from([
            (1, vec![row(1, Search, Some(1))]),
            (2, vec![row(1, Search, Some(1)), row(5, Search, Some(1))]),
            (3, vec![row(5, Search, Some(7))]),
        ]);
        assert_eq!(merge(twice).len(), 3);
    }
}
