//! Searching: one type, several, or a compartment; then a page of what was found.

use std::collections::HashSet;

use futures_util::{StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};
use http::StatusCode;
use sealdex_client::{AskError, Session};
use sealdex_fhir::{
    Hit,
    search::{
        ErrorKind, Handling, Search, SearchError, Summary, Total, compartment, parameter, parse, resource_type,
        resource_types,
    },
};

use crate::{
    bundle::{Entry, Mode, SearchSet},
    call::{Call, Reply},
    outcome::{Issue, Outcome, document},
    paging::{DEFAULT, Listing, MOST, PAGE},
    query::{Pairs, last, list},
    server::Gateway,
    summary::View,
};

/// Searches of one request under way at once.
pub(crate) const PARALLEL: usize = 4;
/// Most types of one search over types.
const TYPES: usize = 20;

impl From<SearchError> for Outcome {
    fn from(e: SearchError) -> Self {
        let (status, code) = match e.kind {
            ErrorKind::Invalid => (StatusCode::BAD_REQUEST, "invalid"),
            ErrorKind::NotSupported => (StatusCode::BAD_REQUEST, "not-supported"),
            ErrorKind::TooCostly => (StatusCode::UNPROCESSABLE_ENTITY, "too-costly"),
        };
        let mut out = Self::new(status, code, e.to_string());
        out.issues[0].expression = (!e.parameter.is_empty()).then(|| format!("http.{}", e.parameter));
        out
    }
}

/// Searches whose answers are one list.
pub(crate) struct Question {
    /// At least one. All have the same shape.
    searches: Vec<Search>,
    listing: Listing,
    ignored: Vec<String>,
    view: View,
}

fn handling(call: &Call) -> Handling {
    if call.prefer.strict { Handling::Strict } else { Handling::Lenient }
}

impl Question {
    /// A search over one type.
    fn of_type(call: &Call, kind: &str, path: String) -> Result<Self, Outcome> {
        let search = parse(kind, &call.criteria(), handling(call))?;
        Self::new(call, path, search.applied.clone(), search.ignored.clone(), vec![search])
    }

    fn new(
        call: &Call,
        path: String,
        applied: Pairs,
        ignored: Vec<String>,
        searches: Vec<Search>,
    ) -> Result<Self, Outcome> {
        let shape = searches.first().map(|s| &s.shape);
        let asked = shape.and_then(|s| s.count).map_or(DEFAULT, |c| c as usize);
        let counts = shape.is_some_and(|s| s.summary == Summary::Count);
        let count = if counts { 0 } else { asked.min(MOST) };
        let mut pairs = applied;
        if asked > MOST {
            pairs.iter_mut().filter(|(n, _)| n == "_count").for_each(|(_, v)| *v = MOST.to_string());
        }
        pairs.retain(|(n, _)| n != "_format" && n != "_pretty");
        pairs.extend(call.form());
        let view = View::of(&call.pairs)?;
        Ok(Self { searches, listing: Listing { path, pairs, count }, ignored, view })
    }

    /// A search over several types; they share parameters.
    fn of_types(call: &Call) -> Result<Self, Outcome> {
        let (types, rest): (Pairs, Pairs) = call.criteria().into_iter().partition(|(n, _)| n == "_type");
        let names = list(&types, "_type");
        if names.is_empty() || names.len() > TYPES {
            let text = format!(
                "a search at the base needs _type with 1 to {TYPES} resource types, such as ?_type=Patient,Observation"
            );
            return Err(Outcome::invalid(text));
        }
        let mut searches: Vec<Search> = Vec::new();
        for name in &names {
            let kind = resource_type(name)
                .ok_or_else(|| Outcome::invalid(format!("_type names {name:?}, which is no resource type of R4")))?;
            searches.push(parse(kind, &rest, handling(call))?);
        }
        let first = &searches[0];
        if names.len() > 1 && first.shape.sort.iter().any(|k| !k.parameter.name.starts_with('_')) {
            return Err(Outcome::invalid("several types can be sorted by _id and _lastUpdated only"));
        }
        let differ = searches.iter().any(|s| s.ignored != first.ignored);
        if differ {
            return Err(Outcome::invalid("a search over several types takes parameters that all of them have"));
        }
        let applied = [types, first.applied.clone()].concat();
        Self::new(call, String::new(), applied, first.ignored.clone(), searches)
    }

    /// A search within a compartment, of one type or of all.
    fn of_compartment(call: &Call, of: &str, id: &str, kind: Option<&str>) -> Result<Self, Outcome> {
        let known = ["Patient", "Encounter", "Practitioner", "RelatedPerson", "Device"];
        if !known.contains(&of) {
            return Err(Outcome::not_found(format!("{of} has no compartment; those that do are {}", known.join(", "))));
        }
        let path = format!("{of}/{id}/{}", kind.unwrap_or("*"));
        if kind.is_some_and(|k| k != of && compartment(of, k).is_none()) {
            let text = format!("{} is not in the compartment of a {of}", kind.unwrap_or_default());
            return Err(Outcome::not_found(text));
        }
        let own: Pairs = call.criteria().into_iter().filter(|(n, _)| kind.is_some() || n != "_type").collect();
        let kinds = match kind {
            Some(kind) => vec![kind.to_owned()],
            None => wanted_types(of, &list(&call.pairs, "_type"))?,
        };
        let plain = parse(kind.unwrap_or(of), &own, handling(call))?;
        let mut searches = Vec::new();
        for kind in &kinds {
            searches.extend(members(of, id, kind, &own, handling(call))?);
        }
        if searches.iter().any(|s| s.ignored != plain.ignored) {
            return Err(Outcome::invalid("a search over several types takes parameters that all of them have"));
        }
        let types = call.pairs.iter().filter(|(n, _)| n == "_type" && kind.is_none()).cloned();
        let (applied, ignored) = (types.chain(plain.applied).collect(), plain.ignored);
        Self::new(call, path, applied, ignored, searches)
    }
}

/// Types of a compartment, of those asked for.
pub(crate) fn wanted_types(of: &str, asked: &[String]) -> Result<Vec<String>, Outcome> {
    if let Some(bad) = asked.iter().find(|t| resource_type(t).is_none()) {
        return Err(Outcome::invalid(format!("_type names {bad:?}, which is no resource type of R4")));
    }
    let all = resource_types().filter(|t| *t == of || compartment(of, t).is_some());
    Ok(all.filter(|t| asked.is_empty() || asked.iter().any(|a| a == t)).map(str::to_owned).collect())
}

/// Searches that together find what a compartment holds of a type: one for each parameter that leads there.
pub(crate) fn members(
    of: &str,
    id: &str,
    kind: &str,
    pairs: &[(String, String)],
    handling: Handling,
) -> Result<Vec<Search>, SearchError> {
    let mut out = Vec::new();
    let with = |name: &str, value: String| {
        let mut all = vec![(name.to_owned(), value)];
        all.extend_from_slice(pairs);
        parse(kind, &all, handling)
    };
    if kind == of {
        out.push(with("_id", id.to_owned())?);
    }
    // A parameter that is not known would be left out, and the search find other people's records.
    for name in compartment(of, kind).unwrap_or_default().iter().filter(|n| parameter(kind, n).is_some()) {
        out.push(with(name, format!("{of}/{id}"))?);
    }
    Ok(out)
}

impl Gateway {
    /// `GET Type?…`, `POST Type/_search`.
    pub(crate) async fn search_type(&self, call: &Call, kind: &str) -> Result<Reply, Outcome> {
        self.page(call, Question::of_type(call, kind, kind.to_owned())?).await
    }

    /// `GET ?_type=…`.
    pub(crate) async fn search_types(&self, call: &Call) -> Result<Reply, Outcome> {
        self.page(call, Question::of_types(call)?).await
    }

    /// `GET Patient/ID/Observation?…`, `GET Patient/ID/*`.
    pub(crate) async fn search_compartment(
        &self,
        call: &Call,
        of: &str,
        id: &str,
        kind: Option<&str>,
    ) -> Result<Reply, Outcome> {
        self.page(call, Question::of_compartment(call, of, id, kind)?).await
    }

    async fn page(&self, call: &Call, question: Question) -> Result<Reply, Outcome> {
        let Question { searches, listing, ignored, view } = question;
        let session = self.domain.session();
        let start = listing.start(last(&call.pairs, PAGE), &self.keys)?;
        let key = listing.key(&self.keys);
        // A first page is always searched for: what was found a minute ago may be out of date.
        let follows = last(&call.pairs, PAGE).is_some();
        let (total, page) = match self.memory.get(&key).filter(|_| follows) {
            Some(found) => (found.len(), read_page(&session, &found, start, listing.count).await?),
            None if searches.len() == 1 => {
                let listed = session.list(&searches[0], start, listing.count).await?;
                let total = listed.order.len();
                self.memory.put(key, listed.order);
                (total, listed.page)
            }
            None => {
                let hits = find(&session, &searches).await?;
                self.memory.put(key, hits.iter().map(|h| h.identity.clone()).collect());
                let total = hits.len();
                (total, hits.into_iter().skip(start).take(listing.count).collect())
            }
        };
        let included = include(&session, &searches, &page).await?;
        let mut entries = entries(&call.base, &page, &included, &view);
        if !ignored.is_empty() {
            entries.push(left_out(&ignored));
        }
        let counted = searches.first().is_none_or(|s| s.shape.total != Total::None);
        let links = listing.links(&call.base, start, total, &self.keys);
        let set = SearchSet { total: counted.then_some(total), links, entries };
        Ok(Reply::fhir(set.into_bytes()))
    }
}

/// Everything the searches find, each resource once, in the order they ask for.
pub(crate) async fn find(session: &Session, searches: &[Search]) -> Result<Vec<Hit>, Outcome> {
    let mut asking: Vec<BoxFuture<'_, Result<Vec<Hit>, AskError>>> = Vec::with_capacity(searches.len());
    for search in searches {
        asking.push(Box::pin(async move { session.search(search).await.map(|f| f.matches) }));
    }
    let found: Vec<Vec<Hit>> = stream::iter(asking).buffered(PARALLEL).try_collect().await?;
    let mut seen = HashSet::new();
    let single = found.len() == 1;
    let hits: Vec<Hit> = found.into_iter().flatten().filter(|h| seen.insert(h.identity.clone())).collect();
    Ok(match searches.first() {
        Some(search) if !single => search.arrange(hits),
        _ => hits,
    })
}

/// What a remembered list holds in a place, read anew and in the list's order. What is gone or no longer
/// granted is left out.
pub(crate) async fn read_page(
    session: &Session,
    found: &[String],
    start: usize,
    count: usize,
) -> Result<Vec<Hit>, Outcome> {
    let end = start.saturating_add(count).min(found.len());
    let wanted = found.get(start..end).unwrap_or_default();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let mut hits = session.read(wanted).await?;
    let place: std::collections::HashMap<&str, usize> =
        wanted.iter().enumerate().map(|(n, i)| (i.as_str(), n)).collect();
    hits.sort_by_key(|h| place.get(h.identity.as_str()).copied());
    Ok(hits)
}

/// `_include` and `_revinclude` of a page.
async fn include(session: &Session, searches: &[Search], page: &[Hit]) -> Result<Vec<Hit>, Outcome> {
    let mut out: Vec<Hit> = Vec::new();
    let mut seen: HashSet<String> = page.iter().map(|h| h.identity.clone()).collect();
    let mut done = HashSet::new();
    for search in searches.iter().filter(|s| !s.shape.includes.is_empty() && done.insert(s.resource)) {
        let of_type = |h: &&Hit| h.identity.split('/').next() == Some(search.resource);
        let part: Vec<Hit> = page.iter().filter(of_type).cloned().collect();
        if !part.is_empty() {
            let found = session.includes(&search.shape, &part).await?;
            out.extend(found.into_iter().filter(|h| seen.insert(h.identity.clone())));
        }
    }
    Ok(out)
}

/// Entries of a page.
pub(crate) fn entries(base: &str, page: &[Hit], included: &[Hit], view: &View) -> Vec<Entry> {
    let entry = |hit: &Hit, mode| Entry {
        full_url: Some(format!("{base}/{}", hit.identity)),
        resource: view.apply(&hit.json, &hit.bytes),
        mode,
    };
    let matches = page.iter().map(|h| entry(h, Mode::Match));
    matches.chain(included.iter().map(|h| entry(h, Mode::Include))).collect()
}

fn left_out(ignored: &[String]) -> Entry {
    let issues: Vec<Issue> = ignored
        .iter()
        .map(|name| {
            let text = format!("search parameter {name:?} is not known here or has no value, and was left out; Prefer: handling=strict refuses it");
            Issue { expression: Some(format!("http.{name}")), ..Issue::warning("not-supported", text) }
        })
        .collect();
    Entry { full_url: None, resource: document(&issues).to_string().into_bytes(), mode: Mode::Outcome }
}
