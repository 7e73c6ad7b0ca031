//! Every error as a FHIR OperationOutcome: what was wrong, where, and what to do next.

use http::{HeaderName, HeaderValue, StatusCode, header};
use sealdex_client::{opening::OpeningError, session::AskError};
use sealdex_net::CallError;
use sealdex_wire::ProblemType;
use serde_json::{Value as Json, json};

/// Longest diagnostics sent, bytes.
const DIAGNOSTICS: usize = 2000;

/// One issue of an outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// `error`, `warning` or `information`.
    pub severity: &'static str,
    /// Code of the FHIR value set issue-type.
    pub code: &'static str,
    /// What, where, and the next step. It is sent to the caller, so it quotes nothing the caller did not send.
    pub diagnostics: String,
    /// FHIRPath of the element it is about.
    pub expression: Option<String>,
}

impl Issue {
    /// An error.
    pub fn error(code: &'static str, diagnostics: impl Into<String>) -> Self {
        Self { severity: "error", code, diagnostics: diagnostics.into(), expression: None }
    }

    /// A warning.
    pub fn warning(code: &'static str, diagnostics: impl Into<String>) -> Self {
        Self { severity: "warning", ..Self::error(code, diagnostics) }
    }

    /// Mere information.
    pub fn information(diagnostics: impl Into<String>) -> Self {
        Self { severity: "information", ..Self::error("informational", diagnostics) }
    }

    fn to_json(&self) -> Json {
        let mut text = self.diagnostics.clone();
        if text.len() > DIAGNOSTICS {
            let end = (0..=DIAGNOSTICS).rev().find(|n| text.is_char_boundary(*n));
            text.truncate(end.unwrap_or(0));
            text.push('…');
        }
        let mut issue = json!({ "severity": self.severity, "code": self.code, "diagnostics": text });
        if let Some(path) = &self.expression {
            issue["expression"] = json!([path]);
        }
        issue
    }
}

/// An OperationOutcome of these issues.
pub fn document(issues: &[Issue]) -> Json {
    json!({ "resourceType": "OperationOutcome", "issue": issues.iter().map(Issue::to_json).collect::<Vec<_>>() })
}

/// Why a request was not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// HTTP status.
    pub status: StatusCode,
    /// At least one.
    pub issues: Vec<Issue>,
    /// Headers beside the usual ones.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Outcome {
    /// One error.
    pub fn new(status: StatusCode, code: &'static str, diagnostics: impl Into<String>) -> Self {
        Self { status, issues: vec![Issue::error(code, diagnostics)], headers: Vec::new() }
    }

    /// 400: the request makes no sense.
    pub fn invalid(diagnostics: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", diagnostics)
    }

    /// 404.
    pub fn not_found(diagnostics: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", diagnostics)
    }

    /// 501: FHIR knows it, this server does not do it.
    pub fn not_supported(diagnostics: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "not-supported", diagnostics)
    }

    /// 403.
    pub fn forbidden(diagnostics: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", diagnostics)
    }

    /// 405, with the methods that are served.
    pub fn method(allow: &'static str, diagnostics: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "not-supported", diagnostics)
            .with(header::ALLOW, HeaderValue::from_static(allow))
    }

    /// 500: a fault of this server. The cause goes to the log, not to the caller.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "exception",
            "the gateway failed; its log has the cause under this request's X-Request-Id",
        )
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    fn later(status: StatusCode, code: &'static str, diagnostics: impl Into<String>) -> Self {
        Self::new(status, code, diagnostics).with(header::RETRY_AFTER, HeaderValue::from_static("2"))
    }

    /// The OperationOutcome.
    pub fn to_json(&self) -> Json {
        document(&self.issues)
    }
}

impl From<CallError> for Outcome {
    fn from(e: CallError) -> Self {
        let text = e.to_string();
        match (&e, e.problem_type()) {
            (_, Some(ProblemType::Forbidden | ProblemType::Unauthenticated | ProblemType::Stale)) => {
                Self::forbidden(format!("the domain refuses the key this gateway runs with: {text}; ask its authority"))
            }
            (_, Some(ProblemType::Malformed | ProblemType::TooLarge)) => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "too-costly",
                format!("the gate does not take this search: {text}; ask for less at once"),
            ),
            (_, Some(ProblemType::Overloaded)) => {
                Self::later(StatusCode::SERVICE_UNAVAILABLE, "throttled", format!("{text}; try again"))
            }
            (_, Some(ProblemType::Timeout)) => Self::later(
                StatusCode::SERVICE_UNAVAILABLE,
                "timeout",
                format!("{text}; narrow the search or try again"),
            ),
            (CallError::Unreachable { .. }, _) => Self::later(StatusCode::SERVICE_UNAVAILABLE, "transient", text),
            (CallError::Refused { .. }, Some(ProblemType::Upstream)) => {
                Self::later(StatusCode::BAD_GATEWAY, "transient", format!("{text}; try again"))
            }
            _ => Self::new(StatusCode::BAD_GATEWAY, "exception", text),
        }
    }
}

impl From<AskError> for Outcome {
    fn from(e: AskError) -> Self {
        match e {
            AskError::Call(call) | AskError::Opening(OpeningError::Call(call)) => call.into(),
            AskError::Query(_) | AskError::Compile(_) => Self::invalid(e.to_string()),
            AskError::TooCostly(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "too-costly", format!("{e}; narrow the search"))
            }
            AskError::Opening(OpeningError::Gone(_)) => {
                Self::later(StatusCode::SERVICE_UNAVAILABLE, "transient", e.to_string())
            }
            AskError::Opening(_) => Self::new(StatusCode::BAD_GATEWAY, "security", e.to_string()),
            other => Self::internal(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_says_what_and_is_bounded() {
        let o = Outcome::invalid("x".repeat(5000));
        let json = o.to_json();
        assert_eq!(json["resourceType"], "OperationOutcome");
        assert_eq!(json["issue"][0]["severity"], "error");
        assert_eq!(json["issue"][0]["code"], "invalid");
        let text = json["issue"][0]["diagnostics"].as_str().unwrap();
        assert_eq!(text.chars().count(), DIAGNOSTICS + 1);
        assert!(json["issue"][0].get("expression").is_none());
    }

    #[test]
    fn servers_behind_that_do_not_answer_are_told_from_refusals() {
        let unreachable = CallError::Unreachable { server: "https://gate".into(), reason: "refused".into() };
        let o = Outcome::from(AskError::from(unreachable));
        assert_eq!((o.status.as_u16(), o.issues[0].code), (503, "transient"));
        assert!(o.headers.iter().any(|(n, _)| n == header::RETRY_AFTER));
        let refused = |kind| CallError::Refused {
            server: "https://gate".into(),
            path: "/v1/search".into(),
            problem: Box::new(sealdex_wire::Problem::new(kind, "why")),
        };
        let status = |kind| Outcome::from(refused(kind)).status.as_u16();
        assert_eq!(status(ProblemType::Forbidden), 403);
        assert_eq!(status(ProblemType::Upstream), 502);
        assert_eq!(status(ProblemType::Overloaded), 503);
        assert_eq!(status(ProblemType::Malformed), 422);
        assert_eq!(status(ProblemType::Internal), 502);
    }
}
