//! Who may read our answers from a page of another origin: everybody, without credentials.

/// Fields of every answer.
pub(super) const FIELDS: [(&str, &str); 2] = [
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Expose-Headers", "Content-Length, Content-Range"),
];

/// Fields of the answer to a preflight.
pub(super) const PREFLIGHT: [(&str, &str); 4] = [
    ("Access-Control-Allow-Methods", METHODS),
    ("Access-Control-Allow-Headers", "Authorization, Range"),
    ("Access-Control-Max-Age", "86400"),
    ("Allow", METHODS),
];

/// The methods of every resource.
pub(super) const METHODS: &str = "GET, HEAD, OPTIONS";
