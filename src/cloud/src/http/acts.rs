//! Acts of gates, for the log of acts. CBOR.

use axum::extract::State;
use sealdex_ledger::SignedAct;
use sealdex_net::{Call, Cbor, Refusal};
use sealdex_wire::{
    ProblemType,
    acts::{ActsTaken, PostActs},
    limits,
};

use super::{Api, blocking, unwritten};

/// `POST /v1/acts`: answered when they are durable; the same ones again change nothing. With none, to ask for the last.
pub(super) async fn post(State(api): State<Api>, call: Call) -> Result<Cbor<ActsTaken>, Refusal> {
    let members = api.domain.members()?;
    let gate = call.caller.id;
    let keys = *members.gate(gate).ok_or_else(|| Refusal::forbidden("only gates of the roster log their acts"))?;
    if !members.ledger() {
        return Err(Refusal::new(ProblemType::Conflict, "this domain has no log of acts: its roster names none"));
    }
    let [most, most_bytes] = limits::ACT_ENTRIES;
    if call.body.len() > most_bytes + most * 16 + 64 {
        return Err(Refusal::malformed(format!("at most {most_bytes} bytes of acts at once")));
    }
    let posted: PostActs = call.cbor()?;
    if posted.entries.len() > most {
        return Err(Refusal::malformed(format!("at most {most} acts at once")));
    }
    let (domain, store) = (api.domain.name.clone(), api.acts.clone());
    let (last, added) = blocking(move || {
        let mut acts = Vec::with_capacity(posted.entries.len());
        for entry in &posted.entries {
            let act = SignedAct::from_entry(entry).map_err(Refusal::malformed)?;
            act.verify(&domain, &keys).map_err(|e| Refusal::new(ProblemType::BadDocument, e.to_string()))?;
            acts.push(act);
        }
        let appended = store.append_acts(gate, &acts).map_err(unwritten)?;
        let last = appended.map_err(|e| Refusal::new(ProblemType::Conflict, e.to_string()))?;
        Ok((last, acts.len() as u64))
    })
    .await?;
    if added > 0 {
        metrics::counter!("sealdex_cloud_acts_total").increment(added);
        api.acts_wake.notify_one();
    }
    Ok(Cbor(ActsTaken { last: last.map(Into::into) }))
}
