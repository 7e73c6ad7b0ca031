//! What our cloud is given: entries and searches as the suite makes them.

use sealdex_cloud::index::IndexSearch;
use sealdex_cloud::store::NewBatch;
use sealdex_crypto::*;
use sealdex_wire::auth::sha256;
use sealdex_wire::search::{CloudClause, CloudSort};

use super::records::{Condition, ORDER_FIELDS, Question, Record, TOKEN_FIELDS};
use crate::{Failure, cloud};

/// The keys of a member and of the gate, for these fields.
pub struct Encoder {
    tokens: [FieldTokenKey; TOKEN_FIELDS],
    words: FieldTokenKey,
    scope: ScopeKey,
    order: [OrderField; ORDER_FIELDS],
    noise: [NoiseKey; 2],
}

struct OrderField {
    name: String,
    token: FieldToken,
    tag: [u8; 8],
    inner: InnerOrderKey,
    outer: OuterOrderKey,
}

const BITS: Bits = Bits::FIELD[6];

impl Encoder {
    pub fn new() -> Self {
        let secret = MemberTokenSecret::from_bytes(&[1; 32]);
        let scope = ScopeKey::derive(&TermKey::from_bytes(&[2; 32]), "north", &[]);
        let field = |name: &str| FieldTokenKey::derive(&secret, "north", name, 0);
        let order = std::array::from_fn(|n| {
            let name = format!("order.{n}");
            let token = field_token(&secret, "north", &name, 0);
            let inner = InnerOrderKey::derive(&MemberOrderSecret::from_bytes(&[3; 32]), "north", &name, 0);
            let outer = OuterOrderKey::derive(&GateOrderSecret::from_bytes(&[4; 32]), "north", &token, 0, &[]);
            OrderField { name, token, tag: scope.tag(&token), inner, outer }
        });
        let tokens = std::array::from_fn(|n| field(&format!("token.{n}")));
        let noise = [NoiseKey::from_bytes(&[5; 32]), NoiseKey::from_bytes(&[6; 32])];
        Self { tokens, words: field("words"), scope, order, noise }
    }

    fn token(&self, field: usize, value: &str) -> Term {
        self.scope.term(&self.tokens[field].inner(value.as_bytes()))
    }

    fn word(&self, word: &str) -> Term {
        self.scope.term(&self.words.inner(word.as_bytes()))
    }

    /// Index entries of a record: what member and gate compute together.
    pub fn entries(&self, record: &Record) -> Result<Vec<u8>, Failure> {
        let mut terms = Vec::with_capacity(16 * (TOKEN_FIELDS + ORDER_FIELDS + record.words.len()));
        for (field, value) in record.tokens.iter().enumerate() {
            terms.extend_from_slice(&self.token(field, value).0);
        }
        for word in &record.words {
            terms.extend_from_slice(&self.word(word).0);
        }
        for (field, &value) in self.order.iter().zip(&record.order) {
            let drawn = noise(&self.noise[0], &record.id, field.name.as_bytes());
            let inner = field.inner.code(BITS, value.into(), drawn)?;
            let code = field.outer.code(BITS, inner, noise(&self.noise[1], &record.id, &field.token.0))?;
            terms.extend_from_slice(&order_term(field.tag, code).0);
        }
        Ok(terms)
    }

    /// What the gate asks the cloud.
    fn clause(&self, condition: &Condition) -> Result<CloudClause, Failure> {
        Ok(match condition {
            Condition::Token { field, value } => CloudClause::Terms(self.token(*field, value).0.to_vec()),
            Condition::Word(word) => CloudClause::Terms(self.word(word).0.to_vec()),
            Condition::Range { field, from, to } => {
                let field = &self.order[*field];
                let (from, to) = field.inner.bounds(BITS, (*from).into(), (*to).into())?;
                let (lo, hi) = field.outer.bounds(BITS, from, to)?;
                CloudClause::Range { tag: field.tag, lo, hi }
            }
        })
    }

    /// The search of a question, as the cloud gets it.
    pub fn search(&self, question: &Question) -> Result<IndexSearch, Failure> {
        let mut clauses = question.all.iter().map(|c| self.clause(c)).collect::<Result<Vec<_>, _>>()?;
        let clause = if clauses.len() == 1 { clauses.remove(0) } else { CloudClause::And(clauses) };
        let sort = question.page.map(|(field, _)| CloudSort { tag: self.order[field].tag, descending: true });
        Ok(IndexSearch { clause, sort, after: None, limit: question.page.map_or(100_000, |(_, limit)| limit) })
    }
}

/// A batch as a provider sends it, with entries already made; `first` is the number of its first record.
pub fn batch(first: u64, entries: Vec<(RecordId, Vec<u8>)>) -> NewBatch {
    let record = |((id, terms), n): ((RecordId, Vec<u8>), u64)| {
        let digest = sha256(&[b"origin", &n.to_be_bytes()]);
        let origin = Term(std::array::from_fn(|i| digest[i]));
        cloud::record(id, origin, terms, Record::tag(n), Record::sealed(n))
    };
    cloud::batch(first, entries.into_iter().zip(first..).map(record).collect())
}
