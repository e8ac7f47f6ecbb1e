//! What the audit log says of who reads the history.

use super::*;

#[test]
fn who_reads_a_data_folder_without_its_collector_is_in_its_audit_log() {
    let mut fed = Fed::new();
    fed.collector.process.kill9();
    let data_dir = fed.collector.data_dir();
    let folder = ["--data-dir", data_dir.to_str().unwrap()];
    fed.export("runs.csv", &[&["--format", "csv", "--project", "api"], &folder[..]].concat());
    fed.summary(&folder);
    succeeds(&fed.telemetry(&["recent", "-n", "3"]).args(folder).output().unwrap());
    let deliver = |server: &ScriptedHttp| {
        let url = format!("http://{}", server.address);
        let to = ["export", "--format", "influx", "--url", &url, "--database", "devloop"];
        let mut command = fed.telemetry(&to);
        command.args(folder).arg("--resume-file").arg(fed.path("place")).output().unwrap()
    };
    let taking = ScriptedHttp::start(|_| Script::ok(""));
    succeeds(&deliver(&taking));
    let refusing = ScriptedHttp::start(|_| Script::refused(400, "no such database"));
    assert!(!deliver(&refusing).status.success());

    let lines = std::fs::read_to_string(data_dir.join("audit.jsonl")).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let by_commands: Vec<_> = lines.iter().filter(|line| line["by"] == "command").collect();
    let texts = |names: &[&str]| -> Vec<String> {
        let words = |line: &&Value| {
            names.iter().map(|name| line[*name].to_string().replace('"', "")).collect::<Vec<_>>()
        };
        by_commands.iter().map(|line| words(line).join(" ")).collect()
    };
    let (file, influx) =
        (fed.path("runs.csv").display().to_string(), format!("influx at {}", taking.address));
    let refused = format!("influx at {}", refusing.address);
    let (whole, cut) = ("all rows were sent", "cut: the reader went, or the rows failed");
    assert_eq!(
        texts(&["command", "what", "of", "to", "rows", "end"]),
        [
            format!("telemetry export export_begun runs {file} null null"),
            format!("telemetry export export_ended runs {file} 120 {whole}"),
            "telemetry summary history_read summary null null null".to_owned(),
            "telemetry recent history_read recent null null null".to_owned(),
            format!("telemetry export export_begun runs {influx} null null"),
            format!("telemetry export export_ended runs {influx} 240 {whole}"),
            format!("telemetry export export_begun runs {refused} null null"),
            format!("telemetry export export_ended runs {refused} 240 {cut}"),
        ]
    );
    assert!(by_commands.iter().all(|line| line["uid"].is_u64()), "who ran it: {by_commands:?}");
    let asked = by_commands[0]["asked"].as_str().unwrap();
    assert!(asked.starts_with("format=csv&start=") && asked.ends_with("&project=api"), "{asked}");

    // Where nothing can be noted the rows come all the same, and it is told once.
    let lock = data_dir.join("audit.lock");
    std::fs::remove_file(&lock).unwrap();
    std::fs::create_dir(&lock).unwrap();
    let output = fed.telemetry(&["export", "--format", "ndjson"]).args(folder).output().unwrap();
    assert_eq!(succeeds(&output).lines().count(), 240);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(told.matches("this is not in the audit log").count(), 1, "{told}");
}
