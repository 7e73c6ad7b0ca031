//! What a log's folder looks like over HTTP.

use sealdex_tlog::log::{FileReader, FileStorage, Log};

use crate::setting::{Kept, Server, ask, bundle, entries, header, log_key};

#[tokio::test]
async fn before_the_first_publication_there_is_nothing() {
    let mut kept = Kept::new();
    kept.log.append(&entries(0..300)).unwrap();
    let server = kept.serve().await;
    for path in ["checkpoint", "tile/0/000", "tile/entries/000", "head", "lock"] {
        let answer = ask("GET", &format!("{}/{path}", server.url), "").await;
        assert_eq!(
            (answer.status().as_u16(), header(&answer, "cache-control")),
            (404, if path == "head" || path == "lock" { "" } else { "no-store" }),
            "{path}"
        );
    }
}

#[tokio::test]
async fn the_published_checkpoint_and_its_tiles_are_served_as_they_are_stored() {
    let kept = Kept::with(300);
    let server = kept.serve().await;
    let answer = ask("GET", &format!("{}/checkpoint", server.url), "").await;
    assert_eq!(header(&answer, "content-type"), "text/plain; charset=utf-8");
    assert_eq!(header(&answer, "cache-control"), "no-cache");
    assert_eq!(answer.into_body(), kept.published());
    let paths = ["tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/000", "tile/entries/001.p/44"];
    for path in paths {
        let stored = std::fs::read(kept.path(path)).unwrap();
        let answer = ask("GET", &format!("{}/{path}", server.url), "").await;
        assert_eq!(header(&answer, "content-type"), "application/octet-stream");
        assert_eq!(header(&answer, "cache-control").contains("immutable"), !path.contains(".p/"), "{path}");
        assert_eq!(answer.into_body(), stored, "{path}");
        let answer = ask("HEAD", &format!("{}/{path}", server.url), "").await;
        assert_eq!((answer.status().as_u16(), answer.body().len()), (200, 0));
        assert_eq!(header(&answer, "content-length"), stored.len().to_string());
    }
}

#[tokio::test]
async fn what_is_no_tile_of_the_published_tree_is_not_found() {
    let mut kept = Kept::with(300);
    // Not published: a crash may still replace these.
    kept.log.append(&entries(300..600)).unwrap();
    assert!(kept.path("tile/0/001").exists() && kept.path("tile/entries/002.p/88").exists());
    let server = kept.serve().await;
    let not_there = [
        "tile/0/001",
        &bundle(2, 88),
        "tile/0/1",
        "tile/00/000",
        "tile/0/x000/000",
        "tile/0/000.p/256",
        "tile/0/000.p/0",
        "tile/entries/..%2f..%2fhead",
        "tile/0/..%2f..%2fhead",
        "tile/../head",
        "tile/64/000",
        "tile/0/99999999999999999999",
        "tile/entries/",
        "head",
    ];
    for path in not_there {
        let answer = ask("GET", &format!("{}/{path}", server.url), "").await;
        assert_eq!(answer.status().as_u16(), 404, "{path}");
    }
    assert_eq!(ask("POST", &format!("{}/checkpoint", server.url), "").await.status().as_u16(), 405);
    kept.publish(&[2, 3], 1);
    for path in ["tile/0/001", &bundle(2, 88)] {
        assert_eq!(ask("GET", &format!("{}/{path}", server.url), "").await.status().as_u16(), 200, "{path}");
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_read_is_the_servers_fault() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut log = Log::create(FileStorage::open(dir.path()).unwrap(), log_key()).unwrap();
    log.append(&entries(0..3)).unwrap();
    std::fs::create_dir(dir.path().join("checkpoint")).unwrap();
    let router = sealdex_lognet::log_router(FileReader::new(dir.path()));
    let server = Server::start(axum::Router::new().nest("/log/batches", router)).await;
    for path in ["checkpoint", "tile/0/000.p/3"] {
        let answer = ask("GET", &format!("{}/{path}", server.url), "").await;
        assert_eq!(answer.status().as_u16(), 500, "{path}");
        assert!(!String::from_utf8_lossy(answer.body()).contains(dir.path().to_str().unwrap()));
    }
}
