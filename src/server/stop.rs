//! Stop requests, by a signal or by a [`StopHandle`].
//!
//! TERM finishes the requests in flight. QUIT first hands the listeners to a new process, if one
//! waits. USR2 starts that process itself. INT stops at once. HUP and USR1 arrive here too, and are
//! passed on. No signal that an nginx operator uses ends the process by the system's default
//! action. Before the listeners are closed, connections get a moment to be closed by their own
//! responses: pingora drops idle connections when it closes listeners, together with a request that
//! may be on its way.

use std::net::TcpListener;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::gateway::Gateway;
use crate::gateway::access::drain::Drain;
use crate::server::error_log;
use crate::server::handover::{self, Given, HandoverError};
use crate::server::listen::Listeners;
use crate::server::reload::ReloadHandle;
use crate::server::successor::{NewProcess, Successor};

/// Time between announcing the close to open connections and closing the listeners.
const LAME_DUCK: Duration = Duration::from_secs(1);

/// Same as [`LAME_DUCK`], after the listeners were handed over. The new process serves already
/// then, so connections with infrequent requests get more time.
const LAME_DUCK_OF_UPGRADE: Duration = Duration::from_secs(5);

/// Maximum time until the log files are open again.
const REOPENING: Duration = Duration::from_secs(5);

/// Time limit of [`StopHandle::stop`] for requests in flight.
const HANDLE_PATIENCE: Duration = Duration::from_secs(10);

/// Source of the stop request.
pub enum Stop {
    /// Signals to the process: TERM, QUIT, INT, USR2.
    Signals(EarlySignals),
    /// Stop by [`StopHandle::stop`].
    Handle(StopReceiver),
}

/// Signals that arrive while the gateway is still starting. The system's default action of each of
/// them, TERM and INT included, would end the process and abort the requests of its first clients.
pub struct EarlySignals {
    /// True while no requests are served, so that TERM and INT may end the process at once.
    is_starting: Arc<AtomicBool>,
    terminate: Arc<AtomicBool>,
    interrupt: Arc<AtomicBool>,
    hangup: Arc<AtomicBool>,
    quit: Arc<AtomicBool>,
    user: Arc<AtomicBool>,
    upgrade: Arc<AtomicBool>,
}

impl EarlySignals {
    fn heard() -> std::io::Result<Self> {
        let heard = |signal| {
            let flag = Arc::default();
            signal_hook::flag::register(signal, Arc::clone(&flag)).map(|_| flag)
        };
        let is_starting = Arc::new(AtomicBool::new(true));
        for signal in [SIGTERM, SIGINT] {
            signal_hook::flag::register_conditional_shutdown(signal, 0, Arc::clone(&is_starting))?;
        }
        Ok(EarlySignals {
            is_starting,
            terminate: heard(SIGTERM)?,
            interrupt: heard(SIGINT)?,
            hangup: heard(SIGHUP)?,
            quit: heard(SIGQUIT)?,
            user: heard(SIGUSR1)?,
            upgrade: heard(SIGUSR2)?,
        })
    }
}

/// Parts that the signals act on, apart from the stop itself.
pub(super) struct Helpers {
    /// Target of HUP.
    pub reload: ReloadHandle,
    /// Target of USR1.
    pub gateway: Arc<Gateway>,
    /// Listeners that QUIT and USR2 hand over.
    pub listeners: Arc<Listeners>,
    /// Socket at which the new process waits for them.
    pub upgrade_socket: PathBuf,
    /// Command of USR2 for the new process; `None` if this program cannot start one.
    pub new_process: Option<NewProcess>,
}

/// Stops a server that runs within this process.
pub struct StopHandle(watch::Sender<bool>);

/// The other end of a [`StopHandle`].
pub struct StopReceiver(watch::Receiver<bool>);

impl Stop {
    /// Creates a stop by signals. Until the server serves, TERM and INT end the process with status
    /// 0. Other signals are remembered until the server can act on them, so call this first of all.
    ///
    /// # Errors
    /// If a signal handler cannot be installed.
    pub fn signals() -> std::io::Result<Stop> {
        EarlySignals::heard().map(Stop::Signals)
    }

    /// Creates a stop by a handle: the server runs until the handle stops it, or is dropped.
    #[must_use]
    pub fn handle() -> (StopHandle, Stop) {
        let (sender, receiver) = watch::channel(false);
        (StopHandle(sender), Stop::Handle(StopReceiver(receiver)))
    }

    /// Splits into the part that pingora waits for and the part that the caller waits for.
    pub(super) fn watch(self, drain: Arc<Drain>, helpers: Helpers) -> Stopping {
        if let Stop::Signals(early) = &self {
            // From now on requests may be in flight.
            early.is_starting.store(false, Ordering::Relaxed);
        }
        let (told, asked) = channel();
        Stopping {
            signal: Watch {
                stop: self,
                drain,
                helpers,
                told: Mutex::new(told),
            },
            asked: Asked(asked),
        }
    }
}

impl StopHandle {
    /// Stops the server when its requests in flight are done, or after ten seconds.
    pub fn stop(&self) {
        // The server may have ended by itself.
        let _ = self.0.send(true);
    }
}

/// The two parts of a pending stop.
pub(super) struct Stopping {
    /// Part for pingora.
    pub signal: Watch,
    /// Part for the caller that started the server.
    pub asked: Asked,
}

/// Cause of the server's end.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stopped {
    /// A stop at once was requested.
    AtOnce,
    /// A graceful stop was requested; the listeners were closed at this time.
    Gracefully(Instant),
    /// The server ended without a request.
    ByItself,
}

/// Receives the stop request.
pub(super) struct Asked(Receiver<Stopped>);

impl Asked {
    /// Waits until a stop is requested, or `ended` returns `true`.
    pub fn wait(&self, ended: impl Fn() -> bool) -> Stopped {
        loop {
            match self.0.recv_timeout(Duration::from_millis(200)) {
                Ok(stopped) => return stopped,
                Err(RecvTimeoutError::Timeout) if !ended() => {}
                Err(_) => return Stopped::ByItself,
            }
        }
    }
}

/// Waits for the stop on pingora's side.
pub(super) struct Watch {
    stop: Stop,
    drain: Arc<Drain>,
    helpers: Helpers,
    told: Mutex<Sender<Stopped>>,
}

impl Watch {
    async fn wait_for_requests(&self) {
        let start = Instant::now();
        while self.drain.in_flight() > 0 && start.elapsed() < HANDLE_PATIENCE {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

#[async_trait]
impl ShutdownSignalWatch for Watch {
    async fn recv(&self) -> ShutdownSignal {
        let wanted = match &self.stop {
            Stop::Signals(early) => self.helpers.signals(early).await,
            Stop::Handle(receiver) => {
                let mut receiver = receiver.0.clone();
                // An error means that the handle was dropped.
                let _ = receiver.wait_for(|stop| *stop).await;
                Wanted::AtOnce
            }
        };
        self.drain.begin();
        let lame_duck = match wanted {
            Wanted::AtOnce => {
                if let Stop::Handle(_) = self.stop {
                    self.wait_for_requests().await;
                }
                None
            }
            Wanted::Gracefully => {
                log::info!("stopping: requests in flight are finished first");
                Some(LAME_DUCK)
            }
            Wanted::HandedOver => {
                log::info!("the listeners were handed over; requests in flight are finished first");
                Some(LAME_DUCK_OF_UPGRADE)
            }
        };
        // pingora's own handover is never used: the listeners have been handed over by now.
        let (stopped, signal) = match lame_duck {
            None => (Stopped::AtOnce, ShutdownSignal::FastShutdown),
            Some(time) => {
                tokio::time::sleep(time).await;
                (
                    Stopped::Gracefully(Instant::now()),
                    ShutdownSignal::GracefulTerminate,
                )
            }
        };
        self.helpers.listeners.close();
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        // The receiver is gone if the server failed to start.
        let _ = told.send(stopped);
        signal
    }
}

impl Helpers {
    fn hangup(&self) {
        log::info!("HUP: reading the configuration again");
        self.reload.reload();
    }

    fn user(&self) {
        log::info!("USR1: opening the log files again");
        self.gateway.reopen_access_logs();
        error_log::reopen();
        // Log rotation may wait for this message before it touches the old files. A slow target must
        // not delay other signals, so the wait has a thread of its own.
        let gateway = Arc::clone(&self.gateway);
        std::thread::spawn(move || {
            let unwritten = gateway.flush_access_logs(Instant::now() + REOPENING);
            if unwritten.iter().all(|lines| *lines == 0) {
                log::info!("USR1: log files were opened again");
            } else {
                log::error!(
                    "USR1: the access log is too slow; it opens its file once its lines are written"
                );
            }
        });
    }

    /// Waits for a signal that stops the process, and acts on the others.
    async fn signals(&self, early: &EarlySignals) -> Wanted {
        let listen = |kind| signal(kind).expect("the runtime listens to signals");
        let mut terminate = listen(SignalKind::terminate());
        let mut quit = listen(SignalKind::quit());
        let mut interrupt = listen(SignalKind::interrupt());
        let mut hangup = listen(SignalKind::hangup());
        let mut user = listen(SignalKind::user_defined1());
        let mut upgrade = listen(SignalKind::user_defined2());
        let came = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        if came(&early.interrupt) {
            return Wanted::AtOnce;
        }
        if came(&early.terminate) {
            return Wanted::Gracefully;
        }
        if came(&early.hangup) {
            self.hangup();
        }
        if came(&early.user) {
            self.user();
        }
        let (mut quits, mut upgrades) = (came(&early.quit), came(&early.upgrade));
        loop {
            if !quits && !upgrades {
                tokio::select! {
                    _ = terminate.recv() => return Wanted::Gracefully,
                    _ = interrupt.recv() => return Wanted::AtOnce,
                    _ = quit.recv() => quits = true,
                    _ = upgrade.recv() => upgrades = true,
                    _ = hangup.recv() => self.hangup(),
                    _ = user.recv() => self.user(),
                }
            }
            let upgrading = std::mem::take(&mut upgrades);
            if !upgrading && !std::mem::take(&mut quits) {
                continue;
            }
            let hand_over = async {
                if upgrading {
                    self.upgrade().await
                } else {
                    self.quit().await
                }
            };
            // It may take as long as the new process needs to start. Log rotation does not wait for
            // it. A reload does, because it would change the settings of the listeners while they
            // are handed over; and if the new process takes over, it has read the configuration.
            let mut hand_over = pin!(hand_over);
            loop {
                tokio::select! {
                    _ = terminate.recv() => return Wanted::Gracefully,
                    _ = interrupt.recv() => return Wanted::AtOnce,
                    _ = user.recv() => self.user(),
                    wanted = &mut hand_over => match wanted {
                        Some(wanted) => return wanted,
                        None => break,
                    },
                }
            }
        }
    }

    /// Handles QUIT: hands the listeners to a waiting process, if there is one, and stops.
    async fn quit(&self) -> Option<Wanted> {
        match self.hand_over().await {
            Ok(Given::Taken) => Some(Wanted::HandedOver),
            Ok(Given::NobodyWaits) => Some(Wanted::Gracefully),
            Err(error) => {
                log::error!("QUIT: the listeners were not handed over, serving on: {error}");
                None
            }
        }
    }

    /// Handles USR2: starts the new process and hands the listeners to it.
    async fn upgrade(&self) -> Option<Wanted> {
        let Some(new_process) = &self.new_process else {
            log::error!("USR2: start the new process with --upgrade, then send QUIT to this one");
            return None;
        };
        let replaced = async {
            let mut successor = Successor::start(new_process)?;
            log::info!("USR2: process {} starts and takes over", successor.id());
            loop {
                if self.hand_over().await? == Given::Taken {
                    successor.announce();
                    return Ok::<_, super::successor::SuccessorError>(());
                }
                successor.look()?;
                tokio::time::sleep(super::successor::LOOK).await;
            }
        };
        match replaced.await {
            Ok(()) => Some(Wanted::HandedOver),
            Err(error) => {
                log::error!("USR2: no new process took over, serving on: {error}");
                None
            }
        }
    }

    /// Hands the listeners over, on a thread that may block.
    async fn hand_over(&self) -> Result<Given, HandoverError> {
        let socket = self.upgrade_socket.clone();
        let failed = |error| HandoverError::Socket {
            socket: self.upgrade_socket.clone(),
            error,
        };
        let copies = self.listeners.copies(|_| true).map_err(failed)?;
        let give = move || {
            let listeners: Vec<TcpListener> = copies.into_iter().map(|(_, one)| one).collect();
            handover::give(&socket, &listeners)
        };
        let given = tokio::task::spawn_blocking(give).await;
        given.map_err(|error| failed(error.into()))?
    }
}

/// Requested kind of stop.
#[derive(Clone, Copy)]
enum Wanted {
    /// Stop at once.
    AtOnce,
    /// Stop after the requests in flight.
    Gracefully,
    /// Same as `Gracefully`; another process has the listeners already.
    HandedOver,
}
