//! Pages: places in links, and a short memory of which identities a search found, in order.
//!
//! A link carries all it needs, so a restart breaks none. The memory only saves repeating the search: it holds
//! identities, never content, and what a page shows is read anew under the grants of that moment.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    labels,
    outcome::Outcome,
    query::{Pairs, encode},
    tokens::LinkKey,
};

/// Parameter of the place.
pub const PAGE: &str = "_page";
/// Entries of a page when the client does not say.
pub const DEFAULT: usize = 50;
/// Most entries of a page.
pub const MOST: usize = 1000;

/// How long a search is remembered.
const KEPT: Duration = Duration::from_secs(300);
/// Most identities remembered, over all searches.
const IDENTITIES: usize = 1_000_000;
/// Most searches remembered.
const SEARCHES: usize = 256;

/// A search to be paged: path below the base and parameters, as in its self link.
#[derive(Clone, Debug)]
pub struct Listing {
    /// `Observation`, `Patient/1/$everything`, …
    pub path: String,
    /// Parameters that were used, without the place.
    pub pairs: Pairs,
    /// Entries of a page.
    pub count: usize,
}

impl Listing {
    fn context(&self) -> Vec<u8> {
        format!("{}?{}", self.path, encode(&self.pairs)).into_bytes()
    }

    /// What the search is remembered by. Paging and form do not matter.
    pub fn key(&self, keys: &LinkKey) -> [u8; 32] {
        let form = ["_count", "_format", "_pretty", "_summary", "_elements", "_total", "_include", "_revinclude"];
        let stem = |name: &str| name.split(':').next().unwrap_or_default().to_owned();
        let pairs: Pairs = self.pairs.iter().filter(|(n, _)| !form.contains(&stem(n).as_str())).cloned().collect();
        keys.hash(labels::CACHE, &[self.path.as_bytes(), encode(&pairs).as_bytes()])
    }

    /// Where the page starts.
    ///
    /// # Errors
    /// 400 for a place this gateway did not give out for this search.
    pub fn start(&self, place: Option<&str>, keys: &LinkKey) -> Result<usize, Outcome> {
        let Some(place) = place else { return Ok(0) };
        let opened = keys.open(labels::PAGE, &self.context(), place).and_then(|v| v.try_into().ok());
        let bad =
            || Outcome::invalid("_page is no place in this search: follow the links of its first page as they are");
        opened.map(u64::from_be_bytes).and_then(|n| usize::try_from(n).ok()).ok_or_else(bad)
    }

    /// Link to the page that starts there.
    pub fn link(&self, base: &str, start: Option<usize>, keys: &LinkKey) -> String {
        let mut pairs = self.pairs.clone();
        if let Some(start) = start {
            pairs.push((PAGE.into(), keys.seal(labels::PAGE, &self.context(), &(start as u64).to_be_bytes())));
        }
        let query = encode(&pairs);
        let path = if self.path.is_empty() { String::new() } else { format!("/{}", self.path) };
        if query.is_empty() { format!("{base}{path}") } else { format!("{base}{path}?{query}") }
    }

    /// All links of a page: relation and URL.
    pub fn links(&self, base: &str, start: usize, total: usize, keys: &LinkKey) -> Vec<(&'static str, String)> {
        let to = |start: usize| self.link(base, (start > 0).then_some(start), keys);
        let mut links = vec![("self", to(start))];
        if self.count == 0 {
            return links;
        }
        links.push(("first", to(0)));
        if start > 0 {
            links.push(("previous", to(start.saturating_sub(self.count))));
        }
        if start + self.count < total {
            links.push(("next", to(start + self.count)));
        }
        links.push(("last", to(total.saturating_sub(1) / self.count * self.count)));
        links
    }
}

struct Remembered {
    identities: Arc<Vec<String>>,
    made: Instant,
}

/// The short memory.
#[derive(Default)]
pub struct Memory(Mutex<HashMap<[u8; 32], Remembered>>);

impl Memory {
    /// What a search found, if it is remembered.
    pub fn get(&self, key: &[u8; 32]) -> Option<Arc<Vec<String>>> {
        let searches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        searches.get(key).filter(|r| r.made.elapsed() < KEPT).map(|r| r.identities.clone())
    }

    /// Remembers; the oldest make room.
    pub fn put(&self, key: [u8; 32], identities: Vec<String>) {
        if identities.len() > IDENTITIES {
            return;
        }
        let mut searches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        searches.retain(|_, r| r.made.elapsed() < KEPT);
        searches.remove(&key);
        let mut held: usize = searches.values().map(|r| r.identities.len()).sum();
        while searches.len() >= SEARCHES || held + identities.len() > IDENTITIES {
            let Some(oldest) = searches.iter().min_by_key(|(_, r)| r.made).map(|(k, _)| *k) else { break };
            held -= searches.remove(&oldest).map_or(0, |r| r.identities.len());
        }
        searches.insert(key, Remembered { identities: Arc::new(identities), made: Instant::now() });
    }

    /// Forgets everything: after a write, lists are made anew.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(count: usize) -> Listing {
        Listing { path: "Observation".into(), pairs: vec![("code".into(), "a|b".into())], count }
    }

    fn place(link: &str) -> Option<&str> {
        link.split_once("_page=").map(|(_, p)| p)
    }

    #[test]
    fn links_lead_through_all_pages_and_no_further() {
        let (keys, l) = (LinkKey::derive(&[1; 32]), listing(3));
        let (mut start, mut seen) = (0, vec![]);
        loop {
            let links: HashMap<_, _> = l.links("http://h/fhir", start, 8, &keys).into_iter().collect();
            assert!(links["self"].starts_with("http://h/fhir/Observation?code=a%7Cb"), "{links:?}");
            assert_eq!(l.start(place(&links["last"]), &keys), Ok(6));
            assert_eq!(l.start(place(&links["first"]), &keys), Ok(0));
            assert_eq!(links.contains_key("previous"), start > 0);
            seen.push(start);
            match links.get("next") {
                Some(next) => start = l.start(place(next), &keys).unwrap(),
                None => break,
            }
        }
        assert_eq!(seen, [0, 3, 6]);
        let relations = |total| listing(4).links("b", 0, total, &keys).into_iter().map(|(r, _)| r).collect::<Vec<_>>();
        assert_eq!(relations(4), ["self", "first", "last"]);
        assert_eq!(relations(0), ["self", "first", "last"]);
        assert_eq!(listing(0).links("b", 0, 9, &keys).len(), 1);
    }

    #[test]
    fn a_place_is_good_for_its_search_only() {
        let (keys, l) = (LinkKey::derive(&[1; 32]), listing(3));
        let link = l.link("b", Some(3), &keys);
        let other = Listing { pairs: vec![("code".into(), "c".into())], ..l.clone() };
        assert_eq!(other.start(place(&link), &keys).unwrap_err().status, 400);
        assert_eq!(l.start(Some("7"), &keys).unwrap_err().status, 400);
    }

    #[test]
    fn memory_is_bounded_and_form_does_not_matter() {
        let keys = LinkKey::derive(&[1; 32]);
        let (a, mut b) = (listing(3), listing(9));
        b.pairs.push(("_count".into(), "9".into()));
        b.pairs.push(("_include:iterate".into(), "x".into()));
        assert_eq!(a.key(&keys), b.key(&keys));
        b.pairs.push(("_sort".into(), "date".into()));
        assert_ne!(a.key(&keys), b.key(&keys));
        let memory = Memory::default();
        for n in 0..SEARCHES + 5 {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&n.to_be_bytes());
            memory.put(key, vec![format!("Patient/{n}")]);
        }
        assert_eq!(memory.0.lock().unwrap().len(), SEARCHES);
        assert!(memory.get(&[0; 32]).is_none(), "the oldest went");
        memory.put([9; 32], vec![String::new(); IDENTITIES]);
        assert_eq!(memory.0.lock().unwrap().len(), 1);
        memory.put([8; 32], vec![String::new(); IDENTITIES + 1]);
        assert!(memory.get(&[8; 32]).is_none());
        memory.clear();
        assert!(memory.get(&[9; 32]).is_none());
    }
}
