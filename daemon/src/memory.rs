//! Keeps the keys and tokens in memory from other programs and from the disk.
//!
//! [`protect`] forbids core dumps, and other processes of the same user may not read the memory of this
//! one. [`Wiping`] is the allocator of the programs: it overwrites what is freed. The API's token
//! passes through buffers of the HTTP library, which nothing else can reach. The decision and its
//! cost are in `docs/src/decisions/0008-freed-memory-is-wiped.md`.
//!
//! Neither keeps pages from the swap space, and root can read everything.

use std::alloc::System;
use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};
use zeroizing_alloc::ZeroAlloc;

/// An allocator that overwrites memory with zeros before it frees it.
pub type Wiping = ZeroAlloc<System>;

/// The one for programs.
pub const WIPING: Wiping = ZeroAlloc(System);

/// Forbids core dumps of this process, and keeps other processes of its user from its memory.
///
/// # Errors
///
/// If the system does not do so.
pub fn protect() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    // A program that the system pipes core dumps to is not bound by the limit, but by this.
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}
