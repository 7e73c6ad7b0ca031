//! Plaintext records in memory, asked by brute force: what an encrypted answer is compared with.

use std::collections::{BTreeMap, BTreeSet};

use sealdex_schema::Schema;

use crate::{
    Figures, Hit, QueryDoc, QueryError, Record, Resolved, resolve,
    search::{Condition, Joined, Search, references},
    subjects,
};

/// Records of several sources.
#[derive(Default)]
pub struct Corpus {
    records: Vec<(Record, String)>,
}

impl Corpus {
    /// Adds a record of a source.
    pub fn add(&mut self, record: Record, source: &str) {
        self.records.push((record, source.to_owned()));
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Answers a question.
    pub fn ask(&self, doc: &QueryDoc, schema: &Schema) -> Result<(Vec<Hit>, Figures), QueryError> {
        let question = resolve(doc, schema)?;
        let hits = match &question.search {
            Some(search) => self.search(search).0,
            None => question.arrange(self.find(&question, schema)),
        };
        let figures = question.figures(&hits);
        Ok((hits, figures))
    }

    /// Answers a FHIR search, in its order, with what its conditions on other resources come to.
    pub fn search(&self, search: &Search) -> (Vec<Hit>, Vec<Joined>) {
        let joined: Vec<Joined> = search.conditions.iter().map(|c| self.join(c, search.resource)).collect();
        let holds = |record: &Record, _: &BTreeSet<String>| search.holds(&record.json, &joined);
        (search.arrange(self.collect(holds)), joined)
    }

    fn join(&self, condition: &Condition, resource: &str) -> Joined {
        match condition {
            Condition::Own(_) => Joined::Own,
            Condition::Chain { targets, .. } => {
                let found = targets.iter().flat_map(|t| self.search(t).0);
                Joined::RefersTo(found.map(|h| h.identity).collect())
            }
            Condition::Has { reference, search } => {
                let found = self.search(search).0;
                let all = found.iter().flat_map(|h| references(reference, &h.json));
                Joined::Is(all.filter(|r| r.split_once('/').is_some_and(|(of, _)| of == resource)).collect())
            }
        }
    }

    fn find(&self, q: &Resolved, schema: &Schema) -> Vec<Hit> {
        let patients = |inner: &Resolved| -> BTreeSet<String> {
            let Some(field) = schema.field(&inner.resource, "subject") else { return BTreeSet::new() };
            self.find(inner, schema).iter().flat_map(|h| subjects(field, &h.json)).collect()
        };
        let joins: Vec<(bool, BTreeSet<String>)> = q.has.iter().map(|h| (h.negated, patients(&h.inner))).collect();
        self.collect(|record, sources| {
            let identity = record.identity();
            q.holds(&record.json, sources) && joins.iter().all(|(negated, ids)| ids.contains(&identity) != *negated)
        })
    }

    /// What satisfies a test, each resource once.
    fn collect(&self, holds: impl Fn(&Record, &BTreeSet<String>) -> bool) -> Vec<Hit> {
        let mut found: BTreeMap<String, Hit> = BTreeMap::new();
        for (record, source) in &self.records {
            let identity = record.identity();
            let sources = BTreeSet::from([source.clone()]);
            if holds(record, &sources) {
                let hit = || Hit {
                    identity: identity.clone(),
                    json: record.json.clone(),
                    bytes: record.bytes.clone(),
                    sources: BTreeSet::new(),
                };
                found.entry(identity.clone()).or_insert_with(hit).sources.extend(sources);
            }
        }
        found.into_values().collect()
    }
}
