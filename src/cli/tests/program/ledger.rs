//! The ledger through the program: a witness that is killed and comes back, an anchor on an EVM chain, and a store that is
//! checked against its log.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)] // a test stops where it cannot go on

use sealdex_anchor::PosterKey;

use crate::node::Node;
use crate::stage::{Gate, Stage, free_port, plain, said};

const POSTER: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

fn weight(id: &str) -> String {
    format!(
        r#"{{"resourceType":"Observation","id":"{id}","status":"final","code":{{"coding":[{{"system":"http://loinc.org","code":"29463-7"}}]}},"subject":{{"reference":"Patient/a"}},"valueQuantity":{{"value":70,"unit":"kg"}}}}"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn watched_anchored_and_verified() {
    let mut stage = Stage::set(&["ana"], Gate::Single);
    let port = free_port();
    let (listen, url) = (format!("127.0.0.1:{port}"), format!("http://127.0.0.1:{port}"));
    let key = stage.done(&["witness", "keygen", "--name", "h.example/w1", "--out", "w1.key"]);
    let watch =
        ["witness", "serve", "--keys", "w1.key", "--dir", "w1", "--domain", "domain/domain.json", "--listen", &listen];
    stage.serve(&watch, port);
    let shown = stage.done(&["domain", "ledger", "--dir", "domain", "--witness", key.trim(), &url, "--quorum", "1"]);
    assert!(shown.contains("with 1 of 1 cosignatures"), "{shown}");
    assert!(stage.refused(&["domain", "ledger", "--dir", "domain", "--quorum", "2"]).contains('2'));

    stage.own(&["grant", "--all-owners", "--to", "ana", "--section", "observations"]);
    stage.write("records/more.ndjson", &weight("w3"));
    stage.done(&["push", "--provider", "h1", "records"]);
    let ask = ["query", "--member", "ana", "Observation?code=http://loinc.org|29463-7"];
    let answer = stage.done(&ask);
    assert!(answer.contains("Proved complete for 2 batches (checked by the gate)"), "{answer}");
    stage.done(&["domain", "ledger", "--dir", "domain", "--proofs", "member"]);
    let answer = stage.done(&ask);
    assert!(answer.contains("Proved complete for 2 batches (checked here"), "{answer}");
    assert!(stage.done(&[&ask[..], &["--unverified"]].concat()).contains("Not checked against the log."));

    // Without its witness the log stands still, and says so; what is pushed is stored all the same.
    let mut witness = stage.servers.pop().unwrap();
    witness.kill().unwrap();
    witness.wait().unwrap();
    stage.write("records/late.ndjson", &weight("w4"));
    let pushed = stage.done(&["push", "--provider", "h1", "records"]);
    assert!(pushed.contains("not seen in the log yet"), "{pushed}");
    assert!(stage.refused(&ask).contains("not yet for 3"), "what no quorum has seen is not believed");
    stage.serve(&watch, port);
    let began = std::time::Instant::now();
    loop {
        let output = stage.run(&ask);
        if output.status.success() {
            assert!(said(&output).contains("Proved complete for 3 batches"), "{}", said(&output));
            break;
        }
        assert!(began.elapsed() < std::time::Duration::from_secs(60), "{}", said(&output));
    }

    // The anchor.
    let poster = PosterKey::from_hex(POSTER).unwrap();
    let chain = Node::start(&[poster.address().0.into()]).await;
    stage.write("poster.hex", POSTER);
    stage.done(&["anchor", "keygen", "--out", "poster.key", "--import", "poster.hex"]);
    let rpc = ["--rpc", &chain.url];
    let deployed = stage.done(&[&["anchor", "deploy", "--key", "poster.key"], &rpc[..]].concat());
    let contract = deployed.split_whitespace().find(|w| w.starts_with("0x")).unwrap().trim_end_matches(',');
    let log = ["--contract", contract, "--domain", "domain/domain.json"];
    let check = [&["anchor", "check"], &rpc[..], &log].concat();
    let post = [&["anchor", "post", "--key", "poster.key"], &rpc[..], &log].concat();
    assert!(said(&plain(&stage, &check)).contains("Nothing of sealdex/north/batches is anchored yet."));
    assert!(stage.done(&post).contains("3 entries of sealdex/north/batches are anchored."));
    assert!(stage.done(&post).contains("anchored already"));
    assert!(said(&plain(&stage, &check)).contains("All 3 entries"));
    stage.write("records/later.ndjson", &weight("w5"));
    stage.done(&["push", "--provider", "h1", "records"]);
    let grown = plain(&stage, &check);
    assert!(grown.status.success() && said(&grown).contains("begins with the 3 entries"), "{}", said(&grown));
    assert!(stage.done(&post).contains("4 entries"));

    // The store against its log. A cloud that runs on it keeps others away.
    let verify = ["verify", "--dir", "cloud", "--domain", "domain/domain.json"];
    let busy = plain(&stage, &verify);
    assert_eq!(busy.status.code(), Some(1), "{}", said(&busy));
    stage.servers[0].kill().unwrap();
    stage.servers[0].wait().unwrap();
    let whole = plain(&stage, &verify);
    assert!(whole.status.success() && said(&whole).contains("Nothing differs."), "{}", said(&whole));
    let bundle = stage.path("cloud/log/batches/tile/entries/000.p/4");
    let mut bytes = std::fs::read(&bundle).unwrap();
    bytes[50] ^= 1;
    std::fs::write(&bundle, bytes).unwrap();
    let altered = plain(&stage, &verify);
    assert_eq!(altered.status.code(), Some(2), "{}", said(&altered));
    assert!(said(&altered).contains("differs: "), "{}", said(&altered));
}
