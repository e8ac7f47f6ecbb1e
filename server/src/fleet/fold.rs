//! From batches to sessions and runs.

use std::collections::HashMap;
use std::sync::Arc;

use journal::stream::StreamEntry;
use muster::batch::{BatchView, EventView};
use muster::clock::WallTime;
use muster::v1;
use muster::v1::event::Kind;

use super::rows::Status;
use super::{Fleet, RUNS_MAX, Run, SESSIONS_MAX, Session, SessionKey, Source, State};

/// A batch's texts and sources as rows share them, made when first asked for.
struct Shared<'a> {
    view: BatchView<'a>,
    entry: &'a StreamEntry,
    texts: HashMap<u32, Arc<str>>,
    sources: HashMap<usize, Arc<Source>>,
}

impl Fleet {
    /// Takes a batch of the journal. Batches come in the order of the journal, each once.
    pub fn apply(&self, entry: &StreamEntry, batch: &v1::Batch) {
        let view = BatchView::new(batch);
        let mut shared = Shared { view, entry, texts: HashMap::new(), sources: HashMap::new() };
        let mut state = self.state.lock();
        state.agent(&entry.key).aggregated_seq = entry.seqs.last().0;
        for (index, event) in view.events().enumerate() {
            match event.kind {
                Some(Kind::RunFinished(run)) => state.push_run(&mut shared, index as u32, &event, run),
                Some(Kind::SessionState(session)) => state.put_session(&mut shared, &event, session),
                Some(Kind::RunStarted(run)) => state.begin_iteration(&mut shared, &event, run),
                Some(Kind::ToolState(tool)) => state.put_tool_state(&mut shared, &event, tool),
                Some(Kind::SourceEnded(_)) => state.end_source(&mut shared, &event),
                _ => {}
            }
        }
    }
}

impl State {
    fn push_run(
        &mut self,
        shared: &mut Shared<'_>,
        index: u32,
        event: &EventView<'_>,
        run: &v1::RunFinished,
    ) {
        if self.runs.len() >= RUNS_MAX {
            self.runs.pop_front();
        }
        self.runs.push_back(Run {
            source: shared.source(event.source),
            position: shared.entry.position.0,
            index,
            worker: shared.text(run.worker),
            status: match run.status() {
                v1::RunStatus::Success => Status::Success,
                v1::RunStatus::Failure => Status::Failure,
                v1::RunStatus::Error => Status::Error,
                v1::RunStatus::Skipped => Status::Skipped,
                v1::RunStatus::Unspecified => Status::Unknown,
            },
            finished_us: event.time.0,
            duration_us: run.duration_us,
            queued_us: run.queued_us,
            session: shared.text(run.session),
            model: shared.text(run.model),
            iteration: run.iteration,
            replayed: run.replayed,
        });
    }

    fn put_session(&mut self, shared: &mut Shared<'_>, event: &EventView<'_>, told: &v1::SessionState) {
        let view = shared.view;
        let session = Session {
            source: shared.source(event.source),
            session: view.text(told.session).to_owned(),
            status: match told.status() {
                v1::SessionStatus::Running => "running",
                v1::SessionStatus::Paused => "paused",
                v1::SessionStatus::Stopped => "stopped",
                v1::SessionStatus::Unspecified => "unknown",
            }
            .to_owned(),
            iteration: told.iteration,
            iteration_max: told.iteration_max,
            phase: view.text(told.phase).to_owned(),
            provider: view.text(told.provider).to_owned(),
            started_us: told.started_time_us,
            ended_us: told.ended_time_us,
            result: view.text(told.result).to_owned(),
            exit_code: told.exit_code,
            updated_us: event.time.0,
            agent_connected: false,
        };
        let key = session.key();
        if !self.sessions.contains_key(&key) && self.sessions.len() >= SESSIONS_MAX {
            self.forget_oldest_session();
        }
        self.sessions.insert(key, session);
    }

    /// Sessions are told when their status changes; meanwhile their iterations tell how far they are.
    fn begin_iteration(&mut self, shared: &mut Shared<'_>, event: &EventView<'_>, run: &v1::RunStarted) {
        if run.iteration == 0 || run.session == 0 {
            return;
        }
        let source = shared.source(event.source);
        let key = SessionKey { session: shared.view.text(run.session).to_owned(), ..source.first_session() };
        if let Some(session) = self.sessions.get_mut(&key).filter(|session| session.is_open()) {
            session.iteration = session.iteration.max(run.iteration.into());
            session.updated_us = event.time.0;
        }
    }

    /// What a tool reads now is so of its newest session.
    fn put_tool_state(&mut self, shared: &mut Shared<'_>, event: &EventView<'_>, tool: &v1::ToolState) {
        if tool.sessions_live == 0 {
            return;
        }
        let source = shared.source(event.source);
        let first = source.first_session();
        let of_source = self.sessions.range_mut(first.clone()..);
        let of_source =
            of_source.take_while(|(key, _)| key.is_of_source_of(&first)).map(|(_, session)| session);
        let newest = of_source.filter(|session| session.is_open()).max_by_key(|session| session.started_us);
        if let Some(session) = newest {
            session.iteration = session.iteration.max(tool.iteration);
            session.iteration_max = tool.iteration_max;
            shared.view.text(tool.phase).clone_into(&mut session.phase);
            session.updated_us = event.time.0;
        }
    }

    /// What is watched no more cannot be said to run.
    fn end_source(&mut self, shared: &mut Shared<'_>, event: &EventView<'_>) {
        let source = shared.source(event.source);
        let first = source.first_session();
        for (key, session) in self.sessions.range_mut(first.clone()..) {
            if !key.is_of_source_of(&first) {
                break;
            }
            if session.is_open() {
                "unknown".clone_into(&mut session.status);
                session.updated_us = event.time.0;
            }
        }
    }

    fn forget_oldest_session(&mut self) {
        let oldest = self.sessions.iter().min_by_key(|(_, session)| WallTime(session.updated_us));
        if let Some(key) = oldest.map(|(key, _)| key.clone()) {
            self.sessions.remove(&key);
        }
    }
}

impl Shared<'_> {
    fn text(&mut self, index: u32) -> Arc<str> {
        let view = self.view;
        self.texts.entry(index).or_insert_with(|| Arc::from(view.text(index))).clone()
    }

    fn source(&mut self, index: usize) -> Arc<Source> {
        let (view, key) = (self.view, &self.entry.key);
        let make = || {
            let source = view.source(index);
            let text = |pick: fn(&muster::batch::SourceView<'_>) -> String| {
                source.as_ref().map(pick).unwrap_or_default()
            };
            Arc::new(Source {
                team: key.team.clone(),
                agent: key.agent,
                tool: text(|s| s.tool.to_owned()),
                project: text(|s| s.project.to_owned()),
                user: text(|s| s.user.to_owned()),
                host: text(|s| s.host.to_owned()),
                repository: text(|s| s.repository.to_owned()),
                branch: text(|s| s.branch.to_owned()),
            })
        };
        self.sources.entry(index).or_insert_with(make).clone()
    }
}
