//! The agent's one loop: wake a source, let it read a step, spool what it said, wait.
//!
//! It runs on one thread. Sources take turns, a step each, so that a flood of one does not starve the others; a source
//! that panics is opened anew at its last durable position after a pause, and nobody else notices. Nothing is read while
//! the spool is full: the tools' own files are the buffer then.
//!
//! Idle, it waits for a change, for the earliest time a source asked for, or for the slow rescan, and nothing else.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use metrics::Applied;
use muster::batch::SealedBatch;
use muster::clock::{Clock, Monotonic};
use muster::ids::{AgentId, Epoch};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::AgentConfig;
use crate::discovery::{Bounds, Discovery, Skipped};
use crate::endpoint::{self, GuidePlace, Page};
use crate::enrol::{Situation, StoreError};
use crate::figures::RuntimeCounters;
use crate::identity::{self, IdentityError};
use crate::local::Door;
use crate::otlp;
use crate::processes::ProcTable;
use crate::project::Machine;
use crate::remote_configuration::Settings;
use crate::sources::host::{self, HostSource, LiveTool};
use crate::sources::{Moment, Source, WatchedPath};
use crate::spool::SpoolError;
use crate::uplink::{SharedSpool, Speaker, UplinkStatus, stopped};
use crate::watch::{ChangeSet, Changes, Watcher};

pub(crate) mod local;
mod projects;
mod pulse;
mod reconfigure;
pub mod slot;
mod start;

use slot::{Slot, Stepped};

/// How often retention of the spool is applied and the local aggregate forgets.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(300);
/// A search for projects walks folders, so a storm of changes must not start one after the other.
const REDISCOVERY_PAUSE: Duration = Duration::from_secs(2);
/// How long everybody waits when the spool is full or refuses.
const FULL_SPOOL_PAUSE: Duration = Duration::from_secs(1);

/// Why the agent does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The spool.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The system gives no random numbers.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The agent's certificate or its key.
    #[error(transparent)]
    Enrolment(#[from] StoreError),
    /// The page's port.
    #[error(
        "cannot listen on {address} (agent.metrics_listen): {source}; is another agent running? Name another port or `off`"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// OTLP's ports.
    #[error(
        "cannot listen on {address} ({setting}): {source}; a collector on this machine has the same ports: name others, or \
         leave agent.otlp off and let the tools send to the collector"
    )]
    ListenOtlp {
        /// The address.
        address: SocketAddr,
        /// The key that names it.
        setting: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A running agent.
pub struct Agent {
    config: AgentConfig,
    clock: Arc<dyn Clock>,
    spool: SharedSpool,
    slots: Vec<Slot>,
    host: Option<HostSlot>,
    discovery: Discovery,
    skipped: Skipped,
    rediscovered: Monotonic,
    rediscovery_due: Monotonic,
    machine: Machine,
    processes: ProcTable,
    watcher: Watcher,
    changes: Changes,
    page: Arc<Page>,
    agent_id: AgentId,
    epoch: Epoch,
    counters: RuntimeCounters,
    tasks: JoinSet<()>,
    shutdown: watch::Receiver<bool>,
    guide_places: BTreeSet<GuidePlace>,
    paused_until: Option<Monotonic>,
    metrics_address: Option<SocketAddr>,
    otlp: Option<otlp::Receiver>,
    door: Option<Door>,
    pulse: Option<pulse::Pulse>,
    settings: watch::Receiver<Arc<Settings>>,
    /// The settings that sources were opened and closed by.
    in_force: Arc<Settings>,
}

struct HostSlot {
    source: HostSource,
    due: Monotonic,
}

impl HostSlot {
    /// Due at once; `None` when the machine is not to be measured.
    fn of(config: &AgentConfig, settings: &Settings, machine: &Machine, now: Monotonic) -> Option<Self> {
        if !config.host_samples || settings.is_off(host::TOOL) {
            return None;
        }
        let mut source = HostSource::new(machine);
        source.measure_every(settings.host_sample_interval);
        Some(Self { source, due: now })
    }
}

impl Agent {
    /// Opens the spool, binds the page and OTLP's ports, and finds the projects. Nothing is read yet.
    pub async fn start(
        config: AgentConfig,
        clock: Arc<dyn Clock>,
        shutdown: watch::Receiver<bool>,
    ) -> Result<Self, StartError> {
        let spool = start::open_spool(&config, &clock).await?;
        let (agent_id, epoch) = (spool.identity().agent_id, spool.identity().epoch);
        start::check_enrolment(&config, agent_id)?;
        let instance = identity::new_instance()?;
        let aggregate = local::load(&spool, clock.as_ref());
        let (watcher, changes) = Watcher::new();
        let machine = Machine::of_this_process();
        let spool: SharedSpool = Arc::new(tokio::sync::Mutex::new(spool));
        let (status, uplink) = watch::channel(UplinkStatus::default());
        let (situation, certificate) = watch::channel(Situation::default());
        let configuration = start::remote_configuration(&config, agent_id);
        let mut settings = configuration.settings();
        let in_force = settings.borrow_and_update().clone();
        let page = Arc::new(Page {
            aggregate: Mutex::new(aggregate),
            spool: spool.clone(),
            uplink,
            certificate,
            counters: Mutex::new(RuntimeCounters::default()),
            clock: clock.clone(),
            otlp: config.otlp.as_ref().map(|_| Arc::default()),
            local: Default::default(),
            configuration,
        });
        let mut tasks = JoinSet::new();
        let metrics_address = start::bind_page(&config, &page, &shutdown, &mut tasks).await?;
        let speaker = Speaker { instance, host: machine.host.clone(), user: machine.user.clone() };
        start::start_uplink(&config, &page, speaker, status, situation, &shutdown, &mut tasks);
        let otlp = start::start_otlp(&config, &page, agent_id, &machine, &shutdown, &mut tasks).await?;
        let door = start::open_door(&config, &page, agent_id, &machine, &shutdown, &mut tasks).await;
        let host = HostSlot::of(&config, &in_force, &machine, clock.monotonic());
        let discovery = Discovery::new(config.watch.clone(), Bounds::default());
        let mut agent = Self {
            config,
            clock,
            spool,
            slots: Vec::new(),
            host,
            discovery,
            skipped: Skipped::default(),
            rediscovered: Monotonic::default(),
            rediscovery_due: Monotonic(Duration::MAX),
            machine,
            processes: ProcTable::new(),
            watcher,
            changes,
            page,
            agent_id,
            epoch,
            counters: RuntimeCounters::default(),
            tasks,
            shutdown,
            guide_places: BTreeSet::new(),
            paused_until: None,
            metrics_address,
            otlp,
            door,
            pulse: None,
            settings,
            in_force,
        };
        let variable = |name: &str| std::env::var(name).ok();
        agent.open_guide_place(endpoint::loki_guide_place(&variable));
        agent.rediscover().await;
        agent.add_configured_sources().await;
        Ok(agent)
    }

    /// Where the page is.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// Where OTLP is taken.
    pub fn otlp_addresses(&self) -> otlp::Addresses {
        self.otlp.as_ref().map(otlp::Receiver::addresses).unwrap_or_default()
    }

    /// Reads and spools until shutdown.
    pub async fn run(mut self) -> Result<(), SpoolError> {
        let mut rescan_due = self.after(self.in_force.rescan_interval);
        let mut housekeeping_due = self.after(HOUSEKEEPING_INTERVAL);
        let mut shutdown = self.shutdown.clone();
        loop {
            self.read_what_is_due().await;
            self.publish_counters().await;
            if *shutdown.borrow() {
                break;
            }
            self.prove_progress().await;
            let wake_at = self.next_due().min(rescan_due).min(housekeeping_due).min(self.rediscovery_due);
            let wake_at = self.pulse.as_ref().map_or(wake_at, |pulse| wake_at.min(pulse.due()));
            let pause = wake_at.0.saturating_sub(self.clock.monotonic().0);
            tokio::select! {
                change = self.changes.changed() => self.on_change(&change).await,
                Ok(()) = self.settings.changed() => self.reconfigure().await,
                () = tokio::time::sleep(pause) => {}
                () = stopped(&mut shutdown) => break,
            }
            let now = self.clock.monotonic();
            // The interval may be shorter than it was.
            rescan_due = rescan_due.min(self.after(self.in_force.rescan_interval));
            if now >= rescan_due {
                rescan_due = self.after(self.in_force.rescan_interval);
                self.watcher.check();
                self.rediscovery_due = now;
                self.slots.iter_mut().for_each(|slot| slot.wake_for_rescan(now));
            }
            if now >= self.rediscovery_due {
                self.rediscover().await;
            }
            if now >= housekeeping_due {
                housekeeping_due = self.after(HOUSEKEEPING_INTERVAL);
                self.housekeeping().await;
            }
        }
        self.stop().await
    }

    fn after(&self, pause: Duration) -> Monotonic {
        Monotonic(self.clock.monotonic().0 + pause)
    }

    fn next_due(&self) -> Monotonic {
        let sources = self.slots.iter().map(Slot::due);
        let host = self.host.iter().map(|host| host.due);
        let due = sources.chain(host).min().unwrap_or(Monotonic(Duration::MAX));
        self.paused_until.map_or(due, |until| due.max(until))
    }

    /// Wakes whom it concerns. A change that concerns no source is a project that may have come or gone.
    async fn on_change(&mut self, change: &ChangeSet) {
        let now = self.clock.monotonic();
        if change.rescan {
            self.counters.rescans_forced += 1;
            self.slots.iter_mut().for_each(|slot| slot.wake_for_rescan(now));
        }
        let discovered = self.discovery.watched_paths();
        if change.rescan || change.touched.iter().any(|path| discovered.contains(path)) {
            self.rediscovery_due =
                self.rediscovery_due.min(Monotonic(self.rediscovered.0 + REDISCOVERY_PAUSE));
        }
        for slot in &mut self.slots {
            if change.touched.iter().any(|path| slot.watched().contains(path)) {
                slot.wake(now);
            }
        }
        self.watch_again();
    }

    /// One step of each due source, round after round, until none is due.
    async fn read_what_is_due(&mut self) {
        let mut watched_before: Vec<Vec<WatchedPath>> = Vec::new();
        loop {
            let now = self.clock.monotonic();
            if self.paused_until.is_some_and(|until| now < until) || *self.shutdown.borrow() {
                return;
            }
            self.paused_until = None;
            if self.settings.has_changed().unwrap_or(false) {
                self.reconfigure().await;
            }
            if self.spool.lock().await.is_full() {
                self.paused_until = Some(Monotonic(now.0 + FULL_SPOOL_PAUSE));
                return;
            }
            let due: Vec<usize> = (0..self.slots.len()).filter(|&i| self.slots[i].due() <= now).collect();
            if due.is_empty() && self.host.as_ref().is_none_or(|host| host.due > now) {
                break;
            }
            if watched_before.is_empty() {
                watched_before = self.slots.iter().map(|slot| slot.watched().to_vec()).collect();
            }
            for index in due {
                self.step_slot(index).await;
            }
            self.step_host().await;
            self.prove_progress().await;
        }
        let unchanged = watched_before.iter().map(Vec::as_slice).eq(self.slots.iter().map(Slot::watched));
        if !watched_before.is_empty() && !unchanged {
            self.watch_again();
        }
    }

    async fn step_slot(&mut self, index: usize) {
        let settings = self.settings.borrow().clone();
        if settings.is_off(self.slots[index].source_name()) {
            // It is closed before the next round.
            return;
        }
        self.counters.steps += 1;
        let moment = Moment {
            wall: self.clock.wall(),
            monotonic: self.clock.monotonic(),
            processes: &self.processes,
            rescan: false,
        };
        let slot = &mut self.slots[index];
        let stepped = slot.step(&moment, settings.facts());
        match stepped {
            Ok(None) => {}
            Ok(Some(stepped)) => self.spool_step(index, stepped).await,
            Err(slot::Panicked) => {
                self.counters.source_panics += 1;
                tracing::error!(tool = slot.tool(), project = %slot.project().name, "a source panicked; it is opened anew after a pause");
                slot.broke(moment.monotonic);
            }
        }
    }

    async fn spool_step(&mut self, index: usize, stepped: Stepped) {
        let (facts, position, step) = stepped.into_parts();
        let key = self.slots[index].key().to_owned();
        let appended =
            self.spool.lock().await.append_step(&key, position.clone(), facts.into_builder()).await;
        let now = self.clock.monotonic();
        match appended {
            Ok(batch) => {
                self.slots[index].spooled(position, step, now);
                self.apply_locally(batch.as_ref());
            }
            Err(error) => {
                self.counters.spool_refusals += 1;
                tracing::error!(source = %key, error = %error, "the spool refused a step; it is read again after a pause");
                self.slots[index].broke(now);
            }
        }
    }

    async fn step_host(&mut self) {
        let now = self.clock.monotonic();
        let Some(host) = self.host.as_mut() else { return };
        let live = self.slots.iter().map(|slot| LiveTool {
            tool: slot.tool(),
            project: slot.project().clone(),
            pids: slot.live_pids(),
        });
        // A session that came or went is measured at once.
        if !host.source.watch(live) && host.due > now {
            return;
        }
        let moment =
            Moment { wall: self.clock.wall(), monotonic: now, processes: &self.processes, rescan: false };
        let mut facts = self.settings.borrow().facts();
        let step = host.source.step(&moment, &mut facts);
        host.due = Monotonic(now.0 + step.again_in.unwrap_or(host::INTERVAL_IDLE));
        if facts.is_empty() {
            return;
        }
        let appended =
            self.spool.lock().await.append_step(host::TOOL, Vec::new(), facts.into_builder()).await;
        match appended {
            Ok(batch) => self.apply_locally(batch.as_ref()),
            // A sample that is not taken is not missed: the next one says what is then.
            Err(error) => tracing::warn!(%error, "the spool refused a sample of the machine"),
        }
    }

    fn apply_locally(&self, batch: Option<&SealedBatch>) {
        let Some(batch) = batch else { return };
        let at = Applied { wall: self.clock.wall(), monotonic: self.clock.monotonic() };
        local::apply(&mut self.page.aggregate.lock(), self.agent_id, batch, at);
    }

    async fn publish_counters(&mut self) {
        self.counters.sources = self.sources_read() as u64;
        *self.page.counters.lock() = self.counters;
        let spool = self.spool.lock().await;
        if spool.identity().epoch != self.epoch {
            // The stored counters name an epoch; those of the one we left would not be gone on with.
            self.epoch = spool.identity().epoch;
            local::store(&self.page.aggregate.lock(), &spool);
        }
    }

    fn watch_again(&mut self) {
        let mut paths = self.discovery.watched_paths().clone();
        paths.extend(self.slots.iter().flat_map(|slot| slot.watched().iter().cloned()));
        self.watcher.set_paths(&paths);
    }

    fn open_guide_place(&mut self, place: Option<GuidePlace>) {
        let Some(place) = place else { return };
        let is_main = self.metrics_address.is_some_and(|address| address.port() == place.port);
        // One page for each port: two projects with DevLoop's default port share it.
        if is_main || self.guide_places.iter().any(|open| open.port == place.port) {
            return;
        }
        self.guide_places.insert(place.clone());
        self.tasks.spawn(endpoint::serve_guide_place(place, self.page.clone(), self.shutdown.clone()));
    }

    async fn housekeeping(&mut self) {
        let mut spool = self.spool.lock().await;
        if let Err(error) = spool.retain() {
            tracing::warn!(%error, "cannot apply the spool's retention");
        }
        let mut aggregate = self.page.aggregate.lock();
        aggregate.expire(self.clock.monotonic());
        local::store(&aggregate, &spool);
    }

    /// Everything is durable already; this only makes the next start quicker.
    async fn stop(mut self) -> Result<(), SpoolError> {
        if let Some(pulse) = &self.pulse {
            pulse.stopping();
        }
        self.publish_counters().await;
        let ended =
            tokio::time::timeout(STOP_TIMEOUT, async { while self.tasks.join_next().await.is_some() {} });
        if ended.await.is_err() {
            self.tasks.abort_all();
        }
        let mut spool = self.spool.lock().await;
        local::store(&self.page.aggregate.lock(), &spool);
        spool.retain()
    }
}

/// The uplink says goodbye and the page's connections end within this.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);
