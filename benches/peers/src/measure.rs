//! Taking turns: in each round every contender does its work once, so what disturbs the machine disturbs all of them.

use std::hint::black_box;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::Failure;
use crate::report::{Peer, Row};
use crate::settings::Settings;

/// Does its work so many times and says how long that took.
pub type Work<'a> = Box<dyn FnMut(u64) -> Result<Duration, Failure> + 'a>;

/// Processor time of this thread since a moment. What else the machine does is not in it, where wall clock would have it.
pub struct Processor(Duration);

impl Processor {
    pub fn now() -> Self {
        Self(Self::used())
    }

    pub fn elapsed(&self) -> Duration {
        Self::used().saturating_sub(self.0)
    }

    fn used() -> Duration {
        let used = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(used.tv_sec.unsigned_abs(), used.tv_nsec.unsigned_abs() as u32)
    }
}

pub struct Contender<'a> {
    what: String,
    peer: Peer,
    note: Option<String>,
    work: Work<'a>,
}

impl<'a> Contender<'a> {
    /// One that times itself.
    pub fn timing_itself(what: impl Into<String>, peer: &Peer, work: Work<'a>) -> Self {
        Self { what: what.into(), peer: peer.clone(), note: None, work }
    }

    /// One operation, timed here.
    pub fn new<T>(what: impl Into<String>, peer: &Peer, mut once: impl FnMut() -> T + 'a) -> Self {
        let work = move |count| {
            let started = Processor::now();
            for _ in 0..count {
                black_box(once());
            }
            Ok(started.elapsed())
        };
        Self::timing_itself(what, peer, Box::new(work))
    }

    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// How often to do it so that a turn takes about as long as it should.
    fn fitting(&mut self, turn: Duration) -> Result<u64, Failure> {
        let mut count = 1;
        loop {
            let took = (self.work)(count)?;
            if took * 2 >= turn || count >= 1 << 24 {
                return Ok(count);
            }
            let missing = turn.as_secs_f64() / took.as_secs_f64().max(1e-9);
            count *= (missing as u64).clamp(2, 64);
        }
    }
}

/// Runs them in turns; the seconds one operation takes, a value a round each.
fn turns(contenders: &mut [Contender<'_>], rounds: usize, turn: Duration) -> Result<Vec<Vec<f64>>, Failure> {
    let mut counts = Vec::new();
    for contender in contenders.iter_mut() {
        counts.push(contender.fitting(turn)?);
    }
    let mut taken = vec![Vec::with_capacity(rounds); contenders.len()];
    for _ in 0..rounds {
        for ((contender, &count), taken) in contenders.iter_mut().zip(&counts).zip(&mut taken) {
            taken.push((contender.work)(count)?.as_secs_f64() / count as f64);
        }
    }
    Ok(taken)
}

/// Rows in microseconds an operation.
pub fn micros(settings: &Settings, contenders: Vec<Contender<'_>>) -> Result<Vec<Row>, Failure> {
    rows(settings, contenders, |seconds| seconds * 1e6)
}

/// Rows in operations a second.
pub fn rates(settings: &Settings, contenders: Vec<Contender<'_>>) -> Result<Vec<Row>, Failure> {
    rows(settings, contenders, |seconds| 1.0 / seconds)
}

fn rows(
    settings: &Settings,
    mut contenders: Vec<Contender<'_>>,
    unit: impl Fn(f64) -> f64,
) -> Result<Vec<Row>, Failure> {
    let taken = turns(&mut contenders, settings.rounds(), Duration::from_millis(settings.turn_ms()))?;
    let row = |(c, taken): (Contender<'_>, Vec<f64>)| {
        let mut row = row_of(c.what, &c.peer, taken.into_iter().map(&unit).collect());
        row.note = c.note;
        row
    };
    Ok(contenders.into_iter().zip(taken).map(row).collect())
}

/// A row of values in the group's unit.
pub fn row_of(what: impl Into<String>, peer: &Peer, mut values: Vec<f64>) -> Row {
    let rounds = values.clone();
    values.sort_by(f64::total_cmp);
    let at = |share: f64| quantile(&values, share);
    Row {
        what: what.into(),
        peer: peer.name.clone(),
        version: peer.version.clone(),
        licence: peer.licence,
        median: at(0.5),
        p10: at(0.1),
        p90: at(0.9),
        p99: None,
        rounds,
        ratio_to_ours: None,
        note: None,
    }
}

/// [`row_of`] with the 99th percentile: of latencies, one value an operation.
pub fn latencies(what: impl Into<String>, peer: &Peer, values: Vec<f64>) -> Row {
    let mut sorted = values.clone();
    sorted.sort_by(f64::total_cmp);
    Row { p99: Some(quantile(&sorted, 0.99)), rounds: Vec::new(), ..row_of(what, peer, values) }
}

/// Of ascending values, the one with a share of them below it.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = (share * (sorted.len().saturating_sub(1)) as f64).round() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}
