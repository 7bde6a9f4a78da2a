//! The broker's promises as a trait, the in-process broker, and the contract suite that every broker passes.
