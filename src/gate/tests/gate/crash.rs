//! The program killed while it works.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use sealdex_gate::store::{ConsentStore as _, MemoryStore, ReadConsents as _, RedbStore, StoreError};
use sealdex_net::{Peer, Retry, peer::Http};
use sealdex_wire::{
    codec,
    consent::{Accepted, PublishOwners, SubmitGrants},
    roster::{Role, Status},
};

use crate::domain::*;

fn start(dir: &Path) -> (Child, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sealdex-gate"))
        .args(["--listen", "127.0.0.1:0", "--keys"])
        .arg(dir.join("gate.key"))
        .arg("--store")
        .arg(dir.join("gate.redb"))
        .env("RUST_LOG", "warn")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let addr = line.trim().strip_prefix("listening on ").expect("the address").to_owned();
    (child, format!("http://{addr}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_during_grants_the_store_has_each_request_whole_or_not_at_all() {
    const READERS: u8 = 60;
    let dir = tempfile::tempdir().unwrap();
    sealdex_keyfile::write(&dir.path().join("gate.key"), "gate", codec::to_json(&gate_keys()).as_bytes(), None)
        .unwrap();
    let mut d = Domain::over(MemoryStore::default());
    for n in 0..READERS {
        let (key, delta) = d.master.enrol(&mut rand::rng());
        d.parties.push(Party {
            identity: identity(100 + n),
            key,
            delta,
            role: Role::User,
            parent: None,
            status: Status::Active,
            counts_from: None,
            succeeds: None,
        });
    }
    let owner = Owner::new(50);
    let http = Http::new(None).unwrap();
    let peer = |url: &str, who: u8| {
        let peer = Peer::new(http.clone(), url, DOMAIN, d.gate_identity.id(), Some(Arc::new(identity(who)))).unwrap();
        peer.self_certified().with_retry(Retry::NONE)
    };
    let requests: Vec<SubmitGrants> = (0..6)
        .map(|round| {
            let now = sealdex_net::clock::now_ms();
            let section = format!("s{round}");
            let grants = d.parties[5..].iter().map(|p| owner.grant(&p.identity.public(), &section, now)).collect();
            SubmitGrants { grants, shares: Vec::new() }
        })
        .collect();
    for delay in [0, 4, 9, 15, 22, 30] {
        let _ = std::fs::remove_file(dir.path().join("gate.redb"));
        let (mut child, url) = start(dir.path());
        let _: Accepted = peer(&url, 200).put_json("/v1/roster", &d.update()).await.unwrap();
        let sections: Vec<(String, u32)> = (0..6).map(|n| (format!("s{n}"), 0)).collect();
        let sections: Vec<(&str, u32)> = sections.iter().map(|(s, e)| (s.as_str(), *e)).collect();
        let profile = owner.sign_profile(&owner.profile(1, &sections, &[]));
        let _: Accepted =
            peer(&url, 50).post_json("/v1/owners", &PublishOwners { profiles: vec![profile] }).await.unwrap();
        let sender = peer(&url, 50);
        let all = requests.clone();
        let sending = tokio::spawn(async move {
            let mut accepted = 0;
            for request in &all {
                match sender.post_json::<_, Accepted>("/v1/grants", request).await {
                    Ok(_) => accepted += 1,
                    Err(_) => break,
                }
            }
            accepted
        });
        tokio::time::sleep(Duration::from_millis(delay)).await;
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();
        let accepted = sending.await.unwrap();
        let store = RedbStore::open(&dir.path().join("gate.redb")).unwrap();
        let counts = store.read(|s| {
            let count = |n: u32| s.grants_of(owner.id(), Some(&format!("s{n}")), usize::MAX).map(|g| g.len());
            (0..6).map(count).collect::<Result<Vec<_>, StoreError>>()
        });
        let counts = counts.unwrap();
        assert!(counts.iter().all(|n| *n == 0 || *n == usize::from(READERS)), "{counts:?}");
        assert!(
            counts.iter().take(accepted).all(|n| *n > 0),
            "what was acknowledged is there: {accepted} of {counts:?}"
        );
    }
}
