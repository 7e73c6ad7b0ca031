//! Turns: a node charges a member for what another node leads, and bridges its part of the member's tokens.
//!
//! The lead puts the parts together, each checked against what the authority (or who enrolled the member) committed to,
//! so that a wrong one names its node. It serves only what enough nodes have charged for: a member does not get a budget
//! from each.

use std::{collections::HashMap, sync::Arc};

use rayon::prelude::*;
use sealdex_crypto::{
    Point, PointError, PrincipalId, Scalar, decode_many,
    dleq::{prove_many, verify_many},
    encode_many, mul_many, mul_points,
    shamir::combine,
    sharing::Commitments,
};
use sealdex_wire::{
    B32, RawPoint,
    auth::sha256,
    limits,
    threshold::{Nodes, TakeTurn, Turn, WithTurns},
};

use super::NodeRefusal;
use crate::{
    bridge::{BridgeRefusal, bridge_scalar},
    error::{CallerRefusal, GateError, at_most},
    gate::{Gate, blocking},
    members::Members,
    store::{AuditEntry, AuditKind, ConsentStore, ReadConsents as _, Spent, StoreError, Table},
};

/// Points that one task decodes or multiplies.
const TOGETHER: usize = 256;

/// How tokens of section 8b become what terms are made of.
pub(crate) enum Bridges {
    /// Not at all: the gate holds no scalar for this member.
    None,
    /// By the scalar.
    Whole(sealdex_crypto::BridgeScalar),
    /// By what the nodes made of them together.
    Together(HashMap<[u8; 33], [u8; 33]>),
}

impl Bridges {
    /// `K·P` of each `T_i`. One multiplication a point, eight points at a time where the processor can; or a look-up.
    pub(crate) fn apply(&self, caller: PrincipalId, points: &[Point]) -> Result<Vec<[u8; 33]>, BridgeRefusal> {
        match self {
            Self::None => Err(BridgeRefusal::NoBridge(caller)),
            Self::Whole(delta) => {
                Ok(points.par_chunks(TOGETHER).flat_map_iter(|some| mul_many(some, delta.scalar())).collect())
            }
            Self::Together(known) => {
                let of = |p: &[u8; 33]| known.get(p).copied().ok_or(BridgeRefusal::NoTurn);
                encode_many(points).iter().map(of).collect()
            }
        }
    }
}

fn spent([tokens, ranges, entries]: [u64; 3]) -> Spent {
    Spent { tokens, ranges, entries }
}

impl<S: ConsentStore> Gate<S> {
    /// How a member's tokens are bridged for a request: by this gate, or by its nodes together.
    pub(crate) fn bridges(
        &self,
        caller: PrincipalId,
        members: &Members,
        turns: Option<&WithTurns>,
        needed: Spent,
    ) -> Result<Bridges, GateError> {
        match turns {
            Some(turns) => self.together(caller, members, turns, needed),
            None => {
                self.single(members)?;
                self.whole_bridge(caller)
            }
        }
    }

    /// How this gate bridges a member's tokens by itself, if it is a single one.
    fn whole_bridge(&self, caller: PrincipalId) -> Result<Bridges, GateError> {
        let delta = self.store.read(|s| bridge_scalar(&self.secrets, s, caller))?;
        Ok(delta.map_or(Bridges::None, Bridges::Whole))
    }

    /// Charges an active member for a request to another node, and multiplies its tokens by this node's share. One
    /// multiplication a token, and for the proof two more.
    ///
    /// # Errors
    /// [`GateError`]; then nothing is signed.
    pub async fn take_turn(self: &Arc<Self>, caller: PrincipalId, taken: TakeTurn) -> Result<Turn, GateError> {
        self.serving()?;
        let _slot = self.slot()?;
        let members = self.members()?;
        let known = members.active(caller)?;
        let (number, epoch) = self.node_of(&members).map(|(own, nodes)| (own.number, nodes.epoch))?;
        at_most("bridged tokens", taken.points.len(), limits::TURN_POINTS)?;
        let spent = spent(taken.spent);
        self.charge(caller, known, &members, spent).await?;
        let gate = self.clone();
        let (partials, proof, taken) = blocking(move || {
            let (partials, proof) = gate.part(caller, &taken.points)?;
            Ok::<_, GateError>((partials, proof, taken))
        })
        .await?;
        let entry = AuditEntry { spent, ..self.entry(AuditKind::Turn, caller, 1, std::iter::empty()) };
        self.journal.record(entry, Vec::new(), Vec::new()).await?;
        let at = self.now();
        let digest = Turn::digest(self.secrets.domain(), caller, &taken, epoch, at);
        let signature = self.secrets.identity().sign(&digest, &mut rand::rng());
        Ok(Turn { node: number, epoch, at, partials, proof: proof.map(Into::into), signature })
    }

    /// This node's part of some tokens, with a proof for all of them.
    fn part(
        &self,
        caller: PrincipalId,
        points: &[RawPoint],
    ) -> Result<(Vec<RawPoint>, Option<sealdex_crypto::DleqProof>), GateError> {
        if points.is_empty() {
            return Ok((Vec::new(), None));
        }
        let share = self.store.read(|s| bridge_scalar(&self.secrets, s, caller))?;
        let share = share.ok_or(BridgeRefusal::NoBridge(caller))?;
        let points = decode(points)?;
        let products: Vec<Point> = multiply(&points, share.scalar());
        let pairs: Vec<(Point, Point)> = points.into_iter().zip(products.iter().copied()).collect();
        let proof = prove_many(share.scalar(), &pairs, &mut rand::rng());
        Ok((products.iter().map(|p| RawPoint(p.to_bytes())).collect(), proof))
    }

    /// Checks that enough other nodes have charged a member for exactly this request, and makes its bridged tokens of
    /// their parts and this node's.
    fn together(
        &self,
        caller: PrincipalId,
        members: &Members,
        request: &WithTurns,
        needed: Spent,
    ) -> Result<Bridges, GateError> {
        let (own, nodes) = self.node_of(members)?;
        let Spent { tokens, ranges, entries } = needed;
        let taken = TakeTurn {
            request: B32(sha256(&[&request.request])),
            spent: [tokens, ranges, entries],
            points: request.points.clone(),
        };
        if request.turns.len() + 1 != usize::from(nodes.threshold) {
            return Err(NodeRefusal::Shared { threshold: nodes.threshold }.into());
        }
        let mut seen = vec![own.number];
        for turn in &request.turns {
            self.check_turn(caller, nodes, &taken, turn)?;
            if seen.contains(&turn.node) {
                return Err(NodeRefusal::Turn("two turns are of one node").into());
            }
            seen.push(turn.node);
        }
        if request.points.is_empty() {
            return Ok(Bridges::Together(HashMap::new()));
        }
        let commitments = self.store.read(|s| s.bridge_commitments(caller))?;
        let commitments = commitments.ok_or(StoreError::Row(Table::Commitments.name()))?;
        let points = decode(&request.points)?;
        let share = self.store.read(|s| bridge_scalar(&self.secrets, s, caller))?;
        let share = share.ok_or(BridgeRefusal::NoBridge(caller))?;
        if !commitments.hold(own.number, share.scalar()) {
            return Err(NodeRefusal::WrongResult { node: own.number, what: "its own share" }.into());
        }
        let mut parts = vec![(own.number, multiply(&points, share.scalar()))];
        for turn in &request.turns {
            parts.push((turn.node, checked_part(turn, &points, &commitments)?));
        }
        let made = points.par_iter().enumerate().map(|(n, point)| {
            let partials: Vec<(u16, Point)> = parts.iter().map(|(node, part)| (*node, part[n])).collect();
            let bridged = combine(&partials).map_err(|_| NodeRefusal::Turn("the parts of a token cancel out"))?;
            Ok((point.to_bytes(), bridged.to_bytes()))
        });
        Ok(Bridges::Together(made.collect::<Result<_, NodeRefusal>>()?))
    }

    fn check_turn(&self, caller: PrincipalId, nodes: &Nodes, taken: &TakeTurn, turn: &Turn) -> Result<(), GateError> {
        let node = nodes.numbered(turn.node).ok_or(NodeRefusal::Turn("a turn is of no node of this gate"))?;
        if turn.epoch != nodes.epoch {
            return Err(NodeRefusal::Epoch { own: nodes.epoch, found: turn.epoch }.into());
        }
        if self.now().abs_diff(turn.at) > limits::CLOCK_SKEW_MS {
            return Err(NodeRefusal::Turn("a turn is too old, or the nodes' clocks differ").into());
        }
        let digest = Turn::digest(self.secrets.domain(), caller, taken, turn.epoch, turn.at);
        let signed = node.keys.verify(&digest, &turn.signature);
        signed
            .map_err(|_| NodeRefusal::Turn("a turn is for another request or caller, or its node did not sign it"))?;
        Ok(())
    }

    /// Whether this node answers: resumed if it was restored, and in touch with enough others.
    pub(crate) fn serving(&self) -> Result<(), GateError> {
        self.standings.serving()?;
        self.in_touch()
    }

    /// Refuses members that may only count.
    pub(crate) fn may_read(&self, caller: PrincipalId, members: &Members) -> Result<(), GateError> {
        match members.active(caller)?.counts_from {
            None => Ok(()),
            Some(_) => Err(CallerRefusal::CountsOnly(caller).into()),
        }
    }
}

fn decode(points: &[RawPoint]) -> Result<Vec<Point>, NodeRefusal> {
    decoded(points).map_err(|_| NodeRefusal::Turn("a token is no point"))
}

fn decoded(points: &[RawPoint]) -> Result<Vec<Point>, PointError> {
    let decode = |some: &[RawPoint]| decode_many(&some.iter().map(|p| p.0).collect::<Vec<_>>());
    points.par_chunks(TOGETHER).flat_map_iter(decode).collect()
}

fn multiply(points: &[Point], by: &Scalar) -> Vec<Point> {
    points.par_chunks(TOGETHER).flat_map_iter(|some| mul_points(some, by)).collect()
}

/// Another node's part, after its proof.
fn checked_part(turn: &Turn, points: &[Point], commitments: &Commitments) -> Result<Vec<Point>, NodeRefusal> {
    let wrong = |what| NodeRefusal::WrongResult { node: turn.node, what };
    if turn.partials.len() != points.len() {
        return Err(wrong("not one part for each token"));
    }
    let parts = decoded(&turn.partials).map_err(|_| wrong("a part is no point"))?;
    let pairs: Vec<(Point, Point)> = points.iter().copied().zip(parts.iter().copied()).collect();
    let of = commitments.of(turn.node).ok_or(wrong("its place is not on what was committed to"))?;
    let proof = turn.proof.ok_or(wrong("no proof"))?;
    verify_many(&of, &pairs, &proof.into()).map_err(|_| wrong("its proof does not hold"))?;
    Ok(parts)
}
