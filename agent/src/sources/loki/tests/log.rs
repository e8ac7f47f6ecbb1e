//! Trap 6 of contracts/loki-mode.md section 6: the event log, and what of it leaves the machine.

use std::fs;

use super::support::World;
use crate::facts::{ContentField, Privacy};

/// Trap 6.
#[test]
fn the_log_is_counted_through_torn_lines_rotation_deletion_and_damage() {
    let mut world = World::live(7);
    assert_eq!(world.reading.lines, Some(1));
    world.append(
        "events.jsonl",
        b"{\"type\":\"a\",\"data\":{\"s\":\"one\ntwo\"}}\n\0\0\n\xff\xfe\n{\"type\":\"to",
    );
    assert_eq!(world.run().lines, Some(6), "the torn line counts");
    world.append("events.jsonl", b"rn\"}\n");
    assert_eq!(world.run().lines, Some(6), "and counts once");
    assert_eq!(world.reading.count("log torn"), 1);
    assert_eq!(world.reading.count("log a"), 1);
    // Written just before the rotation and not seen until after it.
    world.append("events.jsonl", world.event("late", "{}"));
    world.rename("events.jsonl", "events.jsonl.1");
    world.append("events.jsonl", world.event("new", "{}"));
    assert_eq!(world.run().lines, Some(8));
    assert_eq!((world.reading.count("log late"), world.reading.count("log new")), (1, 1));
    world.remove("events.jsonl");
    assert_eq!(world.run().lines, Some(8), "it does not fall");
    world.append("events.jsonl", world.event("again", "{}"));
    assert_eq!(world.run().lines, Some(9));
    assert_eq!(world.reading.count("log again"), 1);
    world.wait(11);
    assert_eq!(world.reading.health.parse_errors, 2);
}

/// Trap 6.
#[test]
fn a_rotation_while_the_agent_was_down_loses_nothing() {
    let mut world = World::live(7);
    world.append("events.jsonl", world.event("before", "{}"));
    world.run();
    world.append("events.jsonl", world.event("tail", "{}"));
    world.rename("events.jsonl", "events.jsonl.1");
    world.append("events.jsonl", world.event("new", "{}"));
    world.restart();
    assert_eq!(world.run().lines, Some(4));
    for kind in ["before", "tail", "new"] {
        assert_eq!(world.reading.count(&format!("log {kind}")), 1, "{kind}");
    }
    world.restart();
    assert_eq!(world.run().lines, Some(4));
}

/// Trap 6.
#[test]
fn a_log_that_was_copied_back_or_cut_short_is_not_counted_again() {
    let mut world = World::live(7);
    for n in 0..50 {
        world.append("events.jsonl", world.event("note", &format!("{{\"n\":{n}}}")));
    }
    assert_eq!(world.run().lines, Some(51));
    let content = fs::read(world.path("events.jsonl")).unwrap();
    world.write("copy", &content);
    world.rename("copy", "events.jsonl");
    assert_eq!(world.run().lines, Some(51), "the same log under another inode");
    world.append("events.jsonl", world.event("after", "{}"));
    assert_eq!(world.run().lines, Some(52));
    world.write("events.jsonl", &content[..content.len() / 2]);
    assert_eq!(world.run().lines, Some(52), "rolled back");
    world.append("events.jsonl", format!("\n{}", world.event("later", "{}")));
    assert_eq!(world.run().lines, Some(53));
    assert_eq!(world.reading.count("log later"), 1);
}

/// Trap 6.
#[test]
fn a_huge_payload_is_skipped_and_counted_and_the_next_record_is_read() {
    let mut world = World::live(7);
    world.append("events.jsonl", format!("{{\"type\":\"big\",\"x\":\"{}\"}}\n", "y".repeat(3 << 20)));
    world.append("events.jsonl", world.event("next", "{}"));
    assert_eq!(world.run().lines, Some(3));
    assert_eq!((world.reading.count("log big"), world.reading.count("log next")), (0, 1));
    world.wait(11);
    assert_eq!(world.reading.health.records_skipped, 1);
}

#[test]
fn content_and_paths_stay_on_the_machine_unless_they_are_opted_in() {
    let line = |world: &World| {
        world.event(
            "task_completion_claim",
            r#"{"statement":"alpha beta secret","prd":"docs/prd-shop.md","status":"done","reason":"because I said so","weird key":1,"evidence_length":12,"path":"/home/dana/x"}"#,
        )
    };
    let mut world = World::live(7);
    world.append("events.jsonl", line(&world));
    world.run();
    assert_eq!(
        world.reading.count("log task_completion_claim status=done evidence_length=12"),
        1,
        "{:#?}",
        world.reading.said
    );
    let mut world = World::live(7);
    world.privacy = Privacy::including([ContentField::Messages, ContentField::Prompts]);
    world.append("events.jsonl", line(&world));
    world.run();
    assert_eq!(world.reading.count("prd=docs/prd-shop.md"), 1, "{:#?}", world.reading.said);
}

#[test]
fn nothing_that_a_person_or_a_model_wrote_leaves_the_running_tree() {
    for fixture in ["running", "paused", "stopped", "stale-after-exit", "corrupt", "multi-session"] {
        let mut world = World::fixture(fixture);
        for _ in 0..5 {
            let batch = world.step(false);
            for text in &batch.strings {
                for content in [
                    "upon",
                    "prd",
                    "made-up body",
                    "/home",
                    "shop/",
                    "Cart",
                    "unit tests",
                    "issues",
                    "Codebase",
                    "line one",
                    "security,quality",
                    "Typo",
                    "todo",
                    "write",
                ] {
                    assert!(!text.contains(content), "{fixture}: {text:?} holds {content:?}");
                }
            }
            world.advance(1000);
        }
    }
}

#[test]
fn hooks_that_come_before_and_after_a_call_count_it_once() {
    let mut world = World::live(7);
    let hook = |kind: &str| {
        format!(
            "{{\"type\":\"claude_hook_{kind}\",\"source\":\"claude_cli\",\"payload\":{{\"tool_name\":\"Bash\",\"tool_input\":{{\"command\":\"rm\"}}}}}}\n"
        )
    };
    for kind in ["pretooluse", "posttooluse", "pretooluse", "posttoolusefailure", "pretooluse", "posttooluse"]
    {
        world.append("events.jsonl", hook(kind));
        world.run();
    }
    assert_eq!(world.reading.count("call Bash"), 3, "{:#?}", world.reading.said);
    assert_eq!(world.reading.count("call Bash Error"), 1);
}
