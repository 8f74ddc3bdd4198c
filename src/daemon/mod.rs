//! The life of the daemon: put the parts together, serve, reload, drain. The only place that knows all parts.

mod desk;
mod gallery;
mod health;
mod labels;
mod parts;
mod press;
mod proof;
mod view;

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::agent::Pool;
use crate::agent::replay;
use crate::camera::{self, Camera};
use crate::config::{Config, Env, Invalid};
use crate::deadline::Deadline;
use crate::journal::{Journal, Owner, Rounds};
use crate::server::{Admin, Listeners, Server};
use crate::station::{self, Duty, Shutters};
use crate::systemd::{self, Watchdog};
use crate::telemetry::{LogControl, Metrics};

use self::desk::Desk;
use self::health::Health;
use self::parts::Parts;
use self::proof::Proof;
use self::view::View;

pub use self::labels::Alone;

/// How long a decode worker may take to prove itself at the start: plugins are scanned then, on slow disks too.
const PROOF_TIME: Duration = Duration::from_secs(90);

/// How long the HTTPS port may take to answer a first look through it.
const DOOR_TIME: Duration = Duration::from_secs(20);

/// How often the line that `systemctl status` shows is looked at.
const STATUS_PACE: Duration = Duration::from_secs(2);

/// How long the last answers may take to leave after the triggers have ended.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

/// Where the configuration comes from, now and at each reload.
#[derive(Debug, Clone)]
pub struct Source {
    /// The file named on the command line, if any.
    pub path: Option<PathBuf>,
    /// The process's environment.
    pub environment: Env,
}

impl Source {
    fn read(&self) -> Result<Config, Invalid> {
        let mut config = Config::load(self.path.as_deref(), &self.environment)?;
        config.ready()?;
        Ok(config)
    }
}

/// Runs until SIGTERM or SIGINT. `make` makes a camera of its settings.
///
/// # Errors
/// [`Invalid`] for a configuration that cannot be used; anything else that keeps the daemon from starting.
pub fn run(source: &Source, make: fn(camera::Settings) -> Camera) -> anyhow::Result<()> {
    // Before any thread exists: the variables that name passed sockets are taken out of the environment.
    let passed = systemd::passed_sockets()?;
    let config = source.read()?;
    let logs = LogControl::install(&config.log()).map_err(anyhow::Error::msg)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("server").enable_all().build()?;
    let outcome = runtime.block_on(live(source, config, &logs, passed, make));
    // Threads that still wait for an upstream are not waited for: what they were paid for is in the journal.
    runtime.shutdown_background();
    outcome
}

async fn live(
    source: &Source,
    config: Config,
    logs: &LogControl,
    passed: Vec<TcpListener>,
    make: fn(camera::Settings) -> Camera,
) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;

    let daemon = Daemon::start(config, passed, make).await?;
    let mut said = daemon.view.line();
    systemd::ready(&said);
    tracing::info!("ready: triggers are taken");
    daemon.look_at_decoders();
    let mut pace = tokio::time::interval(STATUS_PACE);
    loop {
        tokio::select! {
            () = ring(&mut terminate) => break,
            () = ring(&mut interrupt) => break,
            () = ring(&mut hang_up) => {
                systemd::reloading();
                daemon.reload(source, logs).await;
                said = daemon.view.line();
                systemd::ready(&said);
                daemon.look_at_decoders();
            }
            _ = pace.tick() => {
                let line = daemon.view.line();
                if line != said {
                    systemd::status(&line);
                    said = line;
                }
            }
        }
    }
    daemon.stop().await
}

/// The parts at work.
struct Daemon {
    desk: Arc<Desk>,
    pool: Arc<Pool>,
    server: Arc<Server>,
    view: Arc<View>,
    journal: Arc<Journal>,
    /// Saves what waits to be saved.
    replay: Rounds,
    /// Delivers the pictures that wait.
    courier: Rounds,
    /// Labels those that are delivered.
    labels: Rounds,
    /// Takes pictures.
    shutters: Arc<Shutters>,
    watchdog: Option<tokio::task::JoinHandle<()>>,
    /// Answers for as long as it lives.
    _admin: Admin,
    /// Keeps another daemon off the journal for as long as it lives.
    _owner: Owner,
    shutdown_grace: Duration,
}

impl Daemon {
    /// Puts the parts together. Encord, media stores and models may be down; what is on this box must work.
    async fn start(config: Config, passed: Vec<TcpListener>, make: fn(camera::Settings) -> Camera) -> anyhow::Result<Self> {
        let settings = config.server()?;
        let metrics = Arc::new(Metrics::default());
        let owner = Owner::take(&config.journal().path)?;
        let journal = Arc::new(Journal::new(config.journal()));
        let health = Arc::new(Health::default());
        health.note("journal", journal.prove().map_err(|error| error.to_string()));

        let parts = Parts::build(&config, &journal, None)?;
        let media = parts.media.clone();
        tokio::task::spawn_blocking(move || media.prove(&Deadline::after(PROOF_TIME))).await??;
        health.note("decoder", Ok(()));

        let desk = Arc::new(Desk::new(parts, Arc::clone(&journal), Arc::clone(&metrics), Arc::clone(&health)));
        desk.gallery.switch(config.file.admin.thumbnails);
        let for_replay = Arc::clone(&desk);
        let replay = replay::start(Arc::clone(&journal), move || for_replay.agent())?;
        let for_pool = Arc::clone(&desk);
        let pool = Arc::new(Pool::new(config.pool(), move |trigger, waited| for_pool.handle(trigger, waited))?);
        journal.tidy_pictures();
        let labeller = labels::by_pool(&pool, &desk);
        let labels = station::start_labels(Arc::clone(&journal), Arc::clone(&labeller))?;
        let for_courier = Arc::clone(&desk);
        let parties = move || {
            let parts = for_courier.parts();
            (parts.encord.clone(), parts.store.clone())
        };
        let courier = station::start_courier(Arc::clone(&journal), parties, labels.bell())?;
        let shutters = Arc::new(Shutters::new(Arc::clone(&journal), courier.bell(), Box::new(make), Arc::clone(&metrics)));
        desk.set_bells(vec![replay.bell(), courier.bell()]);

        let listeners = match Listeners::passed(passed) {
            Some(passed) => passed,
            None => Listeners::bind(&settings.listen)?,
        };
        let server = Arc::new(Server::start(&settings, listeners, Arc::clone(&pool), Arc::clone(&metrics))?);
        let watchdog = Watchdog::asked_for().map(|watchdog| {
            let proof = Arc::new(Proof::new(&server, &pool, &desk));
            let count = Arc::clone(&metrics);
            tokio::spawn(watchdog.keep(move || Arc::clone(&proof).of_work(), move |ping| noted(&count, ping)))
        });
        let view = Arc::new(View {
            desk: Arc::clone(&desk),
            server: Arc::clone(&server),
            pool: Arc::clone(&pool),
            journal: Arc::clone(&journal),
            shutters: Arc::clone(&shutters),
            labeller,
            health,
            tls: settings.tls.clone(),
            agents: Mutex::new(settings.agent_paths.clone()),
            decoders: Mutex::default(),
            devices: Mutex::default(),
            started: time::OffsetDateTime::now_utc().unix_timestamp(),
            serving: AtomicBool::new(false),
            draining: AtomicBool::new(false),
        });
        let admin = Admin::start(&config.admin()?, view.admin(&metrics))?;
        server.probe(DOOR_TIME).await.context("the HTTPS port does not answer a look through it")?;
        // Last: a daemon that does not come up takes no pictures.
        shutters.change(duties(&config))?;
        view.serving.store(true, Ordering::SeqCst);
        Ok(Self {
            desk,
            pool,
            server,
            view,
            journal,
            replay,
            courier,
            labels,
            shutters,
            watchdog,
            _admin: admin,
            _owner: owner,
            shutdown_grace: settings.shutdown_grace,
        })
    }

    /// Tries out the decoders beside the work, for the status page.
    fn look_at_decoders(&self) {
        let view = Arc::clone(&self.view);
        drop(tokio::task::spawn_blocking(move || view.look_at_decoders()));
    }

    /// Takes a new configuration whole or not at all. Running triggers keep the parts they began with.
    async fn reload(&self, source: &Source, logs: &LogControl) {
        tracing::info!("reading the configuration again");
        let (source, desk, server, logs) = (source.clone(), Arc::clone(&self.desk), Arc::clone(&self.server), logs.clone());
        let shutters = Arc::clone(&self.shutters);
        let taken = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
            let config = source.read()?;
            let settings = config.server()?;
            desk.replace(&config, || Ok(server.reconfigure(&settings)?))?;
            if let Err(cause) = logs.set_level(&config.log().level) {
                // The level was checked with the configuration, so this is the log's own trouble.
                tracing::error!(%cause, "the log level stays as it was");
            }
            if let Err(cause) = shutters.change(duties(&config)) {
                tracing::error!(%cause, "not all cameras are at work");
            }
            Ok(settings)
        })
        .await;
        match taken {
            Ok(Ok(settings)) => {
                self.view.set_agents(settings.agent_paths);
                tracing::info!("the new configuration is in force (listening addresses and pool sizes need a restart)");
            }
            Ok(Err(error)) => tracing::error!("the new configuration is refused, the old one stays in force: {error:#}"),
            Err(panic) => tracing::error!(%panic, "reading the configuration panicked; the old one stays in force"),
        }
    }

    /// Takes no more triggers, lets the running ones finish within the grace, and leaves the journal in order.
    async fn stop(self) -> anyhow::Result<()> {
        systemd::stopping("finishing the running triggers", self.shutdown_grace + LAST_ANSWERS);
        self.view.draining.store(true, Ordering::SeqCst);
        self.shutters.end();
        self.replay.end();
        self.courier.end();
        self.labels.end();
        self.server.drain();
        self.pool.drain();
        let (pool, grace) = (Arc::clone(&self.pool), self.shutdown_grace);
        if !tokio::task::spawn_blocking(move || pool.wait_idle(grace)).await? {
            tracing::warn!("some triggers did not finish within server.shutdown_grace; answers that were paid for are in the journal");
        }
        self.server.close(LAST_ANSWERS).await;
        if let Some(watchdog) = self.watchdog {
            watchdog.abort();
        }
        let (late, journal, media) = ((self.replay, self.courier, self.labels), self.journal, self.desk.parts().media.clone());
        tokio::task::spawn_blocking(move || drop(late)).await?;
        tokio::task::spawn_blocking(move || media.close()).await?;
        if let Err(error) = journal.checkpoint() {
            tracing::warn!(%error, "the journal could not be tidied; nothing is lost");
        }
        tracing::info!("stopped");
        Ok(())
    }
}

/// What is to be done with each camera.
fn duties(config: &Config) -> Vec<Duty> {
    let duty = |camera: camera::Settings| Duty {
        shelf: config.shelf(&camera.name),
        labelling: config.labelling(&camera.name),
        interval: config.interval(&camera.name),
        camera,
    };
    config.cameras().into_iter().map(duty).collect()
}

fn noted(metrics: &Metrics, ping: Result<(), String>) {
    metrics.watchdog(ping.is_ok());
    if let Err(cause) = ping {
        tracing::error!(%cause, "no proof that the service works, so the watchdog is not pinged");
    }
}

/// A signal's stream ends only with the runtime.
async fn ring(signal: &mut Signal) {
    if signal.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
}
