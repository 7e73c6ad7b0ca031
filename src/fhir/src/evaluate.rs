//! Exact evaluation on plaintext: what the index only narrows is decided here.

use std::collections::{BTreeMap, BTreeSet};

use sealdex_schema::{Decimal, IndexKind, Value, local_reference};
use serde_json::Value as Json;

use crate::{
    query::Op,
    resolve::{Condition, Group, Resolved, Target},
};

/// Whether a provider is one of these, or below one: its name is then that one's, a slash, and more.
fn is_at_or_below(source: &str, names: &[String]) -> bool {
    let ends = source.match_indices('/').map(|(at, _)| at).chain([source.len()]);
    ends.into_iter().any(|end| names.iter().any(|n| *n == source[..end]))
}

/// A record that may be part of an answer. One resource held by several providers is one hit.
#[derive(Clone, Debug)]
pub struct Hit {
    /// `Type/id`.
    pub identity: String,
    /// Plaintext.
    pub json: Json,
    /// Plaintext as the provider sealed it.
    pub bytes: Vec<u8>,
    /// Names of the providers it came from.
    pub sources: BTreeSet<String>,
}

/// Figures of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Records by group.
    pub groups: Option<BTreeMap<String, u64>>,
    /// Distinct values.
    pub distinct_count: Option<u64>,
    /// Aggregate.
    pub agg: Option<Aggregate>,
}

/// Number, smallest, largest and sum of a field, exact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aggregate {
    /// Number of values.
    pub n: u64,
    /// Smallest, as written in its record.
    pub min: Option<String>,
    /// Largest, as written in its record.
    pub max: Option<String>,
    /// Sum.
    pub sum: String,
}

impl Condition {
    /// Whether a record from these providers satisfies the condition.
    pub fn holds(&self, record: &Json, sources: &BTreeSet<String>) -> bool {
        match self {
            Self::Source { negated: false, names } => sources.iter().any(|s| is_at_or_below(s, names)),
            Self::Source { negated: true, names } => !sources.iter().any(|s| is_at_or_below(s, names)),
            Self::Words { target, words } => {
                let present = target.field.words(record);
                words.iter().all(|w| present.contains(w))
            }
            Self::Prefix { target, prefix } if target.field.index == IndexKind::Words => {
                target.field.words(record).iter().any(|w| w.starts_with(prefix))
            }
            Self::Prefix { target, prefix } => {
                values(target, record).iter().any(|v| matches!(v, Value::Text(t) if t.starts_with(prefix)))
            }
            Self::Compare { target, op: Op::Ne, values: wanted } => {
                let present = values(target, record);
                !present.is_empty() && present.iter().all(|v| !equal(v, &wanted[0]))
            }
            Self::Compare { target, op, values: wanted } => {
                values(target, record).iter().any(|v| compare(v, *op, wanted))
            }
        }
    }
}

fn values(target: &Target, record: &Json) -> Vec<Value> {
    target.field.values(record, target.code.as_deref())
}

fn equal(a: &Value, b: &Value) -> bool {
    ordering(a, b).is_some_and(std::cmp::Ordering::is_eq)
}

/// Order of two values of one field. Dates compare as they are written.
fn ordering(a: &Value, b: &Value) -> Option<std::cmp::Ordering> {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) | (Value::Date(a, _), Value::Date(b, _)) => Some(a.cmp(b)),
        (Value::Number(a), Value::Number(b)) => Some(a.cmp(b)),
        (Value::Instant(a), Value::Instant(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

fn compare(v: &Value, op: Op, wanted: &[Value]) -> bool {
    let with = |w: &Value| ordering(v, w);
    let test = |w: &Value, f: fn(std::cmp::Ordering) -> bool| with(w).is_some_and(f);
    match (op, wanted) {
        (Op::Eq | Op::In, all) => all.iter().any(|w| equal(v, w)),
        (Op::Lt, [w]) => test(w, std::cmp::Ordering::is_lt),
        (Op::Le, [w]) => test(w, std::cmp::Ordering::is_le),
        (Op::Gt, [w]) => test(w, std::cmp::Ordering::is_gt),
        (Op::Ge, [w]) => test(w, std::cmp::Ordering::is_ge),
        (Op::Between, [a, b]) => test(a, std::cmp::Ordering::is_ge) && test(b, std::cmp::Ordering::is_le),
        (Op::Window, [a, b]) => test(a, std::cmp::Ordering::is_ge) && test(b, std::cmp::Ordering::is_lt),
        _ => false,
    }
}

impl Resolved {
    /// Whether a record satisfies all conditions on the record itself.
    pub fn holds(&self, record: &Json, sources: &BTreeSet<String>) -> bool {
        let kind = record.get("resourceType").and_then(Json::as_str);
        kind == Some(&self.resource) && self.filters.iter().all(|c| c.holds(record, sources))
    }

    /// Value a record is ranked by.
    pub fn rank(&self, record: &Json) -> Option<Value> {
        let (target, _) = self.topk.as_ref()?;
        values(target, record)
            .into_iter()
            .reduce(|a, b| if ordering(&a, &b).is_some_and(std::cmp::Ordering::is_lt) { b } else { a })
    }

    /// Brings hits into the answer's order: by rank for top-k (largest first, ties by identity) and cut
    /// to `k`, else by identity.
    pub fn arrange(&self, mut hits: Vec<Hit>) -> Vec<Hit> {
        let Some((_, k)) = &self.topk else {
            hits.sort_by(|a, b| a.identity.cmp(&b.identity));
            return hits;
        };
        let mut ranked: Vec<(Value, Hit)> =
            hits.into_iter().filter_map(|h| self.rank(&h.json).map(|v| (v, h))).collect();
        ranked.sort_by(|(a, x), (b, y)| {
            ordering(b, a).unwrap_or(std::cmp::Ordering::Equal).then_with(|| x.identity.cmp(&y.identity))
        });
        ranked.truncate(*k);
        ranked.into_iter().map(|(_, h)| h).collect()
    }

    /// Counts, distinct values and aggregates over an answer.
    pub fn figures(&self, hits: &[Hit]) -> Figures {
        let keys = |group: &Group, hit: &Hit| -> BTreeSet<String> {
            match group {
                Group::Source => hit.sources.clone(),
                Group::Field(target) => values(target, &hit.json).iter().map(Value::to_string).collect(),
            }
        };
        let groups = self.count_by.as_ref().map(|group| {
            let mut counts = BTreeMap::new();
            for hit in hits {
                for key in keys(group, hit) {
                    *counts.entry(key).or_insert(0) += 1;
                }
            }
            counts
        });
        let distinct_count = self.distinct.as_ref().map(|group| {
            let all: BTreeSet<String> = hits.iter().flat_map(|h| keys(group, h)).collect();
            all.len() as u64
        });
        Figures { groups, distinct_count, agg: self.agg.as_ref().map(|target| aggregate(target, hits)) }
    }
}

fn aggregate(target: &Target, hits: &[Hit]) -> Aggregate {
    let mut out = Aggregate { n: 0, min: None, max: None, sum: String::new() };
    let (mut sum, mut min, mut max): (Decimal, Option<Decimal>, Option<Decimal>) = (Decimal::zero(), None, None);
    for hit in hits {
        for (value, json) in target.field.texts(&hit.json, target.code.as_deref()) {
            let Value::Number(number) = value else { continue };
            let text = || json.as_str().map_or_else(|| json.to_string(), str::to_owned);
            out.n += 1;
            sum = sum.add(&number);
            if min.as_ref().is_none_or(|m| number < *m) {
                (min, out.min) = (Some(number.clone()), Some(text()));
            }
            if max.as_ref().is_none_or(|m| number > *m) {
                (max, out.max) = (Some(number), Some(text()));
            }
        }
    }
    out.sum = sum.to_string();
    out
}

/// The patients a record is about, `Patient/id`, for `has`.
pub fn subjects(field: &sealdex_schema::Field, record: &Json) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    field.raw_values(record, &mut |_, json| out.extend(json.as_str().and_then(local_reference)));
    out
}
