//! From a search to clauses of the index. They find a superset of what matches, never less: a parameter
//! is narrowed only where fields of the schema hold every value it could match.

use std::sync::Arc;

use sealdex_schema::{
    Decimal, Field, ID_FIELD, IndexKind, Instant, Normaliser, Quantiser, Schema, Scope, TYPE_FIELD, Value, fold,
};

use super::definitions::{ParamKind, Parameter, Selector, Step, Targets};
use super::holds::Joined;
use super::parse::{Condition, Criterion, Rule, Search};
use super::test::{ReferenceTest, Test, TextMatch, TokenTest, text_parts};
use super::value::{DateTest, NumberTest, Prefix};
use crate::plan::{IndexClause, Plan, any, implies_type};

/// Most resources a join is put to the index with; more are decided after opening.
const JOIN: usize = 512;
/// Most types a reference without a type is tried for.
const KINDS: usize = 12;
/// Most tokens and ranges of a plan: half of what a gate takes.
const LEAVES: usize = 4096;
/// Longest time a partial date lasts, minutes: a leap year.
const YEAR: u64 = 366 * 24 * 60;

/// Plans a search. `joined`: what its conditions on other resources have come to.
pub fn narrow(search: &Search, joined: &[Joined], schema: &Schema) -> Plan {
    let own: Vec<&Criterion> =
        search.conditions.iter().filter_map(|c| if let Condition::Own(c) = c { Some(c) } else { None }).collect();
    let planner = Planner { resource: search.resource, fields: &schema.record_type(search.resource).fields, own };
    let mut notes = Vec::new();
    let mut clauses = Vec::new();
    let mut room = LEAVES;
    for (condition, joined) in search.conditions.iter().zip(joined) {
        let (name, clause) = match (condition, joined) {
            (Condition::Own(c), _) => (c.parameter.name, planner.criterion(c)),
            (Condition::Chain { parameter, .. }, Joined::RefersTo(set)) => {
                (parameter.name, planner.chain(parameter, set))
            }
            (Condition::Has { .. }, Joined::Is(set)) => ("_has", (set.len() <= JOIN).then(|| ids(set))),
            _ => ("", None),
        };
        let size = clause.as_ref().map_or(0, leaves);
        match clause {
            Some(clause) if size <= room => {
                room -= size;
                clauses.push(clause);
            }
            Some(_) => notes.push(format!(
                "{}?{name} has too many values for the index: it is decided after opening",
                search.resource
            )),
            None => notes.push(format!(
                "{}?{name} is decided after opening: the index has no field for all it could match",
                search.resource
            )),
        }
    }
    if !clauses.iter().any(|c| implies_type(c, &format!("{}.", search.resource))) {
        clauses.insert(0, built_in(TYPE_FIELD, search.resource.to_owned()));
    }
    Plan { clause: IndexClause::And(clauses), sort: None, notes }
}

fn built_in(field: &str, value: String) -> IndexClause {
    IndexClause::Token { field: field.into(), scope: Scope::Isolated, value: value.into_bytes() }
}

fn ids<'i>(set: impl IntoIterator<Item = &'i String>) -> IndexClause {
    IndexClause::Or(set.into_iter().map(|id| built_in(ID_FIELD, id.clone())).collect())
}

/// Tokens and ranges of a clause; a cover is taken apart into two tokens a bit at most.
fn leaves(clause: &IndexClause) -> usize {
    match clause {
        IndexClause::And(all) | IndexClause::Or(all) => all.iter().map(leaves).sum(),
        IndexClause::Not(inner) => leaves(inner),
        IndexClause::Cover { bits, .. } => 2 * usize::from(*bits),
        _ => 1,
    }
}

struct Planner<'s> {
    resource: &'static str,
    fields: &'s [Field],
    own: Vec<&'s Criterion>,
}

/// Path of a selector below an element.
fn at(base: &str, s: &Selector, rest: &str) -> String {
    [base, &s.plain_path(), rest].into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join(".")
}

fn path_text(path: &[Step]) -> String {
    path.iter().map(|s| s.name).collect::<Vec<_>>().join(".")
}

/// Whether a field holds the values at a path.
fn stands_at(field: &Field, path: &str) -> bool {
    let base = field.base.as_ref().map(|b| format!("{b}.")).unwrap_or_default();
    path.strip_prefix(&base).is_some_and(|rest| field.paths.iter().any(|p| p.to_string() == rest))
}

fn token(field: &Field, name: &Arc<str>, value: Vec<u8>) -> IndexClause {
    let (field_name, scope) = (name.clone(), field.scope);
    match field.index {
        IndexKind::Bridged => IndexClause::Bridged { field: field_name, scope, value },
        _ => IndexClause::Token { field: field_name, scope, value },
    }
}

/// Quantised values from `from` to `to`, both included.
fn range(field: &Field, name: &Arc<str>, from: u64, to: u64) -> Option<IndexClause> {
    let (field_name, scope) = (name.clone(), field.scope);
    match &field.index {
        IndexKind::Order(q) => Some(IndexClause::Order { field: field_name, scope, bits: q.bits(), from, to }),
        IndexKind::Cover(q) => {
            let narrow = |v: u64| u32::try_from(v).unwrap_or(u32::MAX);
            Some(IndexClause::Cover { field: field_name, scope, bits: q.bits(), from: narrow(from), to: narrow(to) })
        }
        _ => None,
    }
}

impl Planner<'_> {
    fn field(&self, path: &str, fits: impl Fn(&Field) -> bool) -> Option<&Field> {
        self.fields.iter().find(|f| stands_at(f, path) && fits(f))
    }

    fn criterion(&self, c: &Criterion) -> Option<IndexClause> {
        let Rule::Any(tests) = &c.rule else { return None };
        let clauses: Option<Vec<IndexClause>> = tests.iter().map(|t| self.test(c.parameter, t)).collect();
        clauses.map(any)
    }

    fn test(&self, p: &Parameter, test: &Test) -> Option<IndexClause> {
        match test {
            Test::Composite(parts) => {
                let bases: Option<Vec<IndexClause>> =
                    p.bases.iter().map(|b| self.composite(p, &path_text(b), parts)).collect();
                bases.map(any)
            }
            Test::Token(TokenTest::Code(id)) if p.name == "_id" => {
                Some(built_in(ID_FIELD, format!("{}/{id}", self.resource)))
            }
            _ => self.paths("", p.kind, &p.paths, &p.targets, test, self.codes().as_deref()),
        }
    }

    /// All parts within one element. Parts the index cannot narrow are left to the others.
    fn composite(&self, p: &Parameter, base: &str, parts: &[Test]) -> Option<IndexClause> {
        // The codes that qualify the element's values are the composite's own.
        let codes = p.components.iter().zip(parts).find_map(|(c, t)| match t {
            Test::Token(test) if c.paths.iter().all(|s| s.plain_path() == "code") => code_of(test),
            _ => None,
        });
        let codes = codes.map(|c| vec![c]);
        let clauses: Vec<IndexClause> = p
            .components
            .iter()
            .zip(parts)
            .filter(|(c, _)| c.paths.iter().all(|s| !s.absolute))
            .filter_map(|(c, t)| self.paths(base, c.kind, &c.paths, &Targets::Any, t, codes.as_deref()))
            .collect();
        (!clauses.is_empty()).then_some(IndexClause::And(clauses))
    }

    /// Codes that every match carries, by an equality on the resource's `code`.
    fn codes(&self) -> Option<Vec<String>> {
        self.own.iter().find_map(|c| {
            let Rule::Any(tests) = &c.rule else { return None };
            let at_code = matches!(c.parameter.paths.as_slice(), [one] if one.plain_path() == "code" && one.datatype == "CodeableConcept");
            let codes = |t: &Test| if let Test::Token(t) = t { code_of(t) } else { None };
            at_code.then(|| tests.iter().map(codes).collect::<Option<Vec<_>>>()).flatten()
        })
    }

    /// A test over all places its values can stand: each must be held by a field.
    fn paths(
        &self,
        base: &str,
        kind: ParamKind,
        paths: &[Selector],
        targets: &Targets,
        test: &Test,
        codes: Option<&[String]>,
    ) -> Option<IndexClause> {
        let mut clauses = Vec::new();
        for s in paths {
            if s.deceased {
                return None;
            }
            match (kind, test) {
                (ParamKind::Token, Test::Token(t)) => clauses.push(self.token(base, s, t)?),
                (ParamKind::Token, Test::TokenText(text)) if s.datatype == "CodeableConcept" => {
                    for rest in ["text", "coding.display"] {
                        clauses.push(self.text(&at(base, s, rest), TextMatch::Start, text)?);
                    }
                }
                (ParamKind::String, Test::Text { how, text }) => {
                    let parts = text_parts(s.datatype);
                    for rest in if parts.is_empty() { &[""] } else { parts } {
                        clauses.push(self.text(&at(base, s, rest), *how, text)?);
                    }
                }
                (ParamKind::Reference, Test::Reference(r)) => clauses.push(self.reference(base, s, targets, r)?),
                (ParamKind::Date, Test::Date(d)) => {
                    if ["date", "dateTime", "instant", "Period", "Timing"].contains(&s.datatype) {
                        clauses.push(self.date(base, s, d)?);
                    }
                }
                // Sampled data have no one value: no number matches them.
                (ParamKind::Quantity, Test::Quantity { .. }) if s.datatype == "SampledData" => {}
                (ParamKind::Quantity, Test::Quantity { number, system, code }) => {
                    let value = self.number(base, s, number, codes);
                    let unit = code.as_ref().and_then(|c| self.unit(base, s, system.is_some(), c));
                    let both: Vec<IndexClause> = [value, unit].into_iter().flatten().collect();
                    if both.is_empty() || s.datatype == "Range" {
                        return None;
                    }
                    clauses.push(IndexClause::And(both));
                }
                _ => return None,
            }
        }
        Some(any(clauses))
    }

    fn token(&self, base: &str, s: &Selector, test: &TokenTest) -> Option<IndexClause> {
        let path = at(base, s, if s.datatype == "CodeableConcept" { "coding" } else { "" });
        let plain = |f: &Field| f.qualified_by.is_none() && matches!(f.index, IndexKind::Token | IndexKind::Bridged);
        let find = |n: Normaliser| self.field(&path, |f| plain(f) && f.normaliser == n);
        let by = |f: &Field, text: &str| f.normaliser.asked(text).ok().map(|v| token(f, &f.full, v.token_bytes()));
        let scoped = matches!(s.datatype, "CodeableConcept" | "Coding");
        match test {
            TokenTest::System(_) => None,
            TokenTest::Both { system, code } => {
                let exact = if scoped { find(Normaliser::Coding) } else { None };
                let exact = exact.or_else(|| find(Normaliser::Identifier).filter(|_| s.datatype == "Identifier"));
                match exact {
                    Some(f) => by(f, &format!("{system}|{code}")),
                    None => find(Normaliser::Code).and_then(|f| by(f, code)),
                }
            }
            TokenTest::Code(code) if s.datatype == "Identifier" => {
                let f = self.field(&at(base, s, "value"), |f| plain(f) && f.normaliser == Normaliser::String)?;
                by(f, code)
            }
            TokenTest::Code(code) => find(Normaliser::Code).and_then(|f| by(f, code)),
        }
    }

    fn text(&self, path: &str, how: TextMatch, text: &str) -> Option<IndexClause> {
        let f = self.field(path, |f| f.normaliser == Normaliser::Unaccented && f.index == IndexKind::Token)?;
        match (how, f.prefixes) {
            (TextMatch::Exact, _) => Some(token(f, &f.full, fold(text).into_bytes())),
            (TextMatch::Start, Some(longest)) if !text.is_empty() => {
                let start: String = text.chars().take(longest).collect();
                Some(token(f, &f.prefix_name(), start.into_bytes()))
            }
            _ => None,
        }
    }

    fn reference_field(&self, base: &str, s: &Selector) -> Option<&Field> {
        let path = at(base, s, "reference");
        self.field(&path, |f| {
            f.normaliser == Normaliser::Reference && f.index == IndexKind::Token && f.qualified_by.is_none()
        })
    }

    fn reference(&self, base: &str, s: &Selector, targets: &Targets, test: &ReferenceTest) -> Option<IndexClause> {
        let f = self.reference_field(base, s)?;
        let by = |text: &str| f.normaliser.asked(text).ok().map(|v| token(f, &f.full, v.token_bytes()));
        match (test, targets) {
            (ReferenceTest::Literal(url), _) => by(url),
            (ReferenceTest::Local { kind: Some(kind), id }, _) => by(&format!("{kind}/{id}")),
            (ReferenceTest::Local { kind: None, id }, Targets::These(kinds)) => {
                let kinds: Vec<&str> = s.is.map_or_else(|| kinds.clone(), |only| vec![only]);
                let all: Option<Vec<IndexClause>> = kinds.iter().map(|k| by(&format!("{k}/{id}"))).collect();
                all.filter(|all| all.len() <= KINDS).map(any)
            }
            _ => None,
        }
    }

    fn chain<'i>(
        &self,
        p: &Parameter,
        set: impl IntoIterator<Item = &'i String, IntoIter: ExactSizeIterator> + Clone,
    ) -> Option<IndexClause> {
        if set.clone().into_iter().len() > JOIN {
            return None;
        }
        let mut clauses = Vec::new();
        for s in &p.paths {
            let f = self.reference_field("", s)?;
            clauses.extend(set.clone().into_iter().map(|id| token(f, &f.full, id.clone().into_bytes())));
        }
        Some(IndexClause::Or(clauses))
    }

    fn number(&self, base: &str, s: &Selector, test: &NumberTest, codes: Option<&[String]>) -> Option<IndexClause> {
        let path = at(base, s, "value");
        let f = self.field(&path, |f| f.normaliser == Normaliser::Decimal)?;
        let quantiser = match &f.index {
            IndexKind::Order(q) | IndexKind::Cover(q) => q,
            _ => return None,
        };
        let bound = |end: Option<&Decimal>, open: u64| end.map_or(open, |d| quantiser.bound(d));
        let (low, high) = test.hull();
        let (low, high) = (bound(low, 0), bound(high, quantiser.max_q()));
        match (&f.qualified_by, codes) {
            (None, _) => range(f, &f.full, low, high),
            (Some(by), Some(codes)) => {
                // Values are indexed under the codes that stand beside them.
                let beside = f.base.as_ref().map(ToString::to_string).unwrap_or_default() == base;
                if !beside || by.to_string() != "code.coding.code" {
                    return None;
                }
                let all: Option<Vec<IndexClause>> =
                    codes.iter().map(|c| range(f, &f.qualified(Some(c)), low, high)).collect();
                all.map(any)
            }
            (Some(_), None) => None,
        }
    }

    fn unit(&self, base: &str, s: &Selector, scoped: bool, code: &str) -> Option<IndexClause> {
        let find = |rest: &str| {
            let fits = |f: &Field| {
                f.index == IndexKind::Token && f.normaliser == Normaliser::String && f.qualified_by.is_none()
            };
            let f = self.field(&at(base, s, rest), fits)?;
            f.normaliser.asked(code).ok().map(|v| token(f, &f.full, v.token_bytes()))
        };
        let by_code = find("code")?;
        if scoped { Some(by_code) } else { Some(IndexClause::Or(vec![by_code, find("unit")?])) }
    }

    fn date(&self, base: &str, s: &Selector, test: &DateTest) -> Option<IndexClause> {
        let path = at(base, s, "");
        let begins = at(base, s, if s.datatype == "Period" { "start" } else { "" });
        let first = self.field(&begins, |f| matches!(f.normaliser, Normaliser::Instant | Normaliser::Date));
        let last = self.field(&path, |f| f.normaliser == Normaliser::Until);
        // A timing is indexed by its being one.
        let unbounded = |f: &Field| range(f, &f.full, 0, 0);
        if s.datatype == "Timing" {
            return unbounded(last?);
        }
        let (first, partial) = (first?, s.datatype != "Period" && last.is_none());
        if s.datatype == "Period" && last.is_none() && !matches!(test.prefix, Prefix::Eq | Prefix::Sa) {
            return None;
        }
        let quantiser = match &first.index {
            IndexKind::Order(q) | IndexKind::Cover(q) => q,
            _ => return None,
        };
        let max = quantiser.max_q();
        let place = |at: Instant| place(quantiser, at);
        let from = |q: u64, to: u64| range(first, &first.full, q, to);
        // Begins before `x`, or never began.
        let before = |x: Instant| {
            let known = from(0, place(x)?);
            Some(match last {
                Some(f) if s.datatype == "Period" => IndexClause::Or(vec![known?, unbounded(f)?]),
                _ => known?,
            })
        };
        // Lasts until `x` or longer.
        let after = |x: Instant| {
            let q = place(x)?;
            Some(match last {
                Some(f) => IndexClause::Or(vec![from(q, max)?, range(f, &f.full, q, u64::from(u32::MAX))?]),
                // An instant is never partial.
                None if s.datatype == "instant" => from(q, max)?,
                None if partial => from(q.saturating_sub(if *quantiser == Quantiser::Day { 366 } else { YEAR }), max)?,
                None => return None,
            })
        };
        match test.prefix {
            Prefix::Ne => None,
            Prefix::Eq => from(place(test.span.from)?, place(test.span.until)?),
            Prefix::Sa => from(place(test.span.until)?, max),
            Prefix::Lt | Prefix::Eb => before(test.span.from),
            Prefix::Le => before(test.span.until),
            Prefix::Gt => after(test.span.until),
            Prefix::Ge => after(test.span.from),
            Prefix::Ap => Some(IndexClause::And(vec![before(test.span.until)?, after(test.span.from)?])),
        }
    }
}

/// Where an instant stands in a field of minutes or days.
fn place(quantiser: &Quantiser, at: Instant) -> Option<u64> {
    match quantiser {
        Quantiser::Minute => Some(Value::Instant(at).bound(quantiser)),
        Quantiser::Day => {
            let day = at.seconds.div_euclid(86_400) + i64::from(sealdex_schema::day_of_date(1970, 1, 1)?);
            Some(u64::try_from(day).unwrap_or(0).min(quantiser.max_q()))
        }
        _ => None,
    }
}

fn code_of(test: &TokenTest) -> Option<String> {
    match test {
        TokenTest::Code(code) | TokenTest::Both { code, .. } if !code.is_empty() => Some(code.clone()),
        _ => None,
    }
}
