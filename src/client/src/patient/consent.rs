//! Grants as FHIR `Consent`, both ways. A consent that cannot be expressed exactly is refused: none is put
//! into force that gives more than the resource says.

use std::collections::BTreeMap;

use sealdex_crypto::PrincipalId;
use sealdex_schema::Span;
use sealdex_wire::{
    consent::{ANY_PURPOSE, GrantTerms},
    roster::{PublicKeys, Roster},
};
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

/// Code system of sections.
pub const SECTIONS: &str = "urn:sealdex:section";
/// Code system of purposes that FHIR's own does not have.
pub const PURPOSES: &str = "urn:sealdex:purpose";
/// System of principal ids.
pub const PRINCIPALS: &str = "urn:sealdex:principal";
/// Modifier of a provision: it extends only to what this provider, or anyone below it, pushed.
pub const NARROWED_TO: &str = "urn:sealdex:consent:pushed-by";
/// Modifier of a provision: it is dormant until two people wake it.
pub const EMERGENCY: &str = "urn:sealdex:consent:emergency";
/// FHIR's code system of purposes of use.
pub(crate) const ACT_REASON: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";

/// Sealdex purposes and FHIR's codes for them.
const KNOWN_PURPOSES: [(&str, &str); 7] = [
    ("treatment", "TREAT"),
    ("research", "HRESCH"),
    ("payment", "HPAYMT"),
    ("operations", "HOPERAT"),
    ("publichealth", "PUBHLTH"),
    ("emergency", "ETREAT"),
    ("audit", "HSYSADMIN"),
];

/// How long a consent without an end holds, seconds: a year.
const WITHOUT_END: u64 = 365 * 86_400;

/// Why a `Consent` cannot be put into force.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{path}: {reason}")]
pub struct ConsentError {
    /// FHIRPath of the element.
    pub path: String,
    /// What is wrong, and what would be right.
    pub reason: String,
}

fn err<T>(path: &str, reason: impl Into<String>) -> Result<T, ConsentError> {
    Err(ConsentError {
        path: format!("Consent{}{path}", if path.is_empty() { "" } else { "." }),
        reason: reason.into(),
    })
}

/// Grants that have a reader, a purpose and a time in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Id of the consent: the same for a reader and purpose, as long as they have one time in common.
    pub id: String,
    /// Who may read.
    pub reader: PublicKeys,
    /// For what.
    pub purpose: String,
    /// First second.
    pub not_before: u64,
    /// First second after it.
    pub not_after: u64,
    /// When it was last given, Unix milliseconds.
    pub granted_at: u64,
    /// Sections, by name.
    pub sections: Vec<String>,
    /// Only what these pushed.
    pub providers: Vec<PrincipalId>,
    /// Dormant until two people wake it.
    pub emergency: bool,
}

impl Standing {
    /// Whether it is narrowed by nothing that a `Consent` written here does not say.
    pub fn is_plain(&self) -> bool {
        self.providers.is_empty() && !self.emergency
    }
}

/// What a `Consent` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Who may read.
    pub reader: PublicKeys,
    /// For what.
    pub purpose: String,
    /// First second.
    pub not_before: u64,
    /// First second after it.
    pub not_after: u64,
    /// Sections; none when the consent is not active.
    pub sections: Vec<String>,
}

impl Wanted {
    /// Id the consent has when it is in force.
    pub fn id(&self) -> Option<String> {
        self.reader.identity().ok().map(|i| id_of(i.id(), &self.purpose))
    }
}

fn id_of(reader: PrincipalId, purpose: &str) -> String {
    let digest = Sha256::new().chain_update(b"sealdex consent").chain_update(reader.0).chain_update(purpose).finalize();
    hex::encode(&digest[..16])
}

/// Groups grants into consents. `None` when a reader's keys are no keys.
pub fn standing(grants: &[GrantTerms]) -> Option<Vec<Standing>> {
    type Key = (PrincipalId, String, u64, u64, Vec<PrincipalId>, bool);
    let mut found: BTreeMap<Key, Standing> = BTreeMap::new();
    for g in grants {
        let reader = g.reader.identity().ok()?.id();
        let emergency = g.emergency.is_some();
        let key = (reader, g.purpose.clone(), g.not_before, g.not_after, g.providers.clone(), emergency);
        let one = found.entry(key).or_insert_with(|| Standing {
            id: id_of(reader, &g.purpose),
            reader: g.reader,
            purpose: g.purpose.clone(),
            not_before: g.not_before,
            not_after: g.not_after,
            granted_at: 0,
            sections: Vec::new(),
            providers: g.providers.clone(),
            emergency,
        });
        one.granted_at = one.granted_at.max(g.granted_at);
        if !one.sections.contains(&g.section) {
            one.sections.push(g.section.clone());
        }
    }
    let mut all: Vec<Standing> = found.into_values().collect();
    // Of several times for one reader and purpose, the newest keeps the plain id.
    all.sort_by(|a, b| (&a.id, b.granted_at).cmp(&(&b.id, a.granted_at)));
    let mut last = (String::new(), 0);
    for s in &mut all {
        s.sections.sort();
        last = if s.id == last.0 { (last.0, last.1 + 1) } else { (s.id.clone(), 1) };
        if last.1 > 1 {
            s.id = format!("{}-{}", s.id, last.1);
        }
    }
    Some(all)
}

/// Name of a member, or its id.
/// Name of a member, or its id.
pub fn name_of(roster: &Roster, id: PrincipalId) -> String {
    roster.member(id).and_then(|m| m.name.clone()).unwrap_or_else(|| id.to_string())
}

/// A member or server as FHIR refers to what it has no resource of.
pub(crate) fn party(roster: &Roster, id: PrincipalId) -> Json {
    json!({ "identifier": { "system": PRINCIPALS, "value": id.to_string() }, "display": name_of(roster, id) })
}

/// A purpose as FHIR codes it; none for any purpose.
pub(crate) fn purpose_coding(purpose: &str) -> Option<Json> {
    if purpose == ANY_PURPOSE {
        return None;
    }
    Some(match KNOWN_PURPOSES.iter().find(|(own, _)| *own == purpose) {
        Some((_, code)) => json!({ "system": ACT_REASON, "code": code }),
        None => json!({ "system": PURPOSES, "code": purpose }),
    })
}

/// A Unix time as FHIR writes instants.
pub(crate) fn instant(ms: u64) -> String {
    let at = i128::from(ms) * 1_000_000;
    let text = time::OffsetDateTime::from_unix_timestamp_nanos(at)
        .ok()
        .and_then(|t| t.format(&time::format_description::well_known::Rfc3339).ok());
    text.unwrap_or_else(|| "9999-12-31T23:59:59Z".into())
}

/// A consent in FHIR.
pub fn write(s: &Standing, patient: &str, roster: &Roster, now: u64) -> Json {
    let reader = s.reader.identity().map(|i| party(roster, i.id())).unwrap_or_default();
    let sections: Vec<Json> = s.sections.iter().map(|n| json!({ "system": SECTIONS, "code": n })).collect();
    let mut provision = json!({ "type": "permit",
        "period": { "start": instant(s.not_before * 1000), "end": instant(s.not_after.saturating_sub(1) * 1000) },
        "actor": [{
            "role": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP" }] },
            "reference": reader,
        }] });
    if let Some(coding) = purpose_coding(&s.purpose) {
        provision["purpose"] = json!([coding]);
    }
    provision["class"] = sections.into();
    // What a program that does not know it must not take for a plain permission.
    let mut narrower: Vec<Json> = Vec::new();
    for provider in &s.providers {
        narrower.push(json!({ "url": NARROWED_TO, "valueReference": party(roster, *provider) }));
    }
    if s.emergency {
        narrower.push(json!({ "url": EMERGENCY, "valueBoolean": true }));
    }
    if !narrower.is_empty() {
        provision["modifierExtension"] = narrower.into();
    }
    let category =
        json!([{ "coding": [{ "system": "http://loinc.org", "code": "59284-0", "display": "Consent Document" }] }]);
    json!({ "resourceType": "Consent", "id": s.id, "meta": { "lastUpdated": instant(s.granted_at) },
        "status": if now < s.not_after { "active" } else { "inactive" },
        "scope": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy" }] },
        "category": category,
        "patient": reference(patient),
        "dateTime": instant(s.granted_at),
        "policyRule": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTIN" }] },
        // R4 allows no type in the root rule and demands one in all others.
        "provision": { "provision": [provision] } })
}

/// A patient by the label of a wallet: `Patient/id`, or `system|value`.
pub(crate) fn reference(patient: &str) -> Json {
    match patient.split_once('|') {
        Some((system, value)) => json!({ "identifier": { "system": system, "value": value } }),
        None => json!({ "reference": patient }),
    }
}

/// What is known when a `Consent` is read.
pub struct Context<'c> {
    /// Label of the patient whose it must be.
    pub patient: &'c str,
    /// Who there is to read.
    pub roster: &'c Roster,
    /// Sections there are.
    pub sections: &'c [String],
    /// Unix seconds.
    pub now: u64,
}

/// What a `Consent` asks for.
///
/// # Errors
/// Whatever cannot be expressed in grants, with the element it stands in.
pub fn read(consent: &Json, context: &Context<'_>) -> Result<Wanted, ConsentError> {
    let text = |v: &Json, name: &str| v.get(name).and_then(Json::as_str).map(str::to_owned);
    let active = match text(consent, "status").as_deref() {
        Some("active") => true,
        Some("inactive" | "rejected" | "entered-in-error") => false,
        _ => return err("status", "must be active, or inactive, rejected or entered-in-error to end the consent"),
    };
    if let Some(patient) = consent.get("patient")
        && *patient != reference(context.patient)
        && text(patient, "reference").as_deref() != Some(context.patient)
    {
        return err("patient", format!("this wallet speaks for {} only", context.patient));
    }
    if let Some(other) = ["modifierExtension", "implicitRules"].into_iter().find(|n| consent.get(n).is_some()) {
        return err(other, "may change what the consent means in ways that are not known here");
    }
    let Some(provision) = consent.get("provision") else {
        return err("provision", "is needed: it says who may read, what, for what and until when");
    };
    let rule = Rule::of(provision)?;
    if text(rule.json, "type").as_deref() != Some("permit") {
        return rule.err("type", "must be permit: what is not permitted is denied anyway");
    }
    const READ: [&str; 7] = ["type", "period", "actor", "purpose", "class", "id", "action"];
    if let Some(other) = rule.json.as_object().and_then(|p| p.keys().find(|k| !READ.contains(&k.as_str()))) {
        return rule.err(other, "cannot be enforced here: a consent is by reader, sections, purpose and time");
    }
    if let Some(actions) = rule.json.get("action") {
        let codes = codings(actions);
        if codes.iter().any(|(_, code)| code != "access" && code != "use") {
            return rule.err("action", "only access can be permitted here");
        }
    }
    let reader = rule.reader(context.roster)?;
    let purpose = rule.purpose()?;
    let (not_before, not_after) = rule.period(context.now)?;
    let sections = if active { rule.sections(context.sections)? } else { Vec::new() };
    Ok(Wanted { reader, purpose, not_before, not_after, sections })
}

/// The one rule of a consent: nested in the root, as R4 has it, or the root itself, as many write it.
struct Rule<'c> {
    json: &'c Json,
    path: &'static str,
}

impl<'c> Rule<'c> {
    fn of(root: &'c Json) -> Result<Self, ConsentError> {
        let Some(nested) = root.get("provision") else { return Ok(Self { json: root, path: "provision" }) };
        if root.as_object().is_none_or(|r| r.keys().any(|k| k != "provision" && k != "id")) {
            return err("provision", "has elements beside its nested rule: put all of them into that");
        }
        match nested.as_array().map(Vec::as_slice) {
            Some([one]) => Ok(Self { json: one, path: "provision.provision[0]" }),
            _ => err("provision.provision", "must be exactly one: make one consent for each rule"),
        }
    }

    fn err<T>(&self, element: &str, reason: impl Into<String>) -> Result<T, ConsentError> {
        err(&format!("{}.{element}", self.path), reason)
    }

    fn reader(&self, roster: &Roster) -> Result<PublicKeys, ConsentError> {
        let none = Vec::new();
        let [actor] = self.json.get("actor").and_then(Json::as_array).unwrap_or(&none).as_slice() else {
            return self.err("actor", "must be exactly one: make one consent for each reader");
        };
        let who = &actor["reference"];
        let id = who["identifier"]["value"].as_str().filter(|_| who["identifier"]["system"] == PRINCIPALS);
        let member = match (id, who["display"].as_str()) {
            (Some(id), _) => roster.members.iter().find(|m| m.id.to_string() == id),
            (None, Some(name)) if who.get("reference").is_none() && who.get("identifier").is_none() => {
                roster.named(name)
            }
            _ => None,
        };
        member.map(|m| m.keys).ok_or(()).or_else(|()| {
            self.err(
                "actor[0].reference",
                format!(
                    "must name a member of the domain, by identifier ({PRINCIPALS} and its id) or by display (its name)"
                ),
            )
        })
    }

    fn purpose(&self) -> Result<String, ConsentError> {
        let Some(given) = self.json.get("purpose") else { return Ok(ANY_PURPOSE.into()) };
        let at = "purpose";
        let [(system, code)] = codings(given).as_slice().to_owned().try_into().or_else(|_: Vec<_>| {
            self.err::<[(String, String); 1]>(at, "must be one, or left out for any: make one consent for each purpose")
        })?;
        match system.as_str() {
            PURPOSES if !code.is_empty() && code != ANY_PURPOSE => Ok(code),
            ACT_REASON => match KNOWN_PURPOSES.iter().find(|(_, c)| *c == code) {
                Some((own, _)) => Ok((*own).to_owned()),
                None => {
                    let known: Vec<&str> = KNOWN_PURPOSES.iter().map(|(_, c)| *c).collect();
                    self.err(at, format!("is not known here; known are {}", known.join(", ")))
                }
            },
            _ => self.err(at, format!("must be of {ACT_REASON} or {PURPOSES}")),
        }
    }

    fn period(&self, now: u64) -> Result<(u64, u64), ConsentError> {
        let end = |name: &str| match self.json["period"].get(name).map(|v| v.as_str().map(Span::parse)) {
            None => Ok(None),
            Some(Some(Ok(span))) => Ok(Some(span)),
            Some(_) => self.err(&format!("period.{name}"), "is no dateTime"),
        };
        let seconds = |s: i64| u64::try_from(s).unwrap_or(0);
        let not_before = end("start")?.map_or(now.saturating_sub(60), |s| seconds(s.from.seconds));
        let not_after = end("end")?.map_or(now + WITHOUT_END, |s| seconds(s.until.seconds));
        if not_after <= not_before {
            return self.err("period", "ends before it begins");
        }
        Ok((not_before, not_after.min(u64::from(u32::MAX))))
    }

    fn sections(&self, known: &[String]) -> Result<Vec<String>, ConsentError> {
        let Some(classes) = self.json.get("class") else { return Ok(known.to_vec()) };
        let mut out = Vec::new();
        for (system, code) in codings(classes) {
            if system != SECTIONS || !known.contains(&code) {
                return self.err("class", format!("must be of {SECTIONS}, one of: {}", known.join(", ")));
            }
            if !out.contains(&code) {
                out.push(code);
            }
        }
        if out.is_empty() {
            return self.err("class", "names no section; left out, it means all");
        }
        Ok(out)
    }
}

fn codings(v: &Json) -> Vec<(String, String)> {
    let text = |c: &Json, name: &str| c.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
    let list = v.as_array().cloned().unwrap_or_else(|| vec![v.clone()]);
    let one = |c: &Json| match c.get("coding").and_then(Json::as_array) {
        Some(all) => all.iter().map(|c| (text(c, "system"), text(c, "code"))).collect(),
        None => vec![(text(c, "system"), text(c, "code"))],
    };
    list.iter().flat_map(one).collect()
}
