//! What a match is answered with, in columns of the index: the store need not be read for it.
//!
//! A routing tag is a run of integers of one column, so that it lies in one or two lines of memory. A read of
//! the store would be a page of the file for each match, most of them not in memory once there are millions.

use std::sync::Arc;

use sealdex_crypto::{PrincipalId, RecordId};
use tantivy::{
    DocId, Searcher, SegmentReader, TantivyDocument,
    columnar::{Column, ColumnValues},
    schema::{BytesOptions, FAST, Field, NumericOptions, SchemaBuilder},
};

const HI: &str = "hi";
const LO: &str = "lo";
const TAG: &str = "g";
const PROVIDER: &str = "p";

/// The fields that are columns.
#[derive(Clone, Copy)]
pub(super) struct ColumnFields {
    hi: Field,
    lo: Field,
    tag: Field,
    /// Also inverted.
    pub(super) provider: Field,
}

impl ColumnFields {
    pub(super) fn add(schema: &mut SchemaBuilder) -> Self {
        let column = || NumericOptions::default() | FAST;
        Self {
            provider: schema.add_bytes_field(PROVIDER, BytesOptions::default().set_indexed().set_fast()),
            hi: schema.add_u64_field(HI, column()),
            lo: schema.add_u64_field(LO, column()),
            tag: schema.add_u64_field(TAG, column()),
        }
    }

    pub(super) fn put(self, doc: &mut TantivyDocument, id: RecordId, provider: PrincipalId, tag: &[u8]) {
        doc.add_bytes(self.provider, &provider.0);
        let id = u128::from_be_bytes(id.0);
        doc.add_u64(self.hi, (id >> 64) as u64);
        doc.add_u64(self.lo, id as u64);
        words(tag).for_each(|word| doc.add_u64(self.tag, word));
    }
}

/// `u16(length) ‖ tag`, filled up with zeros, as big-endian integers.
fn words(tag: &[u8]) -> impl Iterator<Item = u64> {
    // Tags are bounded by `limits::TAG` before they get here.
    let mut bytes = (tag.len() as u16).to_be_bytes().to_vec();
    bytes.extend_from_slice(tag);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.as_chunks().0.iter().map(|word| u64::from_be_bytes(*word)).collect::<Vec<_>>().into_iter()
}

fn tag_of(words: &[u64]) -> Option<Vec<u8>> {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    let (length, tag) = bytes.split_first_chunk::<2>()?;
    tag.get(..usize::from(u16::from_be_bytes(*length))).map(<[u8]>::to_vec)
}

/// The columns of a segment.
pub(super) struct Columns {
    hi: Arc<dyn ColumnValues<u64>>,
    lo: Arc<dyn ColumnValues<u64>>,
    tags: Column<u64>,
    /// Places in `named`.
    providers: Arc<dyn ColumnValues<u64>>,
    named: Vec<PrincipalId>,
}

impl Columns {
    /// Opens those of every segment, in order.
    pub(super) fn of(searcher: &Searcher) -> tantivy::Result<Vec<Self>> {
        searcher.segment_readers().iter().map(Self::open).collect()
    }

    pub(super) fn open(reader: &SegmentReader) -> tantivy::Result<Self> {
        let fast = reader.fast_fields();
        let single = |name| Ok::<_, tantivy::TantivyError>(fast.u64(name)?.first_or_default_col(0));
        let (mut named, mut ords) = (Vec::new(), Column::build_empty_column(reader.max_doc()));
        if let Some(providers) = fast.bytes(PROVIDER)? {
            let mut ids = providers.dictionary().stream()?;
            while ids.advance() {
                named.extend(<[u8; 16]>::try_from(ids.key()).map(PrincipalId));
            }
            ords = providers.ords().clone();
        }
        let providers = ords.first_or_default_col(u64::MAX);
        Ok(Self { hi: single(HI)?, lo: single(LO)?, tags: fast.u64(TAG)?, providers, named })
    }

    pub(super) fn id(&self, doc: DocId) -> RecordId {
        let id = u128::from(self.hi.get_val(doc)) << 64 | u128::from(self.lo.get_val(doc));
        RecordId(id.to_be_bytes())
    }

    /// Provider and routing tag; `None` where the columns do not have them.
    pub(super) fn routing(&self, doc: DocId) -> Option<(PrincipalId, Vec<u8>)> {
        let provider = *self.named.get(usize::try_from(self.providers.get_val(doc)).ok()?)?;
        let rows = self.tags.index.value_row_ids(doc);
        let mut words = vec![0; rows.len()];
        self.tags.values.get_range(rows.start.into(), &mut words);
        Some((provider, tag_of(&words)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_every_length_come_back() {
        for length in 0..=sealdex_wire::limits::TAG {
            let tag: Vec<u8> = (0..length).map(|n| n as u8 | 1).collect();
            assert_eq!(tag_of(&words(&tag).collect::<Vec<_>>()), Some(tag));
        }
        assert_eq!(tag_of(&[]), None);
        assert_eq!(tag_of(&[0x0007_0101_0101_0101]), None, "shorter than it says");
    }
}
