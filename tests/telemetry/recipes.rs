//! The recipes of the guide and of docs/telemetry.md, run as they stand there.

use super::*;

/// The guide's own recipes with `muster` for `devloop`, to the letter; a build's workspace has the file of the build before.
#[test]
fn the_guides_recipes_run_in_two_builds_of_the_same_workspace() {
    let fed = Fed::new();
    let sink = ScriptedHttp::start(|_| Script::ok("ok"));
    let folder = fed.path("workspace");
    std::fs::create_dir(&folder).unwrap();
    let binaries = Path::new(env!("CARGO_BIN_EXE_muster")).parent().unwrap().display().to_string();
    let path = format!("{binaries}:{}", std::env::var("PATH").unwrap());
    let recipes = [
        "muster telemetry export --format json --output metrics.json",
        "curl -X POST http://metrics.local/jenkins --data-binary @metrics.json",
        "muster telemetry export --format csv --start \"24h ago\" --output metrics.csv",
        "muster telemetry export --format json --start \"7d ago\" --detailed --output metrics.json",
        "muster telemetry summary --format slack | curl --fail -X POST -H 'Content-Type: application/json' -d @- \"$SLACK_WEBHOOK_URL\"",
    ];
    for build in 1..=2 {
        for recipe in recipes {
            let mut command = Command::new("bash");
            clean_environment(&mut command);
            command
                .args(["-euo", "pipefail", "-c", recipe])
                .current_dir(&folder)
                // As Jenkins, GitHub and GitLab set it.
                .env("CI", "true")
                .env("PATH", &path)
                .env("MUSTER_HTTP", fed.collector.http.to_string())
                .env("SLACK_WEBHOOK_URL", format!("http://{}/services/T0/B0/x", sink.address))
                .env("http_proxy", format!("http://{}", sink.address))
                .env("no_proxy", "127.0.0.1");
            let output = command.output().unwrap();
            assert!(
                output.status.success(),
                "build {build}: {recipe}\n{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
    let asked = sink.asked();
    let posted = |path: &str| asked.iter().filter(|asked| asked.target.ends_with(path)).collect::<Vec<_>>();
    assert_eq!((posted("/jenkins").len(), posted("/services/T0/B0/x").len()), (2, 2));
    for rows in posted("/jenkins") {
        let rows: Value = serde_json::from_slice(&rows.body).unwrap();
        assert_eq!(rows.as_array().map(Vec::len), Some(240));
    }
    let message: Value = serde_json::from_slice(&posted("/services/T0/B0/x")[1].body).unwrap();
    assert!(message["text"].as_str().unwrap().contains("240 runs"), "{message}");
    let rows = std::fs::read_to_string(folder.join("metrics.csv")).unwrap();
    assert!(rows.starts_with("timestamp,agent,execution_time_ms,status,cpu_percent,memory_mb\r\n"), "{rows}");
}

/// The recipes of docs/telemetry.md, in the order in which they stand there, each in the same folder.
#[test]
fn every_recipe_of_the_documentation_runs_as_it_stands_there() {
    let fed = Fed::new();
    let sink = ScriptedHttp::start(|_| Script::ok("ok"));
    let folder = fed.path("workspace");
    std::fs::create_dir(&folder).unwrap();
    let has_python = tool("MUSTER_TEST_PYTHON");
    let mut ran = 0;
    for recipe in recipes() {
        if recipe.contains("duckdb") && has_python.is_none() {
            continue;
        }
        // The collector's port is another in each test, and nobody has these hosts: both are a proxy's matter.
        let recipe = recipe.replace("127.0.0.1:9464", &fed.collector.http.to_string());
        let mut command = Command::new("bash");
        clean_environment(&mut command);
        let binaries = Path::new(env!("CARGO_BIN_EXE_muster")).parent().unwrap();
        let python = has_python.as_deref().and_then(Path::parent).unwrap_or(binaries);
        let path = std::env::var("PATH").unwrap();
        command
            .args(["-euo", "pipefail", "-c", &recipe])
            .current_dir(&folder)
            // As Jenkins and GitHub set it, whose recipes these are too.
            .env("CI", "true")
            .env("PATH", format!("{}:{}:{path}", binaries.display(), python.display()))
            .env("MUSTER_HTTP", fed.collector.http.to_string())
            .env("SLACK_WEBHOOK_URL", format!("http://{}/services/T0/B0/x", sink.address))
            .env("GITHUB_STEP_SUMMARY", folder.join("step-summary.md"))
            .env("http_proxy", format!("http://{}", sink.address))
            .env("no_proxy", "127.0.0.1");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{recipe}\n{}", String::from_utf8_lossy(&output.stderr));
        ran += 1;
    }
    assert!(ran >= 12, "only {ran} recipes");
    let asked = sink.asked();
    let posted = |path: &str| {
        let found = asked.iter().find(|asked| asked.target.ends_with(path));
        found.unwrap_or_else(|| panic!("nothing was sent to {path}: {asked:?}")).body.clone()
    };
    let rows: Value = serde_json::from_slice(&posted("/jenkins")).unwrap();
    assert_eq!(rows.as_array().map(Vec::len), Some(240));
    let message: Value = serde_json::from_slice(&posted("/services/T0/B0/x")).unwrap();
    assert!(message["text"].as_str().unwrap().contains("240 runs"), "{message}");
    assert!(message["blocks"].as_array().is_some_and(|blocks| (2..=50).contains(&blocks.len())), "{message}");
    let summary = std::fs::read_to_string(folder.join("step-summary.md")).unwrap();
    assert!(summary.contains("| agent |") && summary.contains("| linter |"), "{summary}");
}

/// What a reader of the page would run: shell blocks, `sh '...'` of Jenkins, `run:` of GitHub.
fn recipes() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/telemetry.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (mut recipes, mut is_left_out) = (Vec::new(), false);
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        is_left_out |= line.starts_with("<!-- not run:");
        let Some(language) = line.strip_prefix("```").filter(|language| !language.is_empty()) else {
            continue;
        };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        if std::mem::take(&mut is_left_out) {
            continue;
        }
        match language {
            "sh" => recipes.push(block.join("\n")),
            "groovy" => {
                let commands =
                    block.iter().filter_map(|line| line.trim().strip_prefix("sh '")?.strip_suffix('\''));
                recipes.extend(commands.map(str::to_owned));
            }
            "yaml" => recipes.extend(steps(&block)),
            other => panic!("a block in {other} that is neither run nor left out"),
        }
    }
    recipes
}

/// The `run:` of a workflow's steps, on one line or as a block.
fn steps(block: &[&str]) -> Vec<String> {
    let mut steps = Vec::new();
    let mut lines = block.iter().peekable();
    while let Some(line) = lines.next() {
        let Some(command) = line.trim().strip_prefix("run:") else { continue };
        if command.trim() != "|" {
            steps.push(command.trim().to_owned());
            continue;
        }
        let mut step = Vec::new();
        while let Some(line) = lines.next_if(|line| line.starts_with("    ")) {
            step.push(line.trim());
        }
        steps.push(step.join("\n"));
    }
    steps
}
