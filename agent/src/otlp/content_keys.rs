//! What an attribute's key says of its value: the rules, as data.
//!
//! Version 2026-11. Tools add and rename attributes each month, so a key that stands in [`EXACT`] is judged by it, and any
//! other key by the words in it ([`WORDS`]): a new `some_tool.last_prompt` is content before anybody has written it down
//! here. Sources: contracts/coding-agents.md sections 1 to 3, the OpenTelemetry and GenAI semantic conventions, and what
//! the AI SDKs, OpenInference and OpenLLMetry write.
//!
//! All tools' keys are asked for each attribute, whoever sent it: a proxy or an SDK speaks under any `service.name`.

use crate::facts::ContentField::{self, Files, Messages, Prompts, Tasks};

/// What may be done with the value of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// One word of state; kept if it looks like one.
    Word,
    /// The name of something; may be of a few words.
    Name,
    /// The name of a model, which may have a variant in brackets: `claude-opus-5[1m]`.
    Model,
    /// Joins items with each other; a checksum or a UUID is kept.
    Id,
    /// Content that can be opted in.
    Content(ContentField),
    /// Never leaves the machine.
    Never,
    /// Tells a part of who and where that the collector asked to be withheld; no key is so by itself.
    Withheld,
}

use Class::{Content, Id, Name, Never, Word};

/// Keys of each tool and convention, in lower case.
const EXACT: &[(&str, &[(&str, Class)])] = &[
    (
        "claude-code",
        &[
            ("prompt", Content(Prompts)),
            ("response", Content(Prompts)),
            ("error", Content(Messages)),
            ("body", Never),
            ("body_ref", Never),
            ("tool_input", Never),
            ("tool_parameters", Never),
            ("full_command", Never),
            ("bash_command", Never),
            ("file_path", Content(Files)),
            ("workspace.host_paths", Never),
            ("user.email", Never),
            ("user.groups", Never),
            ("command_name", Word),
            ("error_name", Name),
            ("git_commit_id", Id),
        ],
    ),
    (
        "codex",
        &[
            ("arguments", Never),
            ("output", Never),
            ("error.message", Content(Messages)),
            ("mcp_servers", Name),
            ("slug", Name),
        ],
    ),
    (
        "gemini-cli, qwen-code",
        &[
            ("request_text", Content(Prompts)),
            ("response_text", Content(Prompts)),
            ("function_args", Never),
            ("error", Content(Messages)),
            ("extension", Word),
            ("programming_language", Name),
            ("sessionid", Id),
            ("prompt_id", Id),
        ],
    ),
    (
        "copilot",
        &[
            ("github.copilot.git.repository", Name),
            ("github.copilot.git.branch", Name),
            ("github.copilot.git.commit_sha", Id),
            ("copilot_chat.tool.arguments", Never),
            ("copilot_chat.tool.result", Never),
        ],
    ),
    ("cursor", &[("cursor.user.email", Never), ("cursor.user.name", Never)]),
    ("loki-mode", &[("session.prd", Content(Prompts)), ("span_name", Name)]),
    (
        "ai sdk (opencode), openinference, openllmetry",
        &[
            ("ai.response.object", Content(Prompts)),
            ("ai.response.toolcalls", Never),
            ("ai.toolcall.args", Never),
            ("ai.toolcall.result", Never),
            ("ai.schema.description", Content(Prompts)),
            ("ai.schema", Never),
            ("input.value", Content(Prompts)),
            ("output.value", Content(Prompts)),
            ("traceloop.entity.input", Content(Prompts)),
            ("traceloop.entity.output", Content(Prompts)),
        ],
    ),
    (
        "gen_ai conventions",
        &[
            ("gen_ai.input.messages", Content(Prompts)),
            ("gen_ai.output.messages", Content(Prompts)),
            ("gen_ai.system_instructions", Content(Prompts)),
            ("gen_ai.prompt", Content(Prompts)),
            ("gen_ai.completion", Content(Prompts)),
            ("gen_ai.tool.call.arguments", Never),
            ("gen_ai.tool.call.result", Never),
            ("gen_ai.tool.definitions", Never),
            ("gen_ai.request.stop_sequences", Never),
            ("gen_ai.data_source.id", Id),
        ],
    ),
    (
        "general conventions",
        &[
            ("exception.message", Content(Messages)),
            ("exception.stacktrace", Content(Messages)),
            ("db.statement", Never),
            ("db.query.text", Never),
            ("db.query.summary", Never),
            ("url.full", Never),
            ("url.path", Never),
            ("url.query", Never),
            ("url.scheme", Word),
            ("http.url", Never),
            ("http.target", Never),
            ("http.user_agent", Never),
            ("user_agent.original", Never),
            ("file.name", Content(Files)),
            ("code.filepath", Content(Files)),
            ("process.command", Never),
            ("process.command_line", Never),
            ("process.command_args", Never),
            ("process.working_directory", Never),
            ("process.executable.path", Never),
            ("user.name", Never),
            ("user.full_name", Never),
            ("enduser.name", Never),
            ("client.address", Never),
            ("host.ip", Never),
            ("host.mac", Never),
            ("log.file.name", Content(Files)),
            ("log.file.path", Never),
            ("log.record.original", Content(Messages)),
            ("vcs.repository.url.full", Never),
            ("muster.project", Name),
        ],
    ),
];

/// Words that make a key content, and whether they do so for the parts of the key that follow them as well.
const WORDS: &[(&str, Class, Reach)] = &[
    ("prompt", Content(Prompts), Reach::Below),
    ("prompts", Content(Prompts), Reach::Below),
    ("completion", Content(Prompts), Reach::Below),
    ("completions", Content(Prompts), Reach::Below),
    ("messages", Content(Prompts), Reach::Below),
    ("response", Content(Prompts), Reach::Here),
    ("question", Content(Prompts), Reach::Here),
    ("answer", Content(Prompts), Reach::Here),
    ("instruction", Content(Prompts), Reach::Below),
    ("instructions", Content(Prompts), Reach::Below),
    ("thinking", Content(Prompts), Reach::Here),
    ("thought", Content(Prompts), Reach::Here),
    ("reasoning", Content(Prompts), Reach::Here),
    ("text", Content(Prompts), Reach::Here),
    ("prd", Content(Prompts), Reach::Here),
    ("message", Content(Messages), Reach::Below),
    ("msg", Content(Messages), Reach::Here),
    ("error", Content(Messages), Reach::Here),
    ("errors", Content(Messages), Reach::Here),
    ("stacktrace", Content(Messages), Reach::Below),
    ("stack", Content(Messages), Reach::Here),
    ("backtrace", Content(Messages), Reach::Here),
    ("explanation", Content(Messages), Reach::Here),
    ("comment", Content(Messages), Reach::Here),
    ("feedback", Content(Messages), Reach::Here),
    ("details", Content(Messages), Reach::Here),
    ("summary", Content(Tasks), Reach::Here),
    ("title", Content(Tasks), Reach::Here),
    ("description", Content(Tasks), Reach::Here),
    ("task", Content(Tasks), Reach::Here),
    ("todo", Content(Tasks), Reach::Here),
    ("todos", Content(Tasks), Reach::Below),
    ("goal", Content(Tasks), Reach::Here),
    ("path", Content(Files), Reach::Here),
    ("paths", Content(Files), Reach::Here),
    ("filepath", Content(Files), Reach::Here),
    ("filename", Content(Files), Reach::Here),
    ("filenames", Content(Files), Reach::Here),
    ("file", Content(Files), Reach::Here),
    ("files", Content(Files), Reach::Below),
    ("dir", Content(Files), Reach::Here),
    ("directory", Content(Files), Reach::Here),
    ("folder", Content(Files), Reach::Here),
    ("cwd", Content(Files), Reach::Here),
    ("workspace", Content(Files), Reach::Here),
    ("content", Never, Reach::Below),
    ("contents", Never, Reach::Below),
    ("body", Never, Reach::Below),
    ("payload", Never, Reach::Below),
    ("input", Never, Reach::Here),
    ("inputs", Never, Reach::Below),
    ("output", Never, Reach::Here),
    ("outputs", Never, Reach::Below),
    ("stdin", Never, Reach::Below),
    ("stdout", Never, Reach::Below),
    ("stderr", Never, Reach::Below),
    ("argument", Never, Reach::Below),
    ("arguments", Never, Reach::Below),
    ("args", Never, Reach::Below),
    ("argv", Never, Reach::Below),
    ("parameters", Never, Reach::Below),
    ("params", Never, Reach::Below),
    ("command", Never, Reach::Here),
    ("commands", Never, Reach::Below),
    ("cmd", Never, Reach::Here),
    ("cmdline", Never, Reach::Here),
    ("script", Never, Reach::Here),
    ("statement", Never, Reach::Here),
    ("query", Never, Reach::Here),
    ("sql", Never, Reach::Here),
    ("diff", Never, Reach::Below),
    ("patch", Never, Reach::Below),
    ("snippet", Never, Reach::Here),
    ("string", Never, Reach::Here),
    ("url", Never, Reach::Below),
    ("uri", Never, Reach::Below),
    ("referrer", Never, Reach::Here),
    ("email", Never, Reach::Below),
    ("mail", Never, Reach::Below),
    ("username", Never, Reach::Here),
    ("fullname", Never, Reach::Here),
    ("phone", Never, Reach::Here),
    ("header", Never, Reach::Below),
    ("headers", Never, Reach::Below),
    ("cookie", Never, Reach::Below),
    ("cookies", Never, Reach::Below),
    ("authorization", Never, Reach::Below),
    ("credential", Never, Reach::Below),
    ("credentials", Never, Reach::Below),
    ("pwd", Never, Reach::Below),
    ("pass", Never, Reach::Below),
    ("passphrase", Never, Reach::Below),
    ("passcode", Never, Reach::Below),
    ("pin", Never, Reach::Here),
    ("auth", Never, Reach::Here),
    ("token", Never, Reach::Here),
    ("key", Never, Reach::Here),
    ("variable", Never, Reach::Below),
    ("variables", Never, Reach::Below),
];

/// Whose names say more than a name: `conversation.name` is its title.
const NAMED: &[(&str, Class)] = &[
    ("author", Never),
    ("chat", Content(Tasks)),
    ("conversation", Content(Tasks)),
    ("customer", Never),
    ("display", Never),
    ("enduser", Never),
    ("file", Content(Files)),
    ("first", Never),
    ("folder", Content(Files)),
    ("full", Never),
    ("issue", Content(Tasks)),
    ("last", Never),
    ("login", Never),
    ("owner", Never),
    ("person", Never),
    ("plan", Content(Tasks)),
    ("session", Content(Tasks)),
    ("task", Content(Tasks)),
    ("user", Never),
];

/// Whether a word of [`WORDS`] speaks for the parts behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// `x.error` alone.
    Here,
    /// `prompt.0.part` too, unless it ends in one of [`SHAPES`].
    Below,
}

/// Last words that say what content is like, not what it is: `gen_ai.prompt.0.role`, `body.size`.
const SHAPES: &[&str] = &[
    "bytes", "category", "chars", "code", "count", "decision", "duration", "encoding", "format", "index",
    "kind", "length", "lines", "mode", "ms", "role", "scope", "size", "source", "status", "tokens", "type",
    "version",
];
/// Last words of keys whose values join items.
const IDS: &[&str] =
    &["id", "ids", "uuid", "guid", "sha", "hash", "revision", "commit", "sessionid", "requestid"];
/// Last words of keys whose values may be names of several words.
const NAMES: &[&str] = &["agent", "language", "name", "names", "provider", "tool", "type"];

/// What `key` says of its value.
pub fn class_of(key: &str) -> Class {
    let lower = key.to_ascii_lowercase();
    let exact = EXACT.iter().flat_map(|(_, keys)| keys.iter()).find(|(known, _)| *known == lower);
    if let Some((_, class)) = exact {
        return *class;
    }
    let snake = snake_case(key);
    let parts: Vec<&str> =
        snake.split(['.', '/', ':', '-']).filter(|part| !is_index(part) && !part.is_empty()).collect();
    let Some((last, parents)) = parts.split_last() else { return Word };
    let last_word = last_word(last);
    if IDS.contains(&last_word) {
        return if is_of_a_credential(&parts) { Never } else { Id };
    }
    if let Some((_, class, _)) = WORDS.iter().find(|(word, ..)| *word == last_word) {
        return *class;
    }
    if !SHAPES.contains(&last_word) {
        let above = parents.iter().find_map(|part| {
            let part = self::last_word(part);
            WORDS.iter().find(|(word, _, reach)| *word == part && *reach == Reach::Below)
        });
        if let Some((_, class, _)) = above {
            return *class;
        }
    }
    if last_word == "model" {
        return Class::Model;
    }
    if !NAMES.contains(&last_word) {
        return Word;
    }
    match words_of(&parts).rev().nth(1) {
        Some("model") => Class::Model,
        before => NAMED.iter().find(|(word, _)| Some(*word) == before).map_or(Name, |(_, class)| *class),
    }
}

fn words_of<'a>(parts: &'a [&'a str]) -> impl DoubleEndedIterator<Item = &'a str> {
    parts.iter().flat_map(|part| part.split('_')).filter(|word| !word.is_empty())
}

/// `toolCall.argsText` as `tool_call.args_text`.
fn snake_case(key: &str) -> String {
    let mut snake = String::with_capacity(key.len() + 4);
    let mut after_small = false;
    for c in key.chars() {
        if c.is_ascii_uppercase() && after_small {
            snake.push('_');
        }
        after_small = c.is_ascii_lowercase() || c.is_ascii_digit();
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

/// The numbers of list entries say nothing.
fn is_index(part: &str) -> bool {
    part.bytes().all(|b| b.is_ascii_digit())
}

fn last_word(part: &str) -> &str {
    part.rsplit('_').find(|word| !word.is_empty() && !is_index(word)).unwrap_or(part)
}

/// The id of a key is a secret with some issuers.
fn is_of_a_credential(parts: &[&str]) -> bool {
    let is_credential =
        |word: &str| matches!(word, "key" | "token" | "secret" | "credential" | "credentials");
    words_of(parts).any(is_credential)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_the_contracts_that_hold_content_are_known() {
        for (key, class) in [
            ("prompt", Content(Prompts)),
            ("response", Content(Prompts)),
            ("body_ref", Never),
            ("tool_parameters", Never),
            ("full_command", Never),
            ("file_path", Content(Files)),
            ("arguments", Never),
            ("output", Never),
            ("error.message", Content(Messages)),
            ("exception.stacktrace", Content(Messages)),
            ("db.query.text", Never),
            ("url.full", Never),
            ("gen_ai.input.messages", Content(Prompts)),
            ("ai.toolCall.args", Never),
            ("workspace.host_paths", Never),
            ("user.email", Never),
        ] {
            assert_eq!(class_of(key), class, "{key}");
        }
    }

    #[test]
    fn keys_that_nobody_wrote_down_are_judged_by_their_words() {
        for (key, class) in [
            ("some_tool.last_prompt", Content(Prompts)),
            ("gen_ai.prompt.0.part", Content(Prompts)),
            ("llm.input_messages.0.message.extra", Content(Prompts)),
            ("newTool.errorMessage", Content(Messages)),
            ("toolInput.oldString", Never),
            ("http.request.header.x-thing", Never),
            ("process.environment_variable.home", Never),
            ("editor.openFiles.0", Content(Files)),
            ("plan.title", Content(Tasks)),
            ("cloud.api_key_id", Never),
            ("chat.session_name", Content(Tasks)),
            ("git.author.name", Never),
            ("editor.file.name", Content(Files)),
            ("access_token", Never),
        ] {
            assert_eq!(class_of(key), class, "{key}");
        }
    }

    #[test]
    fn keys_of_shape_stay_what_they_are() {
        for (key, class) in [
            ("session.id", Id),
            ("prompt.id", Id),
            ("gen_ai.response.id", Id),
            ("message.uuid", Id),
            ("request_id", Id),
            ("conversation.id", Id),
            ("user.account_uuid", Id),
            ("gen_ai.prompt.0.role", Word),
            ("prompt_length", Word),
            ("tool_input_size_bytes", Word),
            ("model", Class::Model),
            ("gen_ai.request.model", Class::Model),
            ("cursor.model.name", Class::Model),
            ("tool_name", Name),
            ("mcp_server.name", Name),
            ("error_type", Name),
            ("event.name", Name),
            ("event.timestamp", Word),
            ("decision", Word),
            ("query_source", Word),
            ("service.version", Word),
            ("http.response.status_code", Word),
            ("gen_ai.response.finish_reasons", Word),
            ("token_type", Name),
            ("rarv.iteration", Word),
        ] {
            assert_eq!(class_of(key), class, "{key}");
        }
    }
}
