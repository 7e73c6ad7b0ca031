//! User to gate (`/v1/search`), gate to cloud (`/v1/search`), user to cloud (`/v1/records`).

use sealdex_crypto::{PrincipalId, PublicIdentity, RecordId, Signature, Term};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::{B32, RawPoint, auth::sha256, labels, limits};

/// A query in inner tokens and codes, as a user sends it to the gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InnerClause {
    /// Every record.
    All,
    /// Inner token of section 8a.
    Token {
        /// Scope of the field.
        merged: bool,
        /// Token.
        token: B32,
    },
    /// Blinded point of section 8b.
    Bridged {
        /// Scope of the field.
        merged: bool,
        /// `T_u = k_u·P`.
        point: RawPoint,
    },
    /// Range of inner codes, both ends included.
    Order {
        /// Scope of the field.
        merged: bool,
        /// Field token.
        #[serde(with = "serde_bytes")]
        field: [u8; 16],
        /// Width, bits.
        bits: u8,
        /// Lowest code.
        lo: u64,
        /// Highest code.
        hi: u64,
    },
    /// Records of these providers or anyone below them.
    Source(Vec<PrincipalId>),
    /// All of these; empty is [`InnerClause::All`].
    And(Vec<InnerClause>),
    /// Any of these; empty matches nothing.
    Or(Vec<InnerClause>),
    /// Records that do not match.
    Not(Box<InnerClause>),
}

/// Order of results: the runs of one order field, per scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InnerSort {
    /// Scope of the field.
    pub merged: bool,
    /// Field token.
    #[serde(with = "serde_bytes")]
    pub field: [u8; 16],
    /// Largest first.
    pub descending: bool,
}

/// `POST /v1/search` at the gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchRequest {
    /// What to find.
    pub clause: InnerClause,
    /// Purpose of use; only grants for it count.
    pub purpose: String,
    /// Sorted by this field, records without it left out; else by record id. With an isolated field
    /// each hospital is sorted by itself and contributes up to `limit`.
    pub sort: Option<InnerSort>,
    /// Most permitted matches to return (per hospital when sorting by an isolated field).
    pub limit: u32,
    /// Where the last page ended.
    #[serde(default)]
    pub cursor: Option<ByteBuf>,
    /// Have the answer proved whole, where the domain has a log.
    #[serde(default)]
    pub prove: bool,
}

/// Matches that share a capsule, and what it takes to open them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatchGroup {
    /// Whose section.
    pub owner: PrincipalId,
    /// Section.
    pub section: String,
    /// Epoch.
    pub epoch: u32,
    /// Who pushed them.
    pub provider: PrincipalId,
    /// Principal the grant is for: the caller, or a group it belongs to.
    pub reader: PrincipalId,
    /// Generation of the reader's key, for groups.
    #[serde(default)]
    pub generation: u32,
    /// `A` of the section.
    pub a: RawPoint,
    /// `X` of the grant.
    pub x: RawPoint,
    /// `E`.
    pub capsule: RawPoint,
    /// `E' = rk·E`.
    pub reencapsulated: RawPoint,
    /// Record ids, 16 bytes each.
    #[serde(with = "serde_bytes")]
    pub ids: Vec<u8>,
    /// From a node of a shared gate, whose `E'` is its part only: the routing tag of the first record, for the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<ByteBuf>,
}

/// The gate's permission to fetch exactly these sealed records from the cloud. Names no caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    /// Gate that signed.
    pub gate: PrincipalId,
    /// Unique; what a withdrawal names.
    #[serde(with = "serde_bytes")]
    pub nonce: [u8; 16],
    /// Unix milliseconds it was made.
    pub issued_at: u64,
    /// Unix milliseconds it ends.
    pub expires_at: u64,
    /// Signature over [`Ticket::digest`].
    pub signature: Signature,
}

impl Ticket {
    /// What the gate signs: domain, cloud, times, and the ids in fetch order.
    pub fn digest(
        domain: &str,
        cloud: PrincipalId,
        nonce: &[u8; 16],
        issued_at: u64,
        expires_at: u64,
        ids: &[u8],
    ) -> [u8; 32] {
        sha256(&[
            labels::TICKET.as_bytes(),
            &(domain.len() as u16).to_be_bytes(),
            domain.as_bytes(),
            &cloud.0,
            nonce,
            &issued_at.to_be_bytes(),
            &expires_at.to_be_bytes(),
            ids,
        ])
    }

    /// Whether the gate signed this ticket for these ids.
    pub fn verify(&self, domain: &str, cloud: PrincipalId, ids: &[u8], gate: &PublicIdentity) -> bool {
        let digest = Self::digest(domain, cloud, &self.nonce, self.issued_at, self.expires_at, ids);
        self.gate == gate.id() && gate.verify(&digest, &self.signature).is_ok()
    }
}

/// A ticket and the ids it is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FetchTicket {
    /// Signed permission.
    pub ticket: Ticket,
    /// Record ids, 16 bytes each, at most [`limits::TICKET_RECORDS`].
    #[serde(with = "serde_bytes")]
    pub ids: Vec<u8>,
}

/// Answer of the gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchResponse {
    /// Permitted matches by capsule.
    pub groups: Vec<MatchGroup>,
    /// Tickets that together cover every id above once; also the body of the fetch.
    pub tickets: Vec<FetchTicket>,
    /// Hospitals the search covered.
    pub covered: Vec<PrincipalId>,
    /// Where to go on; absent when all permitted matches were returned.
    #[serde(default)]
    pub cursor: Option<ByteBuf>,
    /// Whether nothing was left out, if that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completeness: Option<Completeness>,
}

/// What the gate found when it checked that the cloud left nothing out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Completeness {
    /// Why it is not proved; proved without.
    pub unproved: Option<String>,
    /// Batches in the log, as it was searched; the fewest of all pages.
    pub batches: u64,
    /// Pages of the cloud.
    pub pages: u32,
    /// Runs that were looked through.
    pub runs: u64,
    /// Index entries that were shown.
    pub pairs: u64,
    /// Bytes of proof.
    pub proof_bytes: u64,
    /// The pages themselves, for a member that is to check them: what the gate asked, and what the cloud answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shown: Vec<(CloudSearch, CloudMatches)>,
}

/// `POST /v1/count` at the gate: how many, for members who may count and not read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CountRequest {
    /// What to count.
    pub clause: InnerClause,
    /// Purpose of use; only grants for it count.
    pub purpose: String,
}

/// Answer to [`CountRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counted {
    /// Patients with a match that is granted to the caller, rounded down to a multiple of `step`; none when there
    /// are fewer than that.
    pub owners: Option<u64>,
    /// Matches, rounded in the same way; none when `owners` is.
    pub records: Option<u64>,
    /// What counts are multiples of, and the smallest one that is told.
    pub step: u32,
}

/// A query in terms, as the gate sends it to the cloud.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CloudClause {
    /// Every record.
    All,
    /// Records with any of these terms; 16 bytes each.
    Terms(#[serde(with = "serde_bytes")] Vec<u8>),
    /// Records with an order term of this tag and a code in the range, both ends included.
    Range {
        /// Run of the field and scope.
        #[serde(with = "serde_bytes")]
        tag: [u8; 8],
        /// Lowest code.
        lo: u64,
        /// Highest code.
        hi: u64,
    },
    /// Records of these providers or anyone below them.
    Source(Vec<PrincipalId>),
    /// All of these.
    And(Vec<CloudClause>),
    /// Any of these.
    Or(Vec<CloudClause>),
    /// Records that do not match.
    Not(Box<CloudClause>),
}

/// Sorting by one run of order terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloudSort {
    /// Run of the field and scope.
    #[serde(with = "serde_bytes")]
    pub tag: [u8; 8],
    /// Largest first.
    pub descending: bool,
}

/// Last match of a page: the next starts after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloudCursor {
    /// Its order code; 0 when not sorting.
    pub code: u64,
    /// Its id.
    pub id: RecordId,
}

/// `POST /v1/search` at the cloud.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloudSearch {
    /// What to find.
    pub clause: CloudClause,
    /// Order; by record id when absent.
    pub sort: Option<CloudSort>,
    /// Go on after this match.
    pub after: Option<CloudCursor>,
    /// Most matches to return.
    pub limit: u32,
    /// Prove the answer by the log. Terms and tags that can occur in one hospital's records only are named, so
    /// that others' need not be looked through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prove: Option<Vec<Scoped>>,
}

/// Terms and tags of one hospital's scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scoped {
    /// Whose.
    pub hospital: PrincipalId,
    /// Terms, 16 bytes each.
    #[serde(with = "serde_bytes")]
    pub terms: Vec<u8>,
    /// Tags of order terms, 8 bytes each.
    #[serde(with = "serde_bytes")]
    pub tags: Vec<u8>,
}

/// One match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudMatch(
    /// Record id.
    pub RecordId,
    /// Index into [`CloudMatches::providers`].
    pub u32,
    /// Routing tag.
    #[serde(with = "serde_bytes")]
    pub Vec<u8>,
);

/// Answer of the cloud.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloudMatches {
    /// Who pushed the matches.
    pub providers: Vec<PrincipalId>,
    /// In the asked order.
    pub matches: Vec<CloudMatch>,
    /// Where the next page starts; absent when this was the last.
    pub next: Option<CloudCursor>,
    /// Proof of the answer, if it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<ByteBuf>,
}

/// Answer of the cloud to a [`FetchTicket`]: sealed records in its order, `None` for one that is
/// no longer stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fetched {
    /// Sealed records.
    pub sealed: Vec<Option<ByteBuf>>,
    /// Proof that they are in the log, where the domain has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proofs: Option<ByteBuf>,
}

/// `POST /v1/tickets/withdraw` at the cloud, from a gate: these tickets fetch nothing any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WithdrawTickets {
    /// Ticket nonces, 16 bytes each.
    #[serde(with = "serde_bytes")]
    pub nonces: Vec<u8>,
}

/// Why a clause was refused.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ClauseError {
    /// Nested beyond [`limits::CLAUSE_DEPTH`].
    #[error("the query nests deeper than {}", limits::CLAUSE_DEPTH)]
    TooDeep,
    /// More leaves than allowed.
    #[error("the query has more than {0} tokens and ranges")]
    TooMany(usize),
    /// A range that ends before it starts, or a width that is none.
    #[error("a range of the query is not a range of codes")]
    Range,
    /// Terms that are not a multiple of 16 bytes.
    #[error("terms must be 16 bytes each")]
    Terms,
}

impl InnerClause {
    /// Checks depth, number of leaves and every range.
    pub fn check(&self) -> Result<(), ClauseError> {
        let mut leaves = 0;
        self.walk(limits::CLAUSE_DEPTH, &mut leaves)
    }

    /// Tokens, ranges and index entries that it takes of its caller's budget.
    pub fn spent(&self) -> [u64; 3] {
        match self {
            Self::Token { .. } | Self::Bridged { .. } => [1, 0, 0],
            Self::Order { .. } => [0, 1, 0],
            Self::And(cs) | Self::Or(cs) => {
                cs.iter().map(Self::spent).fold([0; 3], |a, b| [a[0] + b[0], a[1] + b[1], a[2] + b[2]])
            }
            Self::Not(c) => c.spent(),
            Self::All | Self::Source(_) => [0; 3],
        }
    }

    /// Its bridged tokens, each once.
    pub fn points(&self) -> Vec<RawPoint> {
        let mut points = Vec::new();
        self.collect_points(&mut points);
        let mut seen = std::collections::HashSet::new();
        points.retain(|p: &RawPoint| seen.insert(p.0));
        points
    }

    fn collect_points(&self, points: &mut Vec<RawPoint>) {
        match self {
            Self::Bridged { point, .. } => points.push(*point),
            Self::And(cs) | Self::Or(cs) => cs.iter().for_each(|c| c.collect_points(points)),
            Self::Not(c) => c.collect_points(points),
            _ => {}
        }
    }

    fn walk(&self, depth: usize, leaves: &mut usize) -> Result<(), ClauseError> {
        let depth = depth.checked_sub(1).ok_or(ClauseError::TooDeep)?;
        *leaves += match self {
            Self::Source(ids) => ids.len().max(1),
            _ => 1,
        };
        if *leaves > limits::CLAUSE_LEAVES {
            return Err(ClauseError::TooMany(limits::CLAUSE_LEAVES));
        }
        match self {
            Self::Order { bits, lo, hi, .. } => {
                crate::ingest::check_order(*bits, *hi).map_err(|_| ClauseError::Range)?;
                if lo > hi { Err(ClauseError::Range) } else { Ok(()) }
            }
            Self::And(cs) | Self::Or(cs) => cs.iter().try_for_each(|c| c.walk(depth, leaves)),
            Self::Not(c) => c.walk(depth, leaves),
            Self::All | Self::Token { .. } | Self::Bridged { .. } | Self::Source(_) => Ok(()),
        }
    }
}

impl CloudClause {
    /// Checks depth, number of leaves, ranges and the length of terms.
    pub fn check(&self) -> Result<(), ClauseError> {
        let mut leaves = 0;
        // Unfolding scopes adds at most two levels.
        self.walk(limits::CLAUSE_DEPTH + 2, &mut leaves)
    }

    fn walk(&self, depth: usize, leaves: &mut usize) -> Result<(), ClauseError> {
        let depth = depth.checked_sub(1).ok_or(ClauseError::TooDeep)?;
        *leaves += match self {
            Self::Terms(t) if !t.len().is_multiple_of(16) => return Err(ClauseError::Terms),
            Self::Terms(t) => (t.len() / 16).max(1),
            Self::Source(ids) => ids.len().max(1),
            _ => 1,
        };
        if *leaves > limits::CLOUD_LEAVES {
            return Err(ClauseError::TooMany(limits::CLOUD_LEAVES));
        }
        match self {
            Self::Range { lo, hi, .. } if lo > hi => Err(ClauseError::Range),
            Self::And(cs) | Self::Or(cs) => cs.iter().try_for_each(|c| c.walk(depth, leaves)),
            Self::Not(c) => c.walk(depth, leaves),
            _ => Ok(()),
        }
    }

    /// A single term.
    pub fn term(term: Term) -> Self {
        Self::Terms(term.0.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clauses_are_bounded() {
        let leaf = InnerClause::Token { merged: false, token: B32([0; 32]) };
        let mut deep = leaf.clone();
        for _ in 0..limits::CLAUSE_DEPTH - 1 {
            deep = InnerClause::Not(Box::new(deep));
        }
        assert_eq!(deep.check(), Ok(()));
        assert_eq!(InnerClause::Not(Box::new(deep)).check(), Err(ClauseError::TooDeep));
        let wide = InnerClause::Or(vec![leaf; limits::CLAUSE_LEAVES]);
        assert_eq!(wide.check(), Err(ClauseError::TooMany(limits::CLAUSE_LEAVES)));
        let range = |lo, hi, bits| InnerClause::Order { merged: true, field: [0; 16], bits, lo, hi }.check();
        assert_eq!(range(1, 1 << 20, 8), Ok(()));
        assert_eq!(range(2, 1, 8), Err(ClauseError::Range));
        assert_eq!(range(1, 1 << 24, 8), Err(ClauseError::Range));
        assert_eq!(range(1, 2, 9), Err(ClauseError::Range));
        assert_eq!(CloudClause::Terms(vec![0; 17]).check(), Err(ClauseError::Terms));
    }
}
