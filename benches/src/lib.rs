//! sealdex-benches
