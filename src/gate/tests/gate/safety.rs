//! Backups, restored stores, checks: nothing half, nothing undone in silence.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use sealdex_gate::{
    Gate, GateError, GateSecrets,
    backup::{
        BackupError,
        files::Taken,
        restore::{check_backup, check_store, restore},
        rows,
        schedule::BackupPlan,
    },
    standing::StandingRefusal,
    store::{AuditEntry, AuditKind, ConsentStore, RedbStore, Row, StoreError, Table, Transaction, WriteConsents as _},
};
use sealdex_wire::{ProblemType, consent::Accepted, operations::ResumeGate, search::InnerClause};

use crate::domain::*;

pub fn secrets() -> GateSecrets {
    GateSecrets::new(&gate_keys()).unwrap()
}

/// Tables of a gate of several nodes; what they hold is damaged in `sealdex-tests`, where there are such gates.
const OF_NODES: [Table; 4] = [Table::Commitments, Table::Entries, Table::Known, Table::Staged];

fn plan(dir: &Path, keep: usize) -> BackupPlan {
    BackupPlan { dir: dir.to_owned(), every: None, keep }
}

fn back_up(d: &Domain<RedbStore>, dir: &Path) -> Taken {
    fs::create_dir_all(dir).unwrap();
    d.gate.back_up(&plan(dir, 100), &|| true).unwrap()
}

/// A domain over a file, with something in every table.
async fn populated(store: &Path) -> (Domain<RedbStore>, Owner) {
    let mut d = Domain::over(RedbStore::open(store).unwrap());
    d.ledger = Some(crate::logging::ledger());
    d.send_roster().await.unwrap();
    let owner = Owner::new(50);
    let sections = [("labs", 0), ("notes", 0), ("gone", 0)];
    d.publish(&owner, &owner.profile(1, &sections, &[d.id(NORTH)])).await.unwrap();
    d.push(NORTH, d.batch(&owner, "labs", 3, &[(1, vec![])])).await.unwrap();
    d.push(NORTH, d.batch(&owner, "notes", 4, &[(2, vec![])])).await.unwrap();
    for section in ["labs", "notes"] {
        let grants = [CLINICIAN, OTHER].map(|n| owner.grant(&d.public(n), section, START));
        d.grant(owner.id(), grants.to_vec()).await.unwrap();
    }
    d.search(CLINICIAN, InnerClause::All).await.unwrap();
    d.revoke(&owner, owner.revoke(d.id(OTHER), Some("notes"), START)).await.unwrap();
    (d, owner)
}

/// Something in the tables of groups, emergencies, requests, carers and members below members.
async fn surrounded(d: &Domain<RedbStore>, owner: &Owner) {
    let mut group = crate::groups::TestGroup::new(d, NORTH, &[CLINICIAN, OTHER]);
    group.send(d, NORTH).await.unwrap();
    group.granted(d, owner, "labs", START + 1).await;
    group.remove(&[d.id(OTHER)]);
    group.send(d, NORTH).await.unwrap();
    let list = sealdex_wire::group::ListStale { reader: group.id(), after: None, limit: 9 };
    let stale = d.gate.list_stale(d.id(NORTH), list).await.unwrap().grants;
    let rotations = group.factors(&stale);
    let rotate = sealdex_wire::group::RotateGrants { reader: group.id(), rotations };
    assert_eq!(d.gate.rotate(d.id(NORTH), rotate).await.unwrap().count, 1);
    let order = crate::erasing::order(owner, &[("gone", 0)], START);
    crate::erasing::erase(d, owner, order).await.unwrap();
    crate::access::something_of_each(d, owner).await;
}

/// Audit entries, so that a backup has several chunks.
pub fn fill(store: &RedbStore, entries: u64) {
    let entry = |count| {
        let (kind, caller) = (AuditKind::Search, identity(4).id());
        AuditEntry {
            at: START,
            kind,
            caller,
            owner: None,
            purpose: Some("treatment".into()),
            count,
            owners: 1,
            spent: Default::default(),
        }
    };
    store.write(|t| (0..entries).try_for_each(|n| t.append_audit(&entry(n)).map(drop))).unwrap();
}

fn everything(store: &RedbStore) -> BTreeMap<&'static str, Vec<Row>> {
    let table = |table: Table| {
        let mut all = Vec::new();
        let collect = |page| {
            all.extend(page);
            Ok::<_, StoreError>(())
        };
        store.read(|s| rows::pages(s, table, collect)).unwrap();
        (table.name(), all)
    };
    Table::ALL.map(table).into()
}

/// The gate over a store again, at the time it has come to.
fn reopened(d: &mut Domain<RedbStore>, store: &Path) {
    let open = |d: &Domain<RedbStore>, store: &Path| {
        let clock = d.clock.clone();
        let tick = std::sync::Arc::new(move || clock.load(Ordering::SeqCst));
        Gate::open(secrets(), RedbStore::open(store).unwrap(), d.cloud.clone(), tick, 8).unwrap()
    };
    // Another store meanwhile: a file is opened once at a time.
    d.gate = open(d, &store.with_extension("meanwhile"));
    d.gate = open(d, store);
}

#[tokio::test]
async fn a_restored_store_has_every_row_of_every_table_and_a_mark() {
    let dir = tempfile::tempdir().unwrap();
    let (store, new) = (dir.path().join("gate.redb"), dir.path().join("new.redb"));
    let (d, owner) = populated(&store).await;
    surrounded(&d, &owner).await;
    let taken = back_up(&d, &dir.path().join("backups"));
    drop(d);
    let (taken_at, summary, report) = check_backup(&taken.path, &secrets()).unwrap();
    assert_eq!((taken_at, &summary, report.damaged), (START, &taken.summary, 0), "{:?}", report.damages);
    assert_eq!((report.roster, report.unverifiable), (Some(1), 0));
    let restored = restore(&taken.path, &new, &secrets(), START + 9).unwrap();
    assert_eq!((restored.as_of, restored.summary), (START, taken.summary));
    let before = everything(&RedbStore::open(&store).unwrap());
    let mut after = everything(&RedbStore::open(&new).unwrap());
    let mark = after.get_mut("meta").unwrap().iter().position(|r| r.0 == b"restored").unwrap();
    after.get_mut("meta").unwrap().remove(mark);
    assert_eq!(before, after);
    let of_one = |name: &&str| !OF_NODES.iter().any(|t| t.name() == *name);
    let empty: Vec<_> = before.iter().filter(|(name, rows)| rows.is_empty() && of_one(name)).collect();
    assert!(empty.is_empty(), "each table has something: {empty:?}");
    let report = check_store(&new, &secrets()).unwrap();
    assert_eq!((report.damaged, report.restored), (0, Some(START)), "{:?}", report.damages);
    // Never over a file, and by the right keys only.
    assert_eq!(restore(&taken.path, &store, &secrets(), START), Err(BackupError::Exists(store.clone())));
    let mut keys = gate_keys();
    keys.seed.0 = [99; 32];
    let other = GateSecrets::new(&keys).unwrap();
    let refused = restore(&taken.path, &dir.path().join("other.redb"), &other, START);
    assert!(matches!(refused, Err(BackupError::OtherGate { .. })), "{refused:?}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3, "two stores, one folder, nothing else");
}

#[tokio::test]
async fn a_restored_gate_serves_nobody_until_it_is_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let (store, new) = (dir.path().join("gate.redb"), dir.path().join("new.redb"));
    let (mut d, owner) = populated(&store).await;
    let backup = back_up(&d, &dir.path().join("backups")).path;
    // After the backup: a revocation, and a grant that is revoked too. Both are lost.
    d.advance(5_000);
    let revoked = owner.revoke(d.id(CLINICIAN), Some("labs"), START + 5_000);
    d.revoke(&owner, revoked.clone()).await.unwrap();
    let short_lived = owner.grant(&d.public(OTHER), "notes", START + 5_000);
    d.grant(owner.id(), vec![short_lived.clone()]).await.unwrap();
    d.advance(1_000);
    d.revoke(&owner, owner.revoke(d.id(OTHER), None, START + 6_000)).await.unwrap();
    d.advance(4_000);
    restore(&backup, &new, &secrets(), START + 10_000).unwrap();
    for _ in 0..2 {
        reopened(&mut d, &new);
        let error = d.search(CLINICIAN, InnerClause::All).await.unwrap_err();
        assert_eq!(error, GateError::Standing(StandingRefusal::NotResumed { as_of: START }));
        assert_eq!((error.problem_type(), ProblemType::NotServing.status()), (ProblemType::NotServing, 503));
        assert!(error.to_string().contains("2023-11-14T22:13:20Z"), "{error}");
        let batch = d.batch(&owner, "labs", 5, &[(3, vec![])]);
        assert_eq!(d.push(NORTH, batch).await, Err(GateError::Standing(StandingRefusal::NotResumed { as_of: START })));
        let grant = d.grant(owner.id(), vec![short_lived.clone()]).await;
        assert_eq!(grant, Err(GateError::Standing(StandingRefusal::NotResumed { as_of: START })));
    }
    // Meanwhile the owner says again what was lost, and the authority sends its roster.
    assert_eq!(d.revoke(&owner, revoked).await, Ok(Accepted { count: 1 }));
    assert_eq!(d.revoke(&owner, owner.revoke(d.id(OTHER), None, START + 6_000)).await, Ok(Accepted { count: 1 }));
    d.version = 2;
    let resume = |at, roster_version| ResumeGate { accept_loss_after: at, roster_version };
    let authority = d.authority.id();
    let older = d.gate.resume_serving(authority, resume(START, 2)).await;
    assert_eq!(older, Err(GateError::Standing(StandingRefusal::RosterIsOlder { stored: 1, newest: 2 })));
    d.send_roster().await.unwrap();
    assert!(matches!(d.gate.resume_serving(d.id(NORTH), resume(START, 2)).await, Err(GateError::Caller(_))));
    let other = d.gate.resume_serving(authority, resume(START + 5_000, 2)).await;
    let refused = StandingRefusal::OtherTime { as_of: START, accepted: START + 5_000 };
    assert_eq!(other, Err(GateError::Standing(refused)));
    assert!(d.search(CLINICIAN, InnerClause::All).await.is_err());
    d.advance(1_000);
    assert_eq!(d.gate.resume_serving(authority, resume(START, 2)).await, Ok(Accepted { count: 1 }));
    assert_eq!(d.found(CLINICIAN, InnerClause::All).await, vec![2], "labs stay revoked");
    assert_eq!(d.found(OTHER, InnerClause::All).await, Vec::<u8>::new());
    // A grant of the lost time does not come back by being sent again, now or after a restart.
    let lost = |at| {
        let (from, to) = (START, START + 11_000);
        Err(GateError::Standing(StandingRefusal::GrantOfLostTime { granted_at: at, from, to }))
    };
    for _ in 0..2 {
        assert_eq!(d.grant(owner.id(), vec![short_lived.clone()]).await, lost(START + 5_000));
        reopened(&mut d, &new);
    }
    d.advance(1_000);
    let anew = owner.grant(&d.public(OTHER), "notes", START + 12_000);
    assert_eq!(d.grant(owner.id(), vec![anew]).await, Ok(Accepted { count: 1 }));
    assert_eq!(d.found(OTHER, InnerClause::All).await, vec![2]);
    drop(d);
    let report = check_store(&new, &secrets()).unwrap();
    assert_eq!((report.damaged, report.restored), (0, None), "{:?}", report.damages);
}

/// A backup of several chunks, its bytes, and a place for what is made of them.
async fn several_chunks(dir: &Path) -> (PathBuf, Vec<u8>) {
    let (d, _) = populated(&dir.join("gate.redb")).await;
    drop(d);
    let store = RedbStore::open(&dir.join("gate.redb")).unwrap();
    let seen = everything(&store)["audit"].len();
    fill(&store, 2_500);
    assert!(seen > 0);
    let d = Domain::over(store);
    let taken = back_up(&d, &dir.join("backups"));
    let bytes = fs::read(&taken.path).unwrap();
    assert!(bytes.len() > 3 * 65_552, "several chunks: {} bytes", bytes.len());
    (dir.join("changed.backup"), bytes)
}

const HEADER: usize = 23 + 16 + 8 + 32;
const SEALED: usize = 65_536 + 16;

#[tokio::test]
async fn a_backup_that_was_changed_anywhere_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (changed, whole) = several_chunks(dir.path()).await;
    let new = dir.path().join("new.redb");
    let refused = |bytes: &[u8], what: &str| {
        fs::write(&changed, bytes).unwrap();
        let error = restore(&changed, &new, &secrets(), START).err().unwrap_or_else(|| panic!("{what} was restored"));
        let said = error.to_string();
        assert!(said.contains("changed.backup"), "{what}: {said}");
        assert!(!new.exists() && !dir.path().join("new.redb.restoring").exists(), "{what}: something was left");
        error
    };
    // Every byte of the header; of each chunk the synthetic IV, the beginning, the middle, the end.
    let mut places: Vec<usize> = (0..HEADER).collect();
    for chunk in (HEADER..whole.len()).step_by(SEALED) {
        let end = (chunk + SEALED).min(whole.len());
        places.extend([chunk, chunk + 15, chunk + 16, (chunk + end) / 2, end - 1]);
    }
    for place in places {
        for bit in [0, 7] {
            let mut bent = whole.clone();
            bent[place] ^= 1 << bit;
            let error = refused(&bent, &format!("bit {bit} of byte {place}"));
            match place {
                0..23 => assert!(matches!(error, BackupError::NotABackup(_)), "{error}"),
                23..39 => assert!(matches!(error, BackupError::OtherGate { .. }), "{error}"),
                _ => {
                    let BackupError::Damaged { at, .. } = error else { panic!("{error}") };
                    assert!(at as usize <= place.max(HEADER) && place < at as usize + SEALED, "{place} at {at}");
                }
            }
        }
    }
    for cut in [
        0,
        5,
        HEADER - 1,
        HEADER,
        HEADER + 1,
        HEADER + SEALED - 1,
        HEADER + SEALED,
        HEADER + 2 * SEALED,
        whole.len() - 1,
    ] {
        refused(&whole[..cut], &format!("cut at {cut}"));
    }
    let chunk = |n: usize| &whole[HEADER + n * SEALED..(HEADER + (n + 1) * SEALED).min(whole.len())];
    let (header, rest) = whole.split_at(HEADER);
    refused(&[header, chunk(1), chunk(0), &rest[2 * SEALED..]].concat(), "swapped chunks");
    refused(&[header, chunk(0), chunk(0), &rest[SEALED..]].concat(), "a chunk twice");
    refused(&[header, chunk(1), &rest[2 * SEALED..]].concat(), "a chunk left out");
    refused(&[&whole, chunk(0)].concat(), "a chunk added");
    refused(&[whole.as_slice(), &[0]].concat(), "a byte added");
    // Nothing but the whole.
    fs::write(&changed, &whole).unwrap();
    assert!(restore(&changed, &new, &secrets(), START).is_ok());
}

#[tokio::test]
async fn a_backup_given_up_or_without_room_leaves_the_old_ones_and_nothing_half() {
    let dir = tempfile::tempdir().unwrap();
    let (d, owner) = populated(&dir.path().join("gate.redb")).await;
    surrounded(&d, &owner).await;
    let folder = dir.path().join("backups");
    let first = back_up(&d, &folder);
    for pages in 0..(Table::ALL.len() - OF_NODES.len()) as u32 {
        d.advance(1);
        let left = std::cell::Cell::new(pages);
        let go_on = || left.replace(left.get().saturating_sub(1)) > 0;
        assert_eq!(d.gate.back_up(&plan(&folder, 1), &go_on), Err(BackupError::Stopped), "after {pages} pages");
        let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(names, std::slice::from_ref(&first.path));
    }
    assert!(matches!(d.gate.back_up(&plan(&folder.join("absent"), 1), &|| true), Err(BackupError::Io { .. })));
    // Whole ones push the oldest out, and nothing else.
    fs::write(folder.join("notes.txt"), "of the operators").unwrap();
    for _ in 0..5 {
        d.advance(60_000);
        d.gate.back_up(&plan(&folder, 3), &|| true).unwrap();
    }
    let mut names: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names.len(), 4, "{names:?}");
    assert!(names[0].ends_with("-20231114T221620.020Z.backup"), "{names:?}");
    // A clock that went back does not make the newest one the first to go.
    d.clock.store(START - 1_000_000, Ordering::SeqCst);
    let taken = d.gate.back_up(&plan(&folder, 1), &|| true).unwrap();
    assert!(taken.path.exists() && fs::read_dir(&folder).unwrap().count() == 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_taken_while_others_write_is_of_one_moment() {
    let dir = tempfile::tempdir().unwrap();
    let (d, owner) = populated(&dir.path().join("gate.redb")).await;
    let folder = dir.path().join("backups");
    fs::create_dir_all(&folder).unwrap();
    let done = AtomicBool::new(false);
    let taken: Vec<PathBuf> = std::thread::scope(|threads| {
        let backups = threads.spawn(|| {
            let mut taken = Vec::new();
            while !done.load(Ordering::SeqCst) {
                d.clock.fetch_add(1, Ordering::SeqCst);
                match d.gate.back_up(&plan(&folder, 1000), &|| true) {
                    Ok(backup) => taken.push(backup.path),
                    // The writers set the clock back now and then.
                    Err(e) => assert!(matches!(e, BackupError::Exists(_)), "{e}"),
                }
            }
            taken
        });
        let runtime = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| {
            for round in 0..25_u64 {
                let at = START + 100 * (round + 1);
                d.clock.store(at, Ordering::SeqCst);
                let grants = ["labs", "notes"].map(|s| owner.grant(&d.public(OTHER), s, at));
                runtime.block_on(d.grant(owner.id(), grants.to_vec())).unwrap();
                runtime.block_on(d.search(CLINICIAN, InnerClause::All)).unwrap();
                d.clock.store(at + 50, Ordering::SeqCst);
                runtime.block_on(d.revoke(&owner, owner.revoke(d.id(OTHER), None, at + 50))).unwrap();
            }
        });
        done.store(true, Ordering::SeqCst);
        backups.join().unwrap()
    });
    let mut grants = Vec::new();
    for path in &taken {
        // The check compares grants with terms and readers, and accesses with the audit trail.
        let (_, summary, report) = check_backup(path, &secrets()).unwrap();
        assert_eq!(report.damaged, 0, "{:?}", report.damages);
        let rows: BTreeMap<_, _> = summary.tables.into_iter().collect();
        assert!(rows["grants"] == rows["grant_terms"] && rows["grants"] == rows["grants_by_reader"], "{rows:?}");
        assert!([2, 3, 4].contains(&rows["grants"]) && rows["grants"] != 1, "each request whole: {rows:?}");
        grants.push(rows["grants"]);
    }
    println!("{} backups while others wrote; grants in them: {grants:?}", taken.len());
    assert!(taken.len() > 3);
}

#[tokio::test]
async fn a_check_names_what_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gate.redb");
    let (d, owner) = populated(&path).await;
    surrounded(&d, &owner).await;
    drop(d);
    assert_eq!(check_store(&path, &secrets()).unwrap().damaged, 0);
    let rows = everything(&RedbStore::open(&path).unwrap());
    for table in Table::ALL.into_iter().skip(1).filter(|t| !OF_NODES.contains(t)) {
        let (key, value) = rows[table.name()][0].clone();
        // A document, a scalar, a number bent in its middle; a message without its end; a row without value gone.
        let damaged = match (table, value.len()) {
            (_, 0) => None,
            (Table::Audit | Table::Accesses | Table::Tickets | Table::Requests | Table::ActLog, n) => {
                Some(value[..n - 1].to_vec())
            }
            (_, n) => Some([&value[..n / 2], &[value[n / 2] ^ 1], &value[n / 2 + 1..]].concat()),
        };
        let set = |value: Option<&[u8]>| {
            let put = |t: &mut dyn Transaction| match value {
                Some(value) => t.put(table, &key, value),
                None => t.remove(table, &key).map(drop),
            };
            RedbStore::open(&path).unwrap().write(put).unwrap();
        };
        set(damaged.as_deref());
        let report = check_store(&path, &secrets()).unwrap();
        let hex: String = key.iter().map(|b| format!("{b:02x}")).collect();
        let found = &report.damages;
        assert!(report.damaged > 0, "table {} changed unseen", table.name());
        match damaged {
            Some(_) => assert!(found.iter().any(|x| x.table == table.name() && x.key == hex), "{table:?}: {found:?}"),
            None => assert!(found.iter().any(|x| x.what.contains(table.name())), "{table:?}: {found:?}"),
        }
        set(Some(&value));
        assert_eq!(check_store(&path, &secrets()).unwrap().damaged, 0, "{table:?}");
    }
    // A row that is genuine, but elsewhere; and one that is gone.
    let store = RedbStore::open(&path).unwrap();
    let tombstone = rows["tombstones"][0].clone();
    let elsewhere = [owner.id().0.as_slice(), &[7; 16], &[0]].concat();
    store.write(|t| t.put(Table::Tombstones, &elsewhere, &tombstone.1)).unwrap();
    store.write(|t| t.remove(Table::Audit, &rows["audit"][1].0).map(drop)).unwrap();
    drop(store);
    let report = check_store(&path, &secrets()).unwrap();
    let said: Vec<String> = report.damages.iter().map(ToString::to_string).collect();
    assert_eq!(report.damaged, 2, "{said:?}");
    assert!(said[0].starts_with("table tombstones, key ") && said[0].ends_with("not that of the revocation in it"));
    assert!(said[1].ends_with("1 entries before it are missing"), "{said:?}");
    // Such a store can be backed up, for it may be all there is; but not be restored as if it were in order.
    let d = Domain::over(RedbStore::open(&path).unwrap());
    let taken = back_up(&d, &dir.path().join("backups"));
    let refused = restore(&taken.path, &dir.path().join("new.redb"), &secrets(), START).unwrap_err();
    assert!(refused.to_string().contains("2 of its rows are not in order, first table tombstones"), "{refused}");
    assert!(check_store(&dir.path().join("absent.redb"), &secrets()).is_err());
    assert!(!dir.path().join("absent.redb").exists() && !dir.path().join("new.redb").exists());
}
