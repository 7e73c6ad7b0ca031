//! `Patient/ID/$everything`: what the patient's compartment holds, and what those records point to.

use std::collections::BTreeSet;

use http::Method;
use sealdex_fhir::{
    Hit,
    search::{Handling, Joined, parse},
};
use serde_json::Value as Json;

use crate::{
    bundle::SearchSet,
    call::{Call, Reply},
    clock,
    outcome::Outcome,
    paging::{Listing, MOST, PAGE},
    query::{Pairs, last, list},
    resource::last_updated,
    search::{entries, find, members, read_page, wanted_types},
    server::Gateway,
    summary::View,
};

/// Types that belong to no patient and come along when a record points to them.
const BESIDE: [&str; 6] =
    ["Practitioner", "PractitionerRole", "Organization", "Location", "Medication", "HealthcareService"];
/// How far references are followed: a role, then the practitioner.
const STEPS: usize = 2;

/// When care took place: the parameter `start` and `end` apply to, for types whose is not `date`.
const CARE: [(&str, &str); 12] = [
    ("Condition", "onset-date"),
    ("MedicationRequest", "authoredon"),
    ("MedicationAdministration", "effective-time"),
    ("MedicationStatement", "effective"),
    ("MedicationDispense", "whenhandedover"),
    ("ServiceRequest", "authored"),
    ("Goal", "start-date"),
    ("Task", "authored-on"),
    ("Communication", "sent"),
    ("Claim", "created"),
    ("ExplanationOfBenefit", "created"),
    ("QuestionnaireResponse", "authored"),
];

/// What was asked for.
struct Wanted {
    types: Vec<String>,
    asked: Vec<String>,
    since: Option<time::OffsetDateTime>,
    period: Pairs,
}

impl Gateway {
    /// `GET` and `POST Patient/ID/$everything`.
    pub(crate) async fn everything(&self, call: &Call, id: &str) -> Result<Reply, Outcome> {
        let pairs = parameters(call)?;
        let wanted = Wanted::new(&pairs)?;
        let count = match last(&pairs, "_count") {
            None => MOST,
            Some(n) => n.parse::<usize>().map_err(|_| Outcome::invalid("_count takes a whole number"))?.min(MOST),
        };
        let mut shown: Pairs = pairs.iter().filter(|(n, _)| n != PAGE).cloned().collect();
        shown.retain(|(n, _)| n != "_format" && n != "_pretty");
        shown.extend(call.form());
        let listing = Listing { path: format!("Patient/{id}/$everything"), pairs: shown, count };
        let start = listing.start(last(&pairs, PAGE), &self.keys)?;
        let key = listing.key(&self.keys);
        let session = self.domain.session();
        let follows = last(&call.pairs, PAGE).is_some();
        let (total, page) = match self.memory.get(&key).filter(|_| follows) {
            Some(found) => (found.len(), read_page(&session, &found, start, count).await?),
            None => {
                let hits = self.gather(id, &wanted).await?;
                self.memory.put(key, hits.iter().map(|h| h.identity.clone()).collect());
                (hits.len(), hits.into_iter().skip(start).take(count).collect())
            }
        };
        let links = listing.links(&call.base, start, total, &self.keys);
        let entries = entries(&call.base, &page, &[], &View::Whole);
        Ok(Reply::fhir(SearchSet { total: Some(total), links, entries }.into_bytes()))
    }

    async fn gather(&self, id: &str, wanted: &Wanted) -> Result<Vec<Hit>, Outcome> {
        let session = self.domain.session();
        let identity = format!("Patient/{id}");
        let patient = session.read(std::slice::from_ref(&identity)).await?;
        if patient.is_empty() {
            return Err(Outcome::not_found(format!(
                "{identity} does not exist, or has not granted this key to see it"
            )));
        }
        let mut searches = Vec::new();
        for kind in wanted.types.iter().filter(|t| *t != "Patient") {
            searches.extend(members("Patient", id, kind, &[], Handling::Strict)?);
        }
        let mut hits = find(&session, &searches).await?;
        hits.retain(|h| wanted.in_time(&h.json));
        hits.sort_by(|a, b| a.identity.cmp(&b.identity));
        let mut seen: BTreeSet<String> = hits.iter().map(|h| h.identity.clone()).collect();
        seen.insert(identity);
        let mut all = patient;
        let mut from: Vec<Hit> = [all.clone(), hits.clone()].concat();
        all.extend(hits);
        all.retain(|h| wanted.in_time(&h.json) && h.identity.split('/').next().is_some_and(|kind| wanted.shows(kind)));
        for _ in 0..STEPS {
            let pointed: BTreeSet<String> =
                from.iter().flat_map(|h| beside(&h.json)).filter(|i| !seen.contains(i)).collect();
            if pointed.is_empty() {
                break;
            }
            seen.extend(pointed.iter().cloned());
            from = session.read(&pointed.into_iter().collect::<Vec<_>>()).await?;
            let shown = |h: &&Hit| h.identity.split('/').next().is_some_and(|kind| wanted.shows(kind));
            all.extend(from.iter().filter(shown).cloned());
        }
        Ok(all)
    }
}

/// Parameters of the URL, or of a `Parameters` resource.
fn parameters(call: &Call) -> Result<Pairs, Outcome> {
    let mut pairs = call.pairs.clone();
    if call.method == Method::POST && !call.body.is_empty() {
        let body = call.json()?;
        if body["resourceType"] != "Parameters" {
            return Err(Outcome::invalid("$everything takes a Parameters resource, or parameters in the URL"));
        }
        for p in body["parameter"].as_array().into_iter().flatten() {
            let value = p.as_object().and_then(|o| o.iter().find(|(k, _)| k.starts_with("value"))).map(|(_, v)| v);
            let text = value.map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned));
            pairs.extend(p["name"].as_str().map(str::to_owned).zip(text));
        }
    }
    let known = ["_type", "_since", "_count", "start", "end", "_format", "_pretty", PAGE];
    match pairs.iter().find(|(n, _)| !known.contains(&n.as_str())) {
        Some((name, _)) if call.prefer.strict => {
            Err(Outcome::invalid(format!("$everything takes _type, _since, _count, start and end, not {name}")))
        }
        _ => {
            pairs.retain(|(n, _)| known.contains(&n.as_str()));
            Ok(pairs)
        }
    }
}

impl Wanted {
    fn new(pairs: &[(String, String)]) -> Result<Self, Outcome> {
        let since = match last(pairs, "_since") {
            None => None,
            Some(s) => Some(
                clock::parse(s)
                    .ok_or_else(|| Outcome::invalid("_since is no instant, such as 2024-02-03T04:05:06Z"))?,
            ),
        };
        let asked = list(pairs, "_type");
        let inside: Vec<String> = asked.iter().filter(|t| !BESIDE.contains(&t.as_str())).cloned().collect();
        let types = if inside.is_empty() && !asked.is_empty() { Vec::new() } else { wanted_types("Patient", &inside)? };
        let bound = |name, prefix: &str| last(pairs, name).map(|v| ("date".to_owned(), format!("{prefix}{v}")));
        let period: Pairs = [bound("start", "ge"), bound("end", "le")].into_iter().flatten().collect();
        // Whether they are dates at all is decided once, on a type that has them.
        parse("Observation", &period, Handling::Strict)
            .map_err(|e| Outcome::invalid(format!("start and end are dates: {}", e.reason)))?;
        // A type only mentioned by what the patient has is found by going through all of it.
        let types = if types.is_empty() && !asked.is_empty() { wanted_types("Patient", &[])? } else { types };
        Ok(Self { types, asked, since, period })
    }

    fn shows(&self, kind: &str) -> bool {
        self.asked.is_empty() || self.asked.iter().any(|a| a == kind)
    }

    /// Whether a record is of the time asked for. One that does not say when it was is kept.
    fn in_time(&self, resource: &Json) -> bool {
        let Some(kind) = resource["resourceType"].as_str() else { return false };
        let changed = last_updated(resource);
        if self.since.is_some_and(|since| changed.is_some_and(|at| at < since)) {
            return false;
        }
        if self.period.is_empty() || kind == "Patient" {
            return true;
        }
        let name = CARE.iter().find(|(t, _)| *t == kind).map_or("date", |(_, n)| n);
        let passes = |pairs: &[(String, String)]| {
            // A type without such a parameter says nothing about when.
            parse(kind, pairs, Handling::Strict).ok().map(|s| s.holds(resource, &vec![Joined::Own; s.conditions.len()]))
        };
        let period: Pairs = self.period.iter().map(|(_, v)| (name.to_owned(), v.clone())).collect();
        let undated = passes(&[(format!("{name}:missing"), "true".to_owned())]);
        undated.unwrap_or(true) || passes(&period).unwrap_or(true)
    }
}

/// References to what belongs to no patient, `Type/id`.
fn beside(resource: &Json) -> BTreeSet<String> {
    fn visit(value: &Json, out: &mut BTreeSet<String>) {
        match value {
            Json::Array(all) => all.iter().for_each(|v| visit(v, out)),
            Json::Object(all) => {
                for (key, v) in all {
                    match v.as_str().filter(|_| key == "reference").and_then(sealdex_schema::local_reference) {
                        Some(r) if BESIDE.iter().any(|b| r.split('/').next() == Some(b)) => {
                            out.insert(r);
                        }
                        _ => visit(v, out),
                    }
                }
            }
            _ => {}
        }
    }
    let mut out = BTreeSet::new();
    visit(resource, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wanted(query: &str) -> Result<Wanted, u16> {
        Wanted::new(&crate::query::decode(query).unwrap()).map_err(|o| o.status.as_u16())
    }

    #[test]
    fn records_of_the_time_asked_for_and_those_that_do_not_say() {
        let w = wanted("start=2020-01-01&end=2020-12-31").unwrap();
        let at = |d: &str| json!({ "resourceType": "Observation", "effectiveDateTime": d });
        assert!(w.in_time(&at("2020-06-01")) && !w.in_time(&at("2019-12-31")) && !w.in_time(&at("2021-01-01")));
        assert!(w.in_time(&json!({ "resourceType": "Observation" })));
        let onset = |d: &str| json!({ "resourceType": "Condition", "onsetDateTime": d });
        assert!(w.in_time(&onset("2020-06-01")) && !w.in_time(&onset("2019-12-31")));
        assert!(w.in_time(&json!({ "resourceType": "Patient", "birthDate": "1950-01-01" })));
    }

    #[test]
    fn changed_since_and_of_type() {
        let w = wanted("_since=2024-01-01T00:00:00Z&_type=Observation").unwrap();
        let at = |d: &str| json!({ "resourceType": "Observation", "meta": { "lastUpdated": d } });
        assert!(w.in_time(&at("2024-01-01T00:00:00Z")) && !w.in_time(&at("2023-12-31T23:59:59Z")));
        assert!(w.shows("Observation") && !w.shows("Condition"));
        assert_eq!(w.types, ["Observation"]);
        assert_eq!(wanted("_since=yesterday").err(), Some(400));
        assert_eq!(wanted("start=soon").err(), Some(400));
        assert_eq!(wanted("_type=Patent").err(), Some(400));
    }

    #[test]
    fn references_to_what_is_no_patients() {
        let r = json!({ "subject": { "reference": "Patient/1" }, "performer": [{ "reference": "Practitioner/2" }],
            "contained": [{ "x": { "reference": "Organization/3" } }], "y": { "reference": "#4" } });
        assert_eq!(beside(&r).into_iter().collect::<Vec<_>>(), ["Organization/3", "Practitioner/2"]);
    }
}
