//! What this server can do, as it really is: the CapabilityStatement and the SMART configuration.

use http::{StatusCode, header};
use sealdex_fhir::search::{ParamKind, Targets, compartment, parameters, resource_types};
use serde_json::{Map, Value as Json, json};

use crate::{
    auth::{Access, SCOPES},
    call::{Call, Content, Reply},
    outcome::Outcome,
    resource::{hash, names},
    server::Gateway,
};

const OPERATION: &str = "http://hl7.org/fhir/OperationDefinition/Patient-everything";
const EXPORT: &str = "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/export";
const PATIENT_EXPORT: &str = "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/patient-export";
/// Ids of the definitions of the compartments that are served.
const COMPARTMENTS: [&str; 5] = ["patient", "encounter", "practitioner", "relatedPerson", "device"];

impl Gateway {
    /// `GET metadata`.
    pub(crate) fn metadata(&self, call: &Call) -> Reply {
        let body = self.statement(&call.base).to_string().into_bytes();
        let tag = hash(&body);
        let unchanged = call.header("if-none-match").is_some_and(|tags| names(tags, &tag));
        let reply = if unchanged { Reply::empty(StatusCode::NOT_MODIFIED) } else { Reply::fhir(body) };
        // It holds nothing of anyone.
        reply.with(header::ETAG, &format!("W/\"{tag}\"")).with(header::CACHE_CONTROL, "no-cache")
    }

    /// `GET .well-known/smart-configuration`.
    pub(crate) fn smart(&self, call: &Call) -> Result<Reply, Outcome> {
        if matches!(self.access, Access::Open) {
            return Err(Outcome::not_found("this gateway runs open: there is no authorization to configure"));
        }
        let body = json!({
            "token_endpoint": format!("{}/auth/token", call.base),
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "scopes_supported": SCOPES,
            "capabilities": ["client-confidential-symmetric", "permission-v1"],
        });
        let content = Content::Json(body.to_string().into_bytes());
        let reply = Reply { status: StatusCode::OK, headers: Default::default(), content };
        Ok(reply.with(header::CACHE_CONTROL, "no-cache"))
    }

    fn statement(&self, base: &str) -> Json {
        let mut interactions = vec![json!({ "code": "batch" })];
        interactions.push(json!({ "code": "search-system" }));
        let operations = json!([{ "name": "export", "definition": EXPORT }]);
        let about = format!(
            "A FHIR view of the sealed records of the domain {:?}, for one member and the purpose {:?}. Every search is \
             an encrypted query; every record is opened here. What is found is what patients granted to this member.",
            self.domain.name(),
            self.domain.purpose()
        );
        json!({
            "resourceType": "CapabilityStatement",
            "status": "active",
            "date": self.started,
            "kind": "instance",
            "software": { "name": "Sealdex gateway", "version": env!("CARGO_PKG_VERSION") },
            "implementation": { "description": about, "url": base },
            "fhirVersion": "4.0.1",
            "format": ["json", "application/fhir+json"],
            "rest": [{
                "mode": "server",
                "security": self.security(base),
                "resource": resource_types().map(|kind| self.resource(kind)).collect::<Vec<_>>(),
                "interaction": interactions,
                "searchParam": common(),
                "operation": operations,
                "compartment": COMPARTMENTS.map(|kind| format!("http://hl7.org/fhir/CompartmentDefinition/{kind}")),
            }],
        })
    }

    fn security(&self, base: &str) -> Json {
        match self.access {
            Access::Open => json!({
                "cors": false,
                "description": "None: whoever reaches this socket has the rights of the key the gateway runs with. It listens on loopback only.",
            }),
            Access::Clients(_) => json!({
                "cors": false,
                "service": [{ "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
                    "code": "OAuth", "display": "OAuth" }], "text": "OAuth 2.0 client credentials" }],
                "description": "Clients get a short-lived bearer token by grant_type=client_credentials. Scopes: system/*.read, system/*.write.",
                "extension": [{
                    "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
                    "extension": [{ "url": "token", "valueUri": format!("{base}/auth/token") }],
                }],
            }),
        }
    }

    fn resource(&self, kind: &'static str) -> Json {
        let portal = self.portal.is_some() && (kind == "Consent" || kind == "AuditEvent");
        let writes = if portal { kind == "Consent" } else { self.ingest.is_some() };
        let mut codes = vec!["read", "vread", "search-type"];
        if writes {
            codes.extend(["create", "update", "delete"]);
        }
        let served = parameters(kind).filter(|p| p.kind != ParamKind::Special);
        let own: Vec<Json> =
            served.map(|p| json!({ "name": p.name, "definition": p.url(), "type": p.kind.code() })).collect();
        let mut out = Map::new();
        out.insert("type".into(), kind.into());
        out.insert("profile".into(), format!("http://hl7.org/fhir/StructureDefinition/{kind}").into());
        out.insert("interaction".into(), codes.iter().map(|c| json!({ "code": c })).collect());
        out.insert("versioning".into(), if writes { "versioned" } else { "no-version" }.into());
        out.insert("readHistory".into(), false.into());
        out.insert("updateCreate".into(), (writes && !portal).into());
        out.insert("conditionalCreate".into(), (writes && !portal).into());
        out.insert("conditionalRead".into(), "full-support".into());
        out.insert("conditionalUpdate".into(), false.into());
        out.insert("conditionalDelete".into(), "not-supported".into());
        if !portal {
            let list = |all: Vec<String>| all.into_iter().map(Json::from).collect::<Json>();
            let (includes, reverse) = (references(kind), referring(kind));
            out.extend((!includes.is_empty()).then(|| ("searchInclude".to_owned(), list(includes))));
            out.extend((!reverse.is_empty()).then(|| ("searchRevInclude".to_owned(), list(reverse))));
        }
        out.insert("searchParam".into(), own.into());
        if kind == "Patient" {
            let operations = json!([{ "name": "everything", "definition": OPERATION }, { "name": "export", "definition": PATIENT_EXPORT }]);
            out.insert("operation".into(), operations);
        }
        Json::Object(out)
    }
}

/// Parameters every type has.
fn common() -> Vec<Json> {
    let all = parameters("Patient").filter(|p| p.name.starts_with('_') && p.kind != ParamKind::Special);
    all.map(|p| json!({ "name": p.name, "definition": p.url(), "type": p.kind.code() })).collect()
}

fn references(kind: &str) -> Vec<String> {
    let all = parameters(kind).filter(|p| p.kind == ParamKind::Reference);
    all.map(|p| format!("{kind}:{}", p.name)).collect()
}

/// References of other types that name this one. Those that may lead anywhere are listed for what a patient's
/// compartment holds only, as elsewhere they say nothing.
fn referring(kind: &'static str) -> Vec<String> {
    let leads = |targets: &Targets| match targets {
        Targets::Any => compartment("Patient", kind).is_some(),
        Targets::These(all) => all.contains(&kind),
    };
    let of = |source: &'static str| {
        let all = parameters(source).filter(move |p| p.kind == ParamKind::Reference && leads(&p.targets));
        all.map(move |p| format!("{source}:{}", p.name)).collect::<Vec<_>>()
    };
    resource_types().flat_map(of).collect()
}
