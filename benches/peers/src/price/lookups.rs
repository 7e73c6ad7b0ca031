//! Looking up: the same questions to one contender after the other, round by round.

use std::time::Instant;

use sealdex_cloud::index::IndexSearch;
use tantivy::query::Query;

use super::loading::Loaded;
use super::plain::Plain;
use super::records::{Question, Shape, shapes};
use crate::Failure;
use crate::measure::latencies;
use crate::report::{Group, OURS, Peer, Target};
use crate::settings::Settings;

/// Answers one question: how many matches, if it says so, and how long it took, µs.
type Answer<'a> = Box<dyn FnMut(usize) -> Result<(Option<usize>, f64), Failure> + 'a>;

struct Contender<'a> {
    what: String,
    peer: Peer,
    answer: Answer<'a>,
    took: Vec<f64>,
}

fn timing<'a>(mut find: impl FnMut(usize) -> Result<usize, Failure> + 'a) -> Answer<'a> {
    Box::new(move |n| {
        let started = Instant::now();
        let hits = find(n)?;
        Ok((Some(hits), started.elapsed().as_secs_f64() * 1e6))
    })
}

pub fn measure(settings: &Settings, loaded: &mut Loaded, group: &mut Group) -> Result<(), Failure> {
    let (questions, rounds) = if settings.quick { (20, 3) } else { (50, 11) };
    for shape in shapes(loaded.records, questions) {
        one(&shape, rounds, loaded, group)?;
    }
    let (terms, columns) = (&loaded.peers.terms.name, &loaded.peers.columns.name);
    let what = "narrow range, about 100 hits: matches";
    for (peer, shape) in [(terms, "the same shape"), (columns, "ranges over columns")] {
        let ratio = group.ratio((what, OURS), (what, peer));
        group.targets.push(Target::at_most(format!("{what}: ours over {peer}, {shape}"), 1.2, ratio));
    }
    Ok(())
}

fn one(shape: &Shape, rounds: usize, loaded: &mut Loaded, group: &mut Group) -> Result<(), Failure> {
    let questions = &shape.questions;
    let searches: Vec<IndexSearch> =
        questions.iter().map(|q| loaded.encoder.search(q)).collect::<Result<_, Failure>>()?;
    let paged = questions.iter().any(|q| q.page.is_some());
    let (ids, matches) = (format!("{}: ids", shape.name), format!("{}: matches", shape.name));
    let mut contenders: Vec<Contender<'_>> = Vec::new();
    let (cloud, peers) = (&loaded.cloud, &loaded.peers);
    let mut add = |what: &str, peer: &Peer, answer| {
        contenders.push(Contender { what: what.into(), peer: peer.clone(), answer, took: Vec::new() });
    };
    add(&matches, &peers.ours, timing(|n| cloud.find(&searches[n])));
    for (plain, peer) in [(&loaded.terms, &peers.terms), (&loaded.columns, &peers.columns)] {
        if paged && !plain.sorts() {
            continue;
        }
        let queries: Vec<Box<dyn Query>> = questions.iter().map(|q| plain.query(q)).collect();
        let queries = std::rc::Rc::new(queries);
        let q = queries.clone();
        add(&ids, peer, timing(move |n| found(plain, &*q[n], &questions[n])));
        if !paged {
            add(&matches, peer, timing(move |n| Ok(std::hint::black_box(plain.matches(&*queries[n])?).len())));
        }
    }
    let executed = peers.postgres.configured("executed");
    if let (Some(postgres), Some(first)) = (&mut loaded.postgres, questions.first()) {
        let statement = postgres.prepare(first)?;
        let postgres = std::rc::Rc::new(std::cell::RefCell::new(postgres));
        let server = postgres.clone();
        add(&matches, &peers.postgres, timing(move |n| server.borrow_mut().find(&statement, &questions[n])));
        let explain = move |n: usize| Ok((None, postgres.borrow_mut().explained(&questions[n])?.as_secs_f64() * 1e6));
        add(&matches, &executed, Box::new(explain));
    }
    let hits = run(&mut contenders, questions.len(), rounds)?;
    for c in contenders {
        let mut row = latencies(c.what, &c.peer, c.took);
        row.note = Some(format!("{hits} hits on average"));
        group.rows.push(row);
    }
    Ok(())
}

/// In each round every contender answers all questions in a row, so that none finds in the processor's caches what the
/// one before it has just read. The first round warms up and is compared: all find as many. Returns how many on average.
fn run(contenders: &mut [Contender<'_>], questions: usize, rounds: usize) -> Result<usize, Failure> {
    let mut expected: Vec<Option<usize>> = vec![None; questions];
    for round in 0..=rounds {
        for contender in contenders.iter_mut() {
            for (n, expected) in expected.iter_mut().enumerate() {
                let (hits, took) = (contender.answer)(n)?;
                if round > 0 {
                    contender.took.push(took);
                } else if let Some(hits) = hits
                    && *expected.get_or_insert(hits) != hits
                {
                    let (what, peer) = (&contender.what, &contender.peer.name);
                    return Err(format!("{what}, question {n}: {peer} found {hits}, others {expected:?}").into());
                }
            }
        }
    }
    Ok(expected.into_iter().flatten().sum::<usize>() / questions.max(1))
}

fn found(plain: &Plain, query: &dyn Query, question: &Question) -> Result<usize, Failure> {
    Ok(std::hint::black_box(plain.find(query, question.page)?).len())
}
