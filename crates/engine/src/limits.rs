//! Every limit of the engine: a number, its unit, and why it is that number.
//!
//! The one thing to know: a limit is checked before the work it bounds, and what exceeds it is refused clearly; it is
//! never cut to fit. Limits of a product's wire (body size, page size) stand in that dialect.

/// Bytes of a secret that is looked up. The longest real ones are JWTs of about 1 KiB; anything longer is rubbish and
/// costs neither a digest nor a query.
pub const SECRET_BYTES_MAX: usize = 4096;

/// Characters of a name. One product sets no limit and is seen to take names of 5,000; this still bounds a row.
pub const NAME_CHARS_MAX: usize = 10_000;

/// Tags of one token at the most a setting may allow. Ten is the products' usual value, 200 their highest setting.
pub const TAGS_MAX: usize = 200;

/// Characters of one tag: the highest number that a product documents.
pub const TAG_CHARS_MAX: usize = 256;

/// Characters of an outward token id: the highest number that a product documents.
pub const EXTERNAL_ID_CHARS_MAX: usize = 128;

/// Permissions of one access token. The largest known vocabulary has 69; a token names each at most once.
pub const PERMISSIONS_MAX: usize = 1_000;

/// Entries of an address list.
pub const ADDRESSES_MAX: usize = 1_000;

/// Items in each list of a selection.
pub const SELECTION_ITEMS_MAX: usize = 1_000;

/// Tokens that one call may change. All of them are rows of one transaction that other writers wait for.
pub const TOKENS_PER_CALL_MAX: usize = 100_000;

/// Data tokens that one call may issue.
pub const ISSUED_PER_CALL_MAX: usize = 10_000;

/// Tokens read to prove that a tag is unique; a tag on more tokens than this is not unique anyway, but to know whose
/// they are would mean to read them all.
pub const UNIQUE_TAG_CARRIERS_MAX: usize = 10_000;

/// Records above a token. Four cover every product: token → auth method → identity → organization, and one to spare.
pub const ANCESTORS_MAX: usize = 5;

/// Bytes of one value before sealing. The largest known data type is a blob of 5 MiB, in base64.
pub const VALUE_BYTES_MAX: usize = 10 * 1024 * 1024;

/// Rows in one page of a walk: large enough to amortise a query, small enough to hold in memory many times over.
pub const PAGE_ROWS: usize = 500;

/// Tries of a write whose unique key was taken by a concurrent one between reading and claiming.
pub const WRITE_ATTEMPTS_MAX: usize = 5;

/// Distinct refusals (caller, verb, reason) counted in one minute; beyond it they are counted together, so that a
/// flood of made-up callers cannot fill the memory.
pub const REFUSALS_PER_MINUTE_MAX: usize = 10_000;

/// Tokens whose use is counted in memory between two flushes; beyond it a flush happens at once.
pub const USAGE_PENDING_MAX: usize = 100_000;
