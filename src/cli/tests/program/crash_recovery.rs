//! `kill -9` of provider, cloud and gate at random points of a push, again and again: in the end the cloud
//! has every record exactly once and every answer is exact.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test stops where it cannot go on, and says with which seed

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use sealdex_fhir::Suite;
use sealdex_tests::{World, servers::Place};
use sealdex_wire::ingest::CloudStats;

const EXE: &str = env!("CARGO_BIN_EXE_sealdex");
const QUESTIONS: &str = include_str!("../../../../queries/demo.json");
const KILLS: usize = 18;

fn push(dir: &Path, records: &Path) -> Child {
    let mut command = Command::new(EXE);
    command.args(["push", "--batch", "48", "--provider"]).arg(dir).arg(records);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

async fn stats(world: &World) -> CloudStats {
    let cloud = world.trusted().cloud(&world.http, Some(&world.hospitals[0].keys)).unwrap();
    loop {
        let stats: CloudStats = cloud.get_json("/v1/stats").await.unwrap();
        if stats.indexed == stats.accepted {
            return stats;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn exact(world: &World) {
    let (session, corpus) = (world.session("reader"), world.corpus());
    for doc in &Suite::parse(QUESTIONS, None).unwrap().queries {
        let answer = session.ask(doc).await.unwrap();
        let (expected, figures) = corpus.ask(doc, &world.schema).unwrap();
        let ids = |hits: &[sealdex_fhir::Hit]| {
            hits.iter().map(|h| (h.identity.clone(), h.sources.clone())).collect::<Vec<_>>()
        };
        assert_eq!(ids(&answer.hits), ids(&expected), "{:?}", doc.title);
        assert_eq!(answer.figures, figures, "{:?}", doc.title);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_anywhere_nothing_is_lost_and_nothing_doubled() {
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let home = tempfile::tempdir().unwrap();
    let place = Place::Binary(EXE.into());
    let mut world = World::generated(home.path(), 8, 3, &["reader"], place).await;
    world.enrol_patients().await;
    world.grant_everything("reader").await;
    let mut finished = vec![false; world.hospitals.len()];
    let mut killed = [0; 3];
    for kill in 0..KILLS {
        let h = kill % world.hospitals.len();
        let mut child = push(&world.hospitals[h].dir, &world.hospitals[h].records);
        tokio::time::sleep(Duration::from_millis(random.random_range(20..700))).await;
        let victim = random.random_range(0..3);
        killed[victim] += 1;
        match victim {
            0 => child.kill().unwrap(),
            1 => {
                world.servers.stop_cloud().await;
                tokio::time::sleep(Duration::from_millis(random.random_range(0..150))).await;
                world.servers.start_cloud().await;
            }
            _ => {
                world.servers.stop_gate().await;
                tokio::time::sleep(Duration::from_millis(random.random_range(0..150))).await;
                world.servers.start_gate().await;
            }
        }
        // A push whose server came back goes on by itself; one that gave up is run again below.
        finished[h] |= child.wait().unwrap().success();
    }
    println!(
        "killed: provider {}, cloud {}, gate {}; finished meanwhile: {finished:?}",
        killed[0], killed[1], killed[2]
    );
    for h in &world.hospitals {
        let mut command = Command::new(EXE);
        let last = command.args(["push", "--batch", "48", "--provider"]).arg(&h.dir).arg(&h.records).output().unwrap();
        assert!(last.status.success(), "seed {seed}, {}: {}", h.name, String::from_utf8_lossy(&last.stderr));
    }
    let expected: u64 = world.hospitals.iter().map(|h| world.records(h).len() as u64).sum();
    let now = stats(&world).await;
    assert_eq!(now.records, expected, "every record once (seed {seed})");
    for h in &world.hospitals {
        let listed = now.providers.iter().find(|p| p.0 == h.keys.identity.id());
        assert_eq!(listed.map(|p| p.1), Some(world.records(h).len() as u64), "{} (seed {seed})", h.name);
    }
    exact(&world).await;

    // Once more: nothing to do.
    for h in &world.hospitals {
        assert!(push(&h.dir, &h.records).wait().unwrap().success());
    }
    assert_eq!(stats(&world).await.batches, now.batches, "nothing is sent again");

    // Even a lost journal doubles nothing: records replace themselves.
    let h = &world.hospitals[0];
    std::fs::remove_dir_all(h.dir.join("push.state")).unwrap();
    assert!(push(&h.dir, &h.records).wait().unwrap().success());
    assert_eq!(stats(&world).await.records, expected);
    exact(&world).await;
}
