//! Killed: a process that dies in mid-commit loses nothing that it had acknowledged.

use std::io::{BufRead, BufReader, Write as _};
use std::process::{Command, Stdio};

use super::{Store, Table, Write};

/// Set for the process that is to be killed: the directory of its store.
const CHILD: &str = "GRANDSTAND_TEST_KILLED";
/// Rows of one commit, all with the commit's number.
const ROWS: usize = 20;

#[tokio::test]
async fn a_killed_process_loses_nothing_that_it_acknowledged() {
    if let Some(dir) = std::env::var_os(CHILD) {
        return write_for_ever(std::path::Path::new(&dir)).await;
    }
    let dir = std::env::temp_dir().join(format!("grandstand-killed-{}", std::process::id()));
    let mut known = 0;
    for lines in [1, 7, 40] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg("store::killed::a_killed_process_loses_nothing_that_it_acknowledged")
            .env(CHILD, &dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut read = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let number = |line: String| line.strip_prefix("acknowledged ")?.parse::<u64>().ok();
        let mut numbers: Vec<_> = read.by_ref().filter_map(number).take(lines).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said before it died.
        numbers.extend(read.filter_map(number));
        assert!(numbers.len() >= lines, "it ended by itself: {numbers:?}");
        known = numbers.last().copied().unwrap().max(known);
        let store = Store::open(&dir).unwrap();
        let rows = store.scan(Table::Streams, Vec::new(), 100).await.unwrap();
        assert_eq!(rows.len(), ROWS);
        let stored =
            rows.iter().map(|(_, value)| u64::from_le_bytes(value[..].try_into().unwrap()));
        let stored: std::collections::BTreeSet<_> = stored.collect();
        assert_eq!(stored.len(), 1, "a commit is there in part: {stored:?}");
        let first = stored.first().copied().unwrap();
        assert!(first >= known, "{known} was acknowledged, {first} is there");
        known = first;
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

async fn write_for_ever(dir: &std::path::Path) {
    let store = Store::open(dir).unwrap();
    let stored = store.get(Table::Streams, b"0".to_vec()).await.unwrap();
    let first = stored.map_or(0, |value| u64::from_le_bytes(value[..].try_into().unwrap()));
    for number in first + 1.. {
        let row = |row: usize| Write {
            table: Table::Streams,
            key: row.to_string().into_bytes(),
            value: Some(number.to_le_bytes().to_vec()),
        };
        store.commit((0..ROWS).map(row).collect()).await.unwrap();
        println!("\nacknowledged {number}");
        std::io::stdout().flush().unwrap();
    }
}
