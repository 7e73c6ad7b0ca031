//! What the client wants to have and how: `Accept`, `_format`, `_pretty`, `Prefer`, and the base URL.

use http::{HeaderMap, StatusCode, header, uri::Scheme};

use crate::{outcome::Outcome, query::last};

/// Media type of resources.
pub const FHIR_JSON: &str = "application/fhir+json; charset=utf-8";
/// Media type of bulk files.
pub const NDJSON: &str = "application/fhir+ndjson";
const JSON: &str = "application/json; charset=utf-8";

/// Form of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wants {
    /// `Content-Type` of the answer.
    pub media: &'static str,
    /// Indented.
    pub pretty: bool,
}

impl Default for Wants {
    fn default() -> Self {
        Self { media: FHIR_JSON, pretty: false }
    }
}

/// What a write is answered with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Return {
    /// No body.
    Minimal,
    /// The resource.
    #[default]
    Representation,
    /// An OperationOutcome.
    OperationOutcome,
}

/// The `Prefer` header (RFC 7240).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prefer {
    /// `handling=strict`.
    pub strict: bool,
    /// `handling=lenient`, said by the client.
    pub lenient: bool,
    /// `respond-async`.
    pub asynchronous: bool,
    /// `return=…`.
    pub returned: Return,
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    let all: Vec<&str> = headers.get_all(name).iter().filter_map(|v| v.to_str().ok()).collect();
    (!all.is_empty()).then(|| all.join(","))
}

impl Prefer {
    /// Reads the header; preferences that are not known are left alone, as the RFC says.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut out = Self::default();
        let all = text(headers, header::HeaderName::from_static("prefer")).unwrap_or_default();
        for preference in all.split([',', ';']) {
            let bare = preference.trim().replace(['"', ' '], "").to_ascii_lowercase();
            match bare.as_str() {
                "handling=strict" => (out.strict, out.lenient) = (true, false),
                "handling=lenient" => (out.strict, out.lenient) = (false, true),
                "respond-async" => out.asynchronous = true,
                "return=minimal" => out.returned = Return::Minimal,
                "return=representation" => out.returned = Return::Representation,
                "return=operationoutcome" => out.returned = Return::OperationOutcome,
                _ => {}
            }
        }
        out
    }
}

/// Media type for a name in `Accept` or `_format`, if it is one of JSON.
fn json_media(name: &str) -> Option<&'static str> {
    match name {
        "json" | "application/fhir+json" | "application/fhir json" | "*/*" | "application/*" => Some(FHIR_JSON),
        "application/json" | "text/json" => Some(JSON),
        _ => None,
    }
}

/// Whether the parameters of a media type ask for R4, or for nothing.
fn version_fits(parameters: &[&str]) -> bool {
    let version =
        parameters.iter().filter_map(|p| p.split_once('=')).find(|(n, _)| n.trim().eq_ignore_ascii_case("fhirversion"));
    version.is_none_or(|(_, v)| matches!(v.trim().trim_matches('"'), "4.0" | "4.0.1"))
}

/// One media range: its name in lower case, its parameters, its weight in thousandths.
fn range(text: &str) -> (String, Vec<&str>, u16) {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default().to_ascii_lowercase();
    let parameters: Vec<&str> = parts.collect();
    let weight = parameters.iter().find_map(|p| p.strip_prefix("q=").or(p.strip_prefix("Q=")));
    let weight =
        weight.and_then(|q| q.trim().parse::<f32>().ok()).map_or(1000, |q| (q.clamp(0.0, 1.0) * 1000.0) as u16);
    (name, parameters, weight)
}

fn best<T>(accept: &str, media: impl Fn(&str) -> Option<T>) -> Option<T> {
    let mut found: Option<(u16, T)> = None;
    for one in accept.split(',').filter(|p| !p.trim().is_empty()) {
        let (name, parameters, weight) = range(one);
        let Some(m) = media(&name).filter(|_| weight > 0 && version_fits(&parameters)) else { continue };
        if found.as_ref().is_none_or(|(w, _)| weight > *w) {
            found = Some((weight, m));
        }
    }
    found.map(|(_, m)| m)
}

/// What form the answer takes; `_format` overrides `Accept`.
///
/// # Errors
/// 406 when no form this server has is wanted; 400 for a bad `_pretty`.
pub fn wants(headers: &HeaderMap, pairs: &[(String, String)]) -> Result<Wants, Outcome> {
    let refuse = |asked: &str| {
        let text =
            format!("{asked:?} cannot be served: this server answers in application/fhir+json, FHIR version 4.0");
        Outcome::new(StatusCode::NOT_ACCEPTABLE, "not-supported", text)
    };
    let pretty = match last(pairs, "_pretty") {
        None | Some("false" | "") => false,
        Some("true") => true,
        Some(other) => return Err(Outcome::invalid(format!("_pretty={other:?} is neither true nor false"))),
    };
    let asked = match last(pairs, "_format").filter(|f| !f.is_empty()) {
        Some(format) => Some(format.to_owned()),
        None => text(headers, header::ACCEPT).filter(|a| !a.trim().is_empty()),
    };
    let media = match &asked {
        None => FHIR_JSON,
        Some(asked) => best(asked, json_media).ok_or_else(|| refuse(asked))?,
    };
    Ok(Wants { media, pretty })
}

/// Whether a bulk file may be sent.
///
/// # Errors
/// 406.
pub fn wants_ndjson(headers: &HeaderMap) -> Result<(), Outcome> {
    let Some(asked) = text(headers, header::ACCEPT).filter(|a| !a.trim().is_empty()) else { return Ok(()) };
    let known =
        ["application/fhir+ndjson", "application/ndjson", "ndjson", "*/*", "application/*", "application/fhir+json"];
    best(&asked, |name| known.contains(&name).then_some(())).ok_or_else(|| {
        let text = format!("{asked:?} cannot be served: bulk files are {NDJSON}");
        Outcome::new(StatusCode::NOT_ACCEPTABLE, "not-supported", text)
    })
}

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// A resource.
    Fhir,
    /// A form.
    Form,
}

/// Checks `Content-Type`.
///
/// # Errors
/// 415.
pub fn body_kind(headers: &HeaderMap) -> Result<Option<BodyKind>, Outcome> {
    let Some(value) = text(headers, header::CONTENT_TYPE) else { return Ok(None) };
    let (name, parameters, _) = range(&value);
    let charset = parameters.iter().filter_map(|p| p.split_once('=')).find(|(n, _)| n.eq_ignore_ascii_case("charset"));
    let utf8 = charset.is_none_or(|(_, c)| c.trim_matches('"').eq_ignore_ascii_case("utf-8"));
    match name.as_str() {
        "application/fhir+json" | "application/json" if utf8 && version_fits(&parameters) => Ok(Some(BodyKind::Fhir)),
        "application/x-www-form-urlencoded" if utf8 => Ok(Some(BodyKind::Form)),
        _ => Err(Outcome::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "not-supported",
            format!(
                "a body of type {value:?} is not read: send application/fhir+json (UTF-8, FHIR version 4.0), or a form to _search"
            ),
        )),
    }
}

/// Where clients see this server.
#[derive(Clone, Debug)]
pub struct Address {
    /// Absolute base URL, when configured.
    pub fixed: Option<String>,
    /// Path of the base, `/fhir`.
    pub path: String,
    /// TLS is terminated here.
    pub tls: bool,
    /// Listening on loopback: only names of this machine are taken as `Host`, so that no web page can reach it
    /// by a name of its own that resolves to here.
    pub loopback: bool,
    /// `X-Forwarded-Host` and `-Proto` are believed.
    pub forwarded: bool,
}

impl Address {
    /// The absolute base URL of this request.
    ///
    /// # Errors
    /// 400 for a `Host` that is none or is not this server's.
    pub fn base(&self, headers: &HeaderMap) -> Result<String, Outcome> {
        let plain = |name: &'static str| headers.get(name).and_then(|v| v.to_str().ok());
        let host = plain("host").unwrap_or_default();
        if self.loopback && !self.forwarded && !local(host) && !self.is_fixed(host) {
            return Err(Outcome::invalid(
                "the Host header names another server: call this one as localhost or 127.0.0.1, or start it with --base-url",
            ));
        }
        if let Some(fixed) = &self.fixed {
            return Ok(fixed.clone());
        }
        let forwarded = |name| plain(name).filter(|_| self.forwarded);
        let host = forwarded("x-forwarded-host").unwrap_or(host);
        let scheme = match forwarded("x-forwarded-proto") {
            Some("https") => Scheme::HTTPS,
            Some("http") => Scheme::HTTP,
            Some(_) => return Err(Outcome::invalid("X-Forwarded-Proto is neither http nor https")),
            None if self.tls => Scheme::HTTPS,
            None => Scheme::HTTP,
        };
        let legal = !host.is_empty()
            && host.len() <= 255
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b));
        if !legal {
            return Err(Outcome::invalid("the Host header is missing or is no host name"));
        }
        Ok(format!("{scheme}://{host}{}", self.path))
    }

    fn is_fixed(&self, host: &str) -> bool {
        let rest = self.fixed.as_ref().and_then(|f| f.split_once("://"));
        rest.is_some_and(|(_, rest)| rest.split('/').next().is_some_and(|h| h.eq_ignore_ascii_case(host)))
    }
}

fn local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|a| a.is_loopback())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (http::HeaderName::from_static(n), HeaderValue::from_str(v).unwrap())).collect()
    }

    fn media(accept: &str) -> Result<&'static str, u16> {
        wants(&headers(&[("accept", accept)]), &[]).map(|w| w.media).map_err(|o| o.status.as_u16())
    }

    #[test]
    fn json_is_served_and_nothing_else() {
        for accept in
            ["*/*", "application/fhir+json", "application/fhir+json; fhirVersion=4.0", "text/html, */*;q=0.1", ""]
        {
            assert_eq!(media(accept), Ok(FHIR_JSON), "{accept}");
        }
        assert_eq!(media("application/json"), Ok(JSON));
        assert_eq!(media("application/json;q=0.2, application/fhir+json"), Ok(FHIR_JSON));
        for accept in [
            "application/fhir+xml",
            "text/turtle",
            "application/fhir+json;q=0",
            "application/fhir+json; fhirVersion=5.0",
            "nonsense",
        ] {
            assert_eq!(media(accept), Err(406), "{accept}");
        }
        assert_eq!(wants(&HeaderMap::new(), &[]).unwrap().media, FHIR_JSON);
    }

    #[test]
    fn a_format_parameter_overrides_the_header() {
        let xml = headers(&[("accept", "application/fhir+xml")]);
        let by = |format: &str| {
            wants(&xml, &[("_format".into(), format.into())]).map(|w| w.media).map_err(|o| o.status.as_u16())
        };
        assert_eq!(by("json"), Ok(FHIR_JSON));
        assert_eq!(by("application/fhir json"), Ok(FHIR_JSON), "a plus that was not escaped");
        assert_eq!(by("application/json"), Ok(JSON));
        assert_eq!(by("xml"), Err(406));
        let pretty = |v: &str| {
            wants(&HeaderMap::new(), &[("_pretty".into(), v.into())]).map(|w| w.pretty).map_err(|o| o.status.as_u16())
        };
        assert_eq!((pretty("true"), pretty("false"), pretty("yes")), (Ok(true), Ok(false), Err(400)));
    }

    #[test]
    fn bodies_are_json_or_forms() {
        let kind = |t: &str| body_kind(&headers(&[("content-type", t)])).map_err(|o| o.status.as_u16());
        assert_eq!(kind("application/fhir+json; charset=UTF-8"), Ok(Some(BodyKind::Fhir)));
        assert_eq!(kind("application/x-www-form-urlencoded"), Ok(Some(BodyKind::Form)));
        assert_eq!(kind("application/fhir+xml"), Err(415));
        assert_eq!(kind("application/json; charset=latin1"), Err(415));
        assert_eq!(kind("application/fhir+json; fhirVersion=3.0"), Err(415));
        assert_eq!(body_kind(&HeaderMap::new()), Ok(None));
    }

    #[test]
    fn preferences() {
        let p = Prefer::of(&headers(&[("prefer", "respond-async, handling=strict; return=minimal")]));
        assert_eq!(p, Prefer { strict: true, lenient: false, asynchronous: true, returned: Return::Minimal });
        assert_eq!(Prefer::of(&headers(&[("prefer", "wait=10")])), Prefer::default());
        assert_eq!(Prefer::of(&headers(&[("prefer", "return=OperationOutcome")])).returned, Return::OperationOutcome);
    }

    #[test]
    fn only_names_of_this_machine_reach_a_loopback_server() {
        let at = Address { fixed: None, path: "/fhir".into(), tls: false, loopback: true, forwarded: false };
        let base = |a: &Address, h: &[(&'static str, &str)]| a.base(&headers(h)).map_err(|o| o.status.as_u16());
        assert_eq!(base(&at, &[("host", "localhost:8080")]).as_deref(), Ok("http://localhost:8080/fhir"));
        assert_eq!(base(&at, &[("host", "127.0.0.1")]).as_deref(), Ok("http://127.0.0.1/fhir"));
        assert_eq!(base(&at, &[("host", "[::1]:9")]).as_deref(), Ok("http://[::1]:9/fhir"));
        for bad in ["evil.example", "127.0.0.1.evil.example", "localhost.evil:80", "", "a b"] {
            assert_eq!(base(&at, &[("host", bad)]), Err(400), "{bad}");
        }
        let fixed = Address { fixed: Some("https://fhir.north.example/r4".into()), ..at.clone() };
        for host in ["fhir.north.example", "localhost:1"] {
            assert_eq!(base(&fixed, &[("host", host)]).as_deref(), Ok("https://fhir.north.example/r4"));
        }
        assert_eq!(base(&fixed, &[("host", "evil.example")]), Err(400));
        let proxied = Address { forwarded: true, ..at.clone() };
        let through = [("host", "inner"), ("x-forwarded-host", "outer.example"), ("x-forwarded-proto", "https")];
        assert_eq!(base(&proxied, &through).as_deref(), Ok("https://outer.example/fhir"));
        assert_eq!(
            base(&at, &[("host", "localhost"), ("x-forwarded-host", "evil")]).as_deref(),
            Ok("http://localhost/fhir")
        );
        let open = Address { loopback: false, tls: true, ..at };
        assert_eq!(base(&open, &[("host", "h.example:8443")]).as_deref(), Ok("https://h.example:8443/fhir"));
        assert_eq!(base(&open, &[("host", "a/b")]), Err(400));
    }
}
