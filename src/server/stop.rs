//! Being asked to stop: by a signal, or by whoever holds the handle.
//!
//! TERM finishes what is under way, QUIT hands the listeners to a new process first if one waits, USR2
//! starts that process itself, INT leaves at once. (HUP and USR1 are heard here too, and passed on.) No
//! signal that an operator of nginx knows ends the process by the system's default. Before listeners are
//! closed, connections get a moment to be closed by their own responses: pingora drops idle ones when
//! it closes listeners, with the request that may be on its way.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::error_log;
use super::handover::{self, Given, HandoverError};
use super::listen::Listeners;
use super::reload::ReloadHandle;
use super::successor::{NewProcess, Successor};
use crate::gateway::{Drain, Gateway};

/// How long open connections are told to close before listeners are.
const LAME_DUCK: Duration = Duration::from_secs(1);

/// As [`LAME_DUCK`], after listeners were handed over. Nobody waits for their end then, so connections
/// that send a request now and then get the time to.
const LAME_DUCK_OF_UPGRADE: Duration = Duration::from_secs(5);

/// How long [`StopHandle::stop`] lets requests finish.
const HANDLE_PATIENCE: Duration = Duration::from_secs(10);

/// What makes a server stop.
pub enum Stop {
    /// Signals to the process: TERM, QUIT, INT, USR2.
    Signals(EarlySignals),
    /// [`StopHandle::stop`].
    Handle(StopReceiver),
}

/// Signals that come while the gateway is still on its way up. By itself the system would end the
/// process at any of them, TERM and INT included, with the requests of its first clients.
pub struct EarlySignals {
    /// Whether nothing is served yet, so that TERM and INT may end the process where it is.
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

/// What signals besides those that stop ask of.
pub(super) struct Helpers {
    /// HUP.
    pub reload: ReloadHandle,
    /// USR1.
    pub gateway: Arc<Gateway>,
    /// QUIT and USR2: what is handed over.
    pub listeners: Arc<Listeners>,
    /// Where the new process waits for it.
    pub upgrade_socket: PathBuf,
    /// USR2: the new process; `None` if this program cannot start one.
    pub new_process: Option<NewProcess>,
}

/// Stops a server that runs within this process.
pub struct StopHandle(watch::Sender<bool>);

/// The other end of a [`StopHandle`].
pub struct StopReceiver(watch::Receiver<bool>);

impl Stop {
    /// A server that runs until a signal ends it. Until it serves, TERM and INT end the process with
    /// status 0; other signals are kept from now on until it can act on them, so this comes first of all.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn signals() -> std::io::Result<Stop> {
        EarlySignals::heard().map(Stop::Signals)
    }

    /// A server that runs until the handle says stop, or is dropped.
    #[must_use]
    pub fn handle() -> (StopHandle, Stop) {
        let (sender, receiver) = watch::channel(false);
        (StopHandle(sender), Stop::Handle(StopReceiver(receiver)))
    }

    /// Splits into the part that pingora waits for and the part that the caller waits for.
    pub(super) fn watch(self, drain: Arc<Drain>, helpers: Helpers) -> Stopping {
        if let Stop::Signals(early) = &self {
            // From now on there may be requests under way.
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
    /// Finishes the requests under way, then stops.
    pub fn stop(&self) {
        // The server may have ended by itself.
        let _ = self.0.send(true);
    }
}

/// The two ends of a stop to come.
pub(super) struct Stopping {
    /// For pingora.
    pub signal: Watch,
    /// For whoever started the server.
    pub asked: Asked,
}

/// How a server came to stop.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stopped {
    /// It was asked to leave at once.
    AtOnce,
    /// It was asked at this time to finish what is under way.
    Gracefully(Instant),
    /// Nobody asked.
    ByItself,
}

/// Hears when the stop comes.
pub(super) struct Asked(Receiver<Stopped>);

impl Asked {
    /// Waits until the server is asked to stop, or has `ended`.
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
        while self.drain.under_way() > 0 && start.elapsed() < HANDLE_PATIENCE {
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
                log::info!("stopping: requests under way are finished first");
                Some(LAME_DUCK)
            }
            Wanted::HandedOver => {
                log::info!("the listeners were handed over; requests under way are finished first");
                Some(LAME_DUCK_OF_UPGRADE)
            }
        };
        // pingora's own hand-over is never asked for: the listeners have been handed over by now.
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
        // Nobody waits any more if the server failed to start.
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
        self.gateway
            .access_logs()
            .iter()
            .for_each(|log| log.reopen());
        error_log::reopen();
        log::info!("USR1: log files were opened again");
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
            // It may take as long as the new process needs to start.
            tokio::select! {
                _ = terminate.recv() => return Wanted::Gracefully,
                _ = interrupt.recv() => return Wanted::AtOnce,
                wanted = hand_over => if let Some(wanted) = wanted {
                    return wanted;
                },
            }
        }
    }

    /// QUIT: leaves, after handing the listeners to a process that waits for them, if one does.
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

    /// USR2: starts the new process and hands the listeners to it.
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

    /// On a thread that may block.
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

/// How a process is to stop.
#[derive(Clone, Copy)]
enum Wanted {
    /// Now.
    AtOnce,
    /// After the requests under way.
    Gracefully,
    /// Likewise; another process has the listeners already.
    HandedOver,
}
