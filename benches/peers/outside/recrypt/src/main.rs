//! recrypt, timing itself. One request a line, `OPERATION COUNT`; the answer is the nanoseconds of
//! processor time that `COUNT` of it took.

use std::hint::black_box;
use std::io::{BufRead, Write};
use std::time::Duration;

use recrypt::prelude::*;
use rustix::time::{ClockId, clock_gettime};

/// Processor time of this process so far.
fn used() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(used.tv_sec.unsigned_abs(), used.tv_nsec.unsigned_abs() as u32)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let api = Recrypt::new();
    let signing = api.generate_ed25519_key_pair();
    let (owner, owner_public) = api.generate_key_pair()?;
    let (reader, reader_public) = api.generate_key_pair()?;
    let plaintext = api.gen_plaintext();
    let encrypted = api.encrypt(&plaintext, &owner_public, &signing)?;
    let key = api.generate_transform_key(&owner, &reader_public, &signing)?;
    let turned = api.transform(encrypted.clone(), key.clone(), &signing)?;
    if api.decrypt(turned.clone(), &reader)? != plaintext {
        return Err("what was transformed did not decrypt to what was encrypted".into());
    }
    let timed = |operation: &str, count: u64| -> Result<Duration, Box<dyn std::error::Error>> {
        let started = used();
        for _ in 0..count {
            match operation {
                "encapsulate" => {
                    black_box(api.encrypt(&api.gen_plaintext(), &owner_public, &signing)?);
                }
                "grant" => {
                    black_box(api.generate_transform_key(&owner, &reader_public, &signing)?);
                }
                "reencapsulate" => {
                    black_box(api.transform(encrypted.clone(), key.clone(), &signing)?);
                }
                "open" => {
                    black_box(api.decrypt(turned.clone(), &reader)?);
                }
                other => return Err(format!("no operation {other}").into()),
            }
        }
        Ok(used().saturating_sub(started))
    };
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (operation, count) = line.split_once(' ').ok_or("a request is an operation and a count")?;
        println!("{}", timed(operation, count.parse()?)?.as_nanos());
        std::io::stdout().flush()?;
    }
    Ok(())
}
