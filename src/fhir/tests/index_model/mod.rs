//! The index as a plaintext model: which records a plan's clauses find. What the encrypted index must
//! agree with, and what a plan must find all answers in.

use sealdex_fhir::IndexClause;
use sealdex_schema::{Entry, EntryKind};

/// Whether the index would find a record of this source by its entries.
pub(crate) fn finds(clause: &IndexClause, entries: &[Entry], source: &str) -> bool {
    let any = |test: &dyn Fn(&Entry) -> bool| entries.iter().any(test);
    match clause {
        IndexClause::All => true,
        IndexClause::Token { field, scope, value } => {
            any(&|e| e.field == *field && e.scope == *scope && e.kind == EntryKind::Token(value.clone()))
        }
        IndexClause::Bridged { field, scope, value } => {
            any(&|e| e.field == *field && e.scope == *scope && e.kind == EntryKind::Bridged(value.clone()))
        }
        IndexClause::Order { field, scope, bits, from, to } => any(&|e| {
            let within = matches!(e.kind, EntryKind::Order { bits: b, q } if b == *bits && (*from..=*to).contains(&q));
            e.field == *field && e.scope == *scope && within
        }),
        IndexClause::Cover { field, scope, bits, from, to } => any(&|e| {
            let within = matches!(e.kind, EntryKind::Cover { bits: b, q } if b == *bits && (*from..=*to).contains(&q));
            e.field == *field && e.scope == *scope && within
        }),
        IndexClause::Source(names) => names.iter().any(|n| n == source),
        IndexClause::And(all) => all.iter().all(|c| finds(c, entries, source)),
        IndexClause::Or(some) => some.iter().any(|c| finds(c, entries, source)),
        IndexClause::Not(inner) => !finds(inner, entries, source),
    }
}
