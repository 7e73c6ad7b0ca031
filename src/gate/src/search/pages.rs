//! Asking the cloud page by page until enough is permitted.

use std::sync::Arc;

use rayon::prelude::*;
use sealdex_crypto::{PrincipalId, RoutingInfo, TagError, open_tag};
use sealdex_net::trace::Stage;
use sealdex_wire::{
    B32, limits,
    search::{CloudClause, CloudCursor, CloudMatch, CloudMatches, CloudSearch, CloudSort, Scoped},
};

use serde_bytes::ByteBuf;

use super::{
    cursor::Position,
    permit::{Permits, Permitted},
    proving::Proving,
};
use crate::{
    cloud::CloudError,
    error::GateError,
    gate::{Gate, blocking},
    groups::Reader,
    members::Members,
    store::ConsentStore,
};

/// Most matches looked at in one request; beyond it the answer ends early, with a cursor.
const MAX_SCANNED: usize = 1 << 18;

/// Routing tags that one thread opens, 1 µs each.
const SMALL_PAGE: usize = 512;

/// Who asks, for what, and under whose grants.
pub(crate) struct Asker {
    pub(crate) caller: PrincipalId,
    pub(crate) readers: Vec<Reader>,
    pub(crate) purpose: String,
    pub(crate) members: Arc<Members>,
    /// The search, where other nodes have it on record too.
    pub(crate) search: Option<B32>,
}

/// One query at the cloud, and how far it has come.
pub(crate) struct Stream {
    pub(crate) clause: CloudClause,
    pub(crate) sort: Option<CloudSort>,
    pub(crate) position: Position,
    /// Terms of single hospitals, if the cloud is to prove its answers.
    pub(crate) prove: Option<Vec<Scoped>>,
}

/// Gathers up to `limit` permitted matches of a stream; where it ended, and what was found.
pub(crate) async fn gather<S: ConsentStore>(
    gate: &Arc<Gate<S>>,
    members: &Members,
    asker: Arc<Asker>,
    stream: Stream,
    limit: u32,
    proving: Option<Arc<Proving>>,
) -> Result<(Position, Vec<Permitted>), GateError> {
    let cloud = members.cloud().ok_or(CloudError::None)?;
    let Stream { clause, sort, mut position, prove } = stream;
    let mut request = CloudSearch { clause, sort, after: position.after, limit, prove };
    let limit = limit as usize;
    let (mut kept, mut permits, mut scanned): (Vec<Permitted>, _, usize) = (Vec::new(), Permits::default(), 0);
    while !position.done && kept.len() < limit && scanned < MAX_SCANNED {
        request.after = position.after;
        let page = {
            let _stage = Stage::gate("cloud");
            Arc::new(gate.cloud.search(cloud, &request).await?)
        };
        check(&page, request.limit)?;
        let proved = async {
            let Some(proving) = &proving else { return Ok(()) };
            let _stage = Stage::gate("proofs");
            proving.page(members, &request, &page).await
        };
        let permitted = async {
            let _stage = Stage::gate("permit");
            let (gate, asker, page) = (gate.clone(), asker.clone(), page.clone());
            blocking(move || filter(&gate, &asker, permits, &page)).await
        };
        // Of a page that is not proved nothing is used, whoever may read it.
        let (proved, permitted) = tokio::join!(proved, permitted);
        proved?;
        let (mut found, known) = permitted?;
        let (matches, next) = (&page.matches, page.next);
        permits = known;
        let room = limit - kept.len();
        if found.len() > room {
            let used = found[room - 1].0 + 1;
            if request.sort.is_some() {
                // The code of the last match used is not known, so the next page could not start
                // there: ask for a page that ends there instead. It is smaller each time.
                request.limit = used as u32;
                continue;
            }
            found.truncate(room);
            position.after = Some(CloudCursor { code: 0, id: matches[used - 1].0 });
        } else {
            position.done = next.is_none();
            position.after = next.or(position.after);
        }
        scanned += matches.len();
        kept.extend(found.into_iter().map(|(_, p)| p));
        request.limit = next_page(request.limit, limit - kept.len(), scanned, kept.len());
    }
    Ok((position, kept))
}

/// How much to ask next: what the rate of permits so far suggests, with a quarter to spare.
fn next_page(asked: u32, room: usize, scanned: usize, kept: usize) -> u32 {
    let want = match kept {
        0 => asked as usize * 4,
        _ => room.saturating_mul(scanned) / kept * 5 / 4,
    };
    want.clamp(room.clamp(1, limits::PAGE as usize), limits::PAGE as usize) as u32
}

fn check(page: &CloudMatches, asked: u32) -> Result<(), CloudError> {
    if page.matches.len() > asked as usize {
        return Err(CloudError::Protocol("more matches than asked for"));
    }
    if page.next.is_some() && page.matches.is_empty() {
        return Err(CloudError::Protocol("an empty page that is not the last"));
    }
    if page.matches.iter().any(|m| m.1 as usize >= page.providers.len()) {
        return Err(CloudError::Protocol("a match without provider"));
    }
    Ok(())
}

type Filtered = (Vec<(usize, Permitted)>, Permits);

/// Opens the tags of a page and keeps what is permitted, with its place in the page.
fn filter<S: ConsentStore>(
    gate: &Gate<S>,
    asker: &Asker,
    mut permits: Permits,
    page: &CloudMatches,
) -> Result<Filtered, GateError> {
    let CloudMatches { providers, matches, .. } = page;
    let open = |m: &CloudMatch| {
        let mut routing = open_tag(&gate.secrets.tag_key, &m.0, &m.2)?;
        // The padding that keeps all tags of one length.
        routing.section.truncate(routing.section.trim_end().len());
        Ok(routing)
    };
    // Handing a few over to other threads takes longer than opening them.
    let opened: Vec<Result<RoutingInfo, TagError>> = match matches.len() {
        0..=SMALL_PAGE => matches.iter().map(open).collect(),
        _ => matches.par_iter().with_min_len(SMALL_PAGE / 2).map(open).collect(),
    };
    let (now, shared) = (gate.now() / 1000, asker.members.nodes().is_some());
    let mut found = Vec::with_capacity(matches.len());
    gate.store.read(|stored| {
        for (place, (CloudMatch(id, provider, tag), routing)) in matches.iter().zip(opened).enumerate() {
            let routing = match routing {
                Ok(routing) => routing,
                Err(error) => {
                    metrics::counter!("sealdex_gate_bad_tags_total").increment(1);
                    tracing::warn!(record = %id, %error, "a match of the cloud was dropped: its routing tag does not open");
                    continue;
                }
            };
            let provider = providers[*provider as usize];
            if let Some(permit) = permits.of(&routing, provider, asker, now, stored)? {
                let tag = shared.then(|| ByteBuf::from(tag.as_slice()));
                found.push((place, Permitted { id: *id, provider, routing, tag, permit }));
            }
        }
        Ok::<_, GateError>(())
    })?;
    Ok((found, permits))
}

#[cfg(test)]
mod tests {
    use sealdex_crypto::RecordId;

    use super::*;

    #[test]
    fn pages_grow_as_permits_get_rare() {
        assert_eq!(next_page(100, 100, 100, 0), 400, "nothing permitted: four times as much");
        assert_eq!(next_page(100, 50, 100, 50), 125, "every second: twice the rest and a quarter");
        assert_eq!(next_page(100, 10, 100, 100), 12);
        assert_eq!(next_page(16_000, 100, 16_000, 0), limits::PAGE, "never more than a page");
        assert_eq!(next_page(1, 0, 5, 5), 1, "never none");
    }

    #[test]
    fn answers_that_break_the_protocol_are_refused() {
        let m = |p| CloudMatch(RecordId([1; 16]), p, vec![]);
        let page = |matches, next| CloudMatches { providers: vec![PrincipalId([1; 16])], matches, next, proof: None };
        let next = Some(CloudCursor { code: 0, id: RecordId([1; 16]) });
        assert_eq!(check(&page(vec![m(0)], next), 1), Ok(()));
        assert!(check(&page(vec![m(0), m(0)], None), 1).is_err());
        assert!(check(&page(vec![], next), 1).is_err());
        assert!(check(&page(vec![m(1)], None), 1).is_err());
    }
}
