//! `sealdex erase`, through the program: refused unless it is meant, done by hospitals, told with exit codes.
#![allow(clippy::unwrap_used)] // a test stops where it cannot go on

use std::{
    path::Path,
    process::{Command, Output},
};

use sealdex_client::{WALLET_KIND, Wallet};
use sealdex_tests::{World, servers::Place};
use sealdex_wire::codec;

const EXE: &str = env!("CARGO_BIN_EXE_sealdex");

fn sealdex(args: &[&str]) -> Output {
    Command::new(EXE).args(args).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Code and text of `sealdex erase` for one patient.
fn erase(wallet: &Path, pack: &Path, label: &str, more: &[&str]) -> (i32, String) {
    let (wallet, pack) = (wallet.to_str().unwrap(), pack.to_str().unwrap());
    let mut args = vec!["erase", "--wallet", wallet, "--domain", pack, "--owner", label];
    args.extend(more);
    let output = sealdex(&args);
    (output.status.code().unwrap(), text(&output))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patient_erases_hospitals_end_it_and_the_status_says_so() {
    let home = tempfile::tempdir().unwrap();
    let mut world = World::generated(home.path(), 3, 2, &["ana"], Place::Binary(EXE.into())).await;
    world.enrol_patients().await;
    world.grant_everything("ana").await;
    world.push_all().await;
    let authority = world.ceremony.roster.authority;
    let mut wallet = Wallet::new("test", authority);
    wallet.owners = world.owners.clone();
    let (file, pack) = (home.path().join("wallet.key"), home.path().join("pack.json"));
    sealdex_keyfile::replace(&file, WALLET_KIND, codec::to_json(&wallet).as_bytes(), None).unwrap();
    std::fs::write(&pack, serde_json::to_vec(&world.pack).unwrap()).unwrap();
    let label = world.owners.keys().next().unwrap().as_str();

    let (mut code, mut said) = erase(&file, &pack, label, &["--status"]);
    // Until the log of acts has its first checkpoint.
    for _ in 0..100 {
        if code == 3 {
            break;
        }
        assert!(said.contains("published a checkpoint"), "{said}");
        std::thread::sleep(std::time::Duration::from_millis(100));
        (code, said) = erase(&file, &pack, label, &["--status"]);
    }
    assert!(code == 3 && said.contains("has ordered nothing"), "{said}");
    let (code, said) = erase(&file, &pack, label, &["--section", "observations"]);
    assert!(code == 1 && said.contains("cannot be taken back") && said.contains("--yes"), "{said}");
    let (code, said) = erase(&file, &pack, label, &["--section", "nonsense", "--yes"]);
    assert!(code == 1 && said.contains("no section \"nonsense\""), "{said}");
    let (code, said) = erase(&file, &pack, label, &["--section", "observations", "--yes"]);
    assert!(code == 0 && said.contains("sections of") && said.contains("are erased"), "{said}");
    let (code, said) = erase(&file, &pack, label, &["--section", "observations", "--yes"]);
    assert!(code == 1 && said.contains("no section \"observations\" left"), "{said}");
    let (code, said) = erase(&file, &pack, label, &["--again"]);
    assert!(code == 0 && said.contains("1 orders of") && said.contains("0 grants ended"), "{said}");
    let (code, said) = erase(&file, &pack, label, &["--status"]);
    assert!(code == 3 && said.contains("in force") && said.contains("Not done yet"), "{said}");

    // One hospital by its own command, the others when they push.
    let dir = |n: usize| world.hospitals[n].dir.to_str().unwrap().to_owned();
    let by_hand = sealdex(&["erase", "--provider", &dir(0)]);
    assert!(by_hand.status.success(), "{}", text(&by_hand));
    let again = sealdex(&["erase", "--provider", &dir(0)]);
    assert!(text(&again).contains("Nothing is to be erased"), "{}", text(&again));
    let mut said = text(&by_hand);
    for h in &world.hospitals[1..] {
        let pushed = sealdex(&["push", "--provider", h.dir.to_str().unwrap(), h.records.to_str().unwrap()]);
        assert!(pushed.status.success(), "{}", text(&pushed));
        said += &text(&pushed);
    }
    assert!(said.contains("records were erased by order of their patients; stated in the log's batches"), "{said}");
    let mut last = (3, String::new());
    for _ in 0..100 {
        last = erase(&file, &pack, label, &["--status"]);
        if last.0 == 0 {
            break;
        }
        // Until the log of acts has the order.
        assert!(last.1.contains("not yet"), "{}", last.1);
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert!(last.0 == 0 && last.1.contains("Done: everything found has ended"), "{}", last.1);
    let log = sealdex(&[
        "access-log",
        "--wallet",
        file.to_str().unwrap(),
        "--domain",
        pack.to_str().unwrap(),
        "--owner",
        label,
    ]);
    assert!(text(&log).contains("ordered to erase"), "{}", text(&log));
}
