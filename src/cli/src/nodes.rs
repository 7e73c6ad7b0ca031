//! `sealdex domain add-node` and `reshare`: a gate of several nodes.

use std::time::Duration;

use http::Method;
use indicatif::{ProgressBar, ProgressStyle};
use sealdex_client::ceremony::{GATE_KIND, server};
use sealdex_member::keys::write_secrets;
use sealdex_net::{Peer, clock::now_ms, reply::JSON};
use sealdex_wire::{
    B32,
    consent::Accepted,
    roster::Server,
    threshold::{BeginResharing, Nodes, Reshare, Resharing, ResharingState, Sharing},
};

use crate::{
    domain::Authority,
    failure::Failure,
    key_options::KeyOptions,
    places::{AuthorityDir, write_json},
};

/// Pause between looks at how far nodes are.
const PAUSE: Duration = Duration::from_millis(250);

/// An address for each node: those given, and then ten ports on from the one before.
pub(crate) fn addresses(given: Vec<String>, gates: Option<u16>) -> Result<Vec<String>, Failure> {
    let Some(gates) = gates else { return Ok(given) };
    let mut urls = given;
    while urls.len() < usize::from(gates) {
        let last = urls.last().cloned().unwrap_or_default();
        let next =
            last.rsplit_once(':').and_then(|(base, port)| Some((base, port.parse::<u16>().ok()?.checked_add(10)?)));
        let (base, port) = next.ok_or_else(|| {
            Failure::new(format!("no address follows from {last}: give --gate-url once for each of the {gates} nodes"))
        })?;
        urls.push(format!("{base}:{port}"));
    }
    if urls.len() > usize::from(gates) {
        return Err(Failure::new(format!("{} addresses for {gates} nodes", urls.len())));
    }
    Ok(urls)
}

pub(crate) fn say_how_to_serve(dir: &AuthorityDir, urls: &[String]) {
    for (number, url) in (1..).zip(urls) {
        let listen = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        let keys = dir.node(number);
        println!("  sealdex serve gate --keys {} --store gate-{number}.redb --listen {listen}", keys.display());
    }
}

/// Makes the keys of a node that is to join.
pub(crate) fn add(dir: &AuthorityDir, url: &str, keys: &KeyOptions) -> Result<(), Failure> {
    let (ceremony, _) = dir.open(keys)?;
    if ceremony.roster.sharing.is_none() {
        return Err(Failure::new(
            "this domain has a single gate, which no node can join: found one with `domain init --gates 3 --threshold 2`",
        ));
    }
    let taken = ceremony.roster.gates.iter().filter_map(|g| g.node).max().unwrap_or(0);
    let mut number = taken + 1;
    while dir.prepared(number).exists() || dir.node(number).exists() {
        number += 1;
    }
    let file = ceremony.new_node();
    write_secrets(&dir.node(number), GATE_KIND, &file, keys.to_write()?.as_ref())?;
    write_json(&dir.prepared(number), &server(&file.seed, url, Some(number)))?;
    println!("Node {number} is prepared. Start it,");
    let listen = url.split_once("://").map_or(url, |(_, rest)| rest);
    println!("  sealdex serve gate --keys {} --store gate-{number}.redb --listen {listen}", dir.node(number).display());
    println!("then have it dealt its shares: sealdex domain reshare --dir {} --with {number}", dir.0.display());
    Ok(())
}

/// The servers of the next sharing.
fn next_servers(authority: &Authority, with: &[u16], without: &[u16]) -> Result<Vec<Server>, Failure> {
    let mut servers = authority.ceremony.roster.gates.clone();
    for number in without {
        let before = servers.len();
        servers.retain(|s| s.node != Some(*number));
        if servers.len() == before {
            return Err(Failure::new(format!("the gate has no node {number}: sealdex domain show lists them")));
        }
    }
    for number in with {
        let path = authority.dir.prepared(*number);
        let text = std::fs::read(&path).map_err(|e| {
            Failure::new(format!("{}: {e}; prepare node {number} with `sealdex domain add-node`", path.display()))
        })?;
        let server: Server = serde_json::from_slice(&text)?;
        if servers.iter().any(|s| s.node == server.node) {
            return Err(Failure::new(format!("node {number} belongs to the gate already")));
        }
        servers.push(server);
    }
    Ok(servers)
}

/// Shares the gate's scalars anew.
pub(crate) async fn reshare(
    mut authority: Authority,
    with: &[u16],
    without: &[u16],
    threshold: Option<u16>,
) -> Result<(), Failure> {
    let roster = authority.ceremony.roster.clone();
    let from = roster.sharing.ok_or_else(|| Failure::new("this domain has a single gate: it has no shares"))?;
    let to = Sharing { threshold: threshold.unwrap_or(from.threshold), epoch: from.epoch + 1 };
    let servers = next_servers(&authority, with, without)?;
    Nodes::new(to, &servers).map_err(|e| Failure::new(e.to_string()))?;
    let dealers = answering(&authority, &roster.gates, from.threshold).await?;
    let resharing = Resharing {
        domain: roster.domain.clone(),
        from,
        to,
        nodes: servers.clone(),
        dealers: dealers.clone(),
        made_at: now_ms(),
    };
    let begin =
        BeginResharing { resharing: authority.ceremony.sign(&resharing), roster: authority.ceremony.sign(&roster) };
    let begin = Reshare { begin: Some(begin) };
    let mut begun: Vec<Peer> = Vec::new();
    let is_next = |s: &Server| servers.iter().any(|n| n.id == s.id);
    let leaving = roster.gates.iter().filter(|s| !is_next(s));
    for server in leaving.chain(&servers) {
        let peer = authority.peer(server)?;
        match peer.post_json::<_, Accepted>("/v1/reshare", &begin).await {
            Ok(_) => begun.push(peer),
            // One that is left out may be gone, unless it deals.
            Err(_) if !is_next(server) && server.node.is_none_or(|n| !dealers.contains(&n)) => {}
            Err(error) => {
                give_up(&begun).await;
                let node = server.node.unwrap_or(0);
                return Err(Failure::new(format!("node {node} cannot take part: {error}; nothing was changed")));
            }
        }
    }
    match all_taken(&authority, &servers).await {
        Ok(()) => {}
        Err(failure) => {
            give_up(&begun).await;
            return Err(failure);
        }
    }
    (authority.ceremony.roster.gates, authority.ceremony.roster.sharing) = (servers.clone(), Some(to));
    authority.ceremony.roster.version += 1;
    authority.announce(Vec::new()).await?;
    for number in with {
        let _ = std::fs::remove_file(authority.dir.prepared(*number));
    }
    let nodes: Vec<String> = servers.iter().filter_map(|s| s.node).map(|n| n.to_string()).collect();
    println!("The gate's scalars are shared anew: epoch {}, {} of nodes {}.", to.epoch, to.threshold, nodes.join(", "));
    if !without.is_empty() {
        println!("Destroy the stores and key files of the nodes left out: what they hold fits nothing any more, but");
        println!("with as many old shares as it took it would.");
    }
    Ok(())
}

/// Who deals: as many nodes as it takes, of those that answer.
async fn answering(authority: &Authority, servers: &[Server], needed: u16) -> Result<Vec<u16>, Failure> {
    let mut dealers = Vec::new();
    for server in servers {
        let ready = authority.peer(server)?.call(Method::GET, "/readyz", JSON, Default::default()).await;
        if let (Ok(said), Some(number)) = (ready, server.node)
            && said.as_ref() == b"ready\n"
        {
            dealers.push(number);
        }
    }
    if dealers.len() < usize::from(needed) {
        let found = dealers.len();
        return Err(Failure::new(format!(
            "{found} of the gate's nodes are ready, and it takes {needed} to deal: start the others, or wait until they are level"
        )));
    }
    dealers.truncate(needed.into());
    Ok(dealers)
}

/// Waits until every node has laid its new shares aside, all the same.
async fn all_taken(authority: &Authority, servers: &[Server]) -> Result<(), Failure> {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style);
    }
    loop {
        let (mut taken, mut complete): (u64, Vec<B32>) = (0, Vec::new());
        for server in servers {
            let state: ResharingState = authority.peer(server)?.post_json("/v1/reshare/state", &()).await?;
            if let Some(failed) = state.failed {
                let node = server.node.unwrap_or(0);
                return Err(Failure::new(format!(
                    "node {node} does not get its shares: {failed}; nothing was changed"
                )));
            }
            taken += state.taken;
            complete.extend(state.complete);
        }
        bar.set_message(format!("{taken} shares taken in, {} of {} nodes have all", complete.len(), servers.len()));
        bar.tick();
        if complete.len() == servers.len() {
            bar.finish_and_clear();
            let same = complete.windows(2).all(|w| w[0] == w[1]);
            let differ = "the nodes were dealt different shares; nothing was changed";
            return if same { Ok(()) } else { Err(Failure::new(differ)) };
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn give_up(begun: &[Peer]) {
    for peer in begun {
        if let Err(error) = peer.post_json::<_, Accepted>("/v1/reshare", &Reshare { begin: None }).await {
            eprintln!(
                "note: a node was not told that the resharing is given up, and changes nothing until it is: {error}"
            );
        }
    }
}
