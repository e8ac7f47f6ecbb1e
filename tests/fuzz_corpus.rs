//! Hostile and damaged bytes into everything that reads bytes (reliability.md row B13): no panic, no hang, no wrong
//! answer. Each target runs its corpus and thousands of mutations of it; the seed is printed and repeats a run.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout, reason = "a test")]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent::facts::{ContentField, Privacy};
use bytes::Bytes;
use journal::fs::RealFs;
use journal::{Config, Journal, Position, ReadItem, Record};
use muster::batch::{BatchError, BatchView, check, decode};
use muster::clock::{SystemClock, WallTime};
use muster::credential::Token;
use muster::ids::{AgentId, Seq, Team};
use muster::v1;
use prost::Message;
use sha2::{Digest, Sha256};
use support::payload::Issuer;
use support::scrape::Page;
use support::{rounds, seeded};

/// One input must not take longer than this, whatever it says about its own length.
const ONE_INPUT_MAX: Duration = Duration::from_secs(2);

#[test]
fn no_bytes_make_the_batch_check_or_decode_panic_or_accept_what_cannot_be_followed() {
    let mut random = seeded("batch");
    let corpus = batch_corpus(&mut random);
    let mut accepted = 0;
    for bytes in mutations(&corpus, rounds(20_000), &mut random) {
        timed(|| {
            let verdict = check(&bytes);
            let decoded = decode(&bytes);
            // The check looks at everything but the inside of an event's kind, which a newer agent may have changed.
            let is_inner = decoded == Err(BatchError::Malformed("field of the wrong type"));
            assert!(verdict.is_ok() == decoded.is_ok() || is_inner, "check {verdict:?}, decode {decoded:?}");
            if let (Ok(head), Ok(batch)) = (verdict, decoded) {
                accepted += 1;
                let view = BatchView::new(&batch);
                assert_eq!(view.events().count() as u64, head.event_count);
                // Every index of an accepted batch can be followed.
                for event in view.events() {
                    assert!(view.source(event.source).is_some(), "source {} of {batch:?}", event.source);
                    assert!(event.weight >= 1 && event.seq >= Seq(head.first_seq));
                }
            }
        });
    }
    assert!(accepted > corpus.len(), "only {accepted} inputs were batches: the mutations prove nothing");
}

#[test]
fn no_bytes_make_the_stream_messages_panic() {
    let mut random = seeded("messages");
    let sealed = issuer(&mut random).batch(Seq(1), 3);
    let (first_seq, last_seq) = (sealed.seqs.first().0, sealed.seqs.last().0);
    let batch = v1::SealedBatch { first_seq, last_seq, batch: sealed.bytes, crc32c: sealed.crc32c };
    let hello = v1::Hello { agent_id: vec![1; 16], epoch: 7, host: "h".into(), ..v1::Hello::default() };
    let dropped = vec![v1::Dropped { reason: "full".into(), events: 2 }];
    let heartbeat = v1::Heartbeat { wall_time_us: 1, dropped, ..v1::Heartbeat::default() };
    use v1::agent_message::Kind;
    let kinds = [Kind::Batch(batch), Kind::Hello(hello), Kind::Heartbeat(heartbeat)];
    let corpus: Vec<_> = kinds.map(|k| v1::AgentMessage { kind: Some(k) }.encode_to_vec()).into();
    for bytes in mutations(&corpus, rounds(20_000), &mut random) {
        timed(|| {
            let _ = v1::AgentMessage::decode(&bytes[..]);
            let _ = v1::CollectorMessage::decode(&bytes[..]);
        });
    }
}

#[test]
fn no_offer_of_a_configuration_makes_the_agent_panic_or_send_what_its_own_file_does_not_allow() {
    let mut random = seeded("offers");
    let corpus = settings_corpus();
    let included = [ContentField::Files, ContentField::Tasks];
    let own =
        agent::remote_configuration::Settings::own(Privacy::including(included), Duration::from_secs(60));
    let names = ["ci-machines", "漢字", "", "\u{1b}[31m"];
    let (mut taken, mut refused) = (0, 0);
    for settings in mutations(&corpus, rounds(20_000), &mut random) {
        // As an agent would be offered them by a collector that is out of its mind, and with a hash that is right.
        let hash = if settings.is_empty() { Vec::new() } else { Sha256::digest(&settings).to_vec() };
        let name = names[settings.len() % names.len()].to_owned();
        let offer = v1::ConfigurationOffer { hash, settings, name };
        timed(|| match agent::remote_configuration::read(&offer) {
            Ok(None) => assert!(offer.settings.is_empty()),
            Ok(Some(read)) => {
                taken += 1;
                let settings = read.over(&own, AgentId::from_bytes([7; 16]));
                for field in ContentField::ALL {
                    assert!(own.privacy.allows(field) || !settings.privacy.allows(field), "{offer:?}");
                }
                let intervals = [Some(settings.rescan_interval), settings.host_sample_interval];
                for interval in intervals.into_iter().flatten() {
                    assert!((5..=3_600).contains(&interval.as_secs()), "{interval:?} of {offer:?}");
                }
                assert!(!read.in_words().contains(char::is_control), "{offer:?}");
                // It is kept and told as the same bytes, whose hash it has.
                assert_eq!(
                    v1::OfferedSettings::decode(&offer.settings[..]).unwrap().encode_to_vec(),
                    offer.settings
                );
            }
            Err(refusal) => {
                refused += 1;
                let words = refusal.to_string();
                assert!(!words.contains(char::is_control) && words.len() < 1_000, "{words:?}");
            }
        });
    }
    assert!(taken > 10 && refused > corpus.len(), "{taken} taken, {refused} refused: they prove nothing");
    // And the whole message, damaged on its way: a hash of something else is never taken.
    let whole = corpus.iter().map(|settings| {
        let (hash, settings) = (Sha256::digest(settings).to_vec(), settings.clone());
        v1::ConfigurationOffer { hash, settings, name: "ci-machines".to_owned() }.encode_to_vec()
    });
    for bytes in mutations(&whole.collect::<Vec<_>>(), rounds(20_000), &mut random) {
        timed(|| {
            let Ok(offer) = v1::ConfigurationOffer::decode(&bytes[..]) else { return };
            if let Ok(Some(_)) = agent::remote_configuration::read(&offer) {
                assert_eq!(Sha256::digest(&offer.settings)[..], offer.hash[..]);
            }
        });
    }
}

#[test]
fn a_message_nested_ten_thousand_deep_is_refused_or_passed_over_without_using_the_stack() {
    let nested = |field: u8| {
        let mut bytes = Vec::new();
        for _ in 0..10_000 {
            let mut outer = vec![field << 3 | 2];
            prost::encoding::encode_varint(bytes.len() as u64, &mut outer);
            outer.extend_from_slice(&bytes);
            bytes = outer;
        }
        bytes
    };
    let groups = |field: u8| {
        let mut bytes = vec![field << 3 | 3; 10_000];
        bytes.extend(vec![field << 3 | 4; 10_000]);
        bytes
    };
    // A thread's stack is a quarter of main's: a recursion ten thousand deep would not fit.
    let small = std::thread::Builder::new().stack_size(256 << 10);
    let run = move || {
        for field in 1..=15_u8 {
            for bytes in [nested(field), groups(field)] {
                timed(|| {
                    assert_eq!(check(&bytes).is_ok(), decode(&bytes).is_ok());
                    let _ = v1::AgentMessage::decode(&bytes[..]);
                });
            }
        }
    };
    small.spawn(run).unwrap().join().expect("no panic and no overflow");
}

#[test]
fn a_damaged_journal_opens_and_never_gives_a_record_that_was_not_written() {
    let mut random = seeded("journal");
    let folder = tempfile::tempdir().unwrap();
    let original = folder.path().join("original");
    write_journal(&original, 40);
    let mut given = 0;
    for round in 0..rounds(150) {
        let damaged = folder.path().join(round.to_string());
        support::copy_folder(&original, &damaged);
        let files: Vec<_> = std::fs::read_dir(&damaged).unwrap().map(|e| e.unwrap().path()).collect();
        let file = &files[random.usize(..files.len())];
        let bytes = mutate(&std::fs::read(file).unwrap(), &mut random);
        std::fs::write(file, bytes).unwrap();
        given += timed(|| read_damaged(&damaged));
        std::fs::remove_dir_all(&damaged).unwrap();
    }
    assert!(given > 0, "no damaged journal gave a single record");
}

#[test]
fn no_text_makes_the_token_parser_panic_or_tell_what_it_read() {
    let mut random = seeded("token");
    let token = Token::from_random(std::array::from_fn(|_| random.u8(..)));
    let corpus =
        vec![token.expose().as_bytes().to_vec(), b"mst_agt_".to_vec(), b"mst_agt___".to_vec(), Vec::new()];
    for bytes in mutations(&corpus, rounds(50_000), &mut random) {
        let text = String::from_utf8_lossy(&bytes);
        match Token::parse(&text) {
            Ok(parsed) => assert_eq!(parsed.expose(), token.expose(), "a changed token has a right checksum"),
            Err(error) => {
                let told = format!("{error} {error:?}");
                let secret = &token.expose()["mst_agt_".len() + 13..][..43];
                assert!(!told.contains(secret), "{told}");
            }
        }
        let (_, _) = (text.parse::<AgentId>(), text.parse::<Team>());
    }
}

#[test]
fn no_text_makes_a_configuration_panic() {
    let mut random = seeded("config");
    let whole = "[server]\ngrpc_listen = \"127.0.0.1:4317\"\nhttp_listen = \"127.0.0.1:9464\"\ndata_dir = \"/x\"\n\
                 insecure = false\nlog = \"info\"\n[server.tls]\ncert_file = \"c\"\nkey_file = \"k\"\n\
                 [server.limits]\nconnections_max = 10\n[server.journal]\nretention_hours = 5\n[agent]\nwatch = [\"a\"]\n";
    let deep = format!("x = {}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let dotted = format!("{} = 1", vec!["a"; 10_000].join("."));
    let corpus = vec![
        whole.into(),
        deep.into_bytes(),
        dotted.into_bytes(),
        b"[server]\n[server]".to_vec(),
        Vec::new(),
    ];
    let overrides = server::config::Overrides::default();
    for bytes in mutations(&corpus, rounds(3_000), &mut random) {
        let text = String::from_utf8_lossy(&bytes);
        timed(|| {
            if let Err(error) = server::config::Config::parse(&text, &overrides) {
                assert!(!error.to_string().is_empty());
            }
            let nobody = |_: &str| None;
            let _ = agent::config::AgentConfig::parse(&text, agent::config::Overrides::default(), &nobody);
        });
    }
}

#[test]
fn no_text_in_a_label_breaks_out_of_its_quotes() {
    let mut random = seeded("labels");
    let corpus =
        ["plain", "q\"uote", "back\\slash", "line\nline", "\u{2028}\u{85}\0\r", "} 1\nup 1", "漢字🦀"];
    let corpus: Vec<Vec<u8>> = corpus.map(|text| text.as_bytes().to_vec()).into();
    for bytes in mutations(&corpus, rounds(20_000), &mut random) {
        let text = String::from_utf8_lossy(&bytes);
        let line = format!("a{{x=\"{}\",y=\"z\"}} 1\n", metrics::exposition::label_value(&text));
        assert_eq!(line.lines().count(), 1, "{text:?} became more than one line");
        let page = Page::parse(&line);
        assert_eq!(page.samples.len(), 1);
        assert_eq!(page.value("a", &[("y", "z")]), Some(1.0), "{text:?} broke out of its quotes");
        // What is shown begins as the text does, up to what readers would split at.
        let shown = &page.samples[0].labels["x"];
        let kept = text.chars().zip(shown.chars()).take_while(|(a, b)| a == b || *b == '\u{fffd}').count();
        assert_eq!(kept, shown.chars().count(), "{text:?} became {shown:?}");
    }
}

// --- Corpora ---

fn issuer(random: &mut fastrand::Rng) -> Issuer {
    Issuer::new("p0".to_owned(), WallTime(1_700_000_000_000_000), random)
}

fn batch_corpus(random: &mut fastrand::Rng) -> Vec<Vec<u8>> {
    let issuer = issuer(random);
    let mut corpus: Vec<_> =
        [1, 2, 17, 400].map(|count| issuer.batch(Seq(random.u64(1..1 << 40)), count).bytes.to_vec()).into();
    // A source, text and event whose lengths claim four gigabytes, and numbers at the ends of their ranges.
    for tag in [0x1A, 0x22, 0x2A] {
        corpus.push(vec![tag, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F]);
    }
    corpus.push(
        v1::Batch { first_seq: u64::MAX, events: vec![v1::Event::default(); 2], ..Default::default() }
            .encode_to_vec(),
    );
    corpus.push(vec![0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]);
    corpus.push(Vec::new());
    corpus
}

/// Settings as a collector encodes them, good and bad.
fn settings_corpus() -> Vec<Vec<u8>> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let sampling = |kind: &str, one_in| vec![v1::Sampling { kind: kind.to_owned(), one_in }];
    let all = v1::OfferedSettings {
        sampling: sampling("tool_call", 10),
        withheld_content: words(&["files", "messages", "prompts", "tasks"]),
        withheld_identity: words(&["user", "host", "repository", "branch"]),
        rescan_interval_seconds: Some(300),
        host_sample_interval_seconds: Some(5),
        sources_off: words(&["loki", "otlp", "nightly"]),
    };
    let none = v1::OfferedSettings::default();
    let many = v1::OfferedSettings { sources_off: vec!["a".repeat(64); 65], ..none.clone() };
    let offers = [
        v1::OfferedSettings { sampling: sampling("log_record", u32::MAX), ..none.clone() },
        v1::OfferedSettings { rescan_interval_seconds: Some(0), ..all.clone() },
        v1::OfferedSettings { withheld_content: words(&["\u{1b}[31m", ""]), ..none.clone() },
        v1::OfferedSettings { withheld_identity: words(&["user"]), ..none.clone() },
        many,
        all,
        none,
    ];
    let mut corpus: Vec<_> = offers.iter().map(Message::encode_to_vec).collect();
    // A word whose length claims four gigabytes, a field that nobody knows, and more than there can be.
    corpus.extend([vec![0x12, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F], vec![0x78, 0x01], vec![0x22; 20_000]]);
    corpus
}

/// The corpus as it is, then `count` mutations of it.
fn mutations<'a>(
    corpus: &'a [Vec<u8>],
    count: usize,
    random: &'a mut fastrand::Rng,
) -> impl Iterator<Item = Vec<u8>> + 'a {
    let mutated = (0..count).map(move |_| mutate(&corpus[random.usize(..corpus.len())], random));
    corpus.iter().cloned().chain(mutated)
}

/// One to four of: a flipped bit, another byte, a cut, a removed or doubled or inserted piece, noise.
fn mutate(bytes: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..random.usize(1..=4) {
        let at = random.usize(..=bytes.len());
        let end = (at + random.usize(1..=64)).min(bytes.len());
        match random.u8(..7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.u8(..8),
            1 if at < bytes.len() => bytes[at] = *random.choice(&[0, 1, 0x7F, 0x80, 0xFF]).unwrap(),
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            5 => {
                let noise: Vec<u8> = (0..random.usize(1..16)).map(|_| random.u8(..)).collect();
                bytes.splice(at..at, noise);
            }
            _ => bytes[at..end].iter_mut().for_each(|b| *b = random.u8(..)),
        }
    }
    bytes
}

#[track_caller]
fn timed<T>(run: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let answer = run();
    assert!(began.elapsed() < ONE_INPUT_MAX, "one input took {:?}", began.elapsed());
    answer
}

// --- The journal ---

fn journal_config(dir: &Path) -> Config {
    Config { segment_bytes_max: 8 << 10, reserve_bytes: 0, preallocate_bytes: 0, ..Config::new(dir) }
}

/// What record `position` holds.
fn journal_payload(position: u64) -> Bytes {
    let len = 1 + (position * 37 % 900) as usize;
    Bytes::from(vec![position as u8; len])
}

fn write_journal(dir: &Path, records: u64) {
    let (journal, _) =
        Journal::open(journal_config(dir), Arc::new(RealFs), Arc::new(SystemClock::new())).unwrap();
    for position in 1..=records {
        let meta = Bytes::from(position.to_le_bytes().to_vec());
        let record = Record { kind: 1, meta, payload: journal_payload(position) };
        assert_eq!(journal.commit(vec![record]).unwrap(), Position(position));
    }
    journal.cursor("reader").unwrap().advance(Position(records / 2)).unwrap();
}

/// Opens, reads and writes on. Returns how many records it gave; all of them must be true.
fn read_damaged(dir: &Path) -> u64 {
    // A journal that says why it does not open is an answer too (a newer version's number, for one).
    let Ok((journal, _)) = Journal::open(journal_config(dir), Arc::new(RealFs), Arc::new(SystemClock::new()))
    else {
        return 0;
    };
    let (mut given, mut after) = (0, 0);
    for item in journal.reader(Position::ZERO) {
        match item.unwrap() {
            ReadItem::Entry(entry) => {
                let position = entry.position.0;
                assert!(position > after, "{position} after {after}");
                assert_eq!(entry.payload, journal_payload(position), "record {position}");
                assert_eq!(entry.meta, position.to_le_bytes().as_slice());
                (given, after) = (given + 1, position);
            }
            ReadItem::Gap { from, to, .. } => {
                assert!(from.0 == after + 1 && to >= from, "gap {from} to {to} after {after}");
                after = to.0;
            }
        }
    }
    let record = Record { kind: 1, meta: Bytes::new(), payload: Bytes::from_static(b"fresh") };
    assert!(journal.commit(vec![record]).unwrap().0 > after, "a fresh record has a position of its own");
    given
}
