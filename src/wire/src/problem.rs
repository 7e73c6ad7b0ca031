//! Problem details (RFC 9457): one stable type URI per kind of refusal.

use serde::{Deserialize, Serialize};

/// Media type of a problem document.
pub const CONTENT_TYPE: &str = "application/problem+json";

macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident, $slug:literal, $status:literal, $title:literal;)*) => {
        /// Kinds of refusal.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ProblemType { $($(#[$doc])* $name,)* }

        impl ProblemType {
            /// Stable URI of the kind.
            pub fn uri(self) -> &'static str {
                match self { $(Self::$name => concat!("urn:sealdex:problem:", $slug),)* }
            }
            /// HTTP status it is sent with.
            pub fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }
            /// Short title, the same every time.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
            /// The kind behind a URI.
            pub fn from_uri(uri: &str) -> Option<Self> {
                $(if uri == Self::$name.uri() { return Some(Self::$name); })*
                None
            }
        }
    };
}

problems! {
    /// The request does not parse or breaks a limit.
    Malformed, "malformed", 400, "The request is malformed";
    /// No valid, fresh signature by a known principal.
    Unauthenticated, "unauthenticated", 401, "The request is not authenticated";
    /// The clock of the caller is off, or the server has just started.
    Stale, "stale", 401, "The request is not fresh";
    /// Known caller, but not allowed.
    Forbidden, "forbidden", 403, "The caller may not do this";
    /// The patient has not authorised this provider to write.
    NotAWriter, "not-a-writer", 403, "The owner has not authorised this provider to write";
    /// No such thing.
    NotFound, "not-found", 404, "Not found";
    /// Contradicts what is already stored.
    Conflict, "conflict", 409, "Contradicts what is stored";
    /// A batch's statement does not fit what the cloud has: it is to be made anew.
    StateAnew, "state-anew", 409, "The batch's statement does not fit what is stored";
    /// A server's answer is not what the log holds.
    Tampered, "tampered", 502, "An answer was tampered with";
    /// A signed document was refused.
    BadDocument, "bad-document", 422, "A signed document was refused";
    /// Too large.
    TooLarge, "too-large", 413, "The body is too large";
    /// Took too long.
    Timeout, "timeout", 408, "The request took too long";
    /// A budget is used up.
    Budget, "budget", 429, "The caller has asked too much for now";
    /// Come back later.
    Overloaded, "overloaded", 503, "The server is overloaded";
    /// Nothing can be written for want of space; what is stored is served.
    NoSpace, "no-space", 507, "The server has no space to write";
    /// It serves nobody until its operators have decided something.
    NotServing, "not-serving", 503, "The server does not serve for now";
    /// A server behind this one does not answer.
    Upstream, "upstream", 502, "A server behind this one failed";
    /// A fault of the server; nothing was accepted.
    Internal, "internal", 500, "The server failed";
}

/// A problem document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Stable type URI.
    #[serde(rename = "type")]
    pub kind: String,
    /// Short title.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What was wrong, where, and what to do.
    pub detail: String,
    /// The node of the gate that is to be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<u16>,
}

impl Problem {
    /// A problem with its explanation.
    pub fn new(kind: ProblemType, detail: impl Into<String>) -> Self {
        Self {
            kind: kind.uri().into(),
            title: kind.title().into(),
            status: kind.status(),
            detail: detail.into(),
            node: None,
        }
    }

    /// The kind, if it is one of ours.
    pub fn problem_type(&self) -> Option<ProblemType> {
        ProblemType::from_uri(&self.kind)
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}): {}", self.title, self.status, self.detail)
    }
}

impl std::error::Error for Problem {}
