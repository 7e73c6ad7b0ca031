//! Against implementations of the same specifications that others have published, over HTTP: `signed_note` and
//! `tlog_tiles` by Cloudflare.

use std::collections::HashMap;

use axum::{Router, extract::Path, routing::get};
use http::StatusCode;
use sealdex_crypto::log::{leaf_hash, verify_consistency, verify_inclusion};
use sealdex_lognet::follower::Follower;
use sealdex_tlog::{policy::Policy, tile::EntryBundle};
use signed_note::{StandardSigner, StandardVerifier, VerifierList};
use tlog_tiles as theirs;

use crate::setting::{Kept, NOW, ORIGIN, Server, ask, entries, entry, log_key};

/// Their name of a tile has its height first, as the Go checksum database does.
fn path(tile: &theirs::Tile) -> String {
    let path = tile.path();
    format!("tile/{}", path.strip_prefix("tile/8/").unwrap_or_else(|| path.strip_prefix("tile/").unwrap()))
}

/// Tiles that were fetched, for their reader.
struct Fetched(HashMap<String, Vec<u8>>);

impl theirs::TileReader for Fetched {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[theirs::Tile]) -> Result<Vec<Vec<u8>>, theirs::Error> {
        Ok(tiles.iter().map(|tile| self.0[&path(tile)].clone()).collect())
    }

    fn save_tiles(&self, _: &[theirs::Tile], _: &[Vec<u8>]) {}
}

#[tokio::test]
async fn they_verify_what_is_served() {
    let size = 1_000;
    let kept = Kept::with(size);
    let server = kept.serve().await;
    let fetch = async |path: &str| {
        let answer = ask("GET", &format!("{}/{path}", server.url), "").await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.into_body().to_vec()
    };
    let key = StandardVerifier::new(&log_key().verifier().to_string()).unwrap();
    let note = signed_note::Note::from_bytes(&fetch("checkpoint").await).unwrap();
    let (verified, unknown) = note.verify(&VerifierList::new(vec![Box::new(key)])).unwrap();
    assert_eq!((verified.len(), unknown.len()), (1, 2));
    let checkpoint = theirs::Checkpoint::from_bytes(note.text()).unwrap();
    assert_eq!((checkpoint.origin(), checkpoint.size()), (ORIGIN, size));

    let mut tiles = Fetched(HashMap::new());
    for tile in theirs::Tile::new_tiles(8, 0, size) {
        tiles.0.insert(path(&tile), fetch(&path(&tile)).await);
    }
    // Their reader checks every tile against the root.
    let root = *checkpoint.hash();
    let reader = theirs::TileHashReader::new(size, root, &tiles);
    let bundle = EntryBundle::parse(fetch("tile/entries/003.p/232").await, 232).unwrap();
    for index in [768, 900, 999] {
        let proof = theirs::prove_record(size, index, &reader).unwrap();
        let leaf = theirs::record_hash(bundle.get(index as usize - 768).unwrap());
        theirs::check_record(&proof, size, root, index, leaf).unwrap();
    }
}

/// Hashes as their log stores them.
#[derive(Default)]
struct TheirLog {
    hashes: Vec<theirs::Hash>,
}

impl theirs::HashReader for TheirLog {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<theirs::Hash>, theirs::Error> {
        Ok(indexes.iter().map(|i| self.hashes[*i as usize]).collect())
    }
}

/// A log that they wrote, cut into files.
fn their_files(size: u64) -> HashMap<String, Vec<u8>> {
    let mut log = TheirLog::default();
    for i in 0..size {
        let new = theirs::stored_hashes(i, &entry(i), &log).unwrap();
        log.hashes.extend(new);
    }
    let mut files = HashMap::new();
    for tile in theirs::Tile::new_tiles(8, 0, size) {
        files.insert(path(&tile), tile.read_data(&log).unwrap());
        if tile.level() == 0 {
            let start = tile.level_index() * 256;
            let entries = entries(start..start + u64::from(tile.width()));
            let prefixed = |e: &Vec<u8>| [&(e.len() as u16).to_be_bytes()[..], e].concat();
            files.insert(
                path(&tile).replacen("tile/0/", "tile/entries/", 1),
                entries.iter().flat_map(prefixed).collect(),
            );
        }
    }
    let checkpoint = theirs::Checkpoint::new(ORIGIN, size, theirs::tree_hash(size, &log).unwrap(), "").unwrap();
    let mut note = signed_note::Note::new(&checkpoint.to_bytes(), &[]).unwrap();
    note.add_sigs(&[&StandardSigner::new(&log_key().to_text()).unwrap()]).unwrap();
    files.insert("checkpoint".into(), note.to_bytes());
    files
}

#[tokio::test]
async fn we_verify_a_log_that_they_wrote() {
    let size = 70_000;
    let files = std::sync::Arc::new(their_files(size));
    let file = move |Path(path): Path<String>| {
        let found = files.get(&path).cloned().ok_or(StatusCode::NOT_FOUND);
        async move { found }
    };
    let server = Server::start(Router::new().route("/log/batches/{*path}", get(file))).await;
    let client = server.client();
    let policy = Policy::new(log_key().verifier(), vec![], 0).unwrap();
    let checkpoint = policy.verify(&client.checkpoint().await.unwrap()).unwrap();
    let root = *checkpoint.checkpoint().root();
    assert_eq!(client.root(size).await.unwrap(), root);
    for index in [0, 65_535, 65_536, size - 1] {
        let proof = client.inclusion_proof(index, size).await.unwrap();
        verify_inclusion(&leaf_hash(&entry(index)), index, size, &proof, &root).unwrap();
        let old_root = client.root(index + 1).await.unwrap();
        let proof = client.consistency_proof(index + 1, size).await.unwrap();
        verify_consistency(index + 1, &old_root, size, &root, &proof).unwrap();
    }
    let mut next = 0;
    let mut follower = Follower::open(None, policy).unwrap();
    let same = |place, bytes: &[u8]| {
        assert_eq!((place, bytes), (next, entry(place).as_slice()));
        next += 1;
    };
    follower.advance(&client, NOW, same).await.unwrap();
    assert_eq!(next, size);
}
