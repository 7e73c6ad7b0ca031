//! Nodes that answer garbage, too much, nothing, or lies.

use std::time::{Duration, Instant};

use sealdex_anchor::{Anchor, Error, Terms};
use sealdex_net::CallError;
use serde_json::{Value, json};

use crate::{
    client::{ORIGIN, Scene, grow, terms},
    node::Fault,
    trees::honest,
};

/// All a post calls, up to sending.
const BEFORE: [&str; 7] = [
    "eth_call",
    "eth_chainId",
    "eth_estimateGas",
    "eth_feeHistory",
    "eth_maxPriorityFeePerGas",
    "eth_getTransactionCount",
    "eth_sendRawTransaction",
];

fn unusable() -> Vec<Fault> {
    let bodies = [
        "",
        "no",
        "[]",
        "null",
        "{}",
        "{\"jsonrpc\":\"2.0\",\"id\":1}",
        "{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":\"0x1\"}",
    ];
    let deep = "[".repeat(100_000);
    let bodies = bodies.into_iter().map(String::from).chain([deep, "{\"id\":1,\"result\":\"0x1\"}".into()]);
    let values = [
        json!(null),
        json!(17),
        json!("0x"),
        json!("17"),
        json!("0x-1"),
        json!("0xzz"),
        json!(format!("0x{}", "f".repeat(33))),
        json!([]),
        json!({}),
        json!({ "baseFeePerGas": [] }),
        json!({ "baseFeePerGas": [1] }),
        json!({ "baseFeePerGas": "0x1" }),
    ];
    bodies.map(Fault::Body).chain(values.map(Fault::Result)).collect()
}

#[tokio::test]
async fn garbage_is_an_error_that_names_the_method() {
    let (scene, anchor) = Scene::deployed().await;
    let log = honest(3);
    for method in BEFORE {
        for fault in unusable() {
            scene.node.fail(method, fault);
            let error = grow(&anchor, &scene.poster, &log, 3).await.unwrap_err();
            // A call that returns nothing is one to an account without code.
            let no_contract = method == "eth_call" && matches!(error, Error::OtherCode(_));
            assert!(
                matches!(error, Error::BadAnswer { method: at, .. } if at == method) || no_contract,
                "{method}: {error}"
            );
            scene.node.heal();
        }
    }
    // None of this has sent anything twice, and now it works.
    grow(&anchor, &scene.poster, &log, 3).await.unwrap();
    assert_eq!(scene.node.transactions(), 2);
}

#[tokio::test]
async fn too_much_and_nothing_end_in_time_and_no_secret_of_the_address_is_shown() {
    let (scene, anchor) = Scene::deployed().await;
    let huge = "x".repeat(300 << 10);
    for fault in [Fault::Endless, Fault::Body(huge), Fault::Silence, Fault::Status(429), Fault::Status(302)] {
        for method in BEFORE {
            scene.node.fail(method, fault.clone());
            let started = Instant::now();
            let error = grow(&anchor, &scene.poster, &honest(3), 3).await.unwrap_err();
            assert!(started.elapsed() < Duration::from_secs(5));
            assert!(matches!(error, Error::Call(_)), "{method}: {error}");
            assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
            scene.node.heal();
        }
    }
    grow(&anchor, &scene.poster, &honest(3), 3).await.unwrap();
}

#[tokio::test]
async fn a_node_that_is_not_there_or_must_not_be_asked() {
    let scene = Scene::new().await;
    let http = sealdex_net::peer::Http::new(None).unwrap();
    for (url, reachable) in [
        ("http://127.0.0.1:1/secret", true),
        ("http://user:secret@127.0.0.1:1/", true),
        ("http://203.0.113.7/secret", false),
        ("ftp://localhost/secret", false),
        ("secret", false),
    ] {
        let error =
            Anchor::deploy(sealdex_anchor::Rpc::new(http.clone(), url), &scene.poster, terms()).await.err().unwrap();
        match &error {
            Error::Call(CallError::Unreachable { .. }) => assert!(reachable, "{url}"),
            Error::Call(CallError::Address(_)) => assert!(!reachable, "{url}"),
            other => panic!("{url}: {other}"),
        }
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    }
}

#[tokio::test]
async fn a_node_cannot_make_us_pay_more_than_the_terms_say() {
    let (scene, anchor) = Scene::deployed().await;
    let much = json!("0xffffffffffffffffffffffffffffffff");
    let lies: [(&str, Value, &str); 4] = [
        ("eth_estimateGas", json!("0xffffffffffffffff"), "gas"),
        ("eth_estimateGas", json!(format!("{:#x}", 2_000_000)), "gas"),
        ("eth_feeHistory", json!({ "baseFeePerGas": [much], "reward": [] }), "wei per gas"),
        ("eth_maxPriorityFeePerGas", much, "wei per gas"),
    ];
    for (method, lie, wanted) in lies {
        scene.node.fail(method, Fault::Result(lie));
        let error = grow(&anchor, &scene.poster, &honest(3), 3).await.unwrap_err();
        assert!(matches!(error, Error::TooExpensive { what, .. } if what == wanted), "{method}: {error}");
        scene.node.heal();
    }
    let poor = anchor.clone().with_terms(Terms { max_fee: 7_999_999_999, ..terms() });
    let error = grow(&poor, &scene.poster, &honest(3), 3).await.unwrap_err();
    let wanted = Error::TooExpensive { what: "wei per gas", asked: 8_000_000_000, limit: 7_999_999_999 };
    assert_eq!(error, wanted);
    assert_eq!(scene.node.transactions(), 1);
}

#[tokio::test]
async fn the_hash_of_what_was_sent_is_never_lost() {
    let (scene, anchor) = Scene::deployed().await;
    let method = "eth_getTransactionReceipt";
    let mut faults = unusable();
    faults.extend([Fault::Silence, Fault::Endless, Fault::Status(500)]);
    faults.push(Fault::Result(json!({ "transactionHash": format!("0x{}", "11".repeat(32)), "status": "0x1" })));
    for (i, fault) in faults.into_iter().enumerate() {
        scene.node.fail(method, fault);
        let error = grow(&anchor, &scene.poster, &honest(60), i as u64 + 1).await.unwrap_err();
        let sent = scene.node.with(|inner| inner.taken.last().cloned().unwrap());
        assert_eq!(sent.1.nonce, i as u64 + 1);
        assert!(matches!(error, Error::NotMined { .. }), "{error}");
        assert!(error.to_string().contains("0x"), "{error}");
    }
    // The node is well again while somebody waits: nothing is lost.
    let node = scene.node.clone();
    node.fail(method, Fault::Body("garbage".into()));
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(60)).await;
        node.heal();
    });
    grow(&anchor, &scene.poster, &honest(60), 60).await.unwrap();
}

#[tokio::test]
async fn mined_but_failed_is_said() {
    let (scene, anchor) = Scene::deployed().await;
    // Somebody was faster: what was tried is not what is executed.
    scene.node.fail("eth_estimateGas", Fault::Result(json!("0x30d40")));
    let log = honest(5);
    grow(&anchor, &scene.poster, &log, 5).await.unwrap();
    let error = anchor.post(&scene.poster, ORIGIN, Some(5), 5, &log.root(), &[]).await.unwrap_err();
    assert!(matches!(error, Error::Failed(_)), "{error}");
}

#[tokio::test]
async fn a_node_that_answers_with_another_hash_is_not_believed() {
    let (scene, anchor) = Scene::deployed().await;
    scene.node.fail("eth_sendRawTransaction", Fault::Result(json!(format!("0x{}", "22".repeat(32)))));
    let error = grow(&anchor, &scene.poster, &honest(5), 5).await.unwrap_err();
    assert!(matches!(error, Error::BadAnswer { method: "eth_sendRawTransaction", .. }), "{error}");
}

#[tokio::test]
async fn contract_answers_of_another_shape_are_refused() {
    let (scene, anchor) = Scene::deployed().await;
    let words = |n: usize| json!(format!("0x{}", "01".repeat(n)));
    for answer in [words(1), words(95), words(97), words(96), words(31), words(32)] {
        scene.node.fail("eth_call", Fault::Result(answer));
        for error in [
            anchor.latest(ORIGIN).await.err(),
            anchor.root_at(ORIGIN, 1).await.err(),
            anchor.verify_inclusion(ORIGIN, 1, &[0; 32], 0, &[]).await.err(),
        ] {
            assert!(matches!(error, Some(Error::BadAnswer { method: "eth_call", .. })), "{error:?}");
        }
    }
}
