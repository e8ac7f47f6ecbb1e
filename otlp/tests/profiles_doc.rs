//! `docs/destinations.md` says what the table of profiles says. `MUSTER_BLESS=1` writes it anew.

use std::path::Path;

use muster::atomic_file::{Access, replace};

#[test]
fn the_page_of_destinations_is_made_from_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/destinations.md");
    let page = otlp::profile::reference_page();
    if std::env::var_os("MUSTER_BLESS").is_some() {
        replace(&path, page.as_bytes(), Access::Umask).expect("the repository can be written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    for (line, (ours, theirs)) in page.lines().zip(written.lines()).enumerate() {
        assert_eq!(ours, theirs, "line {} of {}; MUSTER_BLESS=1 writes it anew", line + 1, path.display());
    }
    assert!(page == written, "{} differs in length; MUSTER_BLESS=1 writes it anew", path.display());
}

#[test]
fn every_example_on_the_page_is_toml_with_known_keys() {
    let page = otlp::profile::reference_page();
    let known = page.lines().filter(|line| line.starts_with("| `")).collect::<String>();
    let mut examples = 0;
    for block in page.split("```toml\n").skip(1) {
        let block = block.split("```").next().expect("split gives one piece at least");
        assert!(block.starts_with("[[destination]]\n"), "{block}");
        for line in block.lines().skip(1) {
            let (key, _) = line.split_once(" = ").expect("key and value");
            assert!(known.contains(&format!("`{key}`")), "{key} is not among the keys");
        }
        examples += 1;
    }
    assert_eq!(examples, otlp::profile::PROFILES.len());
}
