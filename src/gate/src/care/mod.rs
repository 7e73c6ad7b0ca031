//! What surrounds a grant: emergencies that two people wake, requests that owners answer, carers who act for them.

mod emergencies;
mod mandates;
mod requests;

use sealdex_crypto::PrincipalId;
use sealdex_wire::{ProblemType, SignedError, limits};

use crate::error::signed_problem;

/// Why an emergency or a request was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CareRefusal {
    /// Not signed by the caller.
    #[error("the word of someone in an emergency was refused: {0}")]
    Signed(SignedError),
    /// For another domain.
    #[error("the word of someone in an emergency is for another domain")]
    Domain,
    /// A text that is none.
    #[error("{0} is empty or longer than {max} bytes", max = limits::TEXT)]
    Text(&'static str),
    /// There is no dormant grant, or the caller may not wake it.
    #[error("{owner} left no emergency grant to {reader} that {caller} may wake")]
    NotAuthorised {
        /// Whose.
        owner: PrincipalId,
        /// To whom.
        reader: PrincipalId,
        /// Who called.
        caller: PrincipalId,
    },
    /// The same person twice.
    #[error("{0} has signed this already: a second person must")]
    SamePerson(PrincipalId),
    /// A time that is past, too long, or not when it was asked for.
    #[error(
        "an emergency grant of {owner} is awake for {minutes} minutes at most, from the first signature on; ask anew if that has passed"
    )]
    Time {
        /// Whose.
        owner: PrincipalId,
        /// Most minutes.
        minutes: u32,
    },
    /// No such emergency.
    #[error("there is no such emergency, or it has ended")]
    NoEmergency,
    /// Sections, days or purpose that are none.
    #[error("a request for access has unusable {0}")]
    Request(&'static str),
    /// Too many unanswered requests.
    #[error("{0} has too many unanswered requests: wait until some are answered")]
    TooMany(PrincipalId),
    /// No such request, or it is not the caller's to answer or withdraw.
    #[error("{owner} has no unanswered request {number} that {caller} may answer so")]
    NoRequest {
        /// Whose.
        owner: PrincipalId,
        /// Which.
        number: u64,
        /// Who called.
        caller: PrincipalId,
    },
    /// Neither the owner nor its carer.
    #[error("{caller} is neither {owner} nor its carer")]
    NotForOwner {
        /// Whose.
        owner: PrincipalId,
        /// Who called.
        caller: PrincipalId,
    },
    /// The owner has published no profile.
    #[error("the gate knows no owner {0}")]
    UnknownOwner(PrincipalId),
}

impl CareRefusal {
    pub(crate) fn problem_type(&self) -> ProblemType {
        match self {
            Self::Signed(e) => signed_problem(e),
            Self::NotAuthorised { .. } | Self::NotForOwner { .. } | Self::SamePerson(_) => ProblemType::Forbidden,
            Self::NoEmergency | Self::NoRequest { .. } | Self::UnknownOwner(_) => ProblemType::NotFound,
            Self::TooMany(_) => ProblemType::Budget,
            Self::Time { .. } => ProblemType::Conflict,
            Self::Domain => ProblemType::BadDocument,
            Self::Text(_) | Self::Request(_) => ProblemType::Malformed,
        }
    }
}

/// Whether people can read it: not empty, not too long, no control characters.
fn is_text(text: &str) -> bool {
    (1..=limits::TEXT).contains(&text.trim().len()) && text.len() <= limits::TEXT && !text.chars().any(char::is_control)
}
