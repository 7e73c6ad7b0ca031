//! sealdex-net
