//! Servers replaced while they are used.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{
    EXE, finds, limited,
    raw::{get, status},
    there, until, world,
};

#[tokio::test(flavor = "multi_thread")]
async fn rolling_restarts_fail_no_request() {
    let home = tempfile::tempdir().unwrap();
    // Long enough that whoever looks for the notice gets to run within it, on whatever machine.
    let place = limited(home.path(), r#"set -- "$@" --stop-notice 4"#);
    let mut world = world(home.path(), 4, 2, place).await;
    world.push(&world.hospitals[0]).await.unwrap();
    let session = world.session("reader");
    let (done, expected) = (Arc::new(AtomicBool::new(false)), there(&world, &[0]));
    let asking = {
        let done = done.clone();
        tokio::spawn(async move {
            let doc = sealdex_fhir::Suite::parse(r#"{"resource":"Observation"}"#, None).unwrap().queries.remove(0);
            let mut asked = 0;
            while !done.load(Ordering::Relaxed) {
                let mut found: Vec<String> =
                    session.ask(&doc).await.unwrap().hits.into_iter().map(|h| h.identity).collect();
                found.sort();
                assert_eq!(found, expected);
                asked += 1;
            }
            asked
        })
    };
    // Everything of the first hospital again and again: without a journal all of it is sent.
    let h = &world.hospitals[0];
    let (dir, records, pushing_done) = (h.dir.clone(), h.records.clone(), done.clone());
    let pushing = tokio::task::spawn_blocking(move || {
        let mut pushed = 0;
        while !pushing_done.load(Ordering::Relaxed) {
            let _ = std::fs::remove_dir_all(dir.join("push.state"));
            let mut push = std::process::Command::new(EXE);
            let output = push.args(["push", "--batch", "16", "--provider"]).arg(&dir).arg(&records).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            pushed += 1;
        }
        pushed
    });
    for _ in 0..5 {
        let port = world.servers.cloud_port;
        let noticed = tokio::spawn(async move {
            // It says that it stops before it does.
            until("readyz refuses", 5, async || {
                let said = get(port, "/readyz").await;
                status(&said) == 503 && said.contains("stopping") && said.contains("connection: close")
            })
            .await;
        });
        assert!(world.servers.end_cloud().await, "the cloud stops without complaint");
        noticed.await.unwrap();
        world.servers.start_cloud().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(world.servers.end_gate().await, "the gate stops without complaint");
        world.servers.start_gate().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    done.store(true, Ordering::Relaxed);
    let (asked, pushed): (u32, u32) = (asking.await.unwrap(), pushing.await.unwrap());
    println!("{asked} questions and {pushed} pushes over ten restarts, none failed");
    assert!(asked >= 5 && pushed >= 1);
    assert_eq!(finds(&world, "reader").await.unwrap(), there(&world, &[0]));
}
