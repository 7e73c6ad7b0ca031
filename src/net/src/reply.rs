//! Responses: CBOR, JSON, problem documents.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use sealdex_wire::{Problem, ProblemType, codec, problem};
use serde::Serialize;

/// Media type of the data plane.
pub const CBOR: &str = "application/cbor";
/// Media type of the control plane.
pub const JSON: &str = "application/json";

/// A CBOR response.
#[derive(Debug)]
pub struct Cbor<T>(pub T);

impl<T: Serialize> IntoResponse for Cbor<T> {
    fn into_response(self) -> Response {
        CborBytes(codec::to_cbor(&self.0)).into_response()
    }
}

/// A CBOR response that is encoded already.
#[derive(Debug)]
pub struct CborBytes(pub Vec<u8>);

impl IntoResponse for CborBytes {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, HeaderValue::from_static(CBOR))], self.0).into_response()
    }
}

/// A JSON response.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, HeaderValue::from_static(JSON))], codec::to_json(&self.0)).into_response()
    }
}

/// A refusal: a handler's error type. Renders as a problem document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(pub Problem);

impl Refusal {
    /// A refusal of this kind; `detail` says what was wrong, where, and what to do. It is sent to the
    /// caller, so it holds nothing the caller did not send or may not know.
    pub fn new(kind: ProblemType, detail: impl Into<String>) -> Self {
        Self(Problem::new(kind, detail))
    }

    /// The request does not parse or breaks a limit.
    pub fn malformed(detail: impl std::fmt::Display) -> Self {
        Self::new(ProblemType::Malformed, detail.to_string())
    }

    /// The caller may not do this.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(ProblemType::Forbidden, detail)
    }

    /// A fault of the server. The cause goes to the log, not to the caller.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "request failed");
        Self::new(ProblemType::Internal, "nothing was accepted; the server's log has the cause")
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, codec::to_json(&self.0)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(problem::CONTENT_TYPE));
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::INSUFFICIENT_STORAGE) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
