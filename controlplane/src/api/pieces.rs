//! Pieces: a large text from outside, and what it takes of the memory once it is read.
//!
//! A few letters can stand for a value of hundreds of bytes. So a text is weighed before it is
//! read, and one of many tables is read some tables at a time: a parser's own tree takes several
//! times what stays of it.
//!
//! Units: bytes of memory, more rather than less.
//! Limits: what the caller allows a text in all, and [`table_weight_max`] of one table.

/// A piece is cut before the next table once it weighs so much.
const PIECE_WEIGHT: u64 = 64 << 10;
/// One table at most: a stream with as many inputs, pairs, ids and profiles as one may have weighs
/// less.
const TABLE_WEIGHT_MAX: u64 = 1 << 20;
/// A table has this part of what all of a text may weigh, if that is less.
const TABLE_SHARE: u64 = 8;

/// A table that is declared: its value and its place in the lists that it goes through.
const DECLARED: u64 = 1_152;
/// A table inside a value: one node of a tree.
const TABLE: u64 = 640;
/// The name of a value in a table.
const NAME: u64 = 192;
/// A list.
const LIST: u64 = 160;
/// One more value of a list.
const ITEM: u64 = 128;
/// A line, which is a word for a parser.
const LINE: u64 = 64;

/// What one table of a text may weigh that may weigh so much.
pub(super) const fn table_weight_max(weight_max: u64) -> u64 {
    let share = weight_max / TABLE_SHARE;
    if share < TABLE_WEIGHT_MAX { share } else { TABLE_WEIGHT_MAX }
}

/// Bytes of a parser's trees of one piece of it, of which a table may follow what is cut next.
pub(super) const fn parser_bytes(weight_max: u64) -> u64 {
    5 * (PIECE_WEIGHT + table_weight_max(weight_max))
}

/// Some tables of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    pub(super) text: &'a str,
    /// Lines of the text before it.
    pub(super) lines_before: usize,
    /// What its values take at most.
    pub(super) weight: u64,
}

/// The pieces of a text of TOML, in their order.
///
/// Errors: the line of a table that is too heavy; nothing follows.
#[derive(Clone, Debug)]
pub(super) struct Pieces<'a> {
    text: &'a str,
    lines_before: usize,
    table_weight_max: u64,
}

impl<'a> Pieces<'a> {
    /// Of a text that may weigh so much.
    pub(super) const fn of(text: &'a str, weight_max: u64) -> Self {
        Self { text, lines_before: 0, table_weight_max: table_weight_max(weight_max) }
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Result<Piece<'a>, usize>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.text.is_empty() {
            return None;
        }
        let (mut at, mut lines, mut weight) = (0, 0, 0);
        // Where the last table of the piece begins, and what was before it.
        let (mut table_line, mut before) = (0, 0);
        let mut words = Words::default();
        while at < self.text.len() {
            let rest = &self.text[at..];
            if words.is_outside() && (at == 0 || self.text.as_bytes()[at - 1] == b'\n') {
                let header = header_len(rest);
                if header > 0 {
                    if weight >= PIECE_WEIGHT {
                        break;
                    }
                    (table_line, before) = (lines, weight);
                    weight += DECLARED + header as u64;
                    at += header;
                    continue;
                }
            }
            let (taken, costs) = words.take(rest);
            lines += rest[..taken].bytes().filter(|&byte| byte == b'\n').count();
            weight += costs;
            if weight - before > self.table_weight_max {
                self.text = "";
                return Some(Err(self.lines_before + table_line + 1));
            }
            at += taken;
        }
        let (text, rest) = self.text.split_at(at);
        let piece = Piece { text, lines_before: self.lines_before, weight };
        (self.text, self.lines_before) = (rest, self.lines_before + lines);
        Some(Ok(piece))
    }
}

/// Letters of the head of a declared table at the beginning of `text`; 0 if there is none.
fn header_len(text: &str) -> usize {
    behind_header(text).map_or(0, |rest| text.len() - rest.len())
}

fn behind_header(text: &str) -> Option<&str> {
    const BLANK: [char; 2] = [' ', '\t'];
    let rest = text.trim_start_matches(BLANK).strip_prefix("[[")?.trim_start_matches(BLANK);
    let rest = rest.strip_prefix("streams")?.trim_start_matches(BLANK);
    let rest = rest.strip_prefix('.')?.trim_start_matches(BLANK);
    let kinds = ["stream", "template", "tenant"];
    let rest = kinds.iter().find_map(|kind| rest.strip_prefix(kind))?;
    rest.trim_start_matches(BLANK).strip_prefix("]]")
}

/// Where a scan of TOML stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Words {
    /// Between values.
    #[default]
    Outside,
    /// After a `[`, which makes another one a table's.
    Opened,
    /// Until the end of the line.
    Comment,
    /// Inside quotes of that kind, which may be three.
    Quoted { quote: u8, three: bool },
}

impl Words {
    fn is_outside(self) -> bool {
        self == Self::Outside
    }

    /// The letters at the beginning of `text` that are one word, and what they cost.
    fn take(&mut self, text: &str) -> (usize, u64) {
        let first = text.as_bytes()[0];
        match *self {
            Self::Comment => {
                let len = text.find('\n').unwrap_or(text.len());
                *self = Self::Outside;
                (len.max(1), if len == 0 { LINE } else { 0 })
            }
            Self::Quoted { quote, three } => {
                let len = quoted_len(text, quote, three);
                *self = Self::Outside;
                (len, len as u64)
            }
            Self::Outside | Self::Opened => {
                let was_opened = *self == Self::Opened;
                *self = Self::Outside;
                let costs = match first {
                    b'#' => {
                        *self = Self::Comment;
                        0
                    }
                    b'"' | b'\'' => {
                        let three = [first; 3];
                        let three = text.as_bytes().starts_with(&three);
                        *self = Self::Quoted { quote: first, three };
                        return (if three { 3 } else { 1 }, 1);
                    }
                    b'[' => {
                        *self = Self::Opened;
                        if was_opened { LIST + TABLE } else { LIST }
                    }
                    b'{' | b'.' => TABLE,
                    b'=' => NAME,
                    b',' => ITEM,
                    b'\n' => LINE,
                    _ => 0,
                };
                let len = text.chars().next().map_or(1, char::len_utf8);
                (len, costs + len as u64)
            }
        }
    }
}

/// Letters until behind the end of a quoted text, all of them if it has none.
fn quoted_len(text: &str, quote: u8, three: bool) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            // An escape takes the next letter along, but for the end of what has one line; between
            // single quotes there is none.
            b'\\' if quote == b'"' && (three || bytes.get(at + 1) != Some(&b'\n')) => at += 1,
            // A line ends what has no three quotes, which a parser will complain of.
            b'\n' if !three => return at,
            byte if byte == quote && (!three || bytes[at..].starts_with(&[quote; 3])) => {
                if !three {
                    return at + 1;
                }
                // One or two quotes before the three that close it are of the text.
                let more = bytes[at + 3..].iter().take(2).take_while(|&&byte| byte == quote);
                return at + 3 + more.count();
            }
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

/// What the values of a text of JSON take at most.
pub(super) fn weight_of_json(text: &str) -> u64 {
    let (mut weight, mut quoted, mut escaped) = (text.len() as u64, false, false);
    for byte in text.bytes() {
        if quoted {
            quoted = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        weight += match byte {
            b'"' => {
                quoted = true;
                0
            }
            b'{' => TABLE,
            b'[' => LIST,
            b':' => NAME,
            b',' => ITEM,
            _ => 0,
        };
    }
    weight
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tables of 256 KiB.
    const WEIGHT_MAX: u64 = 2 << 20;

    fn of(text: &str) -> Pieces<'_> {
        Pieces::of(text, WEIGHT_MAX)
    }

    fn pieces(text: &str) -> Vec<Piece<'_>> {
        of(text).collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn a_text_is_cut_before_tables_and_nowhere_else() {
        let filler = format!("code = \"{}\"\n", "x".repeat(50_000));
        let tables = [
            "[[streams.stream]]\n# [[streams.stream]] is no table here\n".to_owned() + &filler,
            "\t[[ streams . tenant ]] # one\n".to_owned() + &filler,
            "[[streams.template]]\ntags = [\n[[\"a\"]],\n]\n".to_owned()
                + "description = \"\"\"\n[[streams.stream]]\n\\\"\"\" \n[[streams.stream]]\"\"\"\n"
                + "name = '\n[[streams.stream.inputs]]\nother = '''\n[[streams.stream]]\n'''\n"
                + &filler,
            "[[streams.stream]]\n".to_owned() + &filler,
        ];
        let text = tables.concat();
        let pieces = pieces(&text);
        assert_eq!(pieces.iter().map(|piece| piece.text).collect::<String>(), text);
        // Two tables each, because one is not heavy enough. What is wrong inside quotes of one line
        // ends with the line, and the table is one all the same.
        let lines: Vec<_> = pieces.iter().map(|piece| piece.lines_before).collect();
        let before = tables[..2].concat().lines().count();
        assert_eq!(lines, [0, before]);
        assert!(pieces[1].text.starts_with("[[streams.template]]"));
        assert_eq!(of("").count(), 0);
    }

    #[test]
    fn one_table_that_is_too_heavy_is_named_by_its_line() {
        let heavy = format!("tags = [{}]\n", "{a=1},".repeat(1_000));
        let text = format!("[[streams.stream]]\ncode = \"a\"\n\n[[streams.tenant]]\n{heavy}");
        assert_eq!(of(&text).last(), Some(Err(4)));
        // Whatever it is made of.
        for part in ["[", "a.a.", "a=1\n", "\n", "[[", "0,", "{}", "'x',", "aaaaaaaa"] {
            let text = part.repeat(600_000);
            assert!(of(&text).any(|piece| piece.is_err()), "{part:?}");
        }
        // Whatever is quoted before it on its line.
        for quote in ["\"", "'"] {
            let three = quote.repeat(3);
            for (opens, closes) in [
                (quote, quote.to_owned()),
                (&*three, three.clone()),
                (&*three, format!("{three}{quote}")),
                (&*three, format!("{three}{quote}{quote}")),
            ] {
                for inside in ["", "a"] {
                    let text = format!("{opens}{inside}{closes}");
                    let line = format!("x = [{text}, {}]", "{a=1},".repeat(1_000));
                    assert_eq!(of(&line).last(), Some(Err(1)), "{text}");
                }
            }
        }
        // A line ends what is quoted on it, though a parser complains of it.
        let text = format!("x = \"a\\\ny = [{}]", "{a=1},".repeat(1_000));
        assert_eq!(of(&text).last(), Some(Err(1)));
        // What begins without a table is judged as one.
        let text = format!("streams.stream = [{}]", "{code='a'},".repeat(1_000));
        assert_eq!(of(&text).last(), Some(Err(1)));
    }

    #[test]
    fn values_take_less_than_their_weight() {
        use serde_json::Value;
        /// Bytes of a value in memory, as the allocator gives them.
        fn bytes(value: &Value) -> u64 {
            let piece = |bytes: usize| (bytes + 8).next_multiple_of(16).max(32) as u64;
            match value {
                Value::String(text) => piece(text.capacity()),
                Value::Array(items) => {
                    let own = piece(items.capacity() * size_of::<Value>());
                    own + items.iter().map(bytes).sum::<u64>()
                }
                Value::Object(fields) => {
                    // Nodes of a tree have 11 places, of which five at least are taken.
                    let nodes = 1 + fields.len().saturating_sub(11).div_ceil(4) as u64;
                    let names = fields.iter().map(|(name, value)| piece(name.len()) + bytes(value));
                    nodes * 640 + names.sum::<u64>()
                }
                _ => 0,
            }
        }
        let fields = |count: usize| {
            let fields: Vec<_> = (0..count).map(|nth| format!("\"k{nth}\":{nth}")).collect();
            format!("{{{}}}", fields.join(","))
        };
        for text in [
            "{}".to_owned(),
            "[{\"a\":1}]".to_owned(),
            fields(11),
            fields(12),
            fields(500),
            format!("[{}0]", "0,".repeat(999)),
            format!("[{}\"\"]", "\"a\",".repeat(999)),
            format!("[{}[0]]", "[0],".repeat(999)),
            format!("[{}{{}}]", "{},".repeat(999)),
            format!("\"{}\"", "x\\\"{{{".repeat(999)),
            format!("{}{}", "[".repeat(99), "]".repeat(99)),
        ] {
            let value: Value = serde_json::from_str(&text).unwrap();
            let (weight, bytes) = (weight_of_json(&text), bytes(&value));
            assert!(weight >= bytes, "{bytes} > {weight}: {:.40}", text);
        }
    }
}
