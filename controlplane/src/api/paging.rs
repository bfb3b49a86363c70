//! Paging: long lists in pages that neither skip nor repeat while the list changes.
//!
//! A list is sorted by a key that no two items share. The cursor is the key of the last item that
//! was given, so that what comes and goes between two pages moves nothing.
//!
//! Limits: [`LIMIT_MAX`] items a page, [`CURSOR_BYTES_MAX`] of a cursor.

use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::reply::Refusal;

/// Items of a page at most, and without `limit`.
pub(crate) const LIMIT_MAX: u32 = 1_000;
/// Bytes of a cursor at most: no key is longer.
const CURSOR_BYTES_MAX: usize = 256;

/// A cursor that no page gave.
pub(super) const BAD_CURSOR: Refusal = Refusal::fixed(
    StatusCode::BAD_REQUEST,
    "bad_cursor",
    "take the cursor from `next` of the page before",
    Some("cursor"),
);

/// Which part of a list is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(crate) struct Page {
    /// `next` of the page before.
    #[param(min_length = 1, max_length = 256)]
    pub(crate) cursor: Option<String>,
    /// Items at most.
    #[param(minimum = 1, maximum = 1000, default = 1000)]
    pub(crate) limit: Option<u32>,
}

impl Page {
    /// Items at most, and the key after which the page begins.
    ///
    /// Errors: a number or a cursor beyond its limit.
    pub(crate) fn bounds(&self) -> Result<(usize, Option<&str>), Refusal> {
        let limit = self.limit.unwrap_or(LIMIT_MAX);
        if !(1..=LIMIT_MAX).contains(&limit) {
            let what = format!("a page has 1 to {LIMIT_MAX} items");
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "bad_limit", what).at("limit"));
        }
        let cursor = self.cursor.as_deref();
        if cursor.is_some_and(|cursor| cursor.is_empty() || cursor.len() > CURSOR_BYTES_MAX) {
            return Err(BAD_CURSOR);
        }
        Ok((limit as usize, cursor))
    }

    /// The page of `items`, which are sorted by `key`, and the cursor of the next one.
    ///
    /// Errors: as [`Self::bounds`].
    pub(crate) fn of<T>(
        &self,
        items: impl IntoIterator<Item = T>,
        key: impl Fn(&T) -> &str,
    ) -> Result<(Vec<T>, Option<String>), Refusal> {
        let (limit, cursor) = self.bounds()?;
        let mut rest = items.into_iter();
        let after = |item: &T| cursor.is_none_or(|cursor| key(item) > cursor);
        let page: Vec<T> = rest.by_ref().filter(after).take(limit).collect();
        let more = rest.any(|item| after(&item));
        let next = if more { page.last().map(|last| key(last).to_owned()) } else { None };
        Ok((page, next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(cursor: Option<&str>, limit: Option<u32>) -> Page {
        Page { cursor: cursor.map(str::to_owned), limit }
    }

    #[test]
    fn pages_meet_without_a_gap_whatever_comes_and_goes_between_them() {
        let list = ["a", "b", "c", "d"];
        let of =
            |page: Page, list: &[&'static str]| page.of(list.iter().copied(), |item| item).unwrap();
        let (first, next) = of(page(None, Some(2)), &list);
        assert_eq!((first, next.as_deref()), (vec!["a", "b"], Some("b")));
        let (second, next) = of(page(next.as_deref(), Some(2)), &["a", "bb", "c", "d"]);
        assert_eq!((second, next.as_deref()), (vec!["bb", "c"], Some("c")));
        let (third, next) = of(page(next.as_deref(), Some(2)), &list);
        assert_eq!((third, next), (vec!["d"], None));
        assert_eq!(of(page(Some("d"), None), &list), (vec![], None));
        assert_eq!(of(page(None, Some(4)), &list).1, None, "a full last page has no next");
    }

    #[test]
    fn a_page_has_limits() {
        let code = |page: Page| page.bounds().unwrap_err().code;
        assert_eq!(code(page(None, Some(0))), "bad_limit");
        assert_eq!(code(page(None, Some(LIMIT_MAX + 1))), "bad_limit");
        assert_eq!(code(page(Some(""), None)), "bad_cursor");
        assert_eq!(code(page(Some(&"x".repeat(CURSOR_BYTES_MAX + 1)), None)), "bad_cursor");
        assert_eq!(page(Some("x"), None).bounds(), Ok((LIMIT_MAX as usize, Some("x"))));
    }
}
