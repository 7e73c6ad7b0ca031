//! Whether a resource satisfies a search.

use std::collections::BTreeSet;

use sealdex_schema::local_reference;
use serde_json::Value as Json;

use super::definitions::{Parameter, visit};
use super::parse::{Condition, Criterion, Rule, Search};
use super::result::{Places, arrange};
use super::test::{Test, is_of, reference_text};
use crate::evaluate::Hit;

/// What a condition on other resources has come to, once they were searched. One for each condition of a
/// search, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Joined {
    /// The condition is on the resource itself.
    Own,
    /// The reference must lead to one of these, `Type/id`.
    RefersTo(BTreeSet<String>),
    /// The resource must be one of these, `Type/id`.
    Is(BTreeSet<String>),
}

impl Search {
    /// Whether a resource satisfies the search.
    pub fn holds(&self, resource: &Json, joined: &[Joined]) -> bool {
        let text = |name: &str| resource.get(name).and_then(Json::as_str);
        text("resourceType") == Some(self.resource)
            && self.conditions.iter().zip(joined).all(|(condition, joined)| match (condition, joined) {
                (Condition::Own(c), _) => c.holds(resource),
                (Condition::Chain { parameter, .. }, Joined::RefersTo(set)) => {
                    references(parameter, resource).iter().any(|r| set.contains(r))
                }
                (Condition::Has { .. }, Joined::Is(set)) => {
                    text("id").is_some_and(|id| set.contains(&format!("{}/{id}", self.resource)))
                }
                _ => false,
            })
            && joined.len() == self.conditions.len()
    }

    /// Brings matches into the order asked for.
    pub fn arrange(&self, hits: Vec<Hit>) -> Vec<Hit> {
        let placed = hits.into_iter().map(|h| (self.places(&h.json), h)).collect();
        arrange(&self.shape.sort, placed, |h| &h.identity)
    }

    /// Where a resource stands in the order asked for: all that need be kept of it to bring many in order.
    pub fn places(&self, resource: &Json) -> Places {
        Places::of(&self.shape.sort, resource)
    }

    /// Brings identities into the order asked for, by their places.
    pub fn arrange_identities(&self, placed: Vec<(Places, String)>) -> Vec<String> {
        arrange(&self.shape.sort, placed, String::as_str)
    }
}

impl Criterion {
    /// Whether a resource satisfies the criterion.
    pub(crate) fn holds(&self, resource: &Json) -> bool {
        match &self.rule {
            Rule::Missing(missing) => self.is_missing(resource) == *missing,
            Rule::Any(tests) => tests.iter().any(|t| self.passes(t, resource)),
            Rule::None(tests) => !tests.iter().any(|t| self.passes(t, resource)),
        }
    }

    fn passes(&self, test: &Test, resource: &Json) -> bool {
        let Test::Composite(parts) = test else { return test.any(&self.parameter.paths, resource, resource) };
        let mut passed = false;
        for base in &self.parameter.bases {
            visit(base, resource, &mut |element| {
                let mut pairs = self.parameter.components.iter().zip(parts);
                passed = passed || pairs.all(|(component, part)| part.any(&component.paths, element, resource));
            });
        }
        passed
    }

    fn is_missing(&self, resource: &Json) -> bool {
        let p = self.parameter;
        let present = |paths: &[super::Selector], element: &Json| {
            paths.iter().any(|s| {
                let mut any = false;
                s.visit(if s.absolute { resource } else { element }, &mut |v| any |= is_of(s, v));
                any
            })
        };
        if p.bases.is_empty() {
            return !present(&p.paths, resource);
        }
        let mut any = false;
        for base in &p.bases {
            visit(base, resource, &mut |e| any |= p.components.iter().all(|c| present(&c.paths, e)));
        }
        !any
    }
}

/// The resources a reference parameter leads to, `Type/id`.
pub fn references(parameter: &Parameter, resource: &Json) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for s in &parameter.paths {
        s.visit(resource, &mut |v| {
            if is_of(s, v) {
                let text = reference_text(v).filter(|t| !t.starts_with("urn:") && !t.contains("://"));
                out.extend(text.and_then(local_reference));
            }
        });
    }
    out
}
