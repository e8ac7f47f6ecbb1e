//! Secrets that a test plants in a project, and the search for them elsewhere.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

/// One test's canaries, in the shapes that secrets have.
pub struct Canary {
    /// A word in folder names above the project.
    pub word: String,
    /// An API key.
    pub secret: String,
    /// What a person wrote.
    pub prose: String,
    /// A mail address.
    pub address: String,
}

/// Keys under which the tools keep what people and models wrote.
const FREE_TEXT: [&str; 24] = [
    "message",
    "description",
    "title",
    "prompt",
    "text",
    "content",
    "summary",
    "details",
    "error",
    "note",
    "notes",
    "output",
    "stdout",
    "stderr",
    "command",
    "cmd",
    "args",
    "path",
    "file",
    "file_path",
    "cwd",
    "comment",
    "question",
    "evidence",
];

impl Canary {
    pub fn new(random: &mut fastrand::Rng) -> Self {
        let mut letters = || (0..24).map(|_| random.alphanumeric()).collect::<String>();
        Self {
            word: letters(),
            secret: format!("sk-ant-api03-{}", letters()),
            prose: format!("please keep {} between us and never tell anybody", letters()),
            address: format!("{}@example.com", letters().to_lowercase()),
        }
    }

    /// Writes canaries into every file below a folder: new fields and replaced free texts in JSON, JSON lines and
    /// databases; a line at the end of other texts. What decides whether a tool is alive stays as it is.
    pub fn plant(&self, folder: &Path) {
        for path in files(folder) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            match path.extension().and_then(|e| e.to_str()) {
                Some("json") => self.plant_json(&path),
                Some("jsonl") => self.plant_lines(&path),
                Some("db") => self.plant_database(&path),
                Some("pid" | "heartbeat" | "db-wal" | "db-shm" | "db-journal") => {}
                _ if name.starts_with('.') || name == "provider" => {}
                _ => self.append(&path, &format!("\n{} {} {}\n", self.prose, self.secret, self.address)),
            }
        }
        for (name, text) in
            [(".loki/prd.md", &self.prose), (".env", &self.secret), ("README.md", &self.address)]
        {
            if folder.join(name).parent().is_some_and(Path::exists) {
                std::fs::write(folder.join(name), text).unwrap();
            }
        }
    }

    fn plant_json(&self, path: &Path) {
        let text = std::fs::read(path).unwrap();
        // A file that is broken stays broken, with a canary in it.
        let Ok(mut value) = serde_json::from_slice::<Value>(&text) else {
            return self.append(path, &self.secret);
        };
        self.plant_value(&mut value);
        std::fs::write(path, serde_json::to_vec(&value).unwrap()).unwrap();
    }

    fn plant_lines(&self, path: &Path) {
        let text = std::fs::read(path).unwrap();
        let lines = text.split(|b| *b == b'\n').map(|line| match serde_json::from_slice::<Value>(line) {
            Ok(mut value) => {
                self.plant_value(&mut value);
                serde_json::to_vec(&value).unwrap()
            }
            Err(_) => line.to_vec(),
        });
        let mut lines: Vec<_> = lines.collect();
        lines.insert(
            lines.len() - 1,
            format!("{{\"type\":\"note\",\"data\":{{\"text\":\"{}\"}}}}", self.prose).into(),
        );
        lines.insert(lines.len() - 1, format!("not JSON: {}", self.secret).into());
        std::fs::write(path, lines.join(&b'\n')).unwrap();
    }

    fn plant_value(&self, value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.plant_value(item)),
            Value::Object(fields) => self.plant_fields(fields),
            _ => {}
        }
    }

    fn plant_fields(&self, fields: &mut Map<String, Value>) {
        for (key, value) in fields.iter_mut() {
            match value {
                Value::String(text) if FREE_TEXT.contains(&key.as_str()) => {
                    *text = format!("{text} {} {}", self.prose, self.secret);
                }
                other => self.plant_value(other),
            }
        }
        // Maps whose keys are names (of workers, of models) would gain a name; they have objects as values.
        if fields.values().all(Value::is_object) {
            return;
        }
        for (key, text) in
            [("prompt", &self.prose), ("api_key", &self.secret), ("author_email", &self.address)]
        {
            fields.entry(key).or_insert_with(|| Value::String(text.clone()));
        }
    }

    /// Every JSON object in a text column of any table.
    fn plant_database(&self, path: &Path) {
        let Ok(db) = rusqlite::Connection::open(path) else { return };
        let columns = "SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c \
                       WHERE m.type = 'table' AND upper(c.type) = 'TEXT'";
        let Ok(mut statement) = db.prepare(columns) else { return };
        let columns = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
        let columns: Vec<(String, String)> = columns.into_iter().flatten().flatten().collect();
        for (table, column) in columns {
            for (key, text) in [("prompt", &self.prose), ("api_key", &self.secret), ("message", &self.prose)]
            {
                let update = format!(
                    "UPDATE {table} SET {column} = json_set({column}, '$.{key}', ?1) \
                     WHERE json_valid({column}) AND json_type({column}) = 'object'"
                );
                // A damaged database takes what it can.
                let _ = db.execute(&update, [text]);
            }
        }
    }

    fn append(&self, path: &Path, text: &str) {
        use std::io::Write;
        let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }
}

/// The first file below a folder that has these bytes anywhere.
pub fn find_in_folder(folder: &Path, text: &str) -> Option<PathBuf> {
    files(folder).into_iter().find(|path| has(path, text))
}

/// How many files below a folder have these bytes.
pub fn count_in_folder(folder: &Path, text: &str) -> usize {
    files(folder).iter().filter(|path| has(path, text)).count()
}

fn has(path: &Path, text: &str) -> bool {
    let bytes = std::fs::read(path).unwrap_or_default();
    let (first, len) = (text.as_bytes()[0], text.len());
    let begins = bytes.iter().enumerate().filter(|(_, b)| **b == first);
    begins.map(|(at, _)| at).any(|at| bytes[at..].starts_with(text.as_bytes()) && at + len <= bytes.len())
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found.sort();
    found
}
