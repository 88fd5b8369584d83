//! Pages: which one is asked for, in which order, and how one is answered.
//!
//! The one thing a newcomer would get wrong: every order ends with the id, so that entities that are otherwise equal do not
//! change places between two pages.

use axum::http::Uri;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{Problem, ProblemType, Refusal, echoed};
use super::fields::FieldSpec;
use super::model::{ApiToken, User};
use crate::kit::path::decode;

/// Entities of a page unless the call says otherwise.
const SIZE_DEFAULT: u64 = 20;
/// Entities of a page at the most.
pub(super) const SIZE_MAX: u64 = 100;
/// The largest number of a page: that of a 32-bit integer, which is what clients have for it.
const PAGE_MAX: u64 = i32::MAX as u64;

/// One key of an order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SortKey {
    /// By which field.
    pub spec: &'static FieldSpec,
    /// From the greatest to the least.
    pub descending: bool,
}

/// What a call asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Asked {
    /// The number of the page, from 0.
    pub page: u64,
    /// Entities of a page.
    pub size: u64,
    /// The order; empty if the call says none.
    pub order: Vec<SortKey>,
}

impl Asked {
    /// Reads `page`, `size` and `sort`; other parameters are nobody's here.
    pub(super) fn of(uri: &Uri, fields: &'static [FieldSpec]) -> Result<Self, Refusal> {
        let mut asked = Self {
            page: 0,
            size: SIZE_DEFAULT,
            order: Vec::new(),
        };
        for pair in uri.query().unwrap_or_default().split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Ok(name), Ok(value)) = (decode(name), decode(&value.replace('+', "%20"))) else {
                let reason = "the query has a broken escape";
                let problem = Problem::new(ProblemType::IllegalArgument, reason);
                return Err(Refusal::bad(problem));
            };
            match name.as_str() {
                "page" => asked.page = number("page", &value, 0, PAGE_MAX)?,
                "size" => asked.size = number("size", &value, 1, SIZE_MAX)?,
                "sort" => sort(&value, fields, &mut asked.order)?,
                _ => {}
            }
        }
        Ok(asked)
    }

    /// Entities before the page.
    pub(super) const fn offset(&self) -> u64 {
        self.page * self.size
    }
}

fn number(name: &'static str, value: &str, least: u64, most: u64) -> Result<u64, Refusal> {
    let reason = format!("{name} is a whole number from {least} to {most}");
    let is_whole = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // Digits that are no number of 64 bits are one beyond every bound.
    let parsed = is_whole(value).then(|| value.parse().unwrap_or(u64::MAX));
    let kind = match parsed {
        Some(number) if (least..=most).contains(&number) => return Ok(number),
        Some(number) if number < least => ProblemType::GreaterValueRequired,
        Some(_) => ProblemType::LessValueRequired,
        None if value.strip_prefix('-').is_some_and(is_whole) => ProblemType::GreaterValueRequired,
        None => ProblemType::IncorrectDataType,
    };
    Err(Refusal::bad(Problem::with(kind, name, reason).value(value)))
}

fn sort(
    value: &str,
    fields: &'static [FieldSpec],
    order: &mut Vec<SortKey>,
) -> Result<(), Refusal> {
    let wrong = |text: &str, rule: &str| {
        let reason = format!("{} {rule}", echoed(text));
        let kind = ProblemType::IllegalArgument;
        Refusal::bad(Problem::with(kind, "sort", reason).value(text))
    };
    if value.trim().is_empty() {
        return Ok(());
    }
    let mut words = value.split(',').map(str::trim).peekable();
    while let Some(word) = words.next() {
        let spec = fields
            .iter()
            .find(|spec| spec.sortable && spec.name == word)
            .ok_or_else(|| wrong(word, "is nothing to sort by"))?;
        // A second look at the same key decides nothing; refused, it bounds the order.
        if order.iter().any(|key| key.spec == spec) {
            return Err(wrong(word, "stands twice in the order"));
        }
        let descending = match words.peek() {
            Some(word) if word.eq_ignore_ascii_case("desc") => Some(true),
            Some(word) if word.eq_ignore_ascii_case("asc") => Some(false),
            _ => None,
        };
        if descending.is_some() {
            words.next();
        }
        order.push(SortKey {
            spec,
            descending: descending.unwrap_or(false),
        });
    }
    Ok(())
}

/// Whether a page is sorted as the call said.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(super) struct Sort {
    /// Whether the call said nothing.
    empty: bool,
    /// The same.
    unsorted: bool,
    /// Whether the call said something.
    sorted: bool,
}

/// What was asked for.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[allow(clippy::struct_field_names, reason = "these are the wire's names")]
pub(super) struct Pageable {
    /// The number of the page, from 0.
    page_number: u64,
    /// Entities of a page.
    page_size: u64,
    /// Entities before the page.
    offset: u64,
    /// The order.
    sort: Sort,
}

/// A page without its content's type.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(clippy::struct_field_names, reason = "these are the wire's names")]
pub(super) struct Page<T> {
    page_number: u64,
    total_pages: u64,
    content: Vec<T>,
    number_of_elements: usize,
    total_elements: u64,
    pageable: Pageable,
    page_size: u64,
    sort: Sort,
    first: bool,
    last: bool,
    size: u64,
    number: u64,
}

impl<T> Page<T> {
    /// The page that was asked for, of so many entities in all.
    pub(super) fn new(asked: &Asked, content: Vec<T>, total: u64) -> Self {
        let sorted = !asked.order.is_empty();
        let sort = Sort {
            empty: !sorted,
            unsorted: !sorted,
            sorted,
        };
        let total_pages = total.div_ceil(asked.size);
        Self {
            page_number: asked.page,
            total_pages,
            number_of_elements: content.len(),
            content,
            total_elements: total,
            pageable: Pageable {
                page_number: asked.page,
                page_size: asked.size,
                offset: asked.offset(),
                sort,
            },
            page_size: asked.size,
            sort,
            first: asked.page == 0,
            last: asked.page + 1 >= total_pages,
            size: asked.size,
            number: asked.page,
        }
    }
}

macro_rules! described {
    ($name:ident, $of:ty, $what:literal) => {
        #[doc = $what]
        #[derive(ToSchema)]
        #[serde(rename_all = "camelCase")]
        #[allow(
            dead_code,
            clippy::struct_field_names,
            reason = "only described, never built: see `Page`"
        )]
        pub(super) struct $name {
            /// The number of this page, from 0.
            page_number: u64,
            /// Pages in all.
            total_pages: u64,
            /// The entities.
            content: Vec<$of>,
            /// Entities on this page.
            number_of_elements: u64,
            /// Entities in all.
            total_elements: u64,
            /// What was asked for.
            pageable: Pageable,
            /// Entities of a page.
            page_size: u64,
            /// The order.
            sort: Sort,
            /// Whether there is no page before.
            first: bool,
            /// Whether there is no page behind.
            last: bool,
            /// Entities of a page.
            size: u64,
            /// The number of this page, from 0.
            number: u64,
        }
    };
}
described!(ApiTokenPage, ApiToken, "A page of API tokens.");
described!(UserPage, User, "A page of users.");

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::dialects::mindbridge::fields::TOKEN_FIELDS;
    use proptest::prelude::*;

    fn read(query: &str) -> Result<Asked, Refusal> {
        let uri = format!("/api/v1/api-tokens/query?{query}");
        Asked::of(&uri.parse().unwrap(), TOKEN_FIELDS)
    }

    #[test]
    fn pages_and_orders_are_read() {
        let plain = read("").unwrap();
        assert_eq!((plain.page, plain.size, plain.offset()), (0, 20, 0));
        let asked =
            read("page=2&size=100&sort=creationDate,desc,name&sort=id%2CASC&x=%41").unwrap();
        assert_eq!(asked.offset(), 200);
        let order: Vec<_> = asked
            .order
            .iter()
            .map(|key| (key.spec.name, key.descending))
            .collect();
        assert_eq!(
            order,
            [("creationDate", true), ("name", false), ("id", false)]
        );
    }

    #[test]
    fn what_is_out_of_bounds_is_refused() {
        for bad in [
            "page=-1",
            "page=",
            "page=x",
            "page=2147483648",
            "page=99999999999999999999",
            "size=0",
            "size=101",
            "size=%2",
            "sort=colour",
            "sort=permissions",
            "sort=desc",
            "sort=name,down",
            "sort=name,,id",
            "sort=name&sort=name,desc",
        ] {
            assert_eq!(read(bad).unwrap_err().status, 400, "{bad}");
        }
    }

    #[test]
    fn the_last_page_is_known() {
        let page = |page, total| {
            let asked = Asked {
                page,
                size: 20,
                order: Vec::new(),
            };
            let page = Page::<()>::new(&asked, Vec::new(), total);
            (page.total_pages, page.first, page.last)
        };
        assert_eq!(page(0, 0), (0, true, true));
        assert_eq!(page(0, 45), (3, true, false));
        assert_eq!(page(2, 45), (3, false, true));
        assert_eq!(page(9, 45), (3, false, true));
    }

    proptest! {
        #[test]
        fn arbitrary_queries_never_panic(query in "[a-z=&,%0-9+]{0,40}") {
            let _ = read(&query);
            let _ = read(&format!("sort={query}"));
        }
    }
}
