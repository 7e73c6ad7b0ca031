//! The parts of an answer, put together: `E' = Σ λ_j·(rk_j·E)` for every capsule (spec section 5).

use std::collections::HashMap;

use sealdex_crypto::{Capsule, Point, RecordId, Reencapsulated, dleq, shamir::combine_many, sharing::Commitments};
use sealdex_net::CallError;
use sealdex_wire::{
    B32, RawPoint,
    search::{MatchGroup, SearchResponse},
    threshold::{Partial, Partials, PartialsRequest, Tagged},
};
use serde_bytes::ByteBuf;

use crate::gate::Linked;

const PATH: &str = "/v1/partials";
/// Times nodes are asked again whose grants differ, because one has just been changed.
const ATTEMPTS: u32 = 6;
/// Pause in between.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// Makes of a lead's answer what a single gate would have answered.
pub(crate) async fn complete(
    linked: &Linked,
    lead: u16,
    turned: &[u16],
    purpose: &str,
    search: B32,
    mut response: SearchResponse,
    prove: bool,
) -> Result<SearchResponse, CallError> {
    if response.groups.is_empty() {
        return Ok(response);
    }
    let capsules = response.groups.iter().map(|g| tagged(linked, g)).collect::<Result<_, _>>()?;
    let request = PartialsRequest { purpose: purpose.to_owned(), search, prove, capsules };
    let (mut attempt, mut behind) = (1, Vec::new());
    let parts = loop {
        let parts = match prove {
            false => {
                let mut others: Vec<u16> = linked.order().into_iter().filter(|n| *n != lead).collect();
                // One that gave a turn first, one that seems to lack something last.
                others.sort_by_key(|n| (behind.contains(n), !turned.contains(n)));
                let mut last = None;
                let answers = linked.take_from(&others, PATH, &request, &mut last).await?;
                let own =
                    response.groups.iter().map(|g| point(linked, lead, &g.reencapsulated)).collect::<Result<_, _>>()?;
                matching(linked, &response.groups, answers).map(|mut parts| {
                    parts.push((lead, own));
                    parts
                })
            }
            true => proved(linked, &response.groups, &request).await?,
        };
        match parts {
            Ok(parts) => break parts,
            Err(Differ { node, owner }) if attempt == ATTEMPTS => {
                let what = format!(
                    "node {node} does not know the same grants of {owner} as node {lead}: one of them is behind; ask again"
                );
                return Err(linked.unusable(PATH, what));
            }
            Err(Differ { node, .. }) => {
                behind.push(node);
                attempt += 1;
            }
        }
        tokio::time::sleep(PAUSE).await;
    };
    let slices: Vec<(u16, &[Point])> = parts.iter().map(|(node, points)| (*node, points.as_slice())).collect();
    let whole = combine_many(&slices).map_err(|e| linked.unusable(PATH, e.to_string()))?;
    for (group, point) in response.groups.iter_mut().zip(whole) {
        (group.reencapsulated, group.tag) = (RawPoint(point), None);
    }
    Ok(response)
}

fn tagged(linked: &Linked, group: &MatchGroup) -> Result<Tagged, CallError> {
    let id = group.ids.first_chunk::<16>().map(|id| RecordId(*id));
    let (id, tag) = id.zip(group.tag.clone()).ok_or_else(|| linked.unusable(PATH, "a match without routing tag"))?;
    let records = u32::try_from(group.ids.len() / 16).unwrap_or(u32::MAX);
    Ok(Tagged { id, provider: group.provider, records, tag })
}

fn point(linked: &Linked, node: u16, raw: &RawPoint) -> Result<Point, CallError> {
    Point::from_bytes(&raw.0).map_err(|_| {
        linked.leave_out(node, "a result is no point");
        linked.unusable(PATH, format!("node {node} sent what is no point"))
    })
}

/// A node that goes by another grant than the lead.
struct Differ {
    node: u16,
    owner: sealdex_crypto::PrincipalId,
}

/// What each node made of each capsule.
type Parts = Result<Vec<(u16, Vec<Point>)>, Differ>;

/// The nodes' results, where all go by the grants that the lead goes by.
fn matching(linked: &Linked, groups: &[MatchGroup], answers: Vec<(u16, Partials)>) -> Parts {
    let mut parts = Vec::with_capacity(answers.len() + 1);
    for (node, answer) in answers {
        let mut points = Vec::with_capacity(groups.len());
        for (n, group) in groups.iter().enumerate() {
            let partial = answer.partials.get(n).and_then(Option::as_ref).filter(|p| fits(p, group));
            let point = partial.filter(|_| answer.epoch == linked.nodes.epoch && answer.node == node);
            let point = point.and_then(|p| Point::from_bytes(&p.point.0).ok());
            points.push(point.ok_or(Differ { node, owner: group.owner })?);
        }
        parts.push((node, points));
    }
    Ok(parts)
}

fn fits(partial: &Partial, group: &MatchGroup) -> bool {
    (partial.reader, partial.generation, partial.x, partial.capsule)
        == (group.reader, group.generation, group.x, group.capsule)
}

/// The results of nodes that prove them. Every node is asked; whoever fails is left out.
async fn proved(linked: &Linked, groups: &[MatchGroup], request: &PartialsRequest) -> Result<Parts, CallError> {
    let needed = usize::from(linked.nodes.threshold);
    let (mut answers, mut last) = (Vec::new(), None);
    for node in linked.order() {
        match linked.peer(node)?.post_cbor::<_, Partials>(PATH, request).await {
            Ok(answer) => answers.push((node, answer)),
            Err(error) => {
                linked.judge(node, &error)?;
                last = Some(error);
            }
        }
    }
    // What the shares are checked against is what as many nodes say as it takes: fewer than that may be corrupt.
    let mut said: Vec<HashMap<ByteBuf, usize>> = vec![HashMap::new(); groups.len()];
    for (_, answer) in &answers {
        for (n, partial) in answer.partials.iter().enumerate().take(groups.len()) {
            if let Some(proof) = partial.as_ref().and_then(|p| p.proof.as_ref()) {
                *said[n].entry(proof.commitments.clone()).or_default() += 1;
            }
        }
    }
    let agreed: Vec<Option<Commitments>> = said
        .into_iter()
        .map(|said| {
            let most = said.into_iter().filter(|(_, count)| *count >= needed).max_by_key(|(_, count)| *count);
            most.and_then(|(bytes, _)| Commitments::from_bytes(&bytes).ok())
        })
        .collect();
    let mut good: Vec<(u16, Vec<Point>)> = Vec::new();
    for (node, answer) in answers {
        match check(groups, &agreed, node, &answer) {
            Ok(points) => good.push((node, points)),
            Err(Lacking::Behind) => tracing::warn!(node, "a node of the gate lacks a grant that others know"),
            Err(Lacking::Wrong(what)) => linked.leave_out(node, what),
        }
    }
    if good.len() < needed {
        return Err(linked.too_few(good.len(), last.as_ref()));
    }
    good.truncate(needed);
    Ok(Ok(good))
}

/// Why a node's results are not used.
enum Lacking {
    /// It does not know the grants that the others know.
    Behind,
    /// They are not what they should be.
    Wrong(&'static str),
}

fn check(
    groups: &[MatchGroup],
    agreed: &[Option<Commitments>],
    node: u16,
    answer: &Partials,
) -> Result<Vec<Point>, Lacking> {
    let claimed = |(n, group): (usize, &MatchGroup)| {
        let partial = answer.partials.get(n).and_then(Option::as_ref).ok_or(Lacking::Behind)?;
        let proof = partial.proof.as_ref().ok_or(Lacking::Wrong("it proves nothing"))?;
        let agreed = agreed[n].as_ref().ok_or(Lacking::Behind)?;
        let of = agreed.of(node).ok_or(Lacking::Wrong("its place is not on what was committed to"))?;
        let capsule = Capsule::from_bytes(&group.capsule.0).map_err(|_| Lacking::Wrong("a capsule is no point"))?;
        let turned =
            Reencapsulated::from_bytes(&partial.point.0).map_err(|_| Lacking::Wrong("a result is no point"))?;
        if partial.capsule != group.capsule {
            return Err(Lacking::Wrong("it turned another capsule"));
        }
        Ok((of, capsule, turned, proof.proof.into()))
    };
    // Up to the first that cannot be checked: what is wrong before it is found all the same.
    let mut unfit = None;
    let claimed = groups.iter().enumerate().map(claimed).map_while(|claim| claim.map_err(|e| unfit = Some(e)).ok());
    let claimed: Vec<(Point, _, _, _)> = claimed.collect();
    let claims: Vec<dleq::Claimed<'_>> = claimed.iter().map(|(of, c, t, proof)| (of, *c, *t, *proof)).collect();
    if dleq::verify_each(&claims).iter().any(Result::is_err) {
        return Err(Lacking::Wrong("a result is not its share's"));
    }
    let points = claimed.iter().map(|(_, _, turned, _)| turned.point()).collect();
    unfit.map_or(Ok(points), Err)
}
