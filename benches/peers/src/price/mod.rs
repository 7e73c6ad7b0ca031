//! What encryption costs: the same records and the same questions in our cloud, in a plaintext index of the same
//! build, and in a database.

mod loading;
mod lookups;
mod ours;
mod plain;
mod postgres;
mod records;
mod server;

use crate::Failure;
use crate::report::{Better, Group, Peer, Skipped};
use crate::settings::Settings;
use loading::Loaded;

const LOADING: &str = "\
Our index follows a store that has made every batch durable before, with the sealed bytes; plaintext tantivy indexes \
out of memory and stores nothing but the index, so it is compared with our index alone. PostgreSQL keeps the same \
bytes a row as our store. Its documentation advises to copy first and index afterwards; nothing is found before that \
is done, while our records are searchable after every batch: the row with the indexes first is the one that does the \
same.";

const SIZES: &str = "\
Our terms are 16 random bytes, which no dictionary compresses, where plaintext terms share beginnings. PostgreSQL's \
indexes hold no record id but a place in the table, and its words a GIN index with lists of its own. What is read \
for an answer (tags, the terms of a record) is in our store and in PostgreSQL's table and not counted, except in the \
row that says so; a redb file grows in steps, so that row is as large as the next step and not as what is in it.";

const LOOKUPS: &str = "\
`ids` is the index alone; `matches` have as many bytes each from a column, of ours the routing tag. \
In the cloud an answer is a page, in order of id, with each record's routing tag; the gate's \
work, the network, and what the reader opens come on top and are not here. PostgreSQL is asked through a socket by \
one client and sends id and tag; `executed` is what its EXPLAIN ANALYZE says of the execution alone, without \
planning and sending. It sorts by nothing it was not asked to. PostgreSQL sees every value; plaintext tantivy too; \
our cloud sees terms and order.";

pub fn compare(settings: &Settings) -> Result<Vec<Group>, Failure> {
    let mut loaded = loading::load(settings)?;
    let skipped = |group: &mut Group, loaded: &Loaded| {
        if let Some(why) = &loaded.no_postgres {
            group.skipped.push(Skipped { peer: "PostgreSQL".into(), why: why.clone() });
        }
    };
    let mut load = Group::new("price of encryption: loading", "records/s", Better::Higher, LOADING);
    load.rows = std::mem::take(&mut loaded.rates);
    let mut sizes = Group::new("price of encryption: size", "bytes/record", Better::Lower, SIZES);
    loading::sizes(&mut loaded, &mut sizes)?;
    let mut lookups = Group::new("price of encryption: lookups", "µs", Better::Lower, LOOKUPS);
    lookups::measure(settings, &mut loaded, &mut lookups)?;
    let mut groups = vec![load, sizes, lookups];
    for group in &mut groups {
        group.compare();
        skipped(group, &loaded);
    }
    Ok(groups)
}

/// Who is compared here.
struct Peers {
    ours: Peer,
    terms: Peer,
    columns: Peer,
    postgres: Peer,
}

impl Peers {
    fn new(postgres_version: &str) -> Self {
        let tantivy = Peer::linked("tantivy", "", "MIT");
        Self {
            ours: Peer::ours(),
            terms: tantivy.configured("terms"),
            columns: tantivy.configured("columns"),
            postgres: Peer { name: "PostgreSQL".into(), version: postgres_version.into(), licence: "PostgreSQL" },
        }
    }
}
