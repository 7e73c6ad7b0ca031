//! Where a search goes on: the cloud's cursors, sealed, so that a caller can neither read nor forge
//! them, nor use them for another query or on behalf of another.

use sealdex_crypto::PrincipalId;
use sealdex_wire::{
    auth::sha256,
    codec,
    search::{CloudCursor, SearchRequest},
};
use serde::{Deserialize, Serialize};

use super::SearchRefusal;
use crate::secrets::StoreKey;

/// How far one stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// The hospital it is for, when each is sorted by itself.
    pub(crate) hospital: Option<PrincipalId>,
    /// The last match seen.
    pub(crate) after: Option<CloudCursor>,
    /// Whether there is nothing more.
    pub(crate) done: bool,
}

impl Position {
    pub(crate) fn start(hospital: Option<PrincipalId>) -> Self {
        Self { hospital, after: None, done: false }
    }
}

/// Positions of all streams.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor(pub(crate) Vec<Position>);

impl Cursor {
    pub(crate) fn seal(&self, key: &StoreKey, caller: PrincipalId, request: &SearchRequest) -> Vec<u8> {
        key.seal(&[&caller.0, &query_hash(request)], &codec::to_cbor(self))
    }

    pub(crate) fn open(
        key: &StoreKey,
        caller: PrincipalId,
        request: &SearchRequest,
        sealed: &[u8],
    ) -> Result<Self, SearchRefusal> {
        let plain = key.open(&[&caller.0, &query_hash(request)], sealed);
        plain.and_then(|p| codec::from_cbor(&p).ok()).ok_or(SearchRefusal::Cursor)
    }
}

/// Hash of what must stay the same from page to page: all but limit and cursor.
fn query_hash(request: &SearchRequest) -> [u8; 32] {
    sha256(&[&codec::to_cbor(&(&request.clause, &request.sort, &request.purpose))])
}

#[cfg(test)]
mod tests {
    use sealdex_crypto::{IdentitySeed, RecordId};
    use sealdex_wire::search::InnerClause;

    use super::*;

    #[test]
    fn a_cursor_opens_for_its_query_and_caller_only() {
        let key = StoreKey::derive(&IdentitySeed::from_bytes(&[1; 32]));
        let (me, other) = (PrincipalId([1; 16]), PrincipalId([2; 16]));
        let request = SearchRequest {
            clause: InnerClause::All,
            purpose: "care".into(),
            sort: None,
            limit: 5,
            cursor: None,
            prove: false,
        };
        let after = Some(CloudCursor { code: 7, id: RecordId([9; 16]) });
        let cursor = Cursor(vec![Position { hospital: None, after, done: false }]);
        let sealed = cursor.seal(&key, me, &request);
        assert_eq!(Cursor::open(&key, me, &request, &sealed), Ok(cursor));
        let wider = SearchRequest { limit: 9, ..request.clone() };
        assert!(Cursor::open(&key, me, &wider, &sealed).is_ok(), "another limit is the same query");
        assert_eq!(Cursor::open(&key, other, &request, &sealed), Err(SearchRefusal::Cursor));
        let another = SearchRequest { clause: InnerClause::Or(vec![]), ..request.clone() };
        assert_eq!(Cursor::open(&key, me, &another, &sealed), Err(SearchRefusal::Cursor));
        let purpose = SearchRequest { purpose: "research".into(), ..request.clone() };
        assert_eq!(Cursor::open(&key, me, &purpose, &sealed), Err(SearchRefusal::Cursor));
        for n in 0..sealed.len() {
            let mut bent = sealed.clone();
            bent[n] ^= 1;
            assert_eq!(Cursor::open(&key, me, &request, &bent), Err(SearchRefusal::Cursor), "byte {n}");
        }
        assert_eq!(Cursor::open(&key, me, &request, &[]), Err(SearchRefusal::Cursor));
    }
}
