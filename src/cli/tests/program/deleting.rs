//! `kill -9` of provider and cloud at random points of a deletion, again and again: in the end exactly what was named is
//! gone, the store is what was signed, and the table says so.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test stops where it cannot go on, and says with which seed

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use sealdex_fhir::{Record, Suite};
use sealdex_tests::{World, servers::Place};
use sealdex_wire::ingest::CloudStats;

const EXE: &str = env!("CARGO_BIN_EXE_sealdex");
const KILLS: usize = 8;

fn command(provider: &Path, list: &Path) -> Command {
    let mut command = Command::new(EXE);
    command.args(["delete", "--provider"]).arg(provider).arg("--list").arg(list);
    command
}

fn start(provider: &Path, list: &Path) -> Child {
    command(provider, list).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

async fn found(world: &World) -> BTreeSet<String> {
    let doc = Suite::parse(r#"{"resource":"Observation"}"#, None).unwrap().queries.remove(0);
    world.session("ana").ask(&doc).await.unwrap().hits.into_iter().map(|h| h.identity).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_anywhere_what_was_named_is_gone_and_nothing_else() {
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let home = tempfile::tempdir().unwrap();
    let mut world = World::generated(home.path(), 6, 2, &["ana"], Place::Binary(EXE.into())).await;
    world.enrol_patients().await;
    world.grant_everything("ana").await;
    world.push_all().await;
    let dir = world.hospitals[0].dir.clone();
    let records =
        |n: usize| -> BTreeSet<String> { world.records(&world.hospitals[n]).iter().map(Record::identity).collect() };
    let (own, others) = (records(0), records(1));
    let there: BTreeSet<String> = found(&world).await;
    let mut left: Vec<String> = own.difference(&others).cloned().collect();
    let mut gone = BTreeSet::new();
    for _ in 0..KILLS {
        // Some at a time, each killed somewhere on its way and run again.
        let part: Vec<String> = left.split_off(left.len().saturating_sub(left.len() / 4 + 1));
        let list = home.path().join("list.txt");
        std::fs::write(&list, format!("# gone\n\n{}\n", part.join("\n"))).unwrap();
        let mut deleting = start(&dir, &list);
        tokio::time::sleep(Duration::from_millis(random.random_range(0..250))).await;
        if random.random_bool(0.4) {
            world.servers.stop_cloud().await;
            world.servers.start_cloud().await;
        }
        deleting.kill().unwrap();
        deleting.wait().unwrap();
        let again = command(&dir, &list).output().unwrap();
        assert!(again.status.success(), "seed {seed}: {}", text(&again));
        gone.extend(part);
        let expected: BTreeSet<String> = there.difference(&gone).cloned().collect();
        assert_eq!(found(&world).await, expected, "seed {seed}");
    }
    // What the table says, and what is refused.
    let one = left.pop().unwrap();
    let told =
        Command::new(EXE).args(["delete", "--provider"]).arg(&dir).args([&one, "Observation/none"]).output().unwrap();
    let said = text(&told);
    assert!(told.status.success() && said.contains("1 deleted, 1 not there"), "{said}");
    assert!(said.contains("was not there") && said.contains("Stated in the log's batches"), "{said}");
    for (wrong, says) in [(vec!["Observation"], "names no record"), (vec![], "nothing to delete")] {
        let refused = Command::new(EXE).args(["delete", "--provider"]).arg(&dir).args(&wrong).output().unwrap();
        assert!(!refused.status.success() && text(&refused).contains(says), "{}", text(&refused));
    }
    let cloud = world.trusted().cloud(&world.http, Some(&world.hospitals[0].keys)).unwrap();
    let stats: CloudStats = cloud.get_json("/v1/stats").await.unwrap();
    let all = world.hospitals.iter().map(|h| world.records(h).len() as u64).sum::<u64>();
    assert_eq!(stats.records, all - gone.len() as u64 - 1, "seed {seed}");
    // Nothing of it is left once the cloud was compacted, and the store is what was signed.
    world.servers.stop_cloud().await;
    let pack = home.path().join("pack.json");
    std::fs::write(&pack, serde_json::to_vec(&world.pack).unwrap()).unwrap();
    let verify = || {
        Command::new(EXE)
            .args(["verify", "--dir"])
            .arg(world.servers.cloud_dir())
            .arg("--domain")
            .arg(&pack)
            .output()
            .unwrap()
    };
    assert!(verify().status.success(), "seed {seed}: {}", text(&verify()));
    sealdex_cloud::compact(&world.servers.cloud_dir()).unwrap().unwrap();
    world.servers.start_cloud().await;
    let expected: BTreeSet<String> = there.difference(&gone).filter(|r| **r != one).cloned().collect();
    while world.session("ana").ask(&Suite::parse(r#"{"resource":"Patient"}"#, None).unwrap().queries[0]).await.is_err()
    {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(found(&world).await, expected, "seed {seed}");
}
