//! At most 400 lines of code a file, at most 100 columns a line; clippy counts functions.

use super::Checkout;

const CODE_LINES_MAX: usize = 400;
const COLUMNS_MAX: usize = 100;

/// Files that are too long, lines that are too wide.
pub(crate) fn breaches(checkout: &Checkout) -> Vec<String> {
    let mut found = Vec::new();
    for file in checkout.rust() {
        let code = file.code_lines().count();
        if code > CODE_LINES_MAX {
            found.push(format!("{}: {code} lines of code, at most {CODE_LINES_MAX}", file.path));
        }
        for (at, line) in file.lines.iter().enumerate() {
            let columns = line.chars().count();
            if columns > COLUMNS_MAX {
                found.push(format!("{}:{}: {columns} columns", file.path, at + 1));
            }
        }
    }
    found
}
