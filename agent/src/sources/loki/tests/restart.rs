//! Counted once, whatever happens: chunked appends, rotations, restarts and steps that were lost, against a model.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::support::{Reading, World, stamp};

/// What Loki Mode, the machine or the agent does next.
#[derive(Debug, Clone)]
enum Move {
    /// Appends a record in pieces, with a step after each cut.
    Append {
        cuts: Vec<usize>,
        kind: Kind,
    },
    /// Appends lines that are no records.
    Rubbish,
    /// Finishes an iteration: event and efficiency file.
    Iterate {
        event: bool,
        file: bool,
        step_between: bool,
    },
    Rotate,
    Step,
    Restart,
    /// The agent dies before the last step was spooled.
    LostStep,
    Wait,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Note,
    MultiLine,
    Pretty,
}

fn moves() -> impl Strategy<Value = Move> {
    let kind = prop_oneof![Just(Kind::Note), Just(Kind::MultiLine), Just(Kind::Pretty)];
    prop_oneof![
        4 => (prop::collection::vec(0_usize..120, 0..3), kind).prop_map(|(cuts, kind)| Move::Append { cuts, kind }),
        1 => Just(Move::Rubbish),
        3 => (any::<bool>(), any::<bool>(), any::<bool>())
            .prop_map(|(event, file, step_between)| Move::Iterate { event, file, step_between }),
        1 => Just(Move::Rotate),
        3 => Just(Move::Step),
        2 => Just(Move::Restart),
        1 => Just(Move::LostStep),
        1 => Just(Move::Wait),
    ]
}

/// What must have been counted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Totals {
    lines: u64,
    notes: BTreeMap<u64, usize>,
    runs: BTreeMap<u32, usize>,
    usage: BTreeMap<u32, usize>,
}

fn totals(reading: &Reading) -> Totals {
    let mut totals = Totals { lines: reading.lines.unwrap_or(0), ..Totals::default() };
    for fact in &reading.said {
        if let Some((_, n)) = fact.split_once(" log note n=") {
            *totals.notes.entry(n.split(' ').next().unwrap().parse().unwrap()).or_default() += 1;
        }
    }
    for (_, run) in &reading.runs {
        *totals.runs.entry(run.iteration).or_default() += 1;
    }
    for usage in &reading.usage {
        *totals.usage.entry(usage.iteration).or_default() += 1;
    }
    totals
}

struct Play {
    world: World,
    meant: Totals,
    next: u64,
    iteration: u32,
}

impl Play {
    fn act(&mut self, action: &Move) {
        match action {
            Move::Append { cuts, kind } => self.append(cuts, *kind),
            Move::Rubbish => {
                self.world.append("events.jsonl", b"\n \t\n[1,2\n\0\xff\r\n");
                self.meant.lines += 2;
            }
            Move::Iterate { event, file, step_between } => self.iterate(*event, *file, *step_between),
            Move::Rotate => {
                // The tool rotates at 50 MiB: not before anybody has looked.
                self.append(&[], Kind::Note);
                self.world.run();
                self.append(&[], Kind::Note);
                self.world.rename("events.jsonl", "events.jsonl.1");
                self.append(&[], Kind::Note);
            }
            Move::Step => {
                self.world.step(false);
            }
            Move::Restart => self.world.restart(),
            Move::LostStep => self.world.lose_step(),
            Move::Wait => {
                self.world.wait(2);
            }
        }
    }

    fn append(&mut self, cuts: &[usize], kind: Kind) {
        let n = self.next;
        self.next += 1;
        let at = stamp(self.world.now);
        let record = match kind {
            Kind::Note => format!("{{\"timestamp\":\"{at}\",\"type\":\"note\",\"data\":{{\"n\":{n}}}}}\n"),
            Kind::MultiLine => {
                format!(
                    "{{\"timestamp\":\"{at}\",\"type\":\"note\",\"data\":{{\"n\":{n},\"s\":\"one\ntwo \u{e9}\n\nthree\"}}}}\n"
                )
            }
            Kind::Pretty => format!("{{\n  \"type\": \"note\",\n  \"data\": {{\n    \"n\": {n}\n  }}\n}}\n"),
        };
        self.meant.lines += record.lines().filter(|line| !line.trim().is_empty()).count() as u64;
        self.meant.notes.insert(n, 1);
        let mut from = 0;
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % record.len()).collect();
        cuts.sort_unstable();
        for cut in cuts {
            self.world.append("events.jsonl", &record.as_bytes()[from..cut]);
            self.world.step(false);
            from = cut;
        }
        self.world.append("events.jsonl", &record.as_bytes()[from..]);
    }

    fn iterate(&mut self, event: bool, file: bool, step_between: bool) {
        self.iteration += 1;
        let n = self.iteration;
        if event {
            let line = self
                .world
                .event("iteration_complete", &format!("{{\"iteration\":{n},\"status\":\"completed\"}}"));
            self.world.append("events.jsonl", line);
            self.meant.lines += 1;
        }
        if step_between {
            self.world.step(false);
        }
        if file {
            let at = stamp(self.world.now);
            self.world.write(
                &format!("metrics/efficiency/iteration-{n}.json"),
                format!(
                    "{{\"iteration\":{n},\"input_tokens\":{n},\"duration_ms\":1,\"timestamp\":\"{at}\"}}"
                ),
            );
            self.meant.usage.insert(n, 1);
        }
        if event || file {
            self.meant.runs.insert(n, 1);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_between_them_each_line_run_and_usage_counts_once(
        moves in prop::collection::vec(moves(), 1..40),
    ) {
        let mut play = Play { world: World::empty(), meant: Totals::default(), next: 0, iteration: 0 };
        for action in &moves {
            play.act(action);
        }
        play.world.wait(3);
        play.world.restart();
        play.world.wait(3);
        prop_assert_eq!(totals(&play.world.reading), play.meant, "{:#?}", play.world.reading.said);
    }
}

#[test]
fn a_restart_at_every_step_boundary_of_a_long_history_repeats_and_skips_nothing() {
    let history = |restart: bool| {
        let mut world = World::empty();
        let mut log = String::new();
        for n in 0..6000_u32 {
            log += &world.event("note", &format!("{{\"n\":{n}}}"));
            if n % 10 == 0 {
                log += &world
                    .event("iteration_complete", &format!("{{\"iteration\":{n},\"status\":\"completed\"}}"));
            }
        }
        world.append("events.jsonl", log);
        for n in 0..1200 {
            let at = stamp(world.now);
            world.write(
                &format!("metrics/efficiency/iteration-{n}.json"),
                format!("{{\"iteration\":{n},\"input_tokens\":3,\"cost_usd\":0.5,\"timestamp\":\"{at}\"}}"),
            );
            world.now.0 += if n % 100 == 0 { 1_000_000 } else { 0 };
        }
        let mut steps = 0;
        loop {
            world.step(false);
            steps += 1;
            if restart && steps % 2 == 0 && steps < 40 {
                world.restart();
            } else if !world.last.more {
                break;
            }
        }
        world.wait(3);
        (totals(&world.reading), world.reading.cost_usd)
    };
    let (meant, cost) = history(false);
    assert_eq!((meant.lines, meant.notes.len(), meant.usage.len(), cost), (6600, 6000, 1200, Some(600.0)));
    assert!(meant.runs.values().chain(meant.usage.values()).all(|count| *count == 1));
    assert_eq!(meant.runs.len(), 1200 + 480);
    assert_eq!(history(true), (meant, cost));
}
