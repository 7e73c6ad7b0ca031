//! How an answer is to look: order, pages, what is shown, what comes with it.

use std::cmp::Ordering;

use sealdex_schema::{Decimal, Instant, fold};
use serde_json::Value as Json;

use super::definitions::{ParamKind, Parameter, parameter};
use super::parse::{SearchError, include};
use super::test::{reference_text, span_of_numbers, texts, time};

/// `_summary`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Summary {
    #[default]
    False,
    True,
    Text,
    Data,
    Count,
}

/// `_total`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Total {
    None,
    Estimate,
    #[default]
    Accurate,
}

/// One key of `_sort`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SortKey {
    /// By what.
    pub parameter: &'static Parameter,
    /// Largest first.
    pub descending: bool,
}

/// `_include` or `_revinclude`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Include {
    /// Resources that refer to the matches, not those they refer to.
    pub reverse: bool,
    /// Also from what was included.
    pub iterate: bool,
    /// Type that holds the reference; `None`: any.
    pub source: Option<&'static str>,
    /// The reference; `None`: all.
    pub parameter: Option<&'static Parameter>,
    /// Only to this type.
    pub target: Option<&'static str>,
}

/// How an answer is to look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Matches on a page.
    pub count: Option<u32>,
    /// Order; without it matches come by type and id.
    pub sort: Vec<SortKey>,
    /// Summary.
    pub summary: Summary,
    /// Elements to show; all when empty.
    pub elements: Vec<String>,
    /// Whether the total is asked for.
    pub total: Total,
    /// What comes with the matches.
    pub includes: Vec<Include>,
}

impl Shape {
    /// Takes a pair that says how the answer is to look; `false` when it is something else.
    pub(crate) fn take(&mut self, resource: &str, key: &str, value: &str) -> Result<bool, SearchError> {
        let bad = |reason: &str| SearchError::invalid(key, reason);
        match key {
            "_count" => {
                self.count = Some(value.parse().map_err(|_| bad("takes a whole number"))?);
            }
            "_sort" => {
                for part in value.split(',').filter(|p| !p.is_empty()) {
                    let (descending, name) = part.strip_prefix('-').map_or((false, part), |n| (true, n));
                    let known = parameter(resource, name);
                    let known = known.filter(|p| !matches!(p.kind, ParamKind::Composite | ParamKind::Special));
                    let Some(parameter) = known else {
                        return Err(bad(&format!(
                            "{resource} cannot be sorted by \"{name}\": it is not a search parameter with an order"
                        )));
                    };
                    self.sort.push(SortKey { parameter, descending });
                }
            }
            "_summary" => {
                self.summary = match value {
                    "true" => Summary::True,
                    "false" => Summary::False,
                    "text" => Summary::Text,
                    "data" => Summary::Data,
                    "count" => Summary::Count,
                    _ => return Err(bad("takes true, false, text, data or count")),
                }
            }
            "_elements" => {
                let names = value.split(',').map(str::trim).filter(|n| !n.is_empty());
                // `Type.element` is allowed too.
                self.elements.extend(names.map(|n| n.rsplit('.').next().unwrap_or(n).to_owned()));
            }
            "_total" => {
                self.total = match value {
                    "none" => Total::None,
                    "estimate" => Total::Estimate,
                    "accurate" => Total::Accurate,
                    _ => return Err(bad("takes none, estimate or accurate")),
                }
            }
            "_contained" if value == "false" => {}
            "_contained" => return Err(SearchError::unsupported(key, "contained resources are not searched")),
            "_format" | "_pretty" => {}
            _ if key == "_include" || key.starts_with("_include:") => {
                self.includes.push(include(resource, key, value, false)?);
            }
            _ if key == "_revinclude" || key.starts_with("_revinclude:") => {
                self.includes.push(include(resource, key, value, true)?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// What resources are ordered by.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Number(Decimal),
    Time(Instant),
    Text(String),
}

impl Place {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.cmp(b),
            (Self::Time(a), Self::Time(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            _ => Ordering::Equal,
        }
    }
}

impl SortKey {
    /// The resource's place: the smallest of its values when ascending, the largest when descending.
    fn place(&self, resource: &Json) -> Option<Place> {
        let mut best: Option<Place> = None;
        let mut take = |place: Place| {
            let better = best.as_ref().is_none_or(|b| {
                let order = place.cmp(b);
                if self.descending { order.is_gt() } else { order.is_lt() }
            });
            if better {
                best = Some(place);
            }
        };
        for s in &self.parameter.paths {
            s.visit(resource, &mut |v| match self.parameter.kind {
                ParamKind::Number | ParamKind::Quantity => {
                    if let Some((low, high)) = span_of_numbers(s.datatype, v) {
                        let end = if self.descending { high.or(low) } else { low.or(high) };
                        end.into_iter().for_each(|d| take(Place::Number(d)));
                    }
                }
                ParamKind::Date => {
                    if let Some((from, until)) = time(s.datatype, v) {
                        let end = if self.descending { until.or(from) } else { from.or(until) };
                        end.into_iter().for_each(|t| take(Place::Time(t)));
                    }
                }
                ParamKind::String => texts(s.datatype, v).for_each(|t| take(Place::Text(fold(t)))),
                ParamKind::Reference => reference_text(v).into_iter().for_each(|t| take(Place::Text(t.to_owned()))),
                _ => token_places(s.datatype, v, &mut |t| take(Place::Text(t))),
            });
        }
        best
    }

    /// Order of two places. What has none comes last either way.
    fn compare(&self, a: Option<&Place>, b: Option<&Place>) -> Ordering {
        match (a, b) {
            (Some(a), Some(b)) if self.descending => b.cmp(a),
            (Some(a), Some(b)) => a.cmp(b),
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
        }
    }
}

/// Where a match stands in the order asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places(Vec<Option<Place>>);

impl Places {
    pub(crate) fn of(keys: &[SortKey], resource: &Json) -> Self {
        Self(keys.iter().map(|k| k.place(resource)).collect())
    }
}

/// Brings matches into the order asked for; those that share a place, by type and id.
pub(crate) fn arrange<T>(keys: &[SortKey], mut placed: Vec<(Places, T)>, id: impl Fn(&T) -> &str) -> Vec<T> {
    placed.sort_by(|(a, x), (b, y)| {
        let by_keys = keys.iter().zip(a.0.iter().zip(&b.0)).map(|(k, (a, b))| k.compare(a.as_ref(), b.as_ref()));
        by_keys.fold(Ordering::Equal, Ordering::then).then_with(|| id(x).cmp(id(y)))
    });
    placed.into_iter().map(|(_, hit)| hit).collect()
}

/// Texts that coded values are ordered by.
fn token_places(datatype: &str, v: &Json, take: &mut dyn FnMut(String)) {
    let text = |v: &Json, name: &str| v.get(name).and_then(Json::as_str).map(str::to_owned);
    match (datatype, v) {
        ("CodeableConcept", _) => {
            let codes = v.get("coding").and_then(Json::as_array).into_iter().flatten();
            codes.filter_map(|c| text(c, "code")).for_each(&mut *take);
        }
        ("Coding", _) => text(v, "code").into_iter().for_each(take),
        ("Identifier" | "ContactPoint", _) => text(v, "value").into_iter().for_each(take),
        (_, Json::String(s)) => take(s.clone()),
        (_, Json::Bool(b)) => take(b.to_string()),
        (_, Json::Number(n)) => take(n.as_str().to_owned()),
        _ => {}
    }
}
