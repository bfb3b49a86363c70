//! Pages: their two sizes and their names.

use crate::Error;

/// The size of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PageClass {
    /// 64 KiB: media of a stream.
    Large,
    /// 8 KiB: indexes, and tracks of few bytes.
    Small,
}

impl PageClass {
    /// Bytes of a page of this class.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        match self {
            Self::Large => 64 << 10,
            Self::Small => 8 << 10,
        }
    }

    /// The pool's name in the table of memory terms.
    #[must_use]
    pub const fn pool(self) -> &'static str {
        match self {
            Self::Large => "large_pages",
            Self::Small => "small_pages",
        }
    }
}

/// No page, in fields that may hold a raw page number.
pub(crate) const NO_PAGE: u32 = u32::MAX;
const SMALL_BIT: u32 = 1 << 31;
/// Pages of one class in a region at most, so that no page is numbered [`NO_PAGE`].
pub(crate) const PAGES_MAX: u32 = SMALL_BIT - 1;

/// One page, owned: it is neither copied nor forged, so it cannot be freed twice.
///
/// Shape: the upper bit is the class, the rest the index among all pages of that class.
/// Crosses by: never; a page goes back to the pool of its own shard.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a page that is dropped is lost to its pool"]
pub struct PageId(u32);

impl PageId {
    /// The class.
    #[must_use]
    pub const fn class(&self) -> PageClass {
        class_of(self.0)
    }

    pub(crate) const fn from_raw(raw: u32) -> Self {
        Self(raw)
    }

    pub(crate) const fn into_raw(self) -> u32 {
        self.0
    }

    pub(crate) const fn raw(&self) -> u32 {
        self.0
    }
}

/// The raw number of the `index`-th page of `class`.
pub(crate) const fn raw_page(class: PageClass, index: u32) -> u32 {
    match class {
        PageClass::Large => index,
        PageClass::Small => index | SMALL_BIT,
    }
}

/// The class of a raw page number.
pub(crate) const fn class_of(raw: u32) -> PageClass {
    if raw & SMALL_BIT == 0 { PageClass::Large } else { PageClass::Small }
}

/// The index of a raw page number within its class.
pub(crate) const fn index_of(raw: u32) -> u32 {
    raw & !SMALL_BIT
}

/// A pool has no page left, or a ring no slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no {} left", .0.pool())]
pub struct Exhausted(pub PageClass);

impl From<Exhausted> for Error {
    fn from(exhausted: Exhausted) -> Self {
        Self::Exhausted { pool: exhausted.0.pool() }
    }
}
