//! The embedded index: a tantivy directory beside the store.
//!
//! | field | what | how |
//! |---|---|---|
//! | `t` | terms and order terms, 16 bytes | inverted, documents only: one sorted dictionary |
//! | `r` | record id | inverted, for deletes |
//! | `p` | provider id | inverted, and a column |
//! | `g` | record id and routing tag as a run of integers | column ([`super::columns`]) |
//! | `hi` | first half of the record id | column |
//!
//! A commit's payload is `store id : place of the last batch`, so whatever was killed when, opening
//! knows what to index again. Nothing here is precious: a directory that is missing, damaged or of
//! another store is built anew.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use sealdex_crypto::RecordId;
use sealdex_ledger::run::TermRange;
use tantivy::{
    DocSet, Index, IndexReader, IndexWriter, ReloadPolicy, Searcher, TERMINATED, TantivyDocument, TantivyError, Term,
    directory::error::OpenReadError,
    indexer::{IndexWriterOptions, LogMergePolicy},
    schema::{BytesOptions, IndexRecordOption, Schema},
};

use super::{
    IndexError, IndexSearch, MergedIndex, Searched, by_id,
    columns::{ColumnFields, Columns},
    dictionary::Dictionaries,
    pages::Pages,
    plan,
    purge::Purged,
    query::Fields,
    sorted,
    tidy::{MOST, Tidying},
};
use crate::store::{Snapshot, StoredRecord};

/// What the writer gathers in memory before it flushes a segment, bytes.
const WRITER_MEMORY: usize = 64 << 20;
/// Segments of a size that are merged into one while batches come. A merge writes its terms anew: with 6, a push of a table
/// took 4 to 7 % more processor time. A search looks into up to eleven of a size, until nothing comes and [`super::tidy`] merges them.
const MERGED: u32 = 12;

impl From<TantivyError> for IndexError {
    fn from(e: TantivyError) -> Self {
        Self::Backend(Box::new(e))
    }
}

/// The merged index in one directory.
pub struct TantivyIndex {
    dir: PathBuf,
    fields: Fields,
    columns: ColumnFields,
    reader: IndexReader,
    writer: Mutex<IndexWriter>,
    state: RwLock<Option<State>>,
    damaged: AtomicBool,
    /// What [`super::tidy`] is merging.
    pub(super) tidying: Mutex<Tidying>,
}

/// What searches see: an index and the state of the store it stands for.
#[derive(Clone)]
pub(super) struct State {
    pub(super) searcher: Searcher,
    /// Of each segment.
    pub(super) columns: Arc<[Arc<Columns>]>,
    pub(super) dictionaries: Dictionaries,
    pub(super) snapshot: Arc<dyn Snapshot>,
    pub(super) pages: Arc<Pages>,
}

impl TantivyIndex {
    /// Opens the directory, or starts an empty index when there is none that can be trusted: then
    /// the first [`MergedIndex::catch_up`] indexes everything. Checks the checksum of every file,
    /// about a second a gigabyte.
    pub fn open(dir: &Path) -> Result<Self, IndexError> {
        let (schema, fields, columns) = schema();
        let index = match open_sound(dir, &schema) {
            Ok(Some(index)) => index,
            found => {
                if let Err(reason) = found {
                    tracing::warn!(%reason, "the search index cannot be used and is built anew from the store");
                }
                create(dir, schema)?
            }
        };
        let reader: IndexReader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        let options = IndexWriterOptions::builder()
            .num_worker_threads(1)
            .num_merge_threads(1)
            .memory_budget_per_thread(WRITER_MEMORY)
            .build();
        let writer: IndexWriter = index.writer_with_options(options)?;
        let mut merge = LogMergePolicy::default();
        merge.set_min_num_segments(MERGED as usize);
        merge.set_max_docs_before_merge((MOST / MERGED) as usize);
        merge.set_del_docs_ratio_before_merge(0.3);
        writer.set_merge_policy(Box::new(merge));
        Ok(Self {
            dir: dir.into(),
            fields,
            columns,
            reader,
            writer: Mutex::new(writer),
            state: RwLock::new(None),
            damaged: AtomicBool::new(false),
            tidying: Mutex::default(),
        })
    }

    pub(super) fn state(&self) -> Option<State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What searches see from now on: an index and the state of the store that it stands for.
    pub(super) fn show(&self, searcher: Searcher, snapshot: Arc<dyn Snapshot>) -> tantivy::Result<()> {
        let before = self.state().map(|state| (state.columns, state.dictionaries)).unwrap_or_default();
        let columns = Columns::of(&searcher, &before.0)?;
        let dictionaries = Dictionaries::of(&searcher, self.fields.terms, &before.1)?;
        let state = State { searcher, columns, dictionaries, snapshot, pages: Arc::default() };
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Some(state);
        Ok(())
    }

    pub(super) fn writer(&self) -> MutexGuard<'_, IndexWriter> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn reader(&self) -> &IndexReader {
        &self.reader
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Indexes the batches after `from` and commits.
    fn index_after(&self, writer: &mut IndexWriter, from: u64, snapshot: &dyn Snapshot) -> Result<(), IndexError> {
        let to = snapshot.last_seq();
        for seq in from + 1..=to {
            let change = snapshot.change(seq)?.unwrap_or_default();
            for id in &change.replaced {
                writer.delete_term(Term::from_field_bytes(self.fields.record, &id.0));
            }
            for id in change.added {
                // One that has been replaced since is never added.
                if let Some(record) = snapshot.record(id)? {
                    writer.add_document(self.document(id, &record))?;
                }
            }
        }
        let mut commit = writer.prepare_commit()?;
        commit.set_payload(&Payload { store: snapshot.store_id(), seq: to }.to_string());
        commit.commit()?;
        self.reader.reload()?;
        Ok(())
    }

    fn catch_up_by(&self, writer: &mut IndexWriter, snapshot: Arc<dyn Snapshot>) -> Result<u64, IndexError> {
        let have = Payload::of(&writer.index().load_metas()?.payload.unwrap_or_default());
        let to = snapshot.last_seq();
        let at_odds = |reason: &str| tracing::warn!(reason, "the search index is built anew from the store");
        let from = match have {
            // A new directory.
            None if self.reader.searcher().num_docs() == 0 => Some(0),
            _ if self.damaged.load(Ordering::Acquire) => None,
            Some(p) if p.store == snapshot.store_id() && p.seq <= to => Some(p.seq),
            _ => None,
        };
        match from {
            Some(from) if from == to && have.is_some() => self.reader.reload()?,
            Some(from) => self.index_after(writer, from, &*snapshot)?,
            None => at_odds("it is damaged, belongs to another store, or is ahead of this one"),
        }
        if from.is_none() || self.reader.searcher().num_docs() != snapshot.live() {
            if from.is_some() {
                at_odds("it does not hold the records the store holds");
            }
            writer.delete_all_documents()?;
            self.index_after(writer, 0, &*snapshot)?;
        }
        let searcher = self.reader.searcher();
        if searcher.num_docs() != snapshot.live() {
            return Err(IndexError::AtOdds { indexed: searcher.num_docs(), stored: snapshot.live() });
        }
        self.show(searcher, snapshot)?;
        self.damaged.store(false, Ordering::Release);
        Ok(to)
    }

    fn document(&self, id: RecordId, record: &StoredRecord) -> TantivyDocument {
        let mut doc = TantivyDocument::default();
        for term in record.terms.chunks_exact(16) {
            doc.add_bytes(self.fields.terms, term);
        }
        doc.add_bytes(self.fields.record, &id.0);
        self.columns.put(&mut doc, id, record.provider, &record.tag);
        doc
    }
}

impl MergedIndex for TantivyIndex {
    fn catch_up(&self, snapshot: Arc<dyn Snapshot>) -> Result<u64, IndexError> {
        let mut writer = self.writer();
        let caught_up = self.catch_up_by(&mut writer, snapshot);
        // A writer that failed, for want of room or otherwise, takes nothing more; rolled back it does.
        if caught_up.is_err()
            && let Err(error) = writer.rollback()
        {
            tracing::error!(%error, "the index writer cannot begin anew");
        }
        caught_up
    }

    fn check(&self) -> Result<Option<String>, IndexError> {
        let index = self.writer().index().clone();
        let mut damaged = damaged_files(&index)?;
        // A merge may have removed a file that was looked for: what is damaged is so twice.
        if !damaged.is_empty() {
            damaged = damaged_files(&index)?;
        }
        if damaged.is_empty() {
            return Ok(None);
        }
        // A round under way was begun before this was known, and would call it mended.
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.damaged.store(true, Ordering::Release);
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(Some(damaged.join(", ")))
    }

    fn indexed(&self) -> u64 {
        self.state().map_or(0, |s| s.snapshot.last_seq())
    }

    fn purge(&self, go_on: &dyn Fn() -> bool) -> Result<Purged, IndexError> {
        self.purge_while(go_on)
    }

    fn tidy(&self) -> Result<bool, IndexError> {
        self.tidy_up()
    }

    fn search(&self, search: &IndexSearch) -> Result<Searched, IndexError> {
        let Some(state) = self.state() else { return Ok(Searched::default()) };
        let State { searcher, columns, dictionaries, snapshot, .. } = &state;
        if search.limit == 0 {
            return Ok(Searched { found: Vec::new(), state: Some(state.snapshot) });
        }
        let plan = plan::plan(searcher, dictionaries, &search.clause, self.fields)?;
        let found = match search.sort {
            None => by_id::find(&state, &plan, search),
            Some(sort) => sorted::find(searcher, columns, &**snapshot, &plan, search, sort, self.fields.terms),
        };
        Ok(Searched { found: found?, state: Some(state.snapshot) })
    }

    fn frequency(&self, range: &TermRange, most: u64) -> Result<u64, IndexError> {
        let Some(State { searcher, dictionaries, .. }) = self.state() else { return Ok(0) };
        Ok(plan::pairs_within(&searcher, &dictionaries, range, most, self.fields)?)
    }

    fn snapshot(&self) -> Option<Arc<dyn Snapshot>> {
        self.state().map(|s| s.snapshot)
    }

    fn bytes(&self) -> u64 {
        let Ok(entries) = std::fs::read_dir(&self.dir) else { return 0 };
        entries.filter_map(|e| e.ok()?.metadata().ok()).map(|m| m.len()).sum()
    }
}

fn schema() -> (Schema, Fields, ColumnFields) {
    let mut schema = Schema::builder();
    let inverted = || BytesOptions::default().set_indexed();
    let (terms, record) = (schema.add_bytes_field("t", inverted()), schema.add_bytes_field("r", inverted()));
    let columns = ColumnFields::add(&mut schema);
    (schema.build(), Fields { terms, record, provider: columns.provider }, columns)
}

/// Why a directory is not used.
#[derive(Debug, thiserror::Error)]
enum Unsound {
    #[error("it does not open: {0}")]
    Open(#[from] TantivyError),
    #[error("it has another layout")]
    Schema,
    #[error("{0} of its files are damaged")]
    Checksum(usize),
}

/// The index in `dir` if it is whole; `None` if there is none.
fn open_sound(dir: &Path, schema: &Schema) -> Result<Option<Index>, Unsound> {
    if !dir.join("meta.json").exists() {
        return Ok(None);
    }
    let index = Index::open_in_dir(dir)?;
    if index.schema() != *schema {
        return Err(Unsound::Schema);
    }
    let damaged = index.validate_checksum()?.len();
    if damaged > 0 {
        return Err(Unsound::Checksum(damaged));
    }
    let reader: IndexReader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
    // Fields are opened at first use; what does not open is to be found here, and not by a search.
    for segment in reader.searcher().segment_readers() {
        for (field, _) in schema.fields().filter(|(_, e)| e.is_indexed()) {
            segment.inverted_index(field)?;
        }
    }
    Ok(Some(index))
}

/// Hands over every term of every live record of an index, without changing it; the place of the last batch it has.
pub(crate) fn each_pair(dir: &Path, store: [u8; 16], pair: &mut dyn FnMut(&[u8; 16], RecordId)) -> Result<u64, String> {
    let said = |e: &dyn std::fmt::Display| e.to_string();
    let (schema, fields, ..) = schema();
    let index = open_sound(dir, &schema).map_err(|e| said(&e))?.ok_or("there is none")?;
    let payload = Payload::of(&index.load_metas().map_err(|e| said(&e))?.payload.unwrap_or_default());
    let payload = payload.filter(|p| p.store == store).ok_or("it is of another store")?;
    let reader: IndexReader = index.reader().map_err(|e| said(&e))?;
    for segment in reader.searcher().segment_readers() {
        let mut walk = || -> tantivy::Result<()> {
            let columns = Columns::open(segment)?;
            let inverted = segment.inverted_index(fields.terms)?;
            let mut terms = inverted.terms().stream()?;
            while terms.advance() {
                let Ok(term) = <[u8; 16]>::try_from(terms.key()) else { continue };
                let mut postings = inverted.read_postings_from_terminfo(terms.value(), IndexRecordOption::Basic)?;
                let mut doc = postings.doc();
                while doc != TERMINATED {
                    if segment.alive_bitset().is_none_or(|alive| alive.is_alive(doc)) {
                        pair(&term, columns.id(doc));
                    }
                    doc = postings.advance();
                }
            }
            Ok(())
        };
        walk().map_err(|e| said(&e))?;
    }
    Ok(payload.seq)
}

fn create(dir: &Path, schema: Schema) -> Result<Index, IndexError> {
    let io = |e: std::io::Error| IndexError::Backend(Box::new(e));
    if dir.exists() {
        std::fs::remove_dir_all(dir).map_err(io)?;
    }
    std::fs::create_dir_all(dir).map_err(io)?;
    Ok(Index::create_in_dir(dir, schema)?)
}

/// Names of files of the last commit whose checksums do not fit, or one that is gone.
fn damaged_files(index: &Index) -> Result<Vec<String>, IndexError> {
    // A merge may have removed a file between two of its steps.
    match index.validate_checksum().or_else(|_| index.validate_checksum()) {
        Ok(damaged) => Ok(damaged.into_iter().map(|path| path.display().to_string()).collect()),
        Err(TantivyError::OpenReadError(OpenReadError::FileDoesNotExist(path))) => {
            Ok(vec![format!("{} (gone)", path.display())])
        }
        Err(e) => Err(e.into()),
    }
}

/// What a commit stands for.
#[derive(Clone, Copy)]
pub(super) struct Payload {
    pub(super) store: [u8; 16],
    pub(super) seq: u64,
}

impl Payload {
    pub(super) fn of(text: &str) -> Option<Self> {
        let (store, seq) = text.split_once(':')?;
        let mut id = [0; 16];
        hex::decode_to_slice(store, &mut id).ok()?;
        Some(Self { store: id, seq: seq.parse().ok()? })
    }
}

impl std::fmt::Display for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", hex::encode(self.store), self.seq)
    }
}
