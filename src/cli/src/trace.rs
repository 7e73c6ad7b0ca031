//! `sealdex domain trace`: whose key was found in the wild, and what it means.

use std::path::Path;

use sealdex_crypto::PrincipalId;
use sealdex_member::MemberKeys;
use sealdex_net::CallError;
use sealdex_wire::{
    family::{Trace, TraceMember},
    limits,
    roster::{Role, Roster},
};

use crate::{domain::Authority, failure::Failure, key_options::KeyOptions, output::table, patients::day};

/// The principal behind a key file; or behind an id written in a file, when the key itself is not at hand.
fn principal(path: &Path, keys: &KeyOptions) -> Result<PrincipalId, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| Failure::new(format!("{}: {e}", path.display())))?;
    if let Ok(id) = text.trim().parse::<PrincipalId>() {
        return Ok(id);
    }
    Ok(MemberKeys::read(path, keys.to_read(path)?.as_ref())?.identity.id())
}

fn named(all: &Roster, id: PrincipalId) -> String {
    all.member(id).and_then(|m| m.name.clone()).unwrap_or_else(|| id.to_string())
}

pub(crate) async fn run(
    authority: &mut Authority,
    keyfile: &Path,
    revoke: bool,
    rows: u32,
    keys: &KeyOptions,
) -> Result<(), Failure> {
    let id = principal(keyfile, keys)?;
    let all = authority.everybody().await?;
    let member = all.member(id).ok_or_else(|| {
        Failure::new(format!(
            "{id} is no member of the domain {}: neither its authority nor a provider enrolled it",
            all.domain
        ))
    })?;
    let name = named(&all, id);
    let role = if member.role == Role::Provider { "provider" } else { "user" };
    let path: Vec<String> = all.path(id).unwrap_or_default().iter().skip(1).map(|m| named(&all, m.id)).collect();
    let by = if path.is_empty() { "the authority".to_owned() } else { path.join(", below ") };
    println!("This is the key of {name} ({role}, {id}), enrolled by {by}.");
    let trace = traced(authority, id, rows).await?;
    println!("\nIt could reach {} sections of patients:", trace.reachable_in_all);
    let mut t = table(&["patient", "section", "epochs", "through"]);
    for r in &trace.reachable {
        let through = if r.reader == id { "its own grant".to_owned() } else { format!("group {}", r.reader) };
        t.add_row([r.owner.to_string(), r.section.clone(), r.epochs.to_string(), through]);
    }
    println!("{t}");
    more(trace.reachable.len(), trace.reachable_in_all);
    println!("\nIt did reach {} sections of patients, in {} searches:", trace.reached_in_all, trace.searches);
    let mut t = table(&["patient", "section", "records released", "first", "last"]);
    for r in &trace.reached {
        let (first, last) = (day(r.first_at / 1000), day(r.last_at / 1000));
        t.add_row([r.owner.to_string(), r.section.clone(), r.records.to_string(), first, last]);
    }
    println!("{t}");
    more(trace.reached.len(), trace.reached_in_all);
    let below: Vec<String> = trace.below.iter().map(|b| named(&all, *b)).collect();
    println!(
        "\nIt had {} batches bridged, raised {} alarms, and enrolled {}.",
        trace.batches,
        trace.alarms,
        if below.is_empty() { "nobody".into() } else { below.join(", ") }
    );
    println!(
        "What it shares with every member (token and order secrets, the key of the group of all) is known to its finder too."
    );
    if revoke {
        authority.revoke(&name).await?;
        println!(
            "\n{name} is revoked, and everyone below it. A successor takes over with `sealdex domain enrol --succeeds {name}`."
        );
    } else {
        println!("\nRevoke it, and everyone below it, with --revoke.");
    }
    Ok(())
}

/// What the gate's trail says; of a gate of several nodes, what the trails of all that answer say together.
async fn traced(authority: &Authority, member: PrincipalId, rows: u32) -> Result<Trace, Failure> {
    let gate = authority.gate()?;
    let Some(nodes) = gate.nodes() else {
        return Ok(gate.post_json("/v1/trace", &TraceMember { member, limit: rows }).await?);
    };
    let (mut told, mut silent): (Vec<Trace>, Option<CallError>) = (Vec::new(), None);
    for (_, peer) in gate.each() {
        let limit = rows.max(limits::DOCUMENTS as u32);
        match peer.post_json("/v1/trace", &TraceMember { member, limit }).await {
            Ok(trace) => told.push(trace),
            Err(error) => silent = Some(error),
        }
    }
    // A release takes as many nodes as it does, so one of these was among them.
    let needed = nodes.nodes.len() + 1 - usize::from(nodes.threshold);
    match silent {
        Some(error) if told.len() < needed => return Err(error.into()),
        Some(error) => eprintln!("note: what only this node led is missing: {error}"),
        None => {}
    }
    println!("\nCounts are the highest that one of {} nodes has on record: at least so much.", told.len());
    let together = told.into_iter().reduce(together);
    let mut trace = together.ok_or_else(|| Failure::new("no node of the gate answers"))?;
    trace.reachable.truncate(rows as usize);
    trace.reached.truncate(rows as usize);
    Ok(trace)
}

fn together(mut all: Trace, other: Trace) -> Trace {
    for r in other.reached {
        match all.reached.iter_mut().find(|a| (a.owner, &a.section) == (r.owner, &r.section)) {
            None => all.reached.push(r),
            Some(a) => {
                (a.records, a.first_at) = (a.records.max(r.records), a.first_at.min(r.first_at));
                a.last_at = a.last_at.max(r.last_at);
            }
        }
    }
    all.reached_in_all = all.reached_in_all.max(other.reached_in_all).max(all.reached.len() as u64);
    all.searches = all.searches.max(other.searches);
    all.batches += other.batches;
    all.alarms = all.alarms.max(other.alarms);
    all
}

fn more(shown: usize, in_all: u64) {
    if in_all > shown as u64 {
        println!("… and {} more (--rows shows them)", in_all - shown as u64);
    }
}
