//! When a certificate is renewed.

use std::time::Duration;

use muster::clock::WallTime;
use muster::ids::AgentId;

use crate::enrol::renewal::{due, retry_pause};
use crate::enrol::store::{Enrolment, Record};
use crate::enrol::{Certificate, Fingerprint};

const DAY: u64 = 24 * 3600;

fn held(not_before_s: u64, not_after_s: u64, received_s: u64) -> Enrolment {
    let agent_id = AgentId::from_bytes([7; 16]);
    let second = |s: u64| WallTime(s * 1_000_000);
    Enrolment {
        record: Record {
            server: String::new(),
            tls_name: None,
            team: "payments".to_owned(),
            name: String::new(),
            agent_id,
            enrolled_us: 0,
            received_us: received_s * 1_000_000,
            collector_is_of_authority: true,
        },
        certificate: Certificate {
            serial: "1".to_owned(),
            not_before: second(not_before_s),
            not_after: second(not_after_s),
            team: "payments".parse().expect("team"),
            agent_id,
            public_key_der: Vec::new(),
        },
        certificate_pem: String::new(),
        key_pem: String::new().into(),
        authorities_pem: String::new(),
        ca_pem: None,
    }
}

/// Seconds after it came, at the least and at the most.
fn waits(held: &Enrolment) -> (u64, u64) {
    let after = |random| due(held, random).since(held.record.received()).as_secs();
    (after(0.0), after(0.9999))
}

#[test]
fn half_of_the_life_give_or_take_a_tenth_whatever_the_life() {
    let start = 1_000 * DAY;
    let (least, most) = waits(&held(start, start + 7 * DAY, start));
    assert!(least == 4 * 7 * DAY / 10 && most.abs_diff(6 * 7 * DAY / 10) < 60, "{least} {most}");
    assert_eq!(waits(&held(start, start + 60, start)), (24, 35));
}

#[test]
fn a_certificate_that_was_made_valid_before_it_was_issued_is_not_renewed_at_once() {
    let start = 1_000 * DAY;
    // A collector that allows for clocks that are behind: five minutes in front of 60 seconds.
    assert_eq!(waits(&held(start - 300, start + 60, start)), (24, 35));
}

#[test]
fn an_agent_whose_clock_is_wrong_by_days_still_renews_within_the_life() {
    let start = 1_000 * DAY;
    for received in [start - 30 * DAY, start + 30 * DAY] {
        let (least, most) = waits(&held(start, start + 7 * DAY, received));
        assert!(least >= 2 * DAY && most <= 5 * DAY, "{least} {most}");
    }
}

#[test]
fn pauses_after_failures_grow_to_a_twentieth_of_the_life_and_never_past_ten_minutes() {
    let week = Duration::from_secs(7 * DAY);
    let longest = |failures, life| retry_pause(failures, life, 0.9999);
    assert!(longest(1, week) <= Duration::from_secs(2));
    assert!(longest(4, week) > Duration::from_secs(15) && longest(4, week) <= Duration::from_secs(16));
    assert!(longest(u32::MAX, week) <= Duration::from_secs(600));
    assert!(retry_pause(u32::MAX, week, 0.0) >= Duration::from_secs(300), "jitter has no spread at the cap");
    assert!(longest(50, Duration::from_secs(60)) <= Duration::from_secs(3));
}

#[test]
fn a_fingerprint_reads_back_with_and_without_colons() {
    let fingerprint = Fingerprint::of(b"an authority");
    let text = fingerprint.to_string();
    let pairs: Vec<String> =
        text.as_bytes().chunks(2).map(|p| String::from_utf8_lossy(p).to_uppercase()).collect();
    for given in [text.clone(), pairs.join(":"), format!("sha256:{text}")] {
        assert_eq!(given.parse::<Fingerprint>().ok(), Some(fingerprint), "{given}");
    }
    for wrong in ["", "abc", &text[..62], &format!("{text}00"), &text.replace(&text[..1], "x")] {
        assert!(wrong.parse::<Fingerprint>().is_err(), "{wrong}");
    }
}
