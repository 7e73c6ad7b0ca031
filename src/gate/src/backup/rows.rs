//! The rows in a backup's stream.
//!
//! ```text
//! for each table:  1 ‖ u8(len) ‖ name
//!                  2 ‖ u32(len) ‖ key ‖ u32(len) ‖ value          keys ascending
//!                  3 ‖ u64 rows ‖ h_rows(32)                      h_0 = SHA-256(name), h_i = SHA-256(h_{i-1} ‖ row)
//! trailer:         4 ‖ u32 tables ‖ u64 rows ‖ H_tables(32)       H_0 = 0³², H_i = SHA-256(H_{i-1} ‖ h of table i)
//! ```
//!
//! The chunks of the stream keep strangers out; chain and counts catch a program that writes or reads wrongly,
//! and the last hash names the content.

use std::io::{Read, Write};

use sealdex_wire::auth::sha256;

use super::{
    BackupError,
    stream::{Opener, Sealer},
};
use crate::store::{Row, Snapshot, Table};

const TABLE: u8 = 1;
const ROW: u8 = 2;
const END: u8 = 3;
const TRAILER: u8 = 4;
/// Rows that are read and handed on together.
pub const PAGE: usize = 1024;

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Tables, with their number of rows.
    pub tables: Vec<(&'static str, u64)>,
    /// Hash of all of it.
    pub digest: [u8; 32],
}

impl Summary {
    /// Rows of all tables.
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|t| t.1).sum()
    }
}

fn framed(row: &Row) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(row.0.len() + row.1.len() + 9);
    out.push(ROW);
    for part in [&row.0, &row.1] {
        out.extend_from_slice(&u32::try_from(part.len()).ok()?.to_be_bytes());
        out.extend_from_slice(part);
    }
    Some(out)
}

/// All rows of a table, a page at a time.
///
/// # Errors
/// Those of the snapshot and of `f`.
pub fn pages<E: From<crate::store::StoreError>>(
    snapshot: &dyn Snapshot,
    table: Table,
    mut f: impl FnMut(Vec<Row>) -> Result<(), E>,
) -> Result<(), E> {
    let mut from = Vec::new();
    loop {
        let page = snapshot.range(table, &from, None, PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        // The shortest key beyond it.
        from = [last.as_slice(), &[0]].concat();
        let whole = page.len() == PAGE;
        f(page)?;
        if !whole {
            return Ok(());
        }
    }
}

/// Writes all tables of a snapshot. `go_on` is asked before each page.
///
/// # Errors
/// [`BackupError`]; what was written then is no backup.
pub fn write<W: Write>(
    snapshot: &dyn Snapshot,
    out: &mut Sealer<W>,
    go_on: &dyn Fn() -> bool,
    failed: &dyn Fn(std::io::Error) -> BackupError,
) -> Result<Summary, BackupError> {
    let (mut tables, mut digest) = (Vec::with_capacity(Table::ALL.len()), [0; 32]);
    for table in Table::ALL {
        let name = table.name();
        let add = |out: &mut Sealer<W>, bytes: &[u8]| out.add(bytes).map_err(failed);
        add(out, &[TABLE, name.len() as u8])?;
        add(out, name.as_bytes())?;
        let (mut rows, mut chain) = (0_u64, sha256(&[name.as_bytes()]));
        pages(snapshot, table, |page| {
            if !go_on() {
                return Err(BackupError::Stopped);
            }
            for row in &page {
                let framed = framed(row).ok_or(crate::store::StoreError::Row(name))?;
                chain = sha256(&[&chain, &framed]);
                add(out, &framed)?;
            }
            rows += page.len() as u64;
            Ok(())
        })?;
        add(out, &[[END].as_slice(), &rows.to_be_bytes(), &chain].concat())?;
        digest = sha256(&[&digest, &chain]);
        tables.push((name, rows));
    }
    let summary = Summary { tables, digest };
    let count = summary.tables.len() as u32;
    let trailer = [[TRAILER].as_slice(), &count.to_be_bytes(), &summary.rows().to_be_bytes(), &digest].concat();
    out.add(&trailer).map_err(failed)?;
    Ok(summary)
}

/// Reads all tables, a page at a time, to the very end.
///
/// # Errors
/// [`BackupError`], or what `f` fails with. Rows handed on before that are genuine, but not all.
pub fn read<R: Read, E: From<BackupError>>(
    from: &mut Opener<R>,
    mut f: impl FnMut(Table, Vec<Row>) -> Result<(), E>,
) -> Result<Summary, E> {
    let (mut tables, mut digest): (Vec<(&'static str, u64)>, _) = (Vec::new(), [0; 32]);
    loop {
        match from.array::<1>()? {
            [TABLE] => {
                let [len] = from.array()?;
                let name = from.take(len.into())?;
                let table = Table::ALL.into_iter().find(|t| t.name().as_bytes() == name);
                let table = table.ok_or_else(|| from.unknown_table(String::from_utf8_lossy(&name).into_owned()))?;
                if tables.iter().any(|t| t.0 == table.name()) {
                    return Err(from.damaged(format!("table {} comes twice", table.name())).into());
                }
                let (rows, chain) = read_table(from, table, &mut f)?;
                digest = sha256(&[&digest, &chain]);
                tables.push((table.name(), rows));
            }
            [TRAILER] => {
                let (count, rows) = (u32::from_be_bytes(from.array()?), u64::from_be_bytes(from.array()?));
                let expected: [u8; 32] = from.array()?;
                let summary = Summary { tables, digest };
                if (count as usize, rows, expected) != (summary.tables.len(), summary.rows(), digest) {
                    return Err(from.damaged("its trailer counts other tables or rows than there are").into());
                }
                from.end()?;
                return Ok(summary);
            }
            [other] => return Err(from.damaged(format!("neither table nor trailer begins with {other}")).into()),
        }
    }
}

fn read_table<R: Read, E: From<BackupError>>(
    from: &mut Opener<R>,
    table: Table,
    f: &mut impl FnMut(Table, Vec<Row>) -> Result<(), E>,
) -> Result<(u64, [u8; 32]), E> {
    let (mut rows, mut chain) = (0_u64, sha256(&[table.name().as_bytes()]));
    let (mut page, mut before): (Vec<Row>, Option<Vec<u8>>) = (Vec::new(), None);
    loop {
        match from.array::<1>()? {
            [ROW] => {
                let mut part = || {
                    let len = u32::from_be_bytes(from.array()?);
                    from.take(len as usize)
                };
                let row: Row = (part()?, part()?);
                if before.as_ref().is_some_and(|b| *b >= row.0) {
                    return Err(from.damaged(format!("rows of table {} are out of order", table.name())).into());
                }
                let framed = framed(&row).ok_or_else(|| from.damaged("a row is too long"))?;
                chain = sha256(&[&chain, &framed]);
                rows += 1;
                before = Some(row.0.clone());
                page.push(row);
                if page.len() == PAGE {
                    f(table, std::mem::take(&mut page))?;
                }
            }
            [END] => {
                let (count, expected): (_, [u8; 32]) = (u64::from_be_bytes(from.array()?), from.array()?);
                if (count, expected) != (rows, chain) {
                    let what = format!("table {} has other rows than were counted and hashed", table.name());
                    return Err(from.damaged(what).into());
                }
                if !page.is_empty() {
                    f(table, page)?;
                }
                return Ok((rows, chain));
            }
            [other] => {
                return Err(from.damaged(format!("no row of table {} begins with {other}", table.name())).into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use sealdex_crypto::{IdentitySeed, PrincipalId};

    use super::*;
    use crate::backup::{BackupKey, stream::Header};

    /// What reading makes of a stream that is genuine but was written like this.
    fn told(plain: &[&[u8]]) -> String {
        let (gate, key) = (PrincipalId([7; 16]), BackupKey::derive(&IdentitySeed::from_bytes(&[1; 32])));
        let mut sealer = Sealer::new(Vec::new(), &Header { gate, taken_at: 5 }, &key).expect("a header");
        sealer.add(&plain.concat()).expect("content");
        let bytes = sealer.finish().expect("an end");
        let mut opener = Opener::new(Path::new("b"), bytes.as_slice(), gate, &key).expect("a header");
        match read(&mut opener, |_, _| Ok::<_, BackupError>(())) {
            Ok(summary) => format!("{:?}", summary.tables),
            Err(e) => e.to_string(),
        }
    }

    fn table(name: &str, rows: &[Row], count: u64) -> (Vec<u8>, [u8; 32]) {
        let mut out = [&[TABLE, name.len() as u8], name.as_bytes()].concat();
        let mut chain = sha256(&[name.as_bytes()]);
        for row in rows {
            let framed = framed(row).expect("short");
            chain = sha256(&[&chain, &framed]);
            out.extend(framed);
        }
        out.extend([[END].as_slice(), &count.to_be_bytes(), &chain].concat());
        (out, sha256(&[&[0; 32], &chain]))
    }

    fn trailer(tables: u32, rows: u64, digest: &[u8; 32]) -> Vec<u8> {
        [[TRAILER].as_slice(), &tables.to_be_bytes(), &rows.to_be_bytes(), digest].concat()
    }

    #[test]
    fn counts_and_hashes_must_fit_what_is_there() {
        let row = |n: u8| (vec![n], vec![n; 3]);
        let (grants, digest) = table("grants", &[row(1), row(2)], 2);
        assert_eq!(told(&[&grants, &trailer(1, 2, &digest)]), r#"[("grants", 2)]"#);
        let miscounted = table("grants", &[row(1), row(2)], 3).0;
        assert!(told(&[&miscounted, &trailer(1, 3, &digest)]).contains("other rows than were counted"));
        let mut other = grants.clone();
        let len = other.len();
        other[len - 42] ^= 1; // in the last row's value
        assert!(told(&[&other, &trailer(1, 2, &digest)]).contains("other rows than were counted"));
        for (tables, rows, digest) in [(2, 2, digest), (1, 1, digest), (1, 2, [0; 32])] {
            assert!(told(&[&grants, &trailer(tables, rows, &digest)]).contains("its trailer counts other"));
        }
        assert!(told(&[&grants, &grants]).contains("comes twice"));
        assert!(told(&[&table("votes", &[], 0).0]).contains("\"votes\", which this program does not know"));
        assert!(told(&[&table("grants", &[row(2), row(1)], 2).0]).contains("out of order"));
        assert!(told(&[&grants]).contains("ends in the middle"), "no trailer");
        assert!(told(&[&grants, &trailer(1, 2, &digest), &[0]]).contains("follows its trailer"));
        assert!(told(&[&grants, &[9]]).contains("begins with 9"));
    }
}
