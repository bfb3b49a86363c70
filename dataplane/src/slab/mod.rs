//! Slab memory.

/// Bytes of an access unit in slab pages.
#[derive(Debug)]
pub struct AuBytes;
/// Page pool of one shard.
#[derive(Debug)]
pub struct Pool;
