//! Prints what every set of parties can derive, one table a scenario. Fails if any of it is not as
//! expected.

// The tables are what it is for.
#![allow(clippy::print_stdout)]

use sealdex_derive::{Scalars, sdx1};

fn main() -> std::process::ExitCode {
    let mut wrong = 0;
    for s in sdx1::all(sdx1::Fault::None) {
        println!("{}", s.table(Scalars::Roots));
        s.faults().iter().for_each(|f| println!("not a story that can happen: {f}"));
        wrong += s.faults().len() + s.verdicts(Scalars::Roots).iter().filter(|v| v.found != v.expected).count();
    }
    if wrong == 0 {
        std::process::ExitCode::SUCCESS
    } else {
        println!("{wrong} verdicts are not as expected (marked !)");
        std::process::ExitCode::FAILURE
    }
}
