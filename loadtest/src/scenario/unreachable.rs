//! What can be done about a server that cannot be reached or does not want us.

const PASSPHRASE: &str = "name the passphrase of the server by &passphrase= of the URL, or none";

/// Words of an error, and the mend.
const MENDS: [(&str, &str); 18] = [
    ("Connection refused", "is the server running, and is that its port?"),
    ("No route to host", "is that the server's address?"),
    ("Network is unreachable", "is that the server's address?"),
    ("timed out", "is that the server's address, and does no firewall stand between?"),
    ("cannot resolve", "is the name right?"),
    ("UnknownIssuer", "name its authority with --tls-ca, or believe anybody with --tls-insecure"),
    ("NotValidForName", "use a name of the certificate, or believe anybody with --tls-insecure"),
    ("InvalidContentType", "does that port speak TLS?"),
    ("StreamNotFound", "is the stream published under that name?"),
    ("404 Not Found", "is the stream published under that name?"),
    ("no such stream", "is the stream published under that name?"),
    ("the key is missing or wrong", "the stream id names it: live/NAME?key=KEY"),
    ("did not take the key", PASSPHRASE),
    ("the passphrases differ", PASSPHRASE),
    ("only one side has a passphrase", PASSPHRASE),
    ("the server encrypts, and there is no", PASSPHRASE),
    ("nothing came in time", "is the stream published, and is --url its address?"),
    ("Too many open files", "raise the hard limit: ulimit -Hn"),
];

/// The mend of an error, if there is one.
pub(super) fn mend(error: &str) -> Option<&'static str> {
    MENDS.iter().find(|(words, _)| error.contains(words)).map(|(_, mend)| *mend)
}
