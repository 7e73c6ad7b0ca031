//! From a checked question to index clauses. The clauses find a superset of the answer, never less;
//! what they leave over is decided on the plaintext.

use std::sync::Arc;

use sealdex_schema::{Field, IndexKind, Quantiser, Scope, TYPE_FIELD, Value};

use crate::{
    query::Op,
    resolve::{Condition, Resolved, Target},
};

/// What the index is asked, independent of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexClause {
    /// Every record.
    All,
    /// A token.
    Token {
        /// Field the key is derived for.
        field: Arc<str>,
        /// Scope.
        scope: Scope,
        /// Canonical bytes.
        value: Vec<u8>,
    },
    /// A bridged token.
    Bridged {
        /// Field the point is derived for.
        field: Arc<str>,
        /// Scope.
        scope: Scope,
        /// Canonical bytes.
        value: Vec<u8>,
    },
    /// A range of quantised values, both ends included.
    Order {
        /// Field the key is derived for.
        field: Arc<str>,
        /// Scope.
        scope: Scope,
        /// Width.
        bits: u8,
        /// Lowest.
        from: u64,
        /// Highest.
        to: u64,
    },
    /// A range of a cover field, both ends included.
    Cover {
        /// Field the key is derived for.
        field: Arc<str>,
        /// Scope.
        scope: Scope,
        /// Width.
        bits: u8,
        /// Lowest.
        from: u32,
        /// Highest.
        to: u32,
    },
    /// Records of these providers.
    Source(Vec<String>),
    /// All of these.
    And(Vec<IndexClause>),
    /// Any of these.
    Or(Vec<IndexClause>),
    /// None of these.
    Not(Box<IndexClause>),
}

/// An order field the cloud can sort by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SortField {
    /// Field the key is derived for.
    pub field: Arc<str>,
    /// Scope.
    pub scope: Scope,
    /// Width.
    pub bits: u8,
    /// Quantiser, to find the run of values that share the last one's place.
    pub quantiser: Quantiser,
}

/// How a question is put to the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Finds a superset of the answer.
    pub clause: IndexClause,
    /// Sorts it, for top-k.
    pub sort: Option<SortField>,
    /// What the index could not narrow, in words.
    pub notes: Vec<String>,
}

/// Plans one question; its `has` conditions are planned by themselves.
pub fn plan(q: &Resolved) -> Plan {
    let mut notes = Vec::new();
    let codes = codes(&q.filters);
    let mut clauses: Vec<IndexClause> = q.filters.iter().filter_map(|c| clause(c, &codes, &mut notes)).collect();
    // A clause on a field of the type implies the type.
    let implied = clauses.iter().any(|c| !matches!(c, IndexClause::Source(_) | IndexClause::Not(_)));
    if !implied {
        let value = q.resource.clone().into_bytes();
        clauses.insert(0, IndexClause::Token { field: TYPE_FIELD.into(), scope: Scope::Isolated, value });
    }
    let sort = q.topk.as_ref().and_then(|(target, _)| sort_field(target, &codes));
    if q.topk.is_some() && sort.is_none() {
        notes.push("the largest are found after opening all matches: the field is not sorted in the index, or spans several codes".into());
    }
    Plan { clause: IndexClause::And(clauses), sort, notes }
}

/// Qualifying codes that every match must carry one of: those of the first equality on a code.
fn codes(filters: &[Condition]) -> Option<Vec<String>> {
    filters.iter().find_map(|c| match c {
        Condition::Compare { target, op: Op::Eq | Op::In, values }
            if ["token", "code"].contains(&target.field.name.as_str()) =>
        {
            let token = target.field.name == "token";
            let codes = values.iter().flat_map(|v| match v {
                // Systems and codes may themselves hold a bar, so every split counts.
                Value::Text(t) if token => t.match_indices('|').map(|(i, _)| t[i + 1..].to_owned()).collect(),
                Value::Text(t) => vec![t.clone()],
                _ => Vec::new(),
            });
            Some(codes.collect())
        }
        _ => None,
    })
}

fn sort_field(target: &Target, codes: &Option<Vec<String>>) -> Option<SortField> {
    let IndexKind::Order(quantiser) = &target.field.index else { return None };
    let code = match (&target.field.qualified_by, &target.code, codes.as_deref()) {
        (None, _, _) => None,
        (Some(_), Some(code), _) => Some(code.as_str()),
        (Some(_), None, Some([one])) => Some(one.as_str()),
        (Some(_), None, _) => return None,
    };
    Some(SortField {
        field: target.field.qualified(code),
        scope: target.field.scope,
        bits: quantiser.bits(),
        quantiser: quantiser.clone(),
    })
}

fn clause(condition: &Condition, codes: &Option<Vec<String>>, notes: &mut Vec<String>) -> Option<IndexClause> {
    match condition {
        Condition::Source { negated: false, names } => Some(IndexClause::Source(names.clone())),
        // A resource several providers hold is one answer; excluding a provider's copy is decided later.
        Condition::Source { negated: true, .. } => None,
        Condition::Words { target, words } => {
            let token = |w: &String| token(&target.field, target.field.full.clone(), w.clone().into_bytes());
            Some(IndexClause::And(words.iter().map(token).collect()))
        }
        Condition::Prefix { target, prefix } => match target.field.prefixes {
            Some(longest) => {
                let short: String = prefix.chars().take(longest).collect();
                Some(token(&target.field, target.field.prefix_name(), short.into_bytes()))
            }
            None => {
                notes.push(format!(
                    "{} has no prefixes in the index: all records of the type are opened",
                    target.field.full
                ));
                None
            }
        },
        Condition::Compare { target, op, values } => compare(target, *op, values, codes, notes),
    }
}

fn token(field: &Field, name: Arc<str>, value: Vec<u8>) -> IndexClause {
    IndexClause::Token { field: name, scope: field.scope, value }
}

fn compare(
    target: &Target,
    op: Op,
    values: &[Value],
    codes: &Option<Vec<String>>,
    notes: &mut Vec<String>,
) -> Option<IndexClause> {
    let field = &target.field;
    if op == Op::Ne {
        notes.push(format!("{} ne …: decided after opening", field.full));
        return None;
    }
    match &field.index {
        IndexKind::Token | IndexKind::Words | IndexKind::Bridged => {
            if !matches!(op, Op::Eq | Op::In) {
                notes.push(format!("{} is indexed for equality only: decided after opening", field.full));
                return None;
            }
            let one = |v: &Value| match field.index {
                IndexKind::Bridged => {
                    IndexClause::Bridged { field: field.full.clone(), scope: field.scope, value: v.token_bytes() }
                }
                _ => token(field, field.full.clone(), v.token_bytes()),
            };
            Some(any(values.iter().map(one).collect()))
        }
        IndexKind::Cover(quantiser) => {
            let range = |(from, to): (u64, u64)| IndexClause::Cover {
                field: field.full.clone(),
                scope: field.scope,
                bits: quantiser.bits(),
                from: u32::try_from(from).unwrap_or(u32::MAX),
                to: u32::try_from(to).unwrap_or(u32::MAX),
            };
            Some(any(ranges(op, values, quantiser).into_iter().map(range).collect()))
        }
        IndexKind::Order(quantiser) => {
            let names: Vec<Arc<str>> = match (&field.qualified_by, &target.code, codes) {
                (None, _, _) => vec![field.full.clone()],
                (Some(_), Some(code), _) => vec![field.qualified(Some(code))],
                (Some(_), None, Some(codes)) => codes.iter().map(|c| field.qualified(Some(c))).collect(),
                (Some(_), None, None) => {
                    notes.push(format!(
                        "{} without a code cannot be narrowed by the index (each code has a scale of its own): all other matches are opened; add a filter on \"code\" or \"token\"",
                        field.full
                    ));
                    return None;
                }
            };
            let ranges = ranges(op, values, quantiser);
            let clause = |name: Arc<str>| {
                let one = |(from, to): &(u64, u64)| IndexClause::Order {
                    field: name.clone(),
                    scope: field.scope,
                    bits: quantiser.bits(),
                    from: *from,
                    to: *to,
                };
                any(ranges.iter().map(one).collect())
            };
            Some(any(names.into_iter().map(clause).collect()))
        }
    }
}

fn any(mut clauses: Vec<IndexClause>) -> IndexClause {
    if clauses.len() == 1 { clauses.swap_remove(0) } else { IndexClause::Or(clauses) }
}

/// Ranges of quantised values that hold every match, rounded outward; reversed ranges match nothing.
fn ranges(op: Op, values: &[Value], quantiser: &Quantiser) -> Vec<(u64, u64)> {
    let q: Vec<u64> = values.iter().map(|v| v.bound(quantiser)).collect();
    let max = quantiser.max_q();
    match (op, q.as_slice()) {
        (Op::Eq | Op::In, points) => points.iter().map(|p| (*p, *p)).collect(),
        (Op::Lt | Op::Le, [x]) => vec![(0, *x)],
        (Op::Gt | Op::Ge, [x]) => vec![(*x, max)],
        (Op::Between | Op::Window, [a, b]) if a <= b => vec![(*a, *b)],
        (Op::Between | Op::Window, _) => Vec::new(),
        _ => vec![(0, max)],
    }
}
