//! From the gate's answer to plaintext: capsule keys while the cloud sends sealed records, then all
//! records opened on all cores.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rayon::prelude::*;
use sealdex_crypto::{
    CapsuleKey, Identity, Point, PrincipalId, RecordHeader, RecordId, Reencapsulated, capsule_context, decode_many,
};
use sealdex_ledger::RecordsProof;
use sealdex_member::GateLink;
use sealdex_net::{CallError, Peer};
use sealdex_open::{GrantSecret, ReaderKey, ToOpen, open_many, open_record};
use sealdex_schema::Schema;
use sealdex_wire::{
    codec,
    search::{FetchTicket, Fetched, MatchGroup},
};
use tokio::task::{JoinError, JoinHandle, JoinSet};

use crate::verified::{SealedRecord, Verifier, VerifyError};

/// Largest record after decompression, bytes.
const MAX_RECORD: usize = 96 << 20;
/// Grant secrets kept between queries.
const CACHED: usize = 200_000;

/// A record in the clear.
pub struct Opened {
    /// Record id.
    pub id: RecordId,
    /// Who pushed it.
    pub provider: PrincipalId,
    /// Plaintext, as the provider read it.
    pub bytes: Vec<u8>,
}

/// Why an answer could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpeningError {
    /// Fetching failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The gate's answer is not well formed.
    #[error("the gate's answer is not usable: {0}")]
    Gate(&'static str),
    /// The gate named a reader whose key is not here.
    #[error("the gate answered for reader {0}, generation {1}, whose key this member does not hold")]
    Reader(PrincipalId, u32),
    /// The cloud does not have a record the gate matched.
    #[error("the cloud no longer has record {0} (replaced or erased while the query ran): ask again")]
    Gone(RecordId),
    /// The cloud's answer does not fit the ticket.
    #[error("the cloud answered with {got} records for a ticket of {asked}")]
    Count {
        /// Ids in the ticket.
        asked: usize,
        /// Records in the answer.
        got: usize,
    },
    /// A sealed record was refused: changed, swapped, or sealed under another key.
    #[error("record {0} does not open: it was changed or swapped on its way, or re-encapsulated with another scalar")]
    Refused(RecordId),
    /// The records are not what the log has, or cannot be checked.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// A worker died.
    #[error("opening stopped unexpectedly: {0}")]
    Died(String),
}

/// `A`, `X` and generation: which grant of which section, for which of the reader's keys.
type GrantKey = ([u8; 33], [u8; 33], u32);

/// Keys to open with, and what can be kept between queries.
pub struct Opener {
    domain: String,
    schema: Arc<Schema>,
    readers: RwLock<HashMap<(PrincipalId, u32), ReaderKey>>,
    /// Grant secret `d` by (A, X, generation): one multiplication saved per owner and section.
    cached: Mutex<HashMap<GrantKey, Arc<Known>>>,
}

/// A grant this reader has worked out.
struct Known {
    secret: GrantSecret,
    a_pub: Point,
}

/// Fewest and most capsules opened at once: they share an inversion.
const TOGETHER: (usize, usize) = (8, 32);

/// Where to find the key of a record.
struct Place {
    group: usize,
    id: RecordId,
}

impl Opener {
    /// For a reader and the groups whose keys it holds.
    pub fn new(domain: &str, schema: Arc<Schema>, readers: &[&Identity]) -> Self {
        let readers = readers.iter().map(|i| ((i.id(), 0), ReaderKey::from_identity(i))).collect();
        Self { domain: domain.into(), schema, readers: RwLock::new(readers), cached: Mutex::default() }
    }

    /// Takes in a group's keys.
    pub fn learn(&self, group: PrincipalId, keys: Vec<(u32, ReaderKey)>) {
        let mut readers = self.readers.write().unwrap_or_else(PoisonError::into_inner);
        readers.extend(keys.into_iter().map(|(generation, key)| ((group, generation), key)));
    }

    fn grant(&self, g: &MatchGroup) -> Result<Arc<Known>, OpeningError> {
        let key = (g.a.0, g.x.0, g.generation);
        if let Some(d) = self.cached.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(d.clone());
        }
        let known = self.readers.read().unwrap_or_else(PoisonError::into_inner).get(&(g.reader, g.generation)).cloned();
        let reader = known.ok_or(OpeningError::Reader(g.reader, g.generation))?;
        let x = Point::from_bytes(&g.x.0).map_err(|_| OpeningError::Gate("X is no point"))?;
        let a_pub = Point::from_bytes(&g.a.0).map_err(|_| OpeningError::Gate("A is no point"))?;
        let d = Arc::new(Known { secret: reader.rekey_secret(&x, &a_pub), a_pub });
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.len() < CACHED {
            cached.insert(key, d.clone());
        }
        Ok(d)
    }

    fn capsule_keys(&self, groups: &[MatchGroup]) -> Result<Vec<CapsuleKey>, OpeningError> {
        let known = groups.iter().map(|g| self.grant(g)).collect::<Result<Vec<_>, _>>()?;
        let turned = decode_many(&groups.iter().map(|g| g.reencapsulated.0).collect::<Vec<_>>());
        let to_open = groups.iter().zip(&known).zip(turned).map(|((g, known), turned)| {
            let reencapsulated = Reencapsulated::from(turned.map_err(|_| OpeningError::Gate("E' is no point"))?);
            let context = capsule_context(&self.domain, &g.section, g.epoch);
            let (secret, a_pub) = (&known.secret, known.a_pub);
            Ok(ToOpen { secret, capsule: g.capsule.0, reencapsulated, a_pub, context })
        });
        Ok(open_many(&to_open.collect::<Result<Vec<_>, OpeningError>>()?))
    }

    fn open_one(&self, g: &MatchGroup, key: &CapsuleKey, id: RecordId, sealed: &[u8]) -> Result<Opened, OpeningError> {
        let section =
            self.schema.section(&g.section).ok_or(OpeningError::Gate("a section the schema does not have"))?;
        let header = RecordHeader {
            domain: self.domain.clone(),
            provider: g.provider,
            record_id: id,
            section: g.section.clone(),
            epoch: g.epoch,
            content_type: section.content_type.clone(),
            capsule: g.capsule.0,
        };
        let bytes = open_record(key, &header, sealed, MAX_RECORD).map_err(|_| OpeningError::Refused(id))?;
        Ok(Opened { id, provider: g.provider, bytes })
    }

    /// Fetches and opens everything the gate released, and makes of each record what `read` does. All of it, or an error:
    /// an answer is never silently short.
    pub(crate) async fn open<T: Send + 'static>(
        self: &Arc<Self>,
        groups: Arc<Vec<MatchGroup>>,
        tickets: Vec<FetchTicket>,
        cloud: &Peer,
        check: Option<Check<'_>>,
        read: fn(Opened) -> T,
    ) -> Result<(Vec<T>, Duration), OpeningError> {
        let places = places(&groups)?;
        let keys = self.keys(groups.clone());
        let (records, proofs) = fetch(tickets, cloud, &groups, &places, check.is_some()).await?;
        let keys = keys.await.map_err(died)??;
        let began = Instant::now();
        let log = match check {
            Some(Check { verifier, gate, known }) => Some(verifier.reaching(gate, known, &proofs).await?),
            None => None,
        };
        let opener = self.clone();
        let work = move || {
            if let Some(log) = log {
                log.fetched(&records, &proofs)?;
            }
            let checking = began.elapsed();
            let opened = records.into_par_iter().map(|(id, _, bytes)| {
                let place = places.get(&id).ok_or(OpeningError::Gate("a ticket for a record that did not match"))?;
                opener.open_one(&groups[place.group], &keys[place.group], place.id, &bytes).map(read)
            });
            Ok((opened.collect::<Result<Vec<_>, OpeningError>>()?, checking))
        };
        sealdex_net::blocking(work).await.map_err(died)?
    }

    /// Capsule keys of all groups, in their order, while something else is waited for.
    fn keys(self: &Arc<Self>, groups: Arc<Vec<MatchGroup>>) -> JoinHandle<Result<Vec<CapsuleKey>, OpeningError>> {
        let opener = self.clone();
        sealdex_net::blocking(move || {
            let chunk =
                groups.len().div_ceil(rayon::current_num_threads()).clamp(TOGETHER.0, TOGETHER.1).next_multiple_of(8);
            let keys: Result<Vec<Vec<CapsuleKey>>, OpeningError> =
                groups.par_chunks(chunk).map(|g| opener.capsule_keys(g)).collect();
            keys.map(|keys| keys.into_iter().flatten().collect())
        })
    }
}

/// What fetched records are checked against: the log, which had so many batches before the question.
pub(crate) struct Check<'c> {
    pub(crate) verifier: &'c Arc<Verifier>,
    pub(crate) gate: &'c GateLink,
    pub(crate) known: u64,
}

fn died(e: JoinError) -> OpeningError {
    OpeningError::Died(e.to_string())
}

/// Every record that the tickets name, sealed, with its provider as the gate named it; and what shows that they are in
/// the log, if that is to be checked.
async fn fetch(
    tickets: Vec<FetchTicket>,
    cloud: &Peer,
    groups: &[MatchGroup],
    places: &HashMap<RecordId, Place>,
    checked: bool,
) -> Result<(Vec<SealedRecord>, Vec<RecordsProof>), OpeningError> {
    let mut fetches = JoinSet::new();
    let tickets: Vec<Arc<FetchTicket>> = tickets.into_iter().map(Arc::new).collect();
    for (i, ticket) in tickets.iter().cloned().enumerate() {
        let cloud = cloud.clone();
        fetches.spawn(async move { (i, cloud.post_cbor::<_, Fetched>("/v1/records", &*ticket).await) });
    }
    let mut sealed: Vec<Option<Fetched>> = tickets.iter().map(|_| None).collect();
    while let Some(done) = fetches.join_next().await {
        let (i, fetched) = done.map_err(died)?;
        sealed[i] = Some(fetched?);
    }
    let (mut records, mut proofs) = (Vec::with_capacity(places.len()), Vec::new());
    for (ticket, fetched) in tickets.iter().zip(sealed) {
        let Fetched { sealed, proofs: shown } = fetched.unwrap_or(Fetched { sealed: Vec::new(), proofs: None });
        let ids = ticket.ids.chunks_exact(16);
        if ids.len() != sealed.len() {
            return Err(OpeningError::Count { asked: ids.len(), got: sealed.len() });
        }
        for (id, bytes) in ids.map(to_id).zip(sealed) {
            let place = places.get(&id).ok_or(OpeningError::Gate("a ticket for a record that did not match"))?;
            let bytes = bytes.ok_or(OpeningError::Gone(id))?.into_vec();
            records.push((id, groups[place.group].provider, bytes));
        }
        if checked {
            let shown = shown.ok_or(VerifyError::NoProof)?;
            let shown: Vec<RecordsProof> = codec::from_cbor(&shown).map_err(|_| VerifyError::NoProof)?;
            proofs.extend(shown);
        }
    }
    if records.len() != places.len() {
        return Err(OpeningError::Gate("tickets and matches differ"));
    }
    Ok((records, proofs))
}

fn to_id(bytes: &[u8]) -> RecordId {
    let mut id = [0; 16];
    id.copy_from_slice(bytes);
    RecordId(id)
}

fn places(groups: &[MatchGroup]) -> Result<HashMap<RecordId, Place>, OpeningError> {
    let mut places = HashMap::new();
    for (group, g) in groups.iter().enumerate() {
        if !g.ids.len().is_multiple_of(16) {
            return Err(OpeningError::Gate("record ids must be 16 bytes each"));
        }
        for id in g.ids.chunks_exact(16).map(to_id) {
            if places.insert(id, Place { group, id }).is_some() {
                return Err(OpeningError::Gate("a record is listed twice"));
            }
        }
    }
    Ok(places)
}
