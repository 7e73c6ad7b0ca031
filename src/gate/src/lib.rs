//! sealdex-gate
