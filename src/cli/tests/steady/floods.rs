//! Many times what a server can take.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use sealdex_client::owner;
use sealdex_tests::{servers::Place, world::DOMAIN};
use tokio::io::AsyncWriteExt as _;

use crate::{
    EXE, finds,
    raw::{Signing, connect, get, read_all, status},
    resident, there, world,
};

/// Bodies of attackers, bytes, and how many at once for each server: 2.2 GB in all for 192 MiB of room.
const BODY: usize = 60 << 20;
const ATTACKERS: usize = 18;
/// What is urgent is answered within this, on a machine that is busy with the flood itself.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends a body again and again, each but for its last bytes, as fast as it is taken. Statuses go into `refused`.
async fn attack(port: u16, head: String, ended: Arc<AtomicBool>, refused: Arc<AtomicU64>) {
    let piece = vec![0; 256 << 10];
    while !ended.load(Ordering::Relaxed) {
        let mut stream = connect(port).await;
        let sending = async {
            stream.write_all(head.as_bytes()).await?;
            for _ in 0..(BODY - 1) / piece.len() {
                stream.write_all(&piece).await?;
            }
            std::io::Result::Ok(())
        };
        let _ = tokio::time::timeout(Duration::from_secs(8), sending).await;
        let (answer, _) = read_all(&mut stream, 2).await;
        match status(&answer) {
            // Refused, given up as too slow, or the connection was gone before the answer was read.
            503 => drop(refused.fetch_add(1, Ordering::Relaxed)),
            0 | 408 => {}
            other => panic!("answered {other}: {answer}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_are_refused_and_memory_is_bounded() {
    let home = tempfile::tempdir().unwrap();
    let world = world(home.path(), 4, 2, Place::Binary(EXE.into())).await;
    world.push(&world.hospitals[0]).await.unwrap();
    assert_eq!(finds(&world, "reader").await.unwrap(), there(&world, &[0]));
    let (cloud, gate) = world.servers.pids();
    let before = resident(cloud).max(resident(gate));

    let (ended, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let by = &world.hospitals[0].keys.identity;
    let roster = &world.ceremony.roster;
    let targets = [
        (world.servers.cloud_port, roster.clouds[0].id, "/v1/batches"),
        (world.servers.gate_port(), roster.gates[0].id, "/v1/bridge"),
    ];
    let mut attackers = Vec::new();
    for (port, to, path) in targets {
        let head = Signing { by, to }.head(path, BODY);
        attackers
            .extend((0..ATTACKERS).map(|_| tokio::spawn(attack(port, head.clone(), ended.clone(), refused.clone()))));
    }
    let watched = ended.clone();
    let watching = tokio::spawn(async move {
        let mut most = 0;
        while !watched.load(Ordering::Relaxed) {
            most = most.max(resident(cloud)).max(resident(gate));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        most
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    // Meanwhile: how the servers are, a question, a push, and an end of access.
    for port in [world.servers.cloud_port, world.servers.gate_port()] {
        let asked = Instant::now();
        assert_eq!(status(&get(port, "/healthz").await), 200);
        assert!(asked.elapsed() < PATIENCE, "{:?}", asked.elapsed());
    }
    assert_eq!(finds(&world, "reader").await.unwrap(), there(&world, &[0]));
    let (gate, reader) = (world.gate(&world.readers["reader"]), world.readers["reader"].identity.id());
    let revocations = world.owners.values().map(|o| o.owner().revocation(DOMAIN, reader, Some("conditions"))).collect();
    let asked = Instant::now();
    owner::revoke_all(&gate, revocations).await.unwrap();
    assert!(asked.elapsed() < PATIENCE, "{:?}", asked.elapsed());
    // Its bodies compete with the flood's for the same room: what a run does not get, the next one may.
    let pushing = Instant::now();
    while let Err(error) = world.push(&world.hospitals[1]).await {
        assert!(pushing.elapsed() < 4 * PATIENCE, "{error}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    ended.store(true, Ordering::Relaxed);
    for attacker in attackers {
        attacker.await.unwrap();
    }
    let most = watching.await.unwrap();
    println!("resident: {} MiB before, at most {} MiB; {refused:?} refused", before >> 20, most >> 20);
    assert!(refused.load(Ordering::Relaxed) > 20, "{refused:?}");
    // Room for bodies, room for batches that wait, what connections hold, and what the allocator does not give back.
    assert!(most < before + (400 << 20), "{} MiB", most >> 20);
    crate::until("all that was accepted is found", 60, async || {
        finds(&world, "reader").await.is_ok_and(|found| found == there(&world, &[0, 1]))
    })
    .await;
}
