//! A request after it was read, and the reply before it is sent.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::Value as Json;

use crate::{
    auth::Scopes,
    negotiation::{FHIR_JSON, Prefer, Wants},
    outcome::Outcome,
    query::Pairs,
    target::Target,
};

/// A request: checked for size, form and permission.
#[derive(Clone, Debug)]
pub struct Call {
    /// Method; `HEAD` is `GET` here.
    pub method: Method,
    /// What it is about.
    pub target: Target,
    /// Query string, then form.
    pub pairs: Pairs,
    /// Headers.
    pub headers: HeaderMap,
    /// Body, unless it was a form.
    pub body: Bytes,
    /// Absolute base URL, without a slash at its end.
    pub base: String,
    /// Form of the answer.
    pub wants: Wants,
    /// Preferences.
    pub prefer: Prefer,
    /// What the client may do.
    pub scopes: Scopes,
}

impl Call {
    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    /// Query parameters without those about the answer's form.
    pub fn criteria(&self) -> Pairs {
        let form = ["_format", "_pretty", crate::paging::PAGE];
        self.pairs.iter().filter(|(n, _)| !form.contains(&n.as_str())).cloned().collect()
    }

    /// Those about the answer's form, for links.
    pub fn form(&self) -> Pairs {
        self.pairs.iter().filter(|(n, _)| n == "_format" || n == "_pretty").cloned().collect()
    }

    /// The body as a JSON object.
    ///
    /// # Errors
    /// 400, with line and column.
    pub fn json(&self) -> Result<Json, Outcome> {
        if self.body.is_empty() {
            return Err(Outcome::invalid("the body is empty: send a resource as application/fhir+json"));
        }
        let json: Json = serde_json::from_slice(&self.body).map_err(|e| {
            let text = format!("the body is not JSON: line {}, column {}: {}", e.line(), e.column(), reason(&e));
            Outcome::new(StatusCode::BAD_REQUEST, "structure", text)
        })?;
        if json.is_object() {
            Ok(json)
        } else {
            Err(Outcome::new(StatusCode::BAD_REQUEST, "structure", "the body is no JSON object"))
        }
    }
}

fn reason(e: &serde_json::Error) -> &'static str {
    match e.classify() {
        serde_json::error::Category::Eof => "it ends early",
        _ => "unexpected character, bad number, or nested too deep",
    }
}

/// What is sent back.
pub enum Content {
    /// Nothing.
    Empty,
    /// FHIR JSON.
    Fhir(Vec<u8>),
    /// JSON that is no resource, sent as `application/json`.
    Json(Vec<u8>),
    /// Bytes made while they are sent, with their media type.
    Stream(Body, &'static str),
}

/// A reply.
pub struct Reply {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers beside those of the content.
    pub headers: HeaderMap,
    /// Content.
    pub content: Content,
}

impl Reply {
    /// 200 with a resource.
    pub fn fhir(bytes: Vec<u8>) -> Self {
        Self { status: StatusCode::OK, headers: HeaderMap::new(), content: Content::Fhir(bytes) }
    }

    /// No content.
    pub fn empty(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), content: Content::Empty }
    }

    /// Another status.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Sets a header; a value no header can hold is left out.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// As it goes over the wire.
    pub fn into_response(self, wants: Wants) -> Response {
        let (body, media) = match self.content {
            Content::Empty => (Body::empty(), None),
            Content::Fhir(bytes) => (Body::from(indent(bytes, wants.pretty)), Some(wants.media)),
            Content::Json(bytes) => (Body::from(bytes), Some("application/json")),
            Content::Stream(body, media) => (body, Some(media)),
        };
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.extend(self.headers);
        if let Some(media) = media {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
        }
        // Whatever this server sends may hold plaintext, unless the handler knows better.
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        response
    }
}

fn indent(bytes: Vec<u8>, pretty: bool) -> Vec<u8> {
    if !pretty {
        return bytes;
    }
    let indented = serde_json::from_slice::<Json>(&bytes).ok().and_then(|json| serde_json::to_vec_pretty(&json).ok());
    indented.unwrap_or(bytes)
}

impl From<Outcome> for Reply {
    fn from(outcome: Outcome) -> Self {
        let headers = outcome.headers.iter().cloned().collect();
        let content = Content::Fhir(outcome.to_json().to_string().into_bytes());
        Self { status: outcome.status, headers, content }
    }
}

impl IntoResponse for Outcome {
    fn into_response(self) -> Response {
        Reply::from(self).into_response(Wants { media: FHIR_JSON, pretty: false })
    }
}
